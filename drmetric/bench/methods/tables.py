"""A methods board as tables: one for people, a row a method; one for programs, a row a method and metric."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import NamedTuple

import numpy as np

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.files import DEGRADED, TRUTH
from drmetric.bench.methods.ranking import Standing, worst_score
from drmetric.bench.tables import Better, Cell, Column, Mark, Table
from drmetric.metrics.base import Metric
from drmetric.metrics.consistency import GUARDS, doubt
from drmetric.statistics import Array, bootstrap_mean

TIED = "no significant difference from the best at 5 % (paired bootstrap, Holm's correction over the methods)"
COMPARED_WITH = {"degraded": DEGRADED, "truth": TRUTH, "none": "nothing"}
METRIC_COLUMNS = (
    Column("label", "Metric"),
    Column("reference", "Compares with", cell=lambda row: Cell(row["reference"], text=COMPARED_WITH[row["reference"]])),
    Column("better", "Better"),
    Column("seconds", "Seconds an image", ".3g", align="left"),
    Column("signature", "Signature"),
)


class _Row(NamedTuple):
    rank: int
    method: str
    mean_rank: float
    standings: list[Standing]
    consistency: dict[str, Cell]


def results(board: MethodBoard) -> Table:
    """Rank and method, a column a metric, and the mean rank; the best by the leading metric first."""
    ranking = board.ranking
    columns = [Column("rank", "#", align="right"), Column("method", "Method")]
    for number, (judge, standings) in enumerate(zip(board.scores.judges, ranking.standings, strict=True)):
        columns.append(
            Column(
                head=judge.head,
                form=f".{decimals(standings)}f",
                interval="shown",
                better="higher" if judge.metric.higher_is_better else "lower",
                cell=partial(_cell, number),
            )
        )
    if len(board.scores.judges) > 1:
        columns.append(Column("mean_rank", "Mean rank", ".2f"))
    beside = consistency(board)
    for name in beside:
        better: Better = "higher" if GUARDS[name].higher_is_better else "lower"
        columns.append(Column("", GUARDS[name].title, ".2f", "shown", better, partial(_beside, name)))
    rows = [
        _Row(
            ranking.leading[method].rank,
            board.scores.methods[method],
            float(ranking.mean_ranks[method]),
            [standings[method] for standings in ranking.standings],
            {name: cells[method] for name, cells in beside.items()},
        )
        for method in ranking.order
    ]
    tied = TIED if len(board.pictures) > 1 else ""
    return Table(columns, rows, f"{board.name}: {board.title}", [board.note, *remarks(board)], tied)


def records(board: MethodBoard) -> Table:
    """One row a method and metric, for programs; the method's mean consistency is repeated in each."""
    ranking, beside = board.ranking, consistency(board)
    return Table.of(
        [
            asdict(standings[method])
            | {name: cells[method].value for name, cells in beside.items()}
            | {"mean_rank": float(ranking.mean_ranks[method]), "signature": judge.metric.signature}
            for judge, standings in zip(board.scores.judges, ranking.standings, strict=True)
            for method in ranking.order
        ]
    )


def metrics(board: MethodBoard) -> Table:
    """What each metric is, compares with and costs."""
    rows = []
    for judge, standings in zip(board.scores.judges, board.ranking.standings, strict=True):
        timed = sorted(standing.seconds for standing in standings if math.isfinite(standing.seconds))
        rows.append(
            {
                "label": judge.head,
                "reference": judge.reference,
                "better": "higher" if judge.metric.higher_is_better else "lower",
                "seconds": timed[len(timed) // 2] if timed else None,
                "signature": judge.metric.signature,
            }
        )
    return Table(METRIC_COLUMNS, rows)


def consistency(board: MethodBoard) -> dict[str, list[Cell]]:
    """The means of the methods, of the guards that no metric of the board is: over images, with n used/n given."""
    named = {judge.metric.name for judge in board.scores.judges}
    found = {}
    for name, values in board.scores.consistency.items():
        if name not in named and np.isfinite(values).any():
            found[name] = [_mean(of_method[np.isfinite(of_method)], values.shape[1]) for of_method in values]
    return found


def _mean(values: Array, given: int) -> Cell:
    if not values.size:
        return Cell()
    note = f"{values.size}/{given}" if values.size < given else ""
    return Cell(float(values.mean()), *bootstrap_mean(values), note=note)


def _beside(name: str, row: _Row) -> Cell:
    return row.consistency[name]


def doubts(board: MethodBoard) -> list[str]:
    """Sentences on the outputs that do not reduce to their inputs, by method."""
    names, found = list(board.scores.consistency), []
    for number, method in enumerate(board.scores.methods):
        figures = zip(*(values[number].tolist() for values in board.scores.consistency.values()), strict=True)
        known = [{n: v for n, v in zip(names, each, strict=True) if math.isfinite(v)} for each in figures]
        if sentence := doubt([each for each in known if each]):
            found.append(f"{method}: {sentence}.")
    return found


def decimals(standings: Sequence[Standing]) -> int:
    """How many decimals the figures of a metric get: more where they are smaller."""
    largest = max((abs(each.mean) for each in standings if each.has_mean), default=1.0)
    return 2 if largest >= 10 else 3 if largest >= 0.1 else 4


def _cell(metric: int, row: _Row) -> Cell:
    """The mean, marked as best or tied, with n used/n given where these differ."""
    standing = row.standings[metric]
    used, given = standing.n_used, standing.n_given
    is_best = standing.rank == 1 and standing.has_mean
    mark: Mark = "best" if is_best else "tied" if standing.tied and standing.rank > 1 else ""
    return Cell(standing.mean, standing.low, standing.high, mark, f"{used}/{given}" if used < given else "")


def loss(metric: Metric, standing: Standing) -> str:
    """On how many images the method failed, and what they count as in its mean; empty where on none."""
    failed = standing.n_given - standing.n_used
    if not failed:
        return ""
    images = f"{failed} of {standing.n_given} images failed"
    worst = worst_score(metric) * (1 if metric.higher_is_better else -1)
    return f"{images} and count{'s' if failed == 1 else ''} as {worst:g}" if standing.has_mean else images


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def remarks(board: MethodBoard) -> list[str]:
    """What a reader should know besides the figures: sentences on the data, skipped metrics and failures."""
    skipped = [f"{label} was not used: {reason}." for label, reason in board.skipped.items()]
    return [*board.notes, *skipped, *losses(board), *doubts(board)]


def losses(board: MethodBoard) -> list[str]:
    """Sentences on metrics that could not be made, on outputs that lack scores, and on those without an input."""
    failed = len({(each.method, each.image) for each in board.scores.errors})
    what = "an input" if any(picture.degraded for picture in board.pictures) else "ground truth"
    strays = sum(bool(each.image) and each.image not in board.scores.images for each in board.errors)
    found = [f"{each.metric} is missing: {each.error}." for each in board.errors if not (each.method or each.image)]
    if failed:
        found.append(f"{failed} output{' lacks' if failed == 1 else 's lack'} scores, which count as the worst.")
    boundless = [
        judge.head
        for judge, standings in zip(board.scores.judges, board.ranking.standings, strict=True)
        if math.isinf(worst_score(judge.metric)) and any(each.n_used < each.n_given for each in standings)
    ]
    if boundless:
        have = "have" if len(boundless) > 1 else "has"
        found.append(f"{listed(boundless)} {have} no worst score, and no mean of a method with failures.")
    if strays:
        found.append(f"{strays} output{f' without {what} is' if strays == 1 else f's without {what} are'} left out.")
    return found


def failures(board: MethodBoard) -> list[str]:
    """What failed, in a line each: method, image and error, once for all the metrics that it concerns."""
    concerned: dict[tuple[str, str, str], list[str]] = {}
    for failure in board.errors:
        concerned.setdefault((failure.method, failure.image, failure.error), []).append(failure.metric)
    lines = []
    for (method, image, error), labels in concerned.items():
        where = ", ".join(filter(None, [method, image, *labels[:1]]))
        more = f" (and {len(labels) - 1} more metrics)" if len(labels) > 1 else ""
        lines.append(f"{where}{more}: {error}")
    return lines
