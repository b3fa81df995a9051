"""CSIQ: 30 scenes, 6 distortions, 866 images.

Paper: Larson and Chandler, Journal of Electronic Imaging 19, 2010.
Layout: ``csiq.DMOS.xlsx`` or, if there is none, the ``csiq_label.txt`` that many repositories carry (lines
``1600.AWGN.1.png 0.061989``); ``src_imgs/`` and ``dst_imgs/<type>/``, or all in ``dst_imgs_all/``.
Score: 1 - DMOS, which is 0..1 with 0 the best. Spread: dmos_std, which is in the spreadsheet only. Subset: the
distortion type, awgn, blur, contrast, fnoise, jpeg or jpeg2000.
Split: none official; scenes are drawn 70/10/20 by a hash.
Terms: see its page.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from drmetric.data.label_files import SetFolder, name_parts, number, read_words, read_xlsx
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split


class _Rating(NamedTuple):
    scene: str
    type: str
    level: str
    dmos: float
    spread: float | None


def read(root: Path) -> Rated:
    """The distorted images with their pristine ones."""
    folder = SetFolder(root)
    path = folder.labels("csiq.DMOS.xlsx", "csiq_label.txt")
    for row in _spreadsheet(path) if path.suffix.lower() == ".xlsx" else _text(path):
        name = f"{row.scene}.{row.type}.{row.level}.png"
        rated = RatedImage(
            image=folder.image(f"dst_imgs/{row.type}/{name}", f"dst_imgs_all/{name}"),
            score=1 - row.dmos,
            content=row.scene,
            reference=folder.image(f"src_imgs/{row.scene}.png"),
            spread=row.spread,
            subset=row.type,
        )
        yield rated, drawn_split("csiq", row.scene)


def _spreadsheet(path: Path) -> Iterator[_Rating]:
    types = {"noise": "awgn", "jpeg 2000": "jpeg2000"}
    for row in read_xlsx(path, ("image", "dst_type", "dst_lev", "dmos_std", "dmos"), sheet="all_by_image"):
        type_ = types.get(row["dst_type"], row["dst_type"])
        yield _Rating(row["image"], type_, row["dst_lev"], number(row, "dmos", path), number(row, "dmos_std", path))


def _text(path: Path) -> Iterator[_Rating]:
    for row in read_words(path, ("name", "DMOS")):
        scene, type_, level = name_parts(row["name"], r"(\w+)\.(\w+)\.(\d)\.png", path)
        yield _Rating(scene, type_.lower(), level, number(row, "DMOS", path), None)


SET = RatedSet(read)
