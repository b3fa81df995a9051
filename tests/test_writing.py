"""Files are whole or as they were, and have one writer."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.store import ScoreFile
from drmetric.errors import OutputError
from drmetric.writing import WriterLock, room_for, sole_writer, write_whole

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


def test_a_link_stays_one_and_leads_to_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "page.html", tmp_path / "page.html"
    target.write_bytes(b"old")
    link.symlink_to(target)
    for write in (lambda: write_whole(link, b"new"), lambda: _replaced_by_its_lock(link, b"newer")):
        write()
        assert link.is_symlink()
    assert target.read_bytes() == b"newer"
    assert names(tmp_path) == ["page.html", "store"]
    assert names(tmp_path / "store") == ["page.html"]


def _replaced_by_its_lock(path: Path, content: bytes) -> None:
    with WriterLock(path) as lock:
        lock.replace(content)
        assert lock.holds


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_who_could_not_read_what_was_there_cannot_read_what_is(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write_whole(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o600


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


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"other"),
        lambda path: (path.with_name("b").write_bytes(b"new"), os.replace(path.with_name("b"), path)),
    ],
    ids=["deleted", "changed", "replaced"],
)
def test_what_was_finished_is_looked_at_when_the_folder_is_left(tmp_path: Path, change: Callable[[Path], None]) -> None:
    def write() -> None:
        with sole_writer(tmp_path):
            write_whole(tmp_path / "table.md", b"old")
            write_whole(tmp_path / "table.md", b"new")
            write_whole(tmp_path / "other.md", b"")
            change(tmp_path / "table.md")

    with pytest.raises(OutputError, match=r"table\.md.*deleted or changed") as caught:
        write()
    assert "other.md" not in caught.value.problem
    with sole_writer(tmp_path):
        write_whole(tmp_path / "table.md", b"new")
    assert (tmp_path / "table.md").read_bytes() == b"new"


def test_another_error_is_not_hidden_by_that(tmp_path: Path) -> None:
    def fail() -> None:
        with sole_writer(tmp_path):
            write_whole(tmp_path / "table.md", b"new")
            (tmp_path / "table.md").unlink()
            raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_two_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    """The other process has begun, and holds the file of the passing name."""
    held = "import sys, time; from pathlib import Path; from drmetric.writing import _sole; p = Path(sys.argv[1])"
    held += "; file = _sole(p.with_name('page.html.tmp'), p); print('holds', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", held, tmp_path / "page.html"], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputError, match="another run is writing"):
            write_whole(tmp_path / "page.html", b"new")
        other.kill()
    write_whole(tmp_path / "page.html", b"new")
    assert names(tmp_path) == ["page.html"]


def test_what_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    room_for(tmp_path / "new" / "model.onnx")
    assert names(tmp_path / "new") == []
    with pytest.raises(OutputError, match=r"cannot write .*: it is a folder"):
        room_for(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        room_for(tmp_path / "file" / "model.onnx")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="shows which files are open")
def test_a_system_without_locks_opens_no_folder_and_renames_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def checked(source: Path, target: Path) -> None:
        assert str(source) not in [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
        rename(source, target)

    monkeypatch.setattr("drmetric.writing.fcntl", None)
    monkeypatch.setattr(os, "replace", checked)
    with sole_writer(tmp_path) as folder:
        write_whole(tmp_path / "page.html", b"page")
        _replaced_by_its_lock(tmp_path / "scores.csv", b"scores")
        assert folder.holds
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "page.html": b"page",
        "scores.csv": b"scores",
    }


def test_a_system_without_locks_resumes_a_file_of_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drmetric.writing.fcntl", None)
    row = Row("a.png", "m", "m|1", "none", score=0.5)
    for kind in ("csv", "jsonl"):
        for rows in (1, 2):
            with ScoreFile.read(tmp_path / f"scores.{kind}") as scores:
                scores.append(replace(row, image=f"{rows}.png"))
        assert len(ScoreFile.read(tmp_path / f"scores.{kind}").rows) == 2
