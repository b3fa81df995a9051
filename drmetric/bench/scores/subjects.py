"""What reports that change images are about: restored images, each with its degraded input and its truth if given."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from torch import Tensor

from drmetric import example
from drmetric.bench.judges import Entry, Judge, make_judges
from drmetric.bench.scores.pairing import absence, pair
from drmetric.bench.scores.store import sha256_of
from drmetric.errors import ConfigError, ImageFileError, PairingError
from drmetric.images.files import read_bytes, read_image_bytes

Kind = Literal["restored", "degraded", "truth"]
"""The files of a subject: the image that is changed, its degraded input and its ground truth."""
Images = Mapping[str, Tensor]
"""(1,3,H,W) each: the "untouched" image, and "degraded" and "truth" where there are such."""


@dataclass(frozen=True)
class Folders:
    """Where subjects come from.

    Attributes:
        images, degraded, truth: folders that pair by name; without `images` those that come with drmetric.
    """

    images: Path | None = None
    degraded: Path | None = None
    truth: Path | None = None

    @property
    def references(self) -> set[str]:
        """The kinds of images that a metric can meet; those that come with drmetric have inputs alone."""
        given = {"degraded": self.degraded is not None or self.images is None, "truth": self.truth is not None}
        return {kind for kind, is_there in given.items() if is_there}


@dataclass(frozen=True)
class Subject:
    """One image to change and what belongs to it; images of one content share a degraded input."""

    name: str
    content: str
    paths: Mapping[Kind, Path]

    @cached_property
    def sha256(self) -> dict[str, str]:
        """Of the files, by kind."""
        return {kind: sha256_of(path) for kind, path in self.paths.items()}

    def read(self, device: str) -> Images:
        """The images; raises what `read_image` does."""
        return {"untouched" if kind == "restored" else kind: self._read(kind)[None].to(device) for kind in self.paths}

    def _read(self, kind: Kind) -> Tensor:
        """The image of a kind, from the bytes that the rows have the hash of."""
        path = self.paths[kind]
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != self.sha256[kind]:
            raise ImageFileError(f"{path} was replaced while it was in use", "run the same command again")
        return read_image_bytes(data, path)


def prepare(metrics: Sequence[str], folders: Folders) -> tuple[list[Judge], list[Subject]]:
    """The judges of metrics, and the images; what is missing of both is named at once, before the first image.

    Raises:
        DrmetricError: weights, packages, folders or references that are missing, each of its own type; of several a
            `ConfigError` with all.
        InputError: a metric or an option that does not exist.
    """
    given = {"restored": folders.images, "degraded": folders.degraded, "truth": folders.truth}
    absent = [error for role, path in given.items() if path is not None and (error := absence(path, role))]
    judges, _ = make_judges([Entry.parse(each) for each in metrics], folders.references, missing=absent)
    return judges, read_subjects(folders)


def read_subjects(folders: Folders) -> list[Subject]:
    """The images of the folders, or those that come with drmetric.

    Raises:
        ConfigError: degraded inputs or truth without images.
        PairingError: nothing pairs, or names are ambiguous.
        ImageFileError: a folder holds no images.
    """
    if folders.images is not None:
        return _paired(folders.images, folders.degraded, folders.truth)
    if folders.degraded is not None or folders.truth is not None:
        raise ConfigError("--degraded and --truth belong to images of your own", "--images FOLDER")
    return _paired(example.FOLDER / "restored", example.FOLDER / "degraded", None)


def _paired(images: Path, degraded: Path | None, truth: Path | None) -> list[Subject]:
    paths: dict[str, dict[Kind, Path]] = {each.name: {"restored": each.restored} for each in pair(images, None).pairs}
    contents = {name: name for name in paths}
    roles: dict[Kind, Path | None] = {"degraded": degraded, "truth": truth}
    for kind, folder in roles.items():
        if folder is None:
            continue
        pairs = pair(images, folder).pairs
        if not pairs:
            raise PairingError(
                f"no image in {str(images)!r} has a {kind} image of its name in {str(folder)!r}",
                "name each image as its input, which may add a tag: 0001.png and 0001_tag.png",
            )
        for each in pairs:
            assert each.degraded is not None
            assert each.degraded_name is not None
            paths[each.name][kind] = each.degraded
            if kind == "degraded":
                contents[each.name] = each.degraded_name
    return [Subject(name, contents[name], paths[name]) for name in sorted(paths)]
