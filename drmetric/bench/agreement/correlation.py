"""How well metrics agree with scores of images: pooled over a part of a set, within its contents, and within inputs.

An image that a metric failed on ranks below the worst that it could score, and counts in n given but not in n used.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drmetric.bench.tables import Cell, Column
from drmetric.statistics import (
    Array,
    bootstrap_by_content,
    bootstrap_mean,
    difference_test,
    holm,
    interval_of,
    krcc,
    logistic_fit,
    mean_within,
    pair_accuracy,
    paired_bootstrap,
    plcc,
    resampled_by_content,
    rmse,
    srcc,
    worst_for_missing,
)

Interval = tuple[float, float]
Rows = NDArray[np.intp]
"""Numbers of images."""


@dataclass(frozen=True)
class MetricScores:
    """One metric's scores of all images of a set, in their order; NaN where it failed.

    Attributes:
        metric: its title.
        reference: the image that it met.
        signature: of the metric; empty where it could not be made.
        higher_is_better: direction of `values`.
        values: (n,) scores as the metric gives them.
        milliseconds: (n,) time of each, without reading the files.
    """

    metric: str
    reference: str
    signature: str
    higher_is_better: bool
    values: Array
    milliseconds: Array

    @property
    def signed(self) -> Array:
        """`values`, turned so that higher is better."""
        return self.values if self.higher_is_better else -self.values


@dataclass(frozen=True)
class Opinions:
    """What the scores are compared with: (n,) labels, and of each image its content and, if known, degraded input."""

    labels: Array
    contents: Sequence[str]
    inputs: Sequence[str] | None = None


@dataclass(frozen=True)
class Agreement:
    """One metric's agreement with the opinions of one part of a set.

    `plcc` and `rmse` follow `logistic_fit`, one fit for all resamples. `difference` is the first metric's SRCC minus
    this one's. Fields ending in _content are means over the contents with at least two unequal opinions, of which
    there are `n_contents`; `srcc_input` is a mean over degraded inputs. NaN where there are none, as in sets of
    photographs. Intervals are 95 % bootstraps over contents.
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
    pair_accuracy: float
    n_contents: int
    srcc_content: float
    srcc_content_interval: Interval
    srcc_input: float
    srcc_input_interval: Interval
    krcc_content: float
    pair_accuracy_content: float
    milliseconds: float
    signature: str
    difference: float = math.nan
    difference_interval: Interval = (math.nan, math.nan)
    p_holm: float = math.nan
    difference_content: float = math.nan
    difference_content_interval: Interval = (math.nan, math.nan)
    p_holm_content: float = math.nan

    @property
    def rank_by(self) -> float:
        """SRCC: within contents where several images are of one degraded input, else pooled."""
        return self.srcc if np.isnan(self.srcc_input) else self.srcc_content


def _plcc(line: Agreement) -> Cell:
    return Cell(line.plcc, *line.plcc_interval, mark="starred" if line.plcc_is_linear else "")


SUBJECT = (
    Column("part"),
    Column("metric", "metric"),
    Column("reference", "reference", cell=lambda line: Cell(line.reference, text=line.reference.replace("none", ""))),
    Column("n_used", "n used/given", cell=lambda line: Cell(line.n_used, text=f"{line.n_used}/{line.n_given}")),
    Column("n_given"),
)
"""The first columns of every board."""
COST = (Column("milliseconds", "ms/image", ".1f"), Column("signature"))
"""The last columns of every board."""
COLUMNS = (
    *SUBJECT,
    Column("srcc", "SRCC [95 %]", ".3f", "shown", legend="An image that a metric failed on ranks last."),
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
        legend="In content: means over contents with at least two unequal scores; in input: over degraded inputs.",
    ),
    Column("srcc_input", "SRCC in input", ".3f", "kept"),
    Column("krcc_content", "KRCC in content", ".3f"),
    Column("pair_accuracy_content", "pairs in content", ".3f"),
    Column("difference_content", "first minus this in content [95 %]", ".3f", "shown"),
    Column("p_holm_content", "p in content (Holm)", ".4f"),
    *COST,
)


@dataclass(frozen=True)
class _Part:
    """A part of a set: the numbers of its images, those of each content, and of each image content and input."""

    name: str
    rows: Rows
    groups: list[Rows]
    contents: list[str]
    inputs: list[str]

    @classmethod
    def of(cls, name: str, rows: Rows, opinions: Opinions) -> "_Part":
        contents = np.array(opinions.contents)[rows]
        groups = [rows[contents == each] for each in dict.fromkeys(contents.tolist())]
        inputs = np.array(opinions.inputs)[rows].tolist() if opinions.inputs is not None else []
        return cls(name, rows, groups, contents.tolist(), inputs)


def _agreement(part: _Part, scores: MetricScores, labels: Array, n: int) -> tuple[Agreement, Array, Array]:
    """A metric's line without its tests, its SRCC within each content, NaN where undefined, and n resampled ones."""
    values, rows = worst_for_missing(scores.signed), part.rows
    here, opinions = values[rows], labels[rows]
    fit = logistic_fit(here, opinions)
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
    within = mean_within(srcc, here, opinions, part.contents)
    by_content = np.array(list(within.values.values()))
    srcc_input, srcc_input_interval = _within_inputs(part, here, opinions, n)
    resampled = resampled_by_content(part.groups, pooled_srcc, n)
    line = Agreement(
        part=part.name,
        metric=scores.metric,
        reference=scores.reference,
        n_used=int(np.isfinite(scores.values[rows]).sum()),
        n_given=len(rows),
        srcc=srcc(here, opinions),
        srcc_interval=interval_of(resampled),
        plcc=plcc(here, opinions),
        plcc_interval=bootstrap_by_content(part.groups, pooled_pearson, n),
        plcc_is_linear=fit.is_linear,
        krcc=krcc(here, opinions),
        rmse=rmse(here, opinions),
        pair_accuracy=pair_accuracy(here, opinions),
        n_contents=within.n_used,
        srcc_content=within.mean,
        srcc_content_interval=bootstrap_mean(by_content[~np.isnan(by_content)], n),
        srcc_input=srcc_input,
        srcc_input_interval=srcc_input_interval,
        krcc_content=mean_within(krcc, here, opinions, part.contents).mean,
        pair_accuracy_content=mean_within(pair_accuracy, here, opinions, part.contents).mean,
        milliseconds=float(np.median(timed)) if timed.size else math.nan,
        signature=scores.signature,
    )
    return line, by_content, resampled


def _within_inputs(part: _Part, values: Array, labels: Array, n: int) -> tuple[float, Interval]:
    """Mean SRCC within degraded inputs; NaN where none is known of which several images are."""
    if not part.inputs:
        return math.nan, (math.nan, math.nan)
    within = mean_within(srcc, values, labels, part.inputs)
    content_of: dict[Hashable, str] = dict(zip(part.inputs, part.contents, strict=True))
    by_content: dict[str, list[float]] = {}
    for name, value in within.values.items():
        by_content.setdefault(content_of[name], []).append(value)
    return within.mean, bootstrap_by_content(list(by_content.values()), _mean_of_known, n)


def _mean_of_known(contents: Iterable[list[float]]) -> float:
    values = [value for content in contents for value in content if not np.isnan(value)]
    return float(np.mean(values)) if values else math.nan


def compare(
    part: str, scores: Sequence[MetricScores], rows: Rows, opinions: Opinions, n: int = 1000
) -> list[Agreement]:
    """The lines of one part, in the order of `scores`; all but the first are tested against the first.

    Args:
        part: its name.
        scores: of all images of the set.
        rows: (k,) numbers of the part's images.
        opinions: of all images.
        n: resamples of each interval and test.
    """
    described, labels = _Part.of(part, rows, opinions), opinions.labels
    lines, by_content, resampled = zip(*(_agreement(described, each, labels, n) for each in scores), strict=True)
    pooled = [
        difference_test(lines[0].srcc - line.srcc, resampled[0] - each, len(described.groups))
        for line, each in zip(lines[1:], resampled[1:], strict=True)
    ]
    within = [paired_bootstrap(by_content[0], each, n) for each in by_content[1:]]
    p_pooled, p_within = (holm([test.p_value for test in tests]).tolist() for tests in (pooled, within))
    has_contents = lines[0].n_contents > 1
    tested = []
    for place, line in enumerate(lines[1:]):
        test, inner = pooled[place], within[place]
        line = replace(
            line, difference=test.difference, difference_interval=(test.low, test.high), p_holm=p_pooled[place]
        )
        if has_contents:
            line = replace(
                line,
                difference_content=inner.difference,
                difference_content_interval=(inner.low, inner.high),
                p_holm_content=p_within[place],
            )
        tested.append(line)
    return [lines[0], *tested]
