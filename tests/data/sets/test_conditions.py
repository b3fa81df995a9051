"""A folder of `drmetric conditions` as a set of rated images; that builds read back is in tests/data/make."""

from pathlib import Path

from drmetric.data.make.building import write_records
from tests.data.sets.layouts import check, rated, touch

LABELS = "manifest.jsonl"


def write(root: Path) -> None:
    records = [
        {
            "image": f"images/{content}/jpeg-{level}.png",
            "reference": f"images/{content}/reference.png",
            "content": content,
            "split": split,
            "condition": f"jpeg-{level}",
            "label": 1 - 0.2 * level,
        }
        for content, split in (("a", "train"), ("b", "validation"), ("c", "test"))
        for level in (1, 5)
    ]
    write_records(root / LABELS, records)
    touch(root, [str(record[key]) for record in records for key in ("image", "reference")])


def test_images_labels_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    reference = "images/b/reference.png"
    check("conditions", tmp_path, 6, rated("images/b/jpeg-5.png", 0, "b", reference=reference, subset="jpeg"))
