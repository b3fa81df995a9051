"""The leaderboard's table: a line of statistics a metric."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from drmetric.bench.tables import Cell, Column, Table
from drmetric.statistics import (
    Array,
    Within,
    bootstrap_by_content,
    holm,
    krcc,
    logistic_fit,
    mean_within,
    pair_accuracy,
    paired_bootstrap,
    plcc,
    rmse,
    srcc,
    worst_for_missing,
)

Interval = tuple[float, float]


@dataclass
class Scores:
    """One metric's scores of all images, in their order; NaN where it failed.

    Attributes:
        metric: its name and options.
        reference: "pristine", "degraded" or "none".
        signature: of the metric; empty where it could not be made.
        higher_is_better: direction of `values`.
        values: (n,) scores as the metric gives them.
        milliseconds: (n,) time of each, without reading the files.
        errors: {image id: what went wrong}.
    """

    metric: str
    reference: str
    signature: str
    higher_is_better: bool
    values: Array
    milliseconds: Array
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Images:
    """What the scores are compared with: (n,) labels, and of each image its content and its degraded input."""

    labels: Array
    contents: list[str]
    inputs: list[str]


@dataclass(frozen=True)
class Line:
    """One metric's agreement with the labels, and its difference from the first metric of the list.

    `srcc`, `krcc` and `pair_accuracy` are means over contents, `srcc_input` is a mean over degraded inputs,
    and `plcc` and `rmse` are pooled, after `logistic_fit`. `difference` is the first metric's `srcc` minus
    this one's. Intervals are 95 % bootstraps over contents.
    """

    metric: str
    reference: str
    n_used: int
    n_given: int
    n_contents: int
    srcc: float
    srcc_interval: Interval
    srcc_input: float
    srcc_input_interval: Interval
    srcc_pooled: float
    srcc_pooled_interval: Interval
    krcc: float
    plcc: float
    plcc_is_linear: bool
    rmse: float
    pair_accuracy: float
    milliseconds: float
    difference: float
    difference_interval: Interval
    p_holm: float
    signature: str


def _mean_of_all(contents: Iterable[list[float]]) -> float:
    values = [value for content in contents for value in content if not np.isnan(value)]
    return float(np.mean(values)) if values else float("nan")


def _values_by_content(inputs: Within, content_of: dict[Hashable, str]) -> list[list[float]]:
    values: dict[str, list[float]] = {}
    for name, value in inputs.values.items():
        values.setdefault(content_of[name], []).append(value)
    return list(values.values())


def _line(scores: Scores, images: Images, first: Array | None, n_bootstrap: int) -> tuple[Line, Array]:
    """A metric's line, its p value not yet corrected, and its SRCC of each content, as `first` is."""
    labels = images.labels
    values = worst_for_missing(scores.values if scores.higher_is_better else -scores.values)
    contents = mean_within(srcc, values, labels, images.contents)
    by_content = np.array(list(contents.values.values()))
    inputs = mean_within(srcc, values, labels, images.inputs)
    input_values = _values_by_content(inputs, dict(zip(images.inputs, images.contents, strict=True)))
    names = np.array(images.contents)
    rows: list[Any] = [np.flatnonzero(names == content) for content in contents.values]

    def pooled(drawn: list[Any]) -> float:
        chosen = np.concatenate(drawn)
        return srcc(values[chosen], labels[chosen])

    test = paired_bootstrap(by_content if first is None else first, by_content)
    timed = scores.milliseconds[np.isfinite(scores.milliseconds)]
    line = Line(
        metric=scores.metric,
        reference=scores.reference,
        n_used=int(np.isfinite(scores.values).sum()),
        n_given=len(labels),
        n_contents=contents.n_used,
        srcc=contents.mean,
        srcc_interval=bootstrap_by_content([[v] for v in by_content.tolist()], _mean_of_all, n_bootstrap),
        srcc_input=inputs.mean,
        srcc_input_interval=bootstrap_by_content(input_values, _mean_of_all, n_bootstrap),
        srcc_pooled=srcc(values, labels),
        srcc_pooled_interval=bootstrap_by_content(rows, pooled, n_bootstrap),
        krcc=mean_within(krcc, values, labels, images.contents).mean,
        plcc=plcc(values, labels),
        plcc_is_linear=logistic_fit(values, labels).is_linear,
        rmse=rmse(values, labels),
        pair_accuracy=mean_within(pair_accuracy, values, labels, images.contents).mean,
        milliseconds=float(np.median(timed)) if timed.size else float("nan"),
        difference=test.difference,
        difference_interval=(test.low, test.high),
        p_holm=test.p_value,
        signature=scores.signature,
    )
    return line, by_content


def compare(scores: Sequence[Scores], images: Images, n_bootstrap: int = 1000) -> list[Line]:
    """The lines of the table, in the order of `scores`; all but the first are tested against the first."""
    first, first_by_content = _line(scores[0], images, None, n_bootstrap)
    others = [_line(each, images, first_by_content, n_bootstrap)[0] for each in scores[1:]]
    corrected = holm([line.p_holm for line in others]).tolist()
    nan = float("nan")
    first = replace(first, difference=nan, difference_interval=(nan, nan), p_holm=nan)
    return [first, *(replace(line, p_holm=p) for line, p in zip(others, corrected, strict=True))]


def _plcc(line: Line) -> Cell:
    return Cell(line.plcc, mark="starred" if line.plcc_is_linear else "")


COLUMNS = (
    Column("metric", "metric"),
    Column("reference", "reference"),
    Column("n_used", "n used/given", cell=lambda line: Cell(line.n_used, text=f"{line.n_used}/{line.n_given}")),
    Column("n_given"),
    Column("n_contents", "contents"),
    Column("srcc", "SRCC in content [95 %]", ".3f", "shown"),
    Column("srcc_input", "SRCC in input", ".3f", "kept"),
    Column("srcc_pooled", "SRCC pooled", ".3f", "kept"),
    Column("krcc", "KRCC in content", ".3f"),
    Column("plcc", "PLCC pooled", ".3f", cell=_plcc),
    Column("plcc_is_linear"),
    Column("rmse"),
    Column("pair_accuracy", "pairs in content", ".3f"),
    Column("milliseconds", "ms/image", ".1f"),
    Column("difference", "difference from first [95 %]", ".3f", "shown"),
    Column("p_holm", "p (Holm)", ".4f"),
    Column("signature"),
)


@dataclass(frozen=True)
class Board:
    """A finished leaderboard.

    Attributes:
        title: data set, split and numbers of images and contents, in words.
        note: how the figures were made.
        lines: in the order of the list of metrics.
        errors: (metric, image id, what went wrong).
    """

    title: str
    note: str
    lines: list[Line]
    errors: list[tuple[str, str, str]]

    @property
    def ranked(self) -> list[Line]:
        """Best SRCC within contents first, undefined ones last."""
        return sorted(self.lines, key=lambda line: (np.isnan(line.srcc), -line.srcc))

    @property
    def table(self) -> Table:
        """The lines, best first."""
        return Table(COLUMNS, self.ranked, self.title, [self.note])

    def tables(self) -> list[Table]:
        """For people."""
        return [self.table]
