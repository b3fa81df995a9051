"""SPAQ in miniature."""

from pathlib import Path

from drmetric.data.rated import read_opinions
from tests.data.sets.layouts import check, rated, touch, write_xlsx

LABELS = "Annotations/MOS and Image attribute scores.xlsx"


def write(root: Path) -> None:
    rows = [(f"{n:05d}.jpg", 2.5 * n, 50, 50) for n in range(1, 31)]
    write_xlsx(root / LABELS, {"Sheet1": [("Image name", "MOS", "Brightness", "Colorfulness"), *rows]})
    touch(root, [f"TestImage/{row[0]}" for row in rows])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    check("spaq", tmp_path, 30, rated("TestImage/00030.jpg", 0.75, "00030"))


def test_folders_in_another_case_are_found(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "Annotations").rename(tmp_path / "annotations")
    assert len(read_opinions("spaq", tmp_path)) == 30
