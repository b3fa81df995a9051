"""Data sets of images that people rated, in their official layouts, as lists of `RatedImage` or `RatedTriplet`.

    read_opinions("koniq10k", Path("koniq10k"), "train")

Each module of `drmetric.data.sets` that has a `SET` is a data set, under the module's name; its docstring says what
lies where, how scores are mapped to 0..1, which split is whose, and on what terms the set may be used.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Literal

from drmetric.data.splits import Split, check_split
from drmetric.errors import ConfigError, DrmetricError, choose


@dataclass(frozen=True)
class RatedImage:
    """An image and what people think of its quality.

    Attributes:
        image: the file.
        score: 0..1, higher is better: the mean opinion, mapped linearly from the scale of the set.
        content: the scene of a synthetic set; else the image's own name, or that of its group where images show
            the same (near-duplicates, one prompt). No content is in two splits, except those that an official
            split divides.
        reference: the pristine image, of synthetic sets and of restorations.
        spread: standard deviation of the single ratings in units of `score`, where the set publishes it.
        subset: named part of the set, such as the distortion type; "" if it has none.
        degraded: what the restorer was given, of restorations where the set publishes it.
    """

    image: Path
    score: float
    content: str
    reference: Path | None = None
    spread: float | None = None
    subset: str = ""
    degraded: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The image, and those of pristine and degraded that there are."""
        return [file for file in (self.image, self.reference, self.degraded) if file is not None]


Rated = Iterator[tuple[RatedImage, Split]]


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


def _every_image(image: RatedImage, split: Split) -> bool:
    return True


@dataclass(frozen=True)
class RatedSet:
    """A data set of rated images.

    Attributes:
        read: from its folder to all its images, each with its split.
        groups: which restorations are compared with each other: those of one "input", or, where each has an input of
            its own, those of one "content".
        in_protocol: whether an image of a split belongs to the degraded-reference protocol of the set.
    """

    read: Callable[[Path], Rated]
    groups: Literal["input", "content"] = "input"
    in_protocol: Callable[[RatedImage, Split], bool] = _every_image


def rated_sets() -> dict[str, RatedSet]:
    """The data sets by name."""
    package = import_module("drmetric.data.sets")
    modules = {info.name: import_module(f"{package.__name__}.{info.name}") for info in iter_modules(package.__path__)}
    return {name: module.SET for name, module in modules.items() if hasattr(module, "SET")}


def read_opinions(kind: str, root: str | Path, split: Split | None = None) -> list[RatedImage]:
    """The rated images of a data set.

    Args:
        kind: name of the set, one of `rated_sets`.
        root: folder with the set's label files.
        split: "train", "validation", "test", or None for the whole set. Official where the set has one; else, or
            where only validation is lacking, contents are drawn by a hash, the same on every machine.

    Returns:
        The images, sorted by path; all of them exist.

    Raises:
        ConfigError: an unknown kind or split; missing, broken or empty label files; images that are missing.
        MissingDependencyError: the set's label files are spreadsheets or MATLAB files, and openpyxl or scipy is not
            installed.
    """
    check_split(split)
    root = Path(root)
    images = [image for image, drawn in _read(_find_set(kind), kind, root) if split in (None, drawn)]
    _check(kind, root, images, split or "rated")
    return sorted(images, key=lambda rated: rated.image)


def read_triplets(kind: str, root: str | Path, split: Split) -> list[RatedTriplet]:
    """The restored images of a split that belong to the set's protocol, with pristine images and degraded inputs.

    Args and errors are those of `read_opinions`; a set without pristine images or degraded inputs raises `ConfigError`.

    Returns:
        The triplets in the order of the set's label files; all images exist.
    """
    check_split(split)
    root = Path(root)
    rated_set = _find_set(kind)
    rated = _read(rated_set, kind, root)
    images = [image for image, drawn in rated if drawn == split and rated_set.in_protocol(image, split)]
    _check(kind, root, images, split)
    return [_triplet(kind, root, image, rated_set.groups) for image in images]


def _find_set(kind: str) -> RatedSet:
    sets = rated_sets()
    if kind not in sets:
        raise ConfigError(f"unknown data set {kind!r}", choose("kind", list(sets)))
    return sets[kind]


def _read(rated_set: RatedSet, kind: str, root: Path) -> list[tuple[RatedImage, Split]]:
    """All images of a set; what its reader raises about label files of another form becomes a `ConfigError`."""
    try:
        return list(rated_set.read(root))
    except DrmetricError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"the label files of {kind} at {root} cannot be read: {type(error).__name__}: {error}",
            f"use the official label files of {kind}, or build the set again",
        ) from error


def _triplet(kind: str, root: Path, rated: RatedImage, groups: Literal["input", "content"]) -> RatedTriplet:
    if rated.reference is None or rated.degraded is None:
        lacking = "pristine image" if rated.reference is None else "degraded input"
        raise ConfigError(
            f"{kind} at {root} has no {lacking} of {rated.image.name}",
            'kind = "corpus"  # or another set of restorations with pristine images and degraded inputs',
        )
    group = str(rated.degraded) if groups == "input" else rated.content
    return RatedTriplet(rated.image, rated.degraded, rated.reference, rated.content, group, rated.score)


def _check(kind: str, root: Path, images: list[RatedImage], part: str) -> None:
    """Raise `ConfigError` unless there are images, each once, all files exist and all scores are in 0..1."""
    if not images:
        raise ConfigError(f"{kind} at {root} has no {part} images", f"check the folder {root}")
    for rated in images:
        score: object = rated.score
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        if not (is_number and -1e-6 <= rated.score <= 1 + 1e-6):
            given = f"{score:.4g}" if is_number else repr(score)
            raise ConfigError(
                f"the score of {rated.image.name} in {kind} at {root} is {given}; wanted 0..1",
                f"use the official label files of {kind}: these have another scale",
            )
    if twice := [image for image, count in Counter(rated.image for rated in images).items() if count > 1]:
        raise ConfigError(
            f"{len(twice)} images of {kind} at {root} are rated more than once, such as {twice[0].name}",
            f"use the official label files of {kind}: these have lines twice",
        )
    refuse_missing(kind, root, {file for rated in images for file in rated.files})


def refuse_missing(kind: str, root: Path, wanted: set[Path]) -> None:
    """Raise `ConfigError`, with how many are missing and the first few, unless all of a set's files exist."""
    missing = sorted(file.relative_to(root).as_posix() for file in wanted if not file.is_file())
    if missing:
        raise ConfigError(
            f"{len(missing)} of the {len(wanted)} {kind} images are missing below {root}: {', '.join(missing[:4])}"
            f"{' ...' if len(missing) > 4 else ''}",
            f"unpack the image archives of {kind} so that {root / missing[0]} exists",
        )
