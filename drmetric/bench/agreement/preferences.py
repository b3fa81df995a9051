"""Rank metrics by how often they choose the image of a pair that people chose (two-alternative forced choice).

`run` reads a TOML file, scores both images of every pair with every metric, and works out a table for the whole set
and one for each part of it:

    [data]
    pairs = "bapps"               # a layout of drmetric.data.sets.bapps
    root = "$BAPPS"               # $VARIABLES are expanded
    split = "validation"          # or "train", "test"; the whole set if left out
    parts = true                  # a table for each subset
    reference = "degraded"        # for all metrics that take one; by default as in drmetric.bench.agreement.opinions
    [[metrics]]
    name = "lpips"

Where a share p of the people chose the second image, a metric that prefers it gets p, one that prefers the first gets
1 - p, and equal scores get one half; the mean over the pairs is BAPPS' 2AFC score. A pair on which the metric failed
gets the smaller of p and 1 - p. Intervals are 95 % percentile bootstraps over pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from drmetric import __version__
from drmetric.bench.agreement.correlation import Rows
from drmetric.bench.agreement.leaderboard import Entry, Progress, Record, failures, score_metrics
from drmetric.bench.agreement.opinions import SetData, choose_reference, read_board
from drmetric.bench.agreement.part_board import COST, SUBJECT, PartBoard
from drmetric.bench.agreement.table import Interval, Scores
from drmetric.bench.tables import Column
from drmetric.data.sets.bapps import Preference, read_preferences
from drmetric.statistics import Array, bootstrap_mean, holm, paired_bootstrap

_NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class PairData(SetData):
    """The [data] table of the TOML file; see the module."""

    pairs: str

    def preferences(self) -> list[Preference]:
        """The pairs of the split."""
        return read_preferences(self.pairs, self.folder, None if self.split == "all" else self.split)


@dataclass(frozen=True)
class Config:
    """A leaderboard on preferences as its TOML file describes it."""

    data: PairData
    metrics: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read and check a TOML file; raises `ConfigError` naming the entry that is missing or unknown."""
        data, metrics = read_board(path, PairData)
        return cls(data, metrics)


@dataclass(frozen=True)
class PairAgreement:
    """One metric's agreement with the choices on one part of a set.

    Attributes:
        n_used, n_given: pairs of which the metric scored both images, and all.
        score: the 2AFC score, 0..1; .5 is chance.
        person: what one person's choices would get on average, the mean of p**2 + (1 - p)**2.
        majority: what the choices of the majority get, the most that any metric can.
        milliseconds: median time of one image.
        difference: the first metric's score minus this one's.
    """

    part: str
    metric: str
    reference: str
    n_used: int
    n_given: int
    score: float
    score_interval: Interval
    person: float
    majority: float
    milliseconds: float
    signature: str
    difference: float = _NAN
    difference_interval: Interval = (_NAN, _NAN)
    p_holm: float = _NAN

    @property
    def rank_by(self) -> float:
        """The 2AFC score."""
        return self.score


def credits(scores: Scores, shares: Array) -> Array:
    """(pairs,) what the metric gets for each pair, 0..1; see the module.

    Args:
        scores: of the first and the second image of each pair, in turns.
        shares: (pairs,) of the people who chose the second image.
    """
    signed = scores.values if scores.higher_is_better else -scores.values
    first, second = signed.reshape(-1, 2).T
    given = np.where(second > first, shares, np.where(first > second, 1 - shares, 0.5))
    return np.where(np.isfinite(first) & np.isfinite(second), given, np.minimum(shares, 1 - shares))


def compare(part: str, scores: Sequence[Scores], rows: Rows, shares: Array, n: int = 1000) -> list[PairAgreement]:
    """The lines of one part, in the order of `scores`; all but the first are tested against the first.

    Args:
        part: its name.
        scores: of the first and the second image of each pair of the set, in turns.
        rows: (k,) numbers of the part's pairs.
        shares: (pairs,) of the people who chose the second image, of all pairs.
        n: resamples of each interval and test.
    """
    gained = [credits(each, shares)[rows] for each in scores]
    lines = [_line(part, each, rows, shares, gain, n) for each, gain in zip(scores, gained, strict=True)]
    tests = [paired_bootstrap(gained[0], gain, n) for gain in gained[1:]]
    corrected = holm([test.p_value for test in tests]).tolist()
    return [
        lines[0],
        *(
            replace(line, difference=test.difference, difference_interval=(test.low, test.high), p_holm=p)
            for line, test, p in zip(lines[1:], tests, corrected, strict=True)
        ),
    ]


def _line(part: str, scores: Scores, rows: Rows, shares: Array, gained: Array, n: int) -> PairAgreement:
    scored = np.isfinite(scores.values).reshape(-1, 2)[rows]
    times = scores.milliseconds.reshape(-1, 2)[rows]
    timed = times[np.isfinite(times)]
    p = shares[rows]
    return PairAgreement(
        part=part,
        metric=scores.metric,
        reference=scores.reference,
        n_used=int(scored.all(axis=1).sum()),
        n_given=len(rows),
        score=float(gained.mean()),
        score_interval=bootstrap_mean(gained, n),
        person=float(np.mean(p**2 + (1 - p) ** 2)),
        majority=float(np.mean(np.maximum(p, 1 - p))),
        milliseconds=float(np.median(timed)) if timed.size else _NAN,
        signature=scores.signature,
    )


class PairBoard(PartBoard[PairAgreement]):
    """A finished leaderboard on preferences."""

    columns: ClassVar[Sequence[Column]] = (
        *SUBJECT,
        Column(
            "score",
            "2AFC [95 %]",
            ".3f",
            "shown",
            legend="2AFC: mean share of the people who chose the image that the metric prefers; one half for equal "
            "scores, the smaller share where the metric failed.",
        ),
        Column("person", "one person", ".3f", legend="One person: what a person's own choices would get."),
        Column("majority", "majority", ".3f", legend="Majority: the most possible."),
        Column("difference", "2AFC of first minus this [95 %]", ".3f", "shown"),
        Column("p_holm", "p (Holm)", ".4f"),
        *COST,
    )


def _records(pair: Preference, root: Path) -> list[Record]:
    """Of the first image and of the second."""
    files = {"pristine": pair.reference, "degraded": pair.degraded}
    shared = {kind: file.relative_to(root).as_posix() for kind, file in files.items() if file}
    names = [image.relative_to(root).as_posix() for image in (pair.first, pair.second)]
    return [{"id": name, "restored": name, **shared} for name in names]


def run(
    config: Config,
    output: Path,
    *,
    device: str = "cpu",
    n_bootstrap: int = 1000,
    progress: Progress = lambda metric, done, total: None,
) -> PairBoard:
    """Score a set of pairs with all metrics, work out the tables, and write them to `output`.

    Args and errors are those of `drmetric.bench.agreement.opinions.run`.
    """
    data = config.data
    pairs = data.preferences()
    records = [record for pair in pairs for record in _records(pair, data.folder)]
    entries = [choose_reference(entry, data.reference, records, data.pairs) for entry in config.metrics]
    scores = score_metrics(entries, records, data.folder, output, device, progress)
    shares = np.array([pair.share for pair in pairs])
    board = PairBoard(
        title=f"{data.pairs}, split {data.split}",
        note=_note(scores[0].metric, device, n_bootstrap),
        lines=[
            line
            for part, rows in _rows_of_parts(data, pairs).items()
            for line in compare(part, scores, rows, shares, n_bootstrap)
        ],
        errors=failures(scores),
    )
    board.write(output)
    return board


def _rows_of_parts(data: PairData, pairs: Sequence[Preference]) -> dict[str, Rows]:
    return {f"all {len(pairs)} pairs": np.arange(len(pairs)), **data.rows_of_subsets([pair.subset for pair in pairs])}


def _note(first: str, device: str, n_bootstrap: int) -> str:
    return (
        f"Brackets: 95 % percentile intervals, {n_bootstrap} bootstraps over pairs. Differences: score of {first} "
        f"minus that of each other, paired bootstrap over pairs, p after Holm. ms: median, {device}. "
        f"drmetric {__version__}, torch {torch.__version__}."
    )
