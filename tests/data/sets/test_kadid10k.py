"""KADID-10k in miniature."""

from pathlib import Path

from tests.data.sets.layouts import check, rated, touch, write_csv

LABELS = "dmos.csv"


def write(root: Path) -> None:
    rows = [
        (f"I{scene:02d}_{type_:02d}_01.png", f"I{scene:02d}.png", scene / 10 + 1, 0.4)
        for scene in range(1, 21)
        for type_ in (2, 25)
    ]
    write_csv(root / LABELS, [("dist_img", "ref_img", "dmos", "var"), *rows])
    touch(root, [f"images/{name}" for row in rows for name in row[:2]])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "kadid10k",
        tmp_path,
        40,
        rated("images/I20_02_01.png", 0.5, "I20", reference="images/I20.png", spread=0.1, subset="lens_blur"),
        rated("images/I01_25_01.png", 0.025, "I01", reference="images/I01.png", spread=0.1, subset="contrast_change"),
    )
