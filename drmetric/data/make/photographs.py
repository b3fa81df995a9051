"""Pristine photographs as contents: where they are, which split they are in, and one crop of each."""

import os
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from drmetric.config import section
from drmetric.errors import ConfigError
from drmetric.images import IMAGE_SUFFIXES, read_image, resize

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Source:
    """Pristine photographs of one origin.

    Attributes:
        name: short name, part of the content's name.
        folder: where the photographs are; ``$VARIABLES`` are expanded.
        split: "train", "validation" or "test"; a share of "train" goes to validation.
        pattern: glob below the folder.
        exclude: file names left out.
        shrink_to: the short side is brought down to this many pixels first (JPEG sources: their blocks and
            noise shrink with them); 0 keeps the native size.
    """

    name: str
    folder: str
    split: Split
    pattern: str = "**/*"
    exclude: tuple[str, ...] = ()
    shrink_to: int = 0

    @property
    def root(self) -> Path:
        return Path(os.path.expandvars(self.folder)).expanduser()

    def files(self) -> list[Path]:
        found = sorted(
            p for p in self.root.glob(self.pattern) if p.suffix.lower() in IMAGE_SUFFIXES and p.name not in self.exclude
        )
        if not found:
            raise ConfigError(
                f"source {self.name!r}: no image matches {self.pattern!r} in {self.root}",
                f'[[sources]] name = "{self.name}"  # set folder = "..." to where the photographs are',
            )
        return found


def read_sources(table: dict[str, Any], path: Path) -> tuple[Source, ...]:
    """The [[sources]] of a TOML file; raises `ConfigError` where there is none, or one is wrong."""
    sources = tuple(section(Source, entry, f"{path}, [[sources]]") for entry in table.get("sources", []))
    if not sources:
        raise ConfigError(f"{path} names no source of photographs", '[[sources]] name, folder, split = "train"')
    return sources


@dataclass(frozen=True)
class Content:
    """One photograph of the corpus."""

    name: str
    source: str
    split: Split
    file: Path
    shrink_to: int


def seed_of(*parts: object) -> int:
    """A stable 32-bit seed from any values (the same in every process and on every machine)."""
    return zlib.crc32("/".join(map(str, parts)).encode())


def list_contents(sources: Sequence[Source], seed: int, validation_share: float) -> list[Content]:
    """All contents with their split; the validation share of the training sources is drawn by hash of the file
    name, so that adding sources moves nobody and two views of one photograph stay together."""
    contents = []
    for source in sources:
        for file in source.files():
            parts = file.relative_to(source.root).with_suffix("").parts
            name = "-".join([source.name, *parts]).replace(" ", "_")
            split = source.split
            if split == "train" and seed_of(seed, "split", file.stem) / 2**32 < validation_share:
                split = "validation"
            contents.append(Content(name, source.name, split, file, source.shrink_to))
    return contents


def crop(content: Content, side: int, rng: random.Random) -> Tensor | None:
    """One (1,3,side,side) crop of a photograph, or None where it is too small or almost flat."""
    image = read_image(content.file, alpha="white")[None]
    height, width = image.shape[-2:]
    if content.shrink_to and min(height, width) > content.shrink_to:
        scale = content.shrink_to / min(height, width)
        image = resize(image, (round(height * scale), round(width * scale)))
        height, width = image.shape[-2:]
    if min(height, width) < side:
        return None
    for _ in range(8):
        top, left = rng.randint(0, height - side), rng.randint(0, width - side)
        cut = image[..., top : top + side, left : left + side]
        if cut.std() > 0.06:
            return (cut * 255).round() / 255
    return None
