"""KonIQ-10k: 10,073 photographs.

Paper: Hosu, Lin, Sziranyi and Saupe, IEEE TIP 29, 2020.
Layout: ``koniq10k_distributions_sets.csv`` and the photographs in ``1024x768/``, or if there is no such folder in
``512x384/``.
Score: the MOS, 1..100, to 0..1. Spread: SD, of ratings on 1..5, divided by 4.
Split: official (7,058 / 1,000 / 2,015).
Terms: Creative Commons photographs (YFCC100M).
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, number, read_csv
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import official_split


def read(root: Path) -> Rated:
    """The photographs, each its own content."""
    folder = SetFolder(root)
    path = folder.labels("koniq10k_distributions_sets.csv")
    size = "1024x768" if folder.has("1024x768") else "512x384"
    for row in read_csv(path, ("image_name", "MOS", "SD", "set")):
        rated = RatedImage(
            image=folder.image(f"{size}/{row['image_name']}"),
            score=(number(row, "MOS", path) - 1) / 99,
            content=Path(row["image_name"]).stem,
            spread=number(row, "SD", path) / 4,
        )
        yield rated, official_split(row, path)


SET = RatedSet(read)
