"""UHD-IQA in miniature."""

from pathlib import Path

from drmetric.data.rated import read_opinions
from drmetric.data.splits import SPLITS
from tests.data.sets.layouts import check, rated, touch, write_csv

LABELS = "uhd-iqa-metadata.csv"


def write(root: Path) -> None:
    rows = [("1.jpg", 0.76, "training", ""), ("2.jpg", 0.5, "validation", "macro"), ("3.jpg", 0.25, "test", "")]
    write_csv(root / LABELS, [("image_name", "quality_mos", "set", "subset"), *rows])
    touch(root, [f"{part}/{name}" for name, _, part, _ in rows])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "uhd_iqa",
        tmp_path,
        3,
        rated("validation/2.jpg", 0.5, "2", subset="macro"),
        rated("test/3.jpg", 0.25, "3"),
    )


def test_official_split_is_kept(tmp_path: Path) -> None:
    write(tmp_path)
    parts = [read_opinions("uhd_iqa", tmp_path, split) for split in SPLITS]
    assert [[each.content for each in part] for part in parts] == [["1"], ["2"], ["3"]]
