"""QADS: 980 images, 21 super-resolvers (x2, x3, x4) on 20 scenes.

Paper: Zhou, Yao, Liu and Qiu, IEEE TIP 28, 2019.
Layout: ``mos_with_names.txt`` with lines ``0.48980  img01_2_01.bmp``, ``super-resolved_images/`` and the pristine
images in ``source_images/``; the degraded inputs are not part of the set.
Score: the MOS as it is, 0..1; raters compared images of one scene. Subset: the scale, x2, x3 or x4.
Split: none official; scenes are drawn 70/10/20 by a hash.
Terms: see its page.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, name_parts, number, read_words
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split


def read(root: Path) -> Rated:
    """The super-resolved images with their pristine ones."""
    folder = SetFolder(root)
    path = folder.labels("mos_with_names.txt")
    for row in read_words(path, ("MOS", "name")):
        scene, scale = name_parts(row["name"], r"(img\d\d)_(\d)_\d+\.\w+", path)
        rated = RatedImage(
            image=folder.image(f"super-resolved_images/{row['name']}"),
            score=number(row, "MOS", path),
            content=scene.lower(),
            reference=folder.image(f"source_images/{scene.lower()}.bmp"),
            subset=f"x{scale}",
        )
        yield rated, drawn_split("qads", rated.content)


SET = RatedSet(read)
