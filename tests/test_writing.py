"""Files are whole or as they were, and have one writer."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drmetric.errors import OutputError
from drmetric.writing import WriterLock, sole_writer, write_whole

WRITE_MUCH = """
import resource, sys
from pathlib import Path
from drmetric.writing import write_whole
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_whole(Path(sys.argv[1]), b"x" * 5000)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_whole(path, b"old")
    done = subprocess.run([sys.executable, "-c", WRITE_MUCH, path], capture_output=True, text=True)
    assert os.strerror(errno.EFBIG) in done.stderr
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["page.html"]


def test_what_a_kill_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "page.html.tmp").write_bytes(b"half")
    write_whole(tmp_path / "page.html", b"new")
    assert names(tmp_path) == ["page.html"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_one_writes_and_others_are_refused_until_it_ends(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "output"
    if kind == "folder":
        path.mkdir()
    with WriterLock(path) as lock:
        for _ in range(2):
            with pytest.raises(OutputError, match="another run is writing"):
                WriterLock(path)
            if kind == "file":
                lock.replace(b"new")
                assert lock.holds
    WriterLock(path).release()
    assert names(tmp_path) == ["output"]


def test_a_lock_knows_whether_its_file_is_still_there(tmp_path: Path) -> None:
    with WriterLock(tmp_path / "a") as lock:
        assert lock.holds
        os.replace(tmp_path / "a", tmp_path / "b")
        assert not lock.holds
        (tmp_path / "a").touch()
        assert not lock.holds
        WriterLock(tmp_path / "a").release()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write in .*file") as caught:
        sole_writer(tmp_path / "file" / "results")
    assert caught.value.fix
    with pytest.raises(OutputError, match="cannot write in"):
        sole_writer(tmp_path / "file")
