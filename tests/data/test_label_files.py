"""Label files: cells that are no numbers, lines of another form, packages that are missing."""

import sys
from pathlib import Path

import pytest

from drmetric.data.label_files import name_parts, number, read_csv, read_mat, read_words, read_xlsx
from drmetric.errors import ConfigError, MissingDependencyError


@pytest.mark.parametrize("cell", ["", "nan", "inf", "good"])
def test_cells_that_are_no_finite_number_are_quoted(cell: str) -> None:
    with pytest.raises(ConfigError, match=rf"labels\.csv: MOS is '{cell}'; wanted a number"):
        number({"MOS": cell}, "MOS", Path("labels.csv"))


def test_csv_without_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,MOS\n1.png,3\n")
    assert read_csv(tmp_path / "labels.csv", ("image", "MOS")) == [{"image": "1.png", "MOS": "3"}]
    with pytest.raises(ConfigError, match=r"(?s)no column SD.*its first line: image,MOS,SD"):
        read_csv(tmp_path / "labels.csv", ("image", "MOS", "SD"))


def test_words_are_divided_by_blanks_or_a_comma(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("3.5  a.png\n\n2,b.png\r\n")
    assert read_words(path, ("MOS", "name")) == [{"MOS": "3.5", "name": "a.png"}, {"MOS": "2", "name": "b.png"}]
    path.write_text("3.5 a.png\nonly\n")
    with pytest.raises(ConfigError, match="'only' is not MOS and name"):
        read_words(path, ("MOS", "name"))


def test_names_of_another_form_are_quoted() -> None:
    assert name_parts("i01_02.BMP", r"(I\d\d)_(\d\d)\.bmp", Path("labels.txt")) == ("i01", "02")
    with pytest.raises(ConfigError, match=r"'x01_02\.bmp' is no file name of this data set"):
        name_parts("x01_02.bmp", r"(I\d\d)_(\d\d)\.bmp", Path("labels.txt"))


def test_spreadsheets_and_matlab_files_need_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingDependencyError, match=r"(?s)reading l\.mat.*pip install 'drmetric\[bench\]'"):
        read_mat(tmp_path / "l.mat", "scores")
    with pytest.raises(MissingDependencyError, match=r"(?s)reading l\.xlsx.*pip install 'drmetric\[bench\]'"):
        read_xlsx(tmp_path / "l.xlsx", ("image",))
