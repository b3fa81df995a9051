"""The images that come with drmetric are copied whole or not at all."""

import os
from pathlib import Path

import pytest

from drmetric import example
from drmetric.errors import OutputError
from drmetric.writing import sole_writer


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def bundled() -> dict[str, bytes]:
    return {name: data for name, data in contents(example.FOLDER).items() if name.endswith(".png")}


def test_a_copy_holds_all_images_and_may_be_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "photographs"
    for _ in range(2):
        example.copy(folder)
        assert contents(folder) == bundled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("copied", range(0, 12, 3))
def test_what_a_kill_left_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: int) -> None:
    if not (child := os.fork()):
        copies, copytree = 0, example.copytree

        def write_or_die(source: str, target: str) -> None:
            nonlocal copies
            data = Path(source).read_bytes()
            Path(target).write_bytes(data if copies < copied else data[:50])
            if copies == copied:
                os._exit(9)
            copies += 1

        monkeypatch.setattr(example, "copytree", lambda *paths: copytree(*paths, copy_function=write_or_die))
        example.copy(str(tmp_path))
        os._exit(0)
    os.waitpid(child, 0)
    whole = [part for part in ("degraded", "restored") if (tmp_path / part).exists()]
    assert all(contents(tmp_path / part) == contents(example.FOLDER / part) for part in whole)
    example.copy(tmp_path)
    assert contents(tmp_path) == bundled()


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_folder_that_is_no_copy_is_refused_and_stays(tmp_path: Path, damage: str) -> None:
    example.copy(tmp_path)
    victim = tmp_path / "restored/coffee_sharp.png"
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:100])
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="restored' is there, and is no copy"):
        example.copy(tmp_path)
    assert contents(tmp_path) == before


def test_one_run_copies_at_a_time_and_a_file_is_no_folder(tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(OutputError, match="another run is writing"):
        example.copy(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write"):
        example.copy(tmp_path / "file")
