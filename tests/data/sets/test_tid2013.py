"""TID2013 in miniature."""

from pathlib import Path

from drmetric.data.sets.tid2013 import TYPES
from tests.data.sets.layouts import check, rated, touch

LABELS = "mos_with_names.txt"


def write(root: Path) -> None:
    names = [f"i{scene:02d}_{type_:02d}_5.bmp" for scene in range(1, 26) for type_ in (1, 24)]
    lines = (f"{n * 0.09:.5f} {name.upper() if n % 2 else name}" for n, name in enumerate(names))
    root.mkdir(parents=True, exist_ok=True)
    (root / LABELS).write_text("\r\n".join(lines) + "\r\n")
    touch(root, [f"distorted_images/{name if n % 3 else name.upper()}" for n, name in enumerate(names)])
    touch(root, [f"reference_images/{f'I{n:02d}.BMP' if n < 25 else 'i25.bmp'}" for n in range(1, 26)])


def test_images_scores_and_contents_with_names_in_any_case(tmp_path: Path) -> None:
    write(tmp_path)
    first, last = "reference_images/I01.BMP", "reference_images/i25.bmp"
    check(
        "tid2013",
        tmp_path,
        50,
        rated("distorted_images/I01_01_5.BMP", 0, "I01", reference=first, subset=TYPES[0]),
        rated("distorted_images/i25_24_5.bmp", 0.49, "I25", reference=last, subset=TYPES[23]),
    )
