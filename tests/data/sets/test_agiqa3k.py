"""AGIQA-3K in miniature."""

from pathlib import Path

from drmetric.data.rated import read_opinions
from tests.data.sets.layouts import check, rated, touch, write_csv

LABELS = "data.csv"


def write(root: Path) -> None:
    names = [(model, n) for n in range(20) for model in ("DALLE2_normal", "sd1.5_lowstep")]
    rows = [(f"{model}_{n:03d}.jpg", f"prompt {n}", 0.2 * n, 0.5) for model, n in names]
    write_csv(root / LABELS, [("name", "prompt", "mos_quality", "std_quality"), *rows])
    touch(root, [row[0] for row in rows])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    check("agiqa3k", tmp_path, 40, rated("sd1.5_lowstep_019.jpg", 0.76, "prompt 19", spread=0.1, subset="sd1.5"))


def test_images_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write(tmp_path)
    scores = [each.score for each in read_opinions("agiqa3k", tmp_path)]
    (tmp_path / "AGIQA-3K").mkdir()
    for file in tmp_path.glob("*.jpg"):
        file.rename(tmp_path / "AGIQA-3K" / file.name)
    assert [each.score for each in read_opinions("agiqa3k", tmp_path)] == scores
