"""AGIQA-3K: 2,982 images that six text-to-image models generated.

Paper: Li et al., IEEE TCSVT 2023.
Layout: ``data.csv`` and the images beside it or in ``AGIQA-3K/``.
Score and spread: MOS and standard deviation of the perceptual quality on 0..5, divided by 5. Subset: the model, as
file names begin.
Split: none official; contents, which are the prompts, are drawn 70/10/20 by a hash.
Terms: MIT.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, number, read_csv
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split


def read(root: Path) -> Rated:
    """The images; those of one prompt are one content."""
    folder = SetFolder(root)
    path = folder.labels("data.csv")
    for row in read_csv(path, ("name", "prompt", "mos_quality", "std_quality")):
        rated = RatedImage(
            image=folder.image(row["name"], f"AGIQA-3K/{row['name']}"),
            score=number(row, "mos_quality", path) / 5,
            content=row["prompt"].strip(),
            spread=number(row, "std_quality", path) / 5,
            subset=row["name"].split("_")[0],
        )
        yield rated, drawn_split("agiqa3k", rated.content)


SET = RatedSet(read)
