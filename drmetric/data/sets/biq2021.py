"""BIQ2021: 12,000 photographs of 512 px.

Paper: Ahmed and Asif, Journal of Electronic Imaging 31, 2022.
Layout: ``Train (Images and MOS).csv``, ``Test (Images and MOS).csv`` and ``Images/``.
Score: the MOS as it is, 0..1. Subset: ss01, ss02 or ss03.
Split: official (10,000 / 2,000), with validation drawn from its training part, 10 % by a hash of the content.
Terms: none stated; ss03 is from Unsplash, free for any use.

The content is the group of near-duplicates, so training and validation share none. The official split does divide
groups: 116 test images have a near-duplicate in its training part, and their content tells which. The groups are in
``biq2021_duplicates.csv`` beside this file, written by ``benchmarks/data/duplicates.py``.
"""

import csv
from functools import cache
from importlib.resources import files
from pathlib import Path

from drmetric.data.label_files import SetFolder, number, read_csv
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_validation


def read(root: Path) -> Rated:
    """The photographs; a group of near-duplicates is one content."""
    folder = SetFolder(root)
    for part in ("Train", "Test"):
        path = folder.labels(f"{part} (Images and MOS).csv")
        for row in read_csv(path, ("Image Name", "MOS")):
            name = row["Image Name"]
            content = _duplicate_groups().get(name.lower(), Path(name).stem)
            rated = RatedImage(
                image=folder.image(f"Images/{name}"),
                score=number(row, "MOS", path),
                content=content,
                subset=name.split()[0],
            )
            yield rated, "test" if part == "Test" else drawn_validation("biq2021", content)


@cache
def _duplicate_groups() -> dict[str, str]:
    text = (files("drmetric.data.sets") / "biq2021_duplicates.csv").read_text(encoding="utf-8")
    return {row["image"].lower(): row["group"] for row in csv.DictReader(text.splitlines())}


SET = RatedSet(read)
