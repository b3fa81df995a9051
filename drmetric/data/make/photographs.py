"""Pristine photographs as contents: where they are, which split they are in, and one crop of each."""

import math
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import Tensor

from drmetric.config import as_toml, check_ranges, expand, section, tables
from drmetric.data.splits import Split, seed_of, share_of
from drmetric.errors import ConfigError, ImageFileError
from drmetric.images import IMAGE_SUFFIXES, read_image, resize, rounded_to_8_bit
from drmetric.images.files import read_size


@dataclass(frozen=True)
class Source:
    """Pristine photographs of one origin.

    Attributes:
        name: of letters, digits, "_", "-" and ".", part of the content's name.
        folder: where the photographs are; ``$VARIABLES`` are expanded.
        split: "train", "validation" or "test"; a share of "train" goes to validation.
        pattern: glob below the folder.
        exclude: names of files that are left out; one that is not there is an error.
        shrink_to: the short side is brought down to this many pixels first (JPEG sources: their blocks and
            noise shrink with them); 0 keeps the native size.
    """

    name: str
    folder: str
    split: Split
    pattern: str = "**/*"
    exclude: tuple[str, ...] = ()
    shrink_to: int = 0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ConfigError(
                f'the source {self.name!r} cannot be part of a file name; wanted letters, digits, "_", "-" and "."',
                'name = "photos"  # in [[sources]]',
            )
        if not self.pattern.strip() or Path(self.pattern).is_absolute() or ".." in Path(self.pattern).parts:
            raise ConfigError(
                f"the source {self.name!r} has the pattern {self.pattern!r}; wanted one of files below its folder",
                'pattern = "**/*"',
            )
        check_ranges(self, f"the source {self.name!r}", shrink_to=(0, math.inf))

    @property
    def root(self) -> Path:
        return expand(self.folder)

    def files(self) -> list[Path]:
        found = sorted(path for path in self.root.glob(self.pattern) if self._is_image(path))
        left = without(found, self.exclude, f"the source {self.name!r}") if found else []
        if not left:
            raise ConfigError(
                f"source {self.name!r}: no image matches {self.pattern!r} in {self.root}"
                + (f" but the {len(found)} that are excluded" if found else ""),
                f'folder = "FOLDER"  # of the source {self.name!r}: where its photographs are',
            )
        return left

    def _is_image(self, path: Path) -> bool:
        """A file with the suffix of an image, and not hidden, as the previews of systems are."""
        hidden = any(part.startswith(".") for part in path.relative_to(self.root).parts)
        return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()


def without(files: Sequence[Path], exclude: Collection[str], of: str) -> list[Path]:
    """The files but those of these names.

    Raises:
        ConfigError: a name is that of none of them, so that what was to be left out may be there under another one.
    """
    names = {file.name for file in files}
    if missing := sorted(set(exclude) - names):
        meant = {near for each in missing for near in get_close_matches(Path(each).name, sorted(names), 1)}
        there = sorted(names & set(exclude) | meant)
        raise ConfigError(
            f"{of} has no photograph {', '.join(map(repr, missing))} to exclude",
            f"exclude = {as_toml(there)}  # names of files that are there",
        )
    return [file for file in files if file.name not in exclude]


def read_sources(table: dict[str, Any], path: Path) -> tuple[Source, ...]:
    """The [[sources]] of a TOML file; raises `ConfigError` where there is none, or one is wrong."""
    sources = tuple(section(Source, entry, f"{path}, [[sources]]") for entry in tables(table, "sources", str(path)))
    names = [source.name for source in sources]
    if twins := [name for name in names if names.count(name) > 1]:
        raise ConfigError(
            f"{path}: two [[sources]] are called {twins[0]!r}", f'name = "{twins[0]}-2"  # for one of them'
        )
    return sources


@dataclass(frozen=True)
class Content:
    """One photograph of the corpus, and `other`, another one of its source and split, where there is any."""

    name: str
    source: str
    split: Split
    file: Path
    shrink_to: int
    other: Path | None = None


def refuse_within(sources: Sequence[Source], output: Path) -> None:
    """Raise `ConfigError` where what is built would be found among the photographs when the command is repeated."""
    for source in sources:
        root = source.root.resolve()
        if output.resolve() == root or ("**" in source.pattern and output.resolve().is_relative_to(root)):
            raise ConfigError(
                f"{output} lies in {root}, the folder of the source {source.name!r}: its images would be photographs",
                "build in a folder outside of all sources",
            )


def list_contents(sources: Sequence[Source], seed: int, validation_share: float) -> list[Content]:
    """All contents with their split.

    The validation share of the training sources is drawn by a hash of the file name, so that adding sources moves
    nobody and two views of one photograph stay together.

    Raises:
        ConfigError: a source without photographs, two photographs whose contents would have one name, or a photograph
            in two splits.
    """
    contents: dict[str, Content] = {}
    splits: dict[Path, Split] = {}
    for source in sources:
        root = source.root
        for file in source.files():
            parts = file.relative_to(root).with_suffix("").parts
            name = "-".join([source.name, *parts]).replace(" ", "_")
            if name in contents:
                raise ConfigError(
                    f"{contents[name].file} and {file} would both be the content {name!r}",
                    f'exclude = ["{file.name}"]  # in [[sources]]; or rename one of them',
                )
            split = source.split
            if split == "train" and share_of(seed, "split", file.stem) < validation_share:
                split = "validation"
            if splits.setdefault(file.resolve(), split) != split:
                raise ConfigError(
                    f"{file} would be of the splits {splits[file.resolve()]} and {split}",
                    f'exclude = ["{file.name}"]  # in one of the [[sources]]; or give each its own folder',
                )
            contents[name] = Content(name, source.name, split, file, source.shrink_to)
    return _with_others(list(contents.values()), seed)


def _with_others(contents: list[Content], seed: int) -> list[Content]:
    """Each with the next one of its source and split, in an order drawn by a hash of the name."""
    groups: dict[tuple[str, str], list[Content]] = {}
    for content in contents:
        groups.setdefault((content.source, content.split), []).append(content)
    others: dict[str, Path] = {}
    for group in groups.values():
        drawn = sorted(group, key=lambda content: seed_of(seed, "other", content.name))
        others |= {a.name: b.file for a, b in zip(drawn, drawn[1:] + drawn[:1], strict=True) if a is not b}
    return [replace(content, other=others.get(content.name)) for content in contents]


def refuse_small(contents: Sequence[Content], side: int) -> None:
    """Raise `ConfigError` where all photographs that can be read are smaller than the crop; sizes are read alone."""
    largest, shrunk = 0, ""
    for content in contents:
        try:
            short = min(read_size(content.file))
        except ImageFileError:
            return
        largest = max(largest, min(short, content.shrink_to or short))
        if largest >= side:
            return
        if short >= side:
            shrunk = content.source
    problem = f"all {len(contents)} photographs are smaller than the crop of {side} pixels, or are shrunk below it"
    if shrunk:
        raise ConfigError(problem, f"shrink_to = {side}  # of the source {shrunk!r}")
    raise ConfigError(problem, f"crop = {largest}")


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
            return rounded_to_8_bit(cut)
    return None
