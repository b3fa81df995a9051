"""The configuration of a methods board:

    [data]
    degraded = "data/degraded"      # the inputs; relative to this file; $VARIABLES are expanded
    truth = "data/pristine"         # ground truth, where there is some
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
    [[metrics]]
    name = "low_band_psnr"          # also lr_psnr, colour_difference: see drmetric.metrics.consistency

Images pair by name, see `drmetric.bench.scores.pairing`.
"""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from drmetric.bench.methods.files import DEGRADED, TRUTH, Method
from drmetric.bench.methods.scores import Reference
from drmetric.config import section
from drmetric.errors import ConfigError
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create, metric_class

ALLOWED: dict[str, tuple[Reference, ...]] = {
    "dr": ("degraded", "truth"),
    "fr": ("truth", "degraded"),
    "nar": ("none", "degraded", "truth"),
    "nr": ("none",),
}
"""References that a mode can use, its default first."""


@dataclass(frozen=True)
class Data:
    """The [data] table."""

    degraded: str
    truth: str = ""


@dataclass(frozen=True)
class MethodEntry:
    """One [[methods]] table; see `Method`."""

    name: str
    folder: str
    suffix: str = ""


@dataclass(frozen=True)
class MetricEntry:
    """One [[metrics]] table: a metric, its options, what to call it, and which image it gets as reference."""

    name: str
    label: str = ""
    reference: Literal["default", "degraded", "truth", "none"] = "default"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> type[Metric]:
        """The class; raises `InputError` for an unknown name."""
        return metric_class(self.name)

    def reference_used(self) -> Reference:
        """The reference, by default that of the mode; raises `ConfigError` where the mode has no use for it."""
        allowed = ALLOWED[self.kind.mode]
        reference = allowed[0] if self.reference == "default" else self.reference
        if reference not in allowed:
            raise ConfigError(
                f"metric {self.name!r} (mode {self.kind.mode!r}) cannot use the reference {reference!r}",
                f'reference = "{allowed[0]}"',
            )
        return reference

    @property
    def title(self) -> str:
        """The label, by default the name, the options (of paths the file's name) and an unusual reference."""
        if self.label:
            return self.label
        details = [f"{key}={str(value).rpartition('/')[2]}" for key, value in self.options.items()]
        if self.reference_used() != ALLOWED[self.kind.mode][0]:
            details.append(f"against {self.reference_used()}")
        return f"{self.name} ({', '.join(details)})" if details else self.name

    def make(self) -> Metric:
        """The metric; raises what `create` does."""
        return create(self.name, **self.options)


@dataclass(frozen=True)
class Config:
    """A methods board as its TOML file describes it.

    Attributes:
        name: of the file, without .toml.
        folder: of the file; absolute where it was read.
        text: of the file.
    """

    name: str
    folder: Path
    text: str
    degraded: Path
    truth: Path | None
    methods: tuple[Method, ...]
    metrics: tuple[MetricEntry, ...]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read and check a TOML file; raises `ConfigError` naming the entry that is missing, unknown or wrong."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
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
        methods = [section(MethodEntry, entry, f"{where}, [[methods]]") for entry in table["methods"]]
        metrics = [_metric_entry(entry, folder, f"{where}, [[metrics]]") for entry in table["metrics"]]
        _refuse_twins([DEGRADED, TRUTH, *(method.name for method in methods)], f"{where}, [[methods]]", "name")
        _refuse_twins([metric.title for metric in metrics], f"{where}, [[metrics]]", "label")
        return cls(
            name=name,
            folder=folder,
            text=text,
            degraded=_path(data.degraded, folder, where),
            truth=_path(data.truth, folder, where) if data.truth else None,
            methods=tuple(Method(each.name, _path(each.folder, folder, where), each.suffix) for each in methods),
            metrics=tuple(metrics),
        )


def _metric_entry(table: dict[str, Any], folder: Path, where: str) -> MetricEntry:
    """Options are any values; text is expanded, and the name of a file beside the configuration becomes its path."""
    options = dict(table.get("options", {}))
    for key, value in options.items():
        if isinstance(value, str):
            expanded = os.path.expandvars(value)
            beside = folder / expanded
            options[key] = str(beside) if beside.is_file() else expanded
    entry = section(MetricEntry, {key: value for key, value in table.items() if key != "options"}, where)
    return replace(entry, options=options)


def _path(text: str, folder: Path, where: str) -> Path:
    expanded = os.path.expandvars(text)
    if "$" in expanded:
        raise ConfigError(f"{where}: {text!r} names a variable that is not set", f"export {text.split('$')[1]}=...")
    return folder / Path(expanded).expanduser()


def _refuse_twins(names: Sequence[str], where: str, entry: str) -> None:
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"{where}: {twins[0]!r} is there more than once", f'{entry} = "..."  # another in one of them'
        )
