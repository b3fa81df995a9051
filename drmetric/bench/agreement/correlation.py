"""How well metrics agree with the opinions of images: pooled over a part of a set, and within its contents."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drmetric.bench.agreement.table import Interval, Scores
from drmetric.statistics import (
    Array,
    PairedTest,
    bootstrap_by_content,
    bootstrap_mean,
    holm,
    krcc,
    logistic_fit,
    mean_within,
    pair_accuracy,
    paired_bootstrap,
    paired_bootstrap_of,
    plcc,
    rmse,
    srcc,
    worst_for_missing,
)

Rows = NDArray[np.intp]
"""Numbers of images."""

_NAN = float("nan")


@dataclass(frozen=True)
class Agreement:
    """One metric's agreement with the opinions of one part of a set.

    `plcc` and `rmse` follow `logistic_fit`, one fit for all resamples. `difference` is the first metric's SRCC minus
    this one's. Fields ending in _content are means over the contents with at least two unequal opinions, of which
    there are `n_contents`; NaN where there are none, as in sets of photographs. Intervals are 95 % bootstraps over
    contents.
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
    krcc_content: float
    pair_accuracy_content: float
    milliseconds: float
    signature: str
    difference: float = _NAN
    difference_interval: Interval = (_NAN, _NAN)
    p_holm: float = _NAN
    difference_content: float = _NAN
    difference_content_interval: Interval = (_NAN, _NAN)
    p_holm_content: float = _NAN

    @property
    def rank_by(self) -> float:
        """SRCC, pooled."""
        return self.srcc


@dataclass(frozen=True)
class _Part:
    """A part of a set: the numbers of its images, those of each content, and (images of the part,) contents."""

    name: str
    rows: Rows
    groups: list[Rows]
    contents: list[str]


def _signed(scores: Scores) -> Array:
    return worst_for_missing(scores.values if scores.higher_is_better else -scores.values)


def _agreement(part: _Part, scores: Scores, labels: Array, n: int) -> tuple[Agreement, Array]:
    """A metric's line without its tests, and its SRCC within each content, NaN where undefined."""
    values, rows = _signed(scores), part.rows
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
    line = Agreement(
        part=part.name,
        metric=scores.metric,
        reference=scores.reference,
        n_used=int(np.isfinite(scores.values[rows]).sum()),
        n_given=len(rows),
        srcc=srcc(here, opinions),
        srcc_interval=bootstrap_by_content(part.groups, pooled_srcc, n),
        plcc=plcc(here, opinions),
        plcc_interval=bootstrap_by_content(part.groups, pooled_pearson, n),
        plcc_is_linear=fit.is_linear,
        krcc=krcc(here, opinions),
        rmse=rmse(here, opinions),
        pair_accuracy=pair_accuracy(here, opinions),
        n_contents=within.n_used,
        srcc_content=within.mean,
        srcc_content_interval=bootstrap_mean(by_content[~np.isnan(by_content)], n),
        krcc_content=mean_within(krcc, here, opinions, part.contents).mean,
        pair_accuracy_content=mean_within(pair_accuracy, here, opinions, part.contents).mean,
        milliseconds=float(np.median(timed)) if timed.size else _NAN,
        signature=scores.signature,
    )
    return line, by_content


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
    described = _Part(part, rows, groups, names.tolist())
    lines, by_content = zip(*(_agreement(described, each, labels, n) for each in scores), strict=True)
    pooled = [_pooled_test(groups, _signed(scores[0]), _signed(each), labels, n) for each in scores[1:]]
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


def _pooled_test(groups: list[Rows], first: Array, second: Array, labels: Array, n: int) -> PairedTest:
    def difference(drawn: list[Rows]) -> float:
        chosen = np.concatenate(drawn)
        return srcc(first[chosen], labels[chosen]) - srcc(second[chosen], labels[chosen])

    return paired_bootstrap_of(groups, difference, n)
