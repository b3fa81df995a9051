"""Rank metrics by how well they agree with human opinions of images, pooled over a set and in its parts.

`run` reads a TOML file, scores every image of a split with every metric as
`drmetric.bench.agreement.leaderboard` does (one line of scores.jsonl an image, so a killed run goes on where it
stopped), and works out a table for the whole set and one for each part of it:

    [data]
    opinions = "biq2021"          # one of drmetric.data.rated.rated_sets
    root = "$BIQ2021"             # $VARIABLES are expanded
    split = "test"                # or "train", "validation"; the whole set if left out
    parts = true                  # a table for each subset that the set names
    unshared = true               # also a table without the images whose content another split has too
    reference = "degraded"        # for all metrics that take one; see below
    [[metrics]]
    name = "nriqa"

A metric is compared with the reference of its [[metrics]] table, else of [data]; without either, degraded-reference
metrics get the degraded input and full-reference ones the pristine image. Intervals are 95 % percentile bootstraps
over contents; see `drmetric.bench.agreement.correlation`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import numpy as np
import torch

from drmetric import __version__
from drmetric.bench.agreement.correlation import Agreement, Rows, compare
from drmetric.bench.agreement.leaderboard import Entry, Progress, Record, failures, read_entries, score_metrics
from drmetric.bench.agreement.part_board import COST, SUBJECT, PartBoard
from drmetric.bench.tables import Cell, Column
from drmetric.config import read_toml, section
from drmetric.data.rated import RatedImage, read_opinions
from drmetric.errors import ConfigError
from drmetric.metrics.registry import metric_class

Data = TypeVar("Data")

DEFAULT_REFERENCES = {"dr": "degraded", "fr": "pristine", "nar": "none", "nr": "none"}
"""Which image a metric of each mode is compared with unless it is told."""


@dataclass(frozen=True, kw_only=True)
class SetData:
    """What the [data] tables of boards on human-rated sets share; see the module."""

    root: str
    split: Literal["train", "validation", "test", "all"] = "all"
    parts: bool = False
    reference: Literal["default", "degraded", "pristine"] = "default"

    @property
    def folder(self) -> Path:
        return Path(os.path.expandvars(self.root)).expanduser()

    def rows_of_subsets(self, subsets: Sequence[str]) -> dict[str, Rows]:
        """The numbers of the items of each subset by its name, if the table asks for parts."""
        names = sorted(set(subsets)) if self.parts else []
        return {f"subset {name}": np.flatnonzero(np.array(subsets) == name) for name in names}


@dataclass(frozen=True, kw_only=True)
class OpinionData(SetData):
    """The [data] table of the TOML file; see the module."""

    opinions: str
    unshared: bool = False

    def images(self) -> list[RatedImage]:
        """The rated images of the split."""
        return read_opinions(self.opinions, self.folder, None if self.split == "all" else self.split)


@dataclass(frozen=True)
class Config:
    """A leaderboard on human opinions as its TOML file describes it."""

    data: OpinionData
    metrics: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read and check a TOML file; raises `ConfigError` naming the entry that is missing or unknown."""
        data, metrics = read_board(path, OpinionData)
        return cls(data, metrics)


def read_board(path: Path, kind: type[Data]) -> tuple[Data, tuple[Entry, ...]]:
    """The [data] and the [[metrics]] of a TOML file; raises `ConfigError` naming what is missing or unknown."""
    table = read_toml(path)
    metrics = table.get("metrics", [])
    if not metrics:
        raise ConfigError(f"{path} has no [[metrics]]", '[[metrics]]\nname = "nriqa"')
    return section(kind, table.get("data", {}), f"{path}, [data]"), read_entries(metrics, path)


def choose_reference(entry: Entry, wanted: str, records: Sequence[Record], where: str) -> Entry:
    """The entry with the reference that it is compared with.

    Args:
        entry: a metric; its own reference, if it has one, comes first.
        wanted: the reference for all metrics that take one, or "default".
        records: of the images, with the entries "degraded" and "pristine" that there are.
        where: the data set, for errors.

    Raises:
        ConfigError: a reference that the metric has no use for, or that the set does not have.
        InputError: a metric that does not exist.
    """
    mode = metric_class(entry.name).mode
    default = DEFAULT_REFERENCES[mode]
    if wanted != "default" and default != "none":
        default = wanted
    chosen = replace(entry, reference=entry.reference or default)
    reference = chosen.reference_for(mode)
    if reference != "none" and any(reference not in record for record in records):
        other = {"degraded": "pristine", "pristine": "degraded"}[reference]
        has_other = all(other in record for record in records)
        raise ConfigError(
            f"{entry.label} is to be compared with the {reference} image, and {where} has none",
            f'reference = "{other}"' if has_other else 'name = "nriqa"  # a metric that needs no reference',
        )
    return chosen


def _plcc(line: Agreement) -> Cell:
    return Cell(line.plcc, *line.plcc_interval, mark="starred" if line.plcc_is_linear else "")


class OpinionBoard(PartBoard[Agreement]):
    """A finished leaderboard on human opinions."""

    columns: ClassVar[Sequence[Column]] = (
        *SUBJECT,
        Column("srcc", "SRCC [95 %]", ".3f", "shown"),
        Column(
            "plcc",
            "PLCC [95 %]",
            ".3f",
            "shown",
            cell=_plcc,
            legend="PLCC and RMSE follow a 4-parameter logistic, or a line where marked *.",
        ),
        Column("plcc_is_linear"),
        Column("krcc", "KRCC", ".3f"),
        Column("rmse", "RMSE", ".3f", legend="RMSE is in units of the scores, 0 to 1."),
        Column("pair_accuracy", "pairs", ".3f", legend="Pairs: share of pairs of images in the right order."),
        Column("difference", "SRCC of first minus this [95 %]", ".3f", "shown"),
        Column("p_holm", "p (Holm)", ".4f"),
        Column("n_contents", "contents", cell=lambda line: Cell(line.n_contents, text=str(line.n_contents or ""))),
        Column(
            "srcc_content",
            "SRCC in content [95 %]",
            ".3f",
            "shown",
            legend="In content: means over contents with at least two unequal scores.",
        ),
        Column("krcc_content", "KRCC in content", ".3f"),
        Column("pair_accuracy_content", "pairs in content", ".3f"),
        Column("difference_content", "first minus this in content [95 %]", ".3f", "shown"),
        Column("p_holm_content", "p in content (Holm)", ".4f"),
        *COST,
    )


def _record(image: RatedImage, root: Path) -> Record:
    name = image.image.relative_to(root).as_posix()
    files = {"pristine": image.reference, "degraded": image.degraded}
    found = {kind: file.relative_to(root).as_posix() for kind, file in files.items() if file}
    return {"id": name, "restored": name, **found}


def run(
    config: Config,
    output: Path,
    *,
    device: str = "cpu",
    n_bootstrap: int = 1000,
    progress: Progress = lambda metric, done, total: None,
) -> OpinionBoard:
    """Score a rated set with all metrics, work out the tables, and write them to `output`.

    Args:
        config: what to score, with what.
        output: folder of scores.jsonl, table.csv and table.md; scores that are there already are kept.
        device: where the metrics run.
        n_bootstrap: resamples of each interval and test.
        progress: called after each image with the metric, and its numbers of images done and in all.

    Raises:
        ConfigError: an unusable configuration, or a set that is not there.
        InputError: a metric or an option that does not exist.
        MissingDependencyError: a metric of pyiqa or of another package that is not installed.
    """
    data = config.data
    images = data.images()
    records = [_record(image, data.folder) for image in images]
    entries = [choose_reference(entry, data.reference, records, data.opinions) for entry in config.metrics]
    scores = score_metrics(entries, records, data.folder, output, device, progress)
    labels = np.array([image.score for image in images])
    contents = [image.content for image in images]
    board = OpinionBoard(
        title=f"{data.opinions}, split {data.split}",
        note=_note(scores[0].metric, device, n_bootstrap),
        lines=[
            line
            for part, rows in _rows_of_parts(data, images).items()
            for line in compare(part, scores, rows, labels, contents, n_bootstrap)
        ],
        errors=failures(scores),
    )
    board.write(output)
    return board


def _rows_of_parts(data: OpinionData, images: Sequence[RatedImage]) -> dict[str, Rows]:
    parts = {f"all {len(images)} images": np.arange(len(images))}
    parts |= data.rows_of_subsets([image.subset for image in images])
    if data.unshared:
        here = {image.image for image in images}
        everywhere = read_opinions(data.opinions, data.folder)
        shared = {image.content for image in everywhere if image.image not in here}
        unshared = np.flatnonzero([image.content not in shared for image in images])
        parts[f"{len(unshared)} images whose content no other split has"] = unshared
    return parts


def _note(first: str, device: str, n_bootstrap: int) -> str:
    return (
        f"Brackets: 95 % percentile intervals, {n_bootstrap} bootstraps over contents. Differences: SRCC of {first} "
        "minus that of each other, paired bootstrap over contents, p after Holm. An image that a metric failed on "
        f"ranks last. ms: median, {device}. drmetric {__version__}, torch {torch.__version__}."
    )
