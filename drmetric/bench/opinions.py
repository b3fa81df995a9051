"""Rank metrics by how well they agree with human opinions of images, pooled over a set and in its parts.

`run` reads a TOML file, scores every image of a split with every metric as `drmetric.bench.leaderboard` does (one
line of scores.jsonl an image, so a killed run goes on where it stopped), and works out a table for the whole set
and one for each part of it:

    [data]
    opinions = "biq2021"          # a key of drmetric.data.opinions.OPINIONS
    root = "$BIQ2021"             # $VARIABLES are expanded
    split = "test"                # or "train", "validation"; the whole set if left out
    parts = true                  # a table for each subset that the set names
    unshared = true               # also a table without the images whose content another split has too
    [[metrics]]
    name = "nriqa"

Intervals are 95 % percentile bootstraps over contents.
"""

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from drmetric import __version__
from drmetric.bench.leaderboard import KEY, Entry, Progress, read_entries, score_metric
from drmetric.bench.score_file import ScoreFile
from drmetric.bench.statistics import (
    Array,
    bootstrap_by_content,
    holm,
    krcc,
    logistic_fit,
    paired_bootstrap_of,
    plcc,
    rmse,
    srcc,
    worst_for_missing,
)
from drmetric.bench.table import Interval, Scores
from drmetric.config import read_toml, section
from drmetric.data.opinions import RatedImage, read_opinions
from drmetric.errors import ConfigError

Rows = NDArray[np.intp]
"""Numbers of images."""


@dataclass(frozen=True)
class OpinionData:
    """The [data] table of the TOML file; see the module."""

    opinions: str
    root: str
    split: Literal["train", "validation", "test", "all"] = "all"
    parts: bool = False
    unshared: bool = False

    @property
    def folder(self) -> Path:
        return Path(os.path.expandvars(self.root)).expanduser()

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
        table = read_toml(path)
        metrics = table.get("metrics", [])
        if not metrics:
            raise ConfigError(f"{path} has no [[metrics]]", '[[metrics]]\nname = "nriqa"')
        return cls(section(OpinionData, table.get("data", {}), f"{path}, [data]"), read_entries(metrics, path))


@dataclass(frozen=True)
class Agreement:
    """One metric's agreement with the opinions of one part of a set.

    `plcc` and `rmse` follow `logistic_fit`, one fit for all resamples. `difference` is the first metric's SRCC minus
    this one's. Intervals are 95 % bootstraps over contents.
    """

    part: str
    metric: str
    reference: str
    n_used: int
    n_given: int
    srcc: float
    srcc_interval: Interval
    plcc: float
    plcc_interval: Interval
    plcc_is_linear: bool
    krcc: float
    rmse: float
    milliseconds: float
    difference: float
    difference_interval: Interval
    p_holm: float
    signature: str


def _agreement(part: str, scores: Scores, rows: Rows, labels: Array, groups: list[Rows], n: int) -> Agreement:
    values = worst_for_missing(scores.values if scores.higher_is_better else -scores.values)
    fit = logistic_fit(values[rows], labels[rows])
    fitted = np.full_like(values, np.nan)
    fitted[rows] = fit.direction * fit.predicted

    def pooled_srcc(drawn: list[Rows]) -> float:
        chosen = np.concatenate(drawn)
        return srcc(values[chosen], labels[chosen])

    def pooled_pearson(drawn: list[Rows]) -> float:
        chosen = np.concatenate(drawn)
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.corrcoef(fitted[chosen], labels[chosen])[0, 1])

    timed = scores.milliseconds[rows][np.isfinite(scores.milliseconds[rows])]
    nan = float("nan")
    return Agreement(
        part=part,
        metric=scores.metric,
        reference=scores.reference,
        n_used=int(np.isfinite(scores.values[rows]).sum()),
        n_given=len(rows),
        srcc=srcc(values[rows], labels[rows]),
        srcc_interval=bootstrap_by_content(groups, pooled_srcc, n),
        plcc=plcc(values[rows], labels[rows]),
        plcc_interval=bootstrap_by_content(groups, pooled_pearson, n),
        plcc_is_linear=fit.is_linear,
        krcc=krcc(values[rows], labels[rows]),
        rmse=rmse(values[rows], labels[rows]),
        milliseconds=float(np.median(timed)) if timed.size else nan,
        difference=nan,
        difference_interval=(nan, nan),
        p_holm=nan,
        signature=scores.signature,
    )


def compare(
    part: str, scores: Sequence[Scores], rows: Rows, labels: Array, contents: Sequence[str], n: int = 1000
) -> list[Agreement]:
    """The lines of one part, in the order of `scores`; all but the first are tested against the first.

    Args:
        part: its name.
        scores: of all images of the set.
        rows: (k,) numbers of the part's images.
        labels, contents: of all images.
        n: resamples of each interval and test.
    """
    names = np.array(contents)[rows]
    groups = [rows[names == name] for name in dict.fromkeys(names.tolist())]
    lines = [_agreement(part, each, rows, labels, groups, n) for each in scores]
    signed = [worst_for_missing(each.values if each.higher_is_better else -each.values) for each in scores]
    tests = []
    for values in signed[1:]:

        def difference(drawn: list[Rows], values: Array = values) -> float:
            chosen = np.concatenate(drawn)
            return srcc(signed[0][chosen], labels[chosen]) - srcc(values[chosen], labels[chosen])

        tests.append(paired_bootstrap_of(groups, difference, n))
    corrected = holm([test.p_value for test in tests]).tolist()
    return [
        lines[0],
        *(
            replace(line, difference=test.difference, difference_interval=(test.low, test.high), p_holm=p)
            for line, test, p in zip(lines[1:], tests, corrected, strict=True)
        ),
    ]


def _cell(value: float, interval: Interval | None = None) -> str:
    text = "" if np.isnan(value) else f"{value:.3f}"
    return f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]" if text and interval else text


COLUMNS: dict[str, Callable[[Agreement], str]] = {
    "metric": lambda line: line.metric,
    "n used/given": lambda line: f"{line.n_used}/{line.n_given}",
    "SRCC [95 %]": lambda line: _cell(line.srcc, line.srcc_interval),
    "PLCC [95 %]": lambda line: _cell(line.plcc, line.plcc_interval) + ("*" if line.plcc_is_linear else ""),
    "KRCC": lambda line: _cell(line.krcc),
    "RMSE": lambda line: _cell(line.rmse),
    "ms/image": lambda line: "" if np.isnan(line.milliseconds) else f"{line.milliseconds:.1f}",
    "SRCC of first minus this [95 %]": lambda line: _cell(line.difference, line.difference_interval),
    "p (Holm)": lambda line: "" if np.isnan(line.p_holm) else f"{line.p_holm:.4f}",
}


@dataclass(frozen=True)
class OpinionBoard:
    """A finished leaderboard: the lines of every part, the whole set first.

    Attributes:
        title: data set and split, in words.
        note: how the figures were made.
        lines: part by part.
        errors: (metric, image, what went wrong).
    """

    title: str
    note: str
    lines: list[Agreement]
    errors: list[tuple[str, str, str]]

    def _parts(self) -> dict[str, list[Agreement]]:
        parts: dict[str, list[Agreement]] = {}
        for line in sorted(self.lines, key=lambda line: -np.nan_to_num(line.srcc, nan=-2)):
            parts.setdefault(line.part, []).append(line)
        return {name: parts[name] for name in dict.fromkeys(line.part for line in self.lines)}

    def to_rich(self) -> Group:
        """The tables for a terminal."""
        tables = []
        for name, lines in self._parts().items():
            table = Table(*COLUMNS, title=f"{self.title}: {name}")
            for line in lines:
                table.add_row(*(cell(line) for cell in COLUMNS.values()))
            tables.append(table)
        return Group(*tables, self.note)

    def to_markdown(self) -> str:
        """Title, tables and note."""
        text = [self.title]
        for name, lines in self._parts().items():
            rows = [list(COLUMNS), ["---"] * len(COLUMNS)]
            rows += [[cell(line) for cell in COLUMNS.values()] for line in lines]
            text.append(name + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows))
        return "\n\n".join([*text, self.note]) + "\n"

    def to_csv(self) -> str:
        """Every field of every line, at full precision; an interval makes two columns, _low and _high."""
        names = [field.name for field in fields(Agreement)]
        header = [n for name in names for n in _columns(name)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        for lines in self._parts().values():
            for line in lines:
                values = asdict(line).values()
                writer.writerow([v for value in values for v in (value if isinstance(value, tuple) else (value,))])
        return text.getvalue()


def _columns(name: str) -> tuple[str, ...]:
    stem = name.removesuffix("_interval")
    return (f"{stem}_low", f"{stem}_high") if name.endswith("_interval") else (name,)


def _record(image: RatedImage, root: Path) -> dict[str, Any]:
    name = image.image.relative_to(root).as_posix()
    record = {"id": name, "restored": name}
    return record | ({"pristine": image.reference.relative_to(root).as_posix()} if image.reference else {})


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
    """
    data = config.data
    images = data.images()
    records = [_record(image, data.folder) for image in images]
    output.mkdir(parents=True, exist_ok=True)
    with ScoreFile(output / "scores.jsonl", KEY) as file:
        scores = [score_metric(entry, records, data.folder, file, device, progress) for entry in config.metrics]
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
        errors=[(each.metric, item, error) for each in scores for item, error in each.errors.items()],
    )
    (output / "table.md").write_text(board.to_markdown(), encoding="utf-8")
    (output / "table.csv").write_text(board.to_csv(), encoding="utf-8")
    return board


def _rows_of_parts(data: OpinionData, images: Sequence[RatedImage]) -> dict[str, Rows]:
    parts = {f"all {len(images)} images": np.arange(len(images))}
    if data.parts:
        subsets = np.array([image.subset for image in images])
        parts |= {f"subset {name}": np.flatnonzero(subsets == name) for name in sorted(set(subsets.tolist()))}
    if data.unshared:
        here = {image.image for image in images}
        everywhere = read_opinions(data.opinions, data.folder)
        shared = {image.content for image in everywhere if image.image not in here}
        unshared = np.flatnonzero([image.content not in shared for image in images])
        parts[f"{len(unshared)} images whose content no other split has"] = unshared
    return parts


def _note(first: str, device: str, n_bootstrap: int) -> str:
    return (
        "PLCC and RMSE follow a 4-parameter logistic, or a line where marked *; RMSE is in units of the scores, 0 to "
        f"1. Brackets: 95 % percentile intervals, {n_bootstrap} bootstraps over contents. Differences: SRCC of {first} "
        "minus that of each other, paired bootstrap over contents, p after Holm. An image that a metric failed on "
        f"ranks last. ms: median, {device}. drmetric {__version__}, torch {torch.__version__}."
    )
