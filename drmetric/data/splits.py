"""Splits into training, validation and test: official ones, and those drawn by a hash of the content's name."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from drmetric.errors import ConfigError, choose

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def seed_of(*parts: object) -> int:
    """A stable 32-bit seed from any values: the same in every process and on every machine."""
    return zlib.crc32("/".join(map(str, parts)).encode())


def share_of(*parts: object) -> float:
    """A number in 0..1 (1 excluded) from any values, as `seed_of`."""
    return seed_of(*parts) / 2**32


def drawn_split(kind: str, content: str) -> Split:
    """70 % of the contents for training, 10 % for validation and 20 % for the test, by a hash of their names."""
    share = share_of(kind, content)
    return "train" if share < 0.7 else "validation" if share < 0.8 else "test"


def drawn_validation(kind: str, content: str, share: float = 0.1) -> Split:
    """For what may be trained on: a share of its contents for validation, by a hash of their names."""
    return "validation" if share_of(kind, content) < share else "train"


def official_split(row: Mapping[str, str], path: Path) -> Split:
    """The split in the column "set" of the data sets of the University of Konstanz; raises `ConfigError` at others."""
    names: dict[str, Split] = {"training": "train", "validation": "validation", "test": "test"}
    if row["set"] not in names:
        raise ConfigError(f"{path}: unknown set {row['set']!r}", f"one of: {', '.join(names)}")
    return names[row["set"]]


def check_split(split: str | None) -> None:
    """Raise `ConfigError` unless it is a `Split` or None."""
    if split not in (None, *SPLITS):
        raise ConfigError(f"unknown split {split!r}", choose("split", SPLITS))
