"""QADS in miniature."""

from pathlib import Path

from tests.data.sets.layouts import check, rated, touch

LABELS = "mos_with_names.txt"


def write(root: Path) -> None:
    names = [f"img{scene:02d}_{scale}_{method}.png" for scene in range(1, 21) for scale in (2, 4) for method in (1, 21)]
    root.mkdir(parents=True, exist_ok=True)
    (root / LABELS).write_text("".join(f"{n / 80:.5f}  {name}\n" for n, name in enumerate(names)))
    touch(root, [f"super-resolved_images/{name}" for name in names])
    touch(root, [f"source_images/img{scene:02d}.bmp" for scene in range(1, 21)])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    image, source = "super-resolved_images/img20_4_21.png", "source_images/img20.bmp"
    check("qads", tmp_path, 80, rated(image, 79 / 80, "img20", reference=source, subset="x4"))
