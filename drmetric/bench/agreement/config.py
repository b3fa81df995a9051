"""The configuration of a board of metrics on a rated set:

    [data]
    set = "biq2021"               # a module of drmetric.data.sets, such as "corpus" or "bapps"
    root = "$BIQ2021"             # its folder; relative to this file; $VARIABLES are expanded
    split = "test"                # or "train", "validation"; the whole set if left out
    parts = true                  # also a table for each subset that the set names
    unshared = true               # also a table without the images whose content another split has too
    reference = "degraded"        # the reference of all metrics that need one and do not name their own
    [[metrics]]
    name = "nriqa"

For the entries of [[metrics]], and which image a metric meets by default, see `drmetric.bench.judges`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from drmetric.bench.judges import Asked, Entry
from drmetric.config import expand, read_toml, section, tables
from drmetric.data.rated import rated_sets
from drmetric.data.sets import bapps
from drmetric.data.splits import Split
from drmetric.errors import ConfigError, choose


@dataclass(frozen=True)
class Data:
    """The [data] table."""

    set: str
    root: str
    split: Literal["train", "validation", "test", "all"] = "all"
    parts: bool = False
    unshared: bool = False
    reference: Asked = "default"

    @property
    def folder(self) -> Path:
        """Of the set."""
        return Path(self.root)

    @property
    def is_of_pairs(self) -> bool:
        """Whether people compared pairs of images, and rated no single ones."""
        return self.set in bapps.KINDS

    @property
    def title(self) -> str:
        """Set, folder and split in words."""
        return f"{self.set} ({self.folder.name}), split {self.split}"

    @property
    def drawn(self) -> Split | None:
        """The split, None for the whole set."""
        return None if self.split == "all" else self.split


@dataclass(frozen=True)
class Config:
    """A board as its TOML file describes it."""

    data: Data
    metrics: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read and check a TOML file; raises `ConfigError` naming the entry that is missing, unknown or wrong."""
        table = read_toml(path)
        if unknown := sorted(set(table) - {"data", "metrics"}):
            raise ConfigError(f"{path}: unknown table {unknown[0]!r}", "known tables: data, metrics")
        data = section(Data, table.get("data", {}), f"{path}, [data]")
        known = [*rated_sets(), *bapps.KINDS]
        if data.set not in known:
            raise ConfigError(f"{path}, [data]: unknown set {data.set!r}", choose("set", known))
        if data.is_of_pairs and data.unshared:
            raise ConfigError(
                f"{path}, [data]: {data.set} names no contents, so unshared means nothing", "unshared = false"
            )
        folder = path.parent.absolute()
        metrics = tuple(
            Entry.read(entry, f"{path}, [[metrics]]", folder) for entry in tables(table, "metrics", str(path))
        )
        return cls(replace(data, root=str(expand(data.root, folder))), metrics)
