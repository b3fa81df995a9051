"""BID in miniature."""

from pathlib import Path

from drmetric.data.rated import read_opinions
from tests.data.sets.layouts import check, rated, touch, write_xlsx

LABELS = "DatabaseGrades.xlsx"


def write(root: Path) -> None:
    rows = [(n, 4.5 if n == 7 else 1.25, 0.5, 3) for n in range(7, 40)]
    headings = ("Image Number", "Average Subjective Grade", "std", "Observer 1")
    write_xlsx(root / LABELS, {"Plan1": [headings, *rows, (None, 1.3, None, None)], "Plan2": [("x",)]})
    touch(root, [f"DatabaseImage{row[0]:04d}.JPG" for row in rows])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    check("bid", tmp_path, 33, rated("DatabaseImage0007.JPG", 0.9, "DatabaseImage0007", spread=0.1))


def test_images_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write(tmp_path)
    scores = [each.score for each in read_opinions("bid", tmp_path)]
    (tmp_path / "ImageDatabase").mkdir()
    for file in tmp_path.glob("*.JPG"):
        file.rename(tmp_path / "ImageDatabase" / file.name)
    assert [each.score for each in read_opinions("bid", tmp_path)] == scores
