"""Public data sets in their official layouts, as lists of rated triplets."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drmetric.data.make.building import read_manifest
from drmetric.data.make.photographs import Split, seed_of
from drmetric.errors import ConfigError


@dataclass(frozen=True)
class RatedTriplet:
    """A restored image with its degraded input, the pristine image and a score.

    Attributes:
        restored, degraded, pristine: files.
        content: name of the scene.
        group: images of one group share content and degraded input, or at least the content.
        score: 0..1, higher is better.
    """

    restored: Path
    degraded: Path
    pristine: Path
    content: str
    group: str
    score: float


def corpus(root: Path, split: Split) -> list[RatedTriplet]:
    """A corpus of `drmetric corpus`, labelled by `drmetric.data.make.labels`."""
    triplets = []
    for record in read_manifest(root / "manifest.jsonl"):
        if record["split"] != split:
            continue
        if "label" not in record:
            raise ConfigError(f"{root}/manifest.jsonl has no labels", f"drmetric corpus CONFIG.toml --output {root}")
        triplets.append(
            RatedTriplet(
                restored=root / record["restored"],
                degraded=root / record["degraded"],
                pristine=root / record["pristine"],
                content=record["content"],
                group=str(root / record["degraded"]),
                score=record["label"],
            )
        )
    return triplets


def _codes(text: str) -> frozenset[str]:
    """``"00:0-1,8 01:3"`` to {"00_00", "00_01", "00_08", "01_03"}."""
    codes = set()
    for category in text.split():
        number, spans = category.split(":")
        for span in spans.split(","):
            first, _, last = span.partition("-")
            codes |= {f"{number}_{variant:02d}" for variant in range(int(first), int(last or first) + 1)}
    return frozenset(codes)


# Distortion codes (category_variant) of the degraded-reference protocol: disjoint between training and
# validation, traditional distortions (category 06) dropped.
PIPAL_TRAINING_CODES = _codes("00:0-1,8-11 01:0-8 02:0-9 03:0-4,11-16 04:8-12 05:0-3,8-12")
PIPAL_VALIDATION_CODES = _codes("00:2-7 01:9-15 03:5-10,17-23 04:0-7 05:4-7,13")
PIPAL_NAME = re.compile(r"(A\d{4})_(\d{2})_(\d{2})\.bmp")
"""Content, category and variant of a rated image."""
_PIPAL_VALIDATION_SHARE = 25 / 200


def pipal_scores(root: Path) -> dict[str, float]:
    """Elo of each image of PIPAL by its file name, from the label files (``*.txt``) below `root`.

    Raises:
        ConfigError: there are no labels.
    """
    labels = [line.split(",") for file in sorted(root.rglob("*.txt")) for line in file.read_text().splitlines()]
    rated = {name.strip(): float(rest[0]) for name, *rest in labels if rest and PIPAL_NAME.fullmatch(name.strip())}
    if not rated:
        raise ConfigError(
            f"no PIPAL labels (*.txt with lines 'A0001_00_00.bmp,1520.0648') below {root}",
            "unpack Train_Label.zip, Train_Ref.zip, the Train_Dist archives and the matched degraded images there",
        )
    return rated


def pipal_split(content: str) -> Split:
    """An eighth of PIPAL's contents for validation, by a hash of their names; the others for training."""
    return "validation" if seed_of("pipal", content) / 2**32 < _PIPAL_VALIDATION_SHARE else "train"


def pipal(root: Path, split: Split) -> list[RatedTriplet]:
    """PIPAL (Gu et al., ECCV 2020) with the degraded images matched to it by the authors of CKDN.

    Below `root`, in any folders: the labels, ``*.txt`` with lines ``A0001_00_00.bmp,1520.0648``; the rated images
    ``A0001_00_00.bmp``; their degraded inputs ``ref_A0001_00_00.bmp``; the pristine images ``A0001.bmp``. Scores
    are (Elo - 900) / 1000. Contents and distortion codes are disjoint between the splits "train" and
    "validation"; there is no "test" (its labels are not public).

    Raises:
        ConfigError: no labels, or images that are missing, with the first few names.
    """
    files = {path.name: path for path in root.rglob("*.bmp")}
    codes = PIPAL_TRAINING_CODES if split == "train" else PIPAL_VALIDATION_CODES
    triplets, missing = [], []
    for name, elo in sorted(pipal_scores(root).items()):
        match = PIPAL_NAME.fullmatch(name)
        assert match is not None
        content, category, variant = match.groups()
        if f"{category}_{variant}" not in codes or pipal_split(content) != split:
            continue
        wanted = [name, f"ref_{name}", f"{content}.bmp"]
        missing += [want for want in wanted if want not in files]
        if not missing:
            restored, degraded, pristine = (files[want] for want in wanted)
            triplets.append(RatedTriplet(restored, degraded, pristine, content, content, (elo - 900) / 1000))
    if missing:
        raise ConfigError(
            f"{len(missing)} PIPAL images are missing below {root}: {', '.join(missing[:4])} ...",
            "unpack the image archives and the matched degraded images (ref_*.bmp) below that folder",
        )
    return triplets


READERS: dict[str, Callable[[Path, Split], list[RatedTriplet]]] = {"corpus": corpus, "pipal": pipal}


def read_triplets(kind: str, root: Path, split: Split) -> list[RatedTriplet]:
    """Read a data set by the name of its layout, a key of `READERS`; raises `ConfigError` if nothing is there."""
    if kind not in READERS:
        raise ConfigError(f"unknown data set {kind!r}", f"kind = one of: {', '.join(READERS)}")
    triplets = READERS[kind](root, split)
    if not triplets:
        raise ConfigError(f"{kind} at {root} has no {split} images", f"check the folder {root}")
    return triplets
