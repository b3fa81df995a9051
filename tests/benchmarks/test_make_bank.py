"""Which photographs a bank is of."""

from pathlib import Path

import pytest

from benchmarks.make_bank import photographs


def test_files_are_left_out_by_name_and_by_a_list(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c (1).png"):
        (tmp_path / name).touch()
    listed = tmp_path / "graphics.txt"
    listed.write_text("c (1).png\n")
    assert [file.name for file in photographs(tmp_path, ["a.png", str(listed)])] == ["b.png"]
    with pytest.raises(ValueError, match=r"not in .*: d\.png"):
        photographs(tmp_path, ["d.png"])
