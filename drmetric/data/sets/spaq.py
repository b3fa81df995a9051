"""SPAQ: 11,125 photographs of 66 smartphones.

Paper: Fang, Zhu, Zeng, Ma and Wang, CVPR 2020.
Layout: ``Annotations/MOS and Image attribute scores.xlsx`` and ``TestImage/``.
Score: the MOS, 0..100, to 0..1.
Split: none official; contents are drawn 70/10/20 by a hash.
Terms: education and research only.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, number, read_xlsx
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split


def read(root: Path) -> Rated:
    """The photographs, each its own content."""
    folder = SetFolder(root)
    path = folder.labels("Annotations/MOS and Image attribute scores.xlsx")
    for row in read_xlsx(path, ("Image name", "MOS")):
        content = Path(row["Image name"]).stem
        image = folder.image(f"TestImage/{row['Image name']}")
        yield RatedImage(image, number(row, "MOS", path) / 100, content), drawn_split("spaq", content)


SET = RatedSet(read)
