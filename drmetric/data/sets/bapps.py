"""BAPPS, the data set of LPIPS: pairs of images of which people said which is closer to a reference.

    read_preferences("bapps", Path("dataset"), "validation")

Paper: Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018.
Layout: at any depth, folders with ``ref/``, ``p0/`` and ``p1/``, images of one name each, and ``judge/`` with a .npy
file of that name that holds the share of the people who chose p1. A folder ``degraded/`` beside them, which BAPPS does
not have, holds what both images were restored from; any set that is laid out like this can be read. Subset: the name
of the folder (traditional, cnn, superres, deblur, color, frameinterp). The just-noticeable differences (jnd/) are left
out.
Split: "train" or "validation" in a folder train/ or val/, else "test".
Terms: see its page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drmetric.data.rated import refuse_missing
from drmetric.data.splits import Split, check_split
from drmetric.errors import ConfigError, choose

KINDS = ("bapps",)
"""The layouts that `read_preferences` takes."""
_SPLITS: dict[str, Split] = {"train": "train", "val": "validation"}
_IMAGES = ("ref", "p0", "p1")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class Preference:
    """Two versions of an image, and what people think of them.

    Attributes:
        first, second: the files.
        share: 0..1, the share of the people who chose the second.
        reference: the pristine image.
        subset: named part of the set, such as "superres".
        degraded: what both versions were made from, where the set has it.
    """

    first: Path
    second: Path
    share: float
    reference: Path
    subset: str
    degraded: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All image files of the pair."""
        return [file for file in (self.first, self.second, self.reference, self.degraded) if file is not None]


def read_preferences(kind: str, root: Path, split: Split | None = None) -> list[Preference]:
    """The pairs of a data set.

    Args:
        kind: one of `KINDS`.
        root: folder of the set.
        split: "train", "validation", "test", or None for the whole set.

    Returns:
        The pairs, folder by folder, sorted by name; all files exist.

    Raises:
        ConfigError: an unknown kind or split; no pairs; a judgement that is no number in 0..1; images that are missing.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown data set of pairs {kind!r}", choose("set", list(KINDS)))
    check_split(split)
    folders = [path.parent for path in sorted(root.rglob("judge")) if path.is_dir()]
    pairs = [pair for folder in folders if split in (None, _split(folder)) for pair in _pairs(folder)]
    if not pairs:
        raise ConfigError(
            f"no {split or 'judged'} pairs (folders ref/, p0/, p1/ and judge/) below {root}", f"check the folder {root}"
        )
    refuse_missing(kind, root, {file for pair in pairs for file in pair.files})
    return pairs


def _split(folder: Path) -> Split:
    return _SPLITS.get(folder.parent.name, "test")


def _pairs(folder: Path) -> Iterator[Preference]:
    images = {kind: _by_stem(folder / kind) for kind in (*_IMAGES, "degraded")}
    for judgement in sorted((folder / "judge").glob("*.npy")):
        stem = judgement.stem
        reference, first, second = (images[kind].get(stem, folder / kind / f"{stem}.png") for kind in _IMAGES)
        inputs = images["degraded"]
        degraded = inputs.get(stem, folder / "degraded" / f"{stem}.png") if inputs else None
        yield Preference(first, second, _share(judgement), reference, folder.name, degraded)


def _by_stem(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob("*")) if file.suffix.lower() in _SUFFIXES}


def _share(path: Path) -> float:
    try:
        values = np.load(path, allow_pickle=False).reshape(-1).astype(np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path} cannot be read as a NumPy array: {error}", f"unpack {path.name} again") from error
    if values.size != 1 or not 0 <= values[0] <= 1:
        raise ConfigError(f"{path} holds {values[:4].tolist()}; wanted one share of 0..1", f"unpack {path.name} again")
    return float(values[0])
