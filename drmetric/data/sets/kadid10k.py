"""KADID-10k: 81 scenes, 25 distortions of 5 levels.

Paper: Lin, Hosu and Saupe, QoMEX 2019.
Layout: ``dmos.csv`` and ``images/``, with distorted and pristine images.
Score: the column dmos, which is a mean rating on 1..5 with 5 the best, to 0..1. Spread: the column var, which is a
standard deviation, divided by 4. Subset: the distortion type, as `drmetric.distortions.kadid.types` names it.
Split: none official; scenes are drawn 70/10/20 by a hash.
Terms: see its page.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, name_parts, number, read_csv
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split
from drmetric.distortions.kadid.types import KADID10K


def read(root: Path) -> Rated:
    """The distorted images with their pristine ones."""
    folder = SetFolder(root)
    path = folder.labels("dmos.csv")
    for row in read_csv(path, ("dist_img", "ref_img", "dmos", "var")):
        content, distortion = name_parts(row["dist_img"], r"(I\d\d)_(\d\d)_\d\d\.png", path)
        rated = RatedImage(
            image=folder.image(f"images/{row['dist_img']}"),
            score=(number(row, "dmos", path) - 1) / 4,
            content=content,
            reference=folder.image(f"images/{row['ref_img']}"),
            spread=number(row, "var", path) / 4,
            subset=KADID10K[int(distortion)].name,
        )
        yield rated, drawn_split("kadid10k", content)


SET = RatedSet(read)
