"""UHD-IQA: 6,073 photographs 3,840 px wide.

Paper: Hosu, Agnolucci, Wiedemann, Iso and Saupe, ECCV Workshops 2024.
Layout: ``uhd-iqa-metadata.csv`` and the photographs in ``training/``, ``validation/`` and ``test/``.
Score: the quality MOS as it is, 0..1. Subset: the column of that name.
Split: official (4,269 / 904 / 900).
Terms: CC0 photographs (Pixabay).
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, number, read_csv
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import official_split


def read(root: Path) -> Rated:
    """The photographs, each its own content."""
    folder = SetFolder(root)
    path = folder.labels("uhd-iqa-metadata.csv")
    for row in read_csv(path, ("image_name", "quality_mos", "set", "subset")):
        rated = RatedImage(
            image=folder.image(f"{row['set']}/{row['image_name']}"),
            score=number(row, "quality_mos", path),
            content=Path(row["image_name"]).stem,
            subset=row["subset"],
        )
        yield rated, official_split(row, path)


SET = RatedSet(read)
