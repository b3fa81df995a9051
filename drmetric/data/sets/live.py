"""LIVE release 2: 29 scenes, 5 distortions, 779 images.

Paper: Sheikh, Sabir and Bovik, IEEE TIP 15, 2006.
Layout: ``dmos_realigned.mat``, ``refnames_all.mat``, ``refimgs/`` and the folders of `FOLDERS`; the 203 copies of
pristine images among the distorted ones are left out.
Score: the realigned DMOS, which has no fixed range, from `DMOS` to 1..0. No spread: dmos_std is the deviation of the
mean. Subset: the folder.
Split: none official; scenes are drawn 70/10/20 by a hash.
Terms: free, with notice and citation.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, read_mat
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split
from drmetric.errors import ConfigError

FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
"""How many images each folder holds, in the order of the label files."""

DMOS = (-2.65, 111.78)
"""Least and greatest realigned DMOS, rounded outwards."""


def read(root: Path) -> Rated:
    """The distorted images with their pristine ones."""
    folder = SetFolder(root)
    path = folder.labels("dmos_realigned.mat")
    dmos, is_copy = read_mat(path, "dmos_new"), read_mat(path, "orgs")
    references = read_mat(folder.labels("refnames_all.mat"), "refnames_all")
    names = [(type_, f"img{place + 1}.bmp") for type_, count in FOLDERS.items() for place in range(count)]
    if not len(names) == len(dmos) == len(is_copy) == len(references):
        raise ConfigError(f"{path} has {len(dmos)} scores; wanted {len(names)}", "download LIVE's release 2 again")
    best, worst = DMOS
    for (type_, name), opinion, copy, reference in zip(names, dmos, is_copy, references, strict=True):
        if not copy:
            rated = RatedImage(
                image=folder.image(f"{type_}/{name}"),
                score=(worst - opinion) / (worst - best),
                content=Path(reference).stem,
                reference=folder.image(f"refimgs/{reference}"),
                subset=type_,
            )
            yield rated, drawn_split("live", rated.content)


SET = RatedSet(read)
