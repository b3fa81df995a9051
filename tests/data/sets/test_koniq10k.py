"""KonIQ-10k in miniature."""

from pathlib import Path

from drmetric.data.rated import read_opinions
from drmetric.data.splits import SPLITS
from tests.data.sets.layouts import check, rated, touch, write_csv

LABELS = "koniq10k_distributions_sets.csv"


def write(root: Path) -> None:
    rows = [("1.jpg", 1, 0, "training"), ("2.jpg", 100, 0.8, "validation"), ("3.jpg", 50.5, 0.4, "test")]
    table = [(name, *[0.2] * 5, 100, mos, sd, part) for name, mos, sd, part in rows]
    write_csv(root / LABELS, [("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "set"), *table])
    touch(root, [f"{size}/{name}" for name, *_ in rows for size in ("1024x768", "512x384")])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "koniq10k",
        tmp_path,
        3,
        rated("1024x768/1.jpg", 0, "1", spread=0),
        rated("1024x768/2.jpg", 1, "2", spread=0.2),
        rated("1024x768/3.jpg", 0.5, "3", spread=0.1),
    )


def test_official_split_is_kept(tmp_path: Path) -> None:
    write(tmp_path)
    parts = [read_opinions("koniq10k", tmp_path, split) for split in SPLITS]
    assert [[each.content for each in part] for part in parts] == [["1"], ["2"], ["3"]]


def test_half_size_is_read_where_there_is_no_other(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "1024x768").rename(tmp_path / "elsewhere")
    assert {each.image.parent.name for each in read_opinions("koniq10k", tmp_path)} == {"512x384"}
