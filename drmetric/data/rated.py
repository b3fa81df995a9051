"""Data sets of images that people rated, in their official layouts, as lists of `RatedImage`.

    read_opinions("koniq10k", Path("koniq10k"), "train")

`OPINIONS` names the sets; docs/data.md says what lies where, how scores are mapped to 0..1 and on what terms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from drmetric.data.label_files import Rated, RatedImage
from drmetric.data.make.photographs import Split
from drmetric.data.sets import authentic, restored, synthetic
from drmetric.data.sets.corpus import corpus
from drmetric.errors import ConfigError

__all__ = ["OPINIONS", "OpinionSet", "RatedImage", "Split", "read_opinions"]


@dataclass(frozen=True)
class OpinionSet:
    """A data set of rated images.

    Attributes:
        read: from its folder to all its images, each with its split; the docstring tells layout and score mapping.
        description: what the images are.
        terms: of use, as far as the set states them.
    """

    read: Callable[[Path], Rated]
    description: str
    terms: str


OPINIONS: dict[str, OpinionSet] = {
    "koniq10k": OpinionSet(authentic.koniq10k, "KonIQ-10k: photographs", "Creative Commons photographs (YFCC100M)"),
    "spaq": OpinionSet(authentic.spaq, "SPAQ: smartphone photographs", "education and research only"),
    "live_itw": OpinionSet(authentic.live_itw, "LIVE In the Wild: phone photographs", "free, with notice and citation"),
    "bid": OpinionSet(authentic.bid, "BID: blurred photographs", "see its page"),
    "uhd_iqa": OpinionSet(authentic.uhd_iqa, "UHD-IQA: 4K photographs", "CC0 photographs (Pixabay)"),
    "biq2021": OpinionSet(
        authentic.biq2021, "BIQ2021: photographs", "none stated; ss03 is from Unsplash, free for any use"
    ),
    "agiqa3k": OpinionSet(authentic.agiqa3k, "AGIQA-3K: generated images", "MIT"),
    "kadid10k": OpinionSet(synthetic.kadid10k, "KADID-10k: 25 distortions of 81 scenes", "see its page"),
    "tid2013": OpinionSet(
        synthetic.tid2013, "TID2013: 24 distortions of 25 scenes", "education and research only, unmodified"
    ),
    "csiq": OpinionSet(synthetic.csiq, "CSIQ: 6 distortions of 30 scenes", "see its page"),
    "conditions": OpinionSet(
        synthetic.conditions, "KADID-10k's conditions made again by drmetric conditions", "those of its photographs"
    ),
    "corpus": OpinionSet(corpus, "restorations made and labelled by drmetric corpus", "those of its photographs"),
    "live": OpinionSet(synthetic.live, "LIVE release 2: 5 distortions of 29 scenes", "free, with notice and citation"),
    "pipal": OpinionSet(restored.pipal, "PIPAL: 116 restorations and distortions of 200 scenes", "see its page"),
    "sriqa_bench": OpinionSet(
        restored.sriqa_bench, "SRIQA-Bench: 10 super-resolvers on 100 scenes", "non-commercial research only"
    ),
    "qads": OpinionSet(restored.qads, "QADS: 21 super-resolvers on 20 scenes", "see its page"),
}
"""The data sets, by the names that `read_opinions` takes."""


def read_opinions(kind: str, root: Path, split: Split | None = None) -> list[RatedImage]:
    """The rated images of a data set.

    Args:
        kind: name of the set, a key of `OPINIONS`.
        root: folder with the set's label files.
        split: "train", "validation", "test", or None for the whole set. Official where the set has one; else, or
            where only validation is lacking, contents are drawn by a hash, the same on every machine.

    Returns:
        The images, sorted by path; all of them exist.

    Raises:
        ConfigError: an unknown kind or split; missing, broken or empty label files; images that are missing.
        MissingDependencyError: the set's label files are MATLAB files, and scipy is not installed.
    """
    if kind not in OPINIONS:
        raise ConfigError(f"unknown data set {kind!r}", f"kind = one of: {', '.join(OPINIONS)}")
    if split not in (None, *get_args(Split)):
        raise ConfigError(f"unknown split {split!r}", f"split = one of: {', '.join(get_args(Split))}")
    images = [image for image, drawn in OPINIONS[kind].read(root) if split in (None, drawn)]
    if not images:
        raise ConfigError(f"{kind} at {root} has no {split or 'rated'} images", f"check the folder {root}")
    _refuse_off_scale(kind, root, images)
    _refuse_missing(kind, root, images)
    return sorted(images, key=lambda rated: rated.image)


def _refuse_off_scale(kind: str, root: Path, images: list[RatedImage]) -> None:
    for rated in images:
        if not -1e-6 <= rated.score <= 1 + 1e-6:
            raise ConfigError(
                f"the score of {rated.image.name} in {kind} at {root} is {rated.score:.4g}; wanted 0..1",
                f"use the official label files of {kind}: these have another scale",
            )


def _refuse_missing(kind: str, root: Path, images: list[RatedImage]) -> None:
    wanted = {file for rated in images for file in rated.files}
    missing = sorted(file.relative_to(root).as_posix() for file in wanted if not file.is_file())
    if missing:
        raise ConfigError(
            f"{len(missing)} of the {len(wanted)} {kind} images are missing below {root}: {', '.join(missing[:4])}"
            f"{' ...' if len(missing) > 4 else ''}",
            f"unpack the image archives of {kind} so that {root / missing[0]} exists",
        )
