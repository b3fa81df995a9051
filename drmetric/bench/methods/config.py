"""The configuration of a methods board:

    [data]
    degraded = "data/degraded"      # the inputs; relative to this file; $VARIABLES are expanded
    truth = "data/pristine"         # ground truth, where there is some
    scale = 4                       # of the outputs to the inputs; by default found, see `bench.methods.scale`
    [[methods]]
    name = "EDSR"
    folder = "outputs/edsr"
    [[methods]]
    name = "RCAN"
    folder = "outputs/all"          # of several methods: 0001_EDSR.png, 0001_RCAN.png, ...
    suffix = "_RCAN"
    [[metrics]]
    name = "driqa"                  # compared with the degraded input
    [[metrics]]
    name = "psnr"                   # with the ground truth; reference = "degraded" for the input
    label = "PSNR"

Images pair by name, see `drmetric.bench.scores.pairing`; for the entries of [[metrics]] see `drmetric.bench.judges`.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drmetric.bench.judges import Entry
from drmetric.bench.methods.files import DEGRADED, TRUTH, Method
from drmetric.config import expand, read_text, section
from drmetric.errors import ConfigError


@dataclass(frozen=True)
class Data:
    """The [data] table."""

    degraded: str
    truth: str = ""
    scale: float = 0.0


@dataclass(frozen=True)
class MethodEntry:
    """One [[methods]] table; see `Method`."""

    name: str
    folder: str
    suffix: str = ""


@dataclass(frozen=True)
class Config:
    """A methods board as its TOML file describes it.

    Attributes:
        name: of the file, without .toml.
        folder: of the file; absolute where it was read.
        text: of the file.
        scale: of the outputs to the inputs, 0 where it is to be found.
    """

    name: str
    folder: Path
    text: str
    degraded: Path
    truth: Path | None
    scale: float
    methods: tuple[Method, ...]
    metrics: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read and check a TOML file; raises `ConfigError` naming the entry that is missing, unknown or wrong."""
        text = read_text(path)
        return cls.parse(text, path.parent.absolute(), path.stem, str(path))

    @classmethod
    def parse(cls, text: str, folder: Path, name: str, where: str) -> "Config":
        """As `read`, from the text; `where` names it in errors."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"cannot read {where}: {error}") from error
        if unknown := sorted(set(table) - {"data", "methods", "metrics"}):
            raise ConfigError(f"{where}: unknown table {unknown[0]!r}", "known tables: data, methods, metrics")
        if not (table.get("data") and table.get("methods") and table.get("metrics")):
            raise ConfigError(f"{where} needs [data], and at least one [[methods]] and one [[metrics]]")
        data = section(Data, table["data"], f"{where}, [data]")
        if data.scale and not data.scale >= 1:
            raise ConfigError(f"{where}, [data]: scale is {data.scale}; wanted 1 or more", "scale = 4")
        methods = [section(MethodEntry, entry, f"{where}, [[methods]]") for entry in table["methods"]]
        metrics = [Entry.read(entry, f"{where}, [[metrics]]", folder) for entry in table["metrics"]]
        _refuse_twins([DEGRADED, TRUTH, *(method.name for method in methods)], f"{where}, [[methods]]")
        return cls(
            name=name,
            folder=folder,
            text=text,
            degraded=expand(data.degraded, folder),
            truth=expand(data.truth, folder) if data.truth else None,
            scale=data.scale,
            methods=tuple(Method(each.name, expand(each.folder, folder), each.suffix) for each in methods),
            metrics=tuple(metrics),
        )


def _refuse_twins(names: Sequence[str], where: str) -> None:
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{where}: {twins[0]!r} occurs more than once", 'name = "..."  # another in one of them')
