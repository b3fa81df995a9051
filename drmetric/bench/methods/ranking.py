"""Ranks of restoration methods: means with intervals, ties with the best, and how far metrics agree.

Scores are (metrics, methods, images). An image that a method failed on counts as the worst score that the metric can
give, so that a failure never pays, whatever the scores of the others. By a metric without such a bound a method with
failures has no mean, and its place is behind all methods with fewer. An image that a metric says nothing about,
whatever the method, is left out for that metric. Resamples are over images, the same for all methods: differences are
paired.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from drmetric.bench.composites import Composite
from drmetric.bench.judges import Judge
from drmetric.bench.scores.rows import Failure, Row
from drmetric.metrics.base import Metric
from drmetric.metrics.consistency import GUARDS
from drmetric.statistics import DRAWS_AT_ONCE, Array, holm, least_p_value

ALPHA = 0.05


@dataclass
class MethodScores:
    """Scores of all images, (metrics, methods, images), in the order of the lists; NaN where there is none.

    Attributes:
        values: as the metrics give them.
        seconds: spent in the metric, without reading files; the first method bears the cost of the reference.
        consistency: (methods, images) of the outputs with their inputs, by the names of `drmetric.metrics.consistency`.
        applies: False where a metric says nothing about this kind of image, such as without ground truth.
        errors: scores that are missing and should not be.
        kept: how many were taken from an earlier run.
        devices: what computed the others: GPUs by their names.
        suspects: see `drmetric.bench.scores.rows.suspects`.
    """

    judges: list[Judge]
    methods: list[str]
    images: list[str]
    values: Array = field(init=False)
    seconds: Array = field(init=False)
    applies: NDArray[np.bool_] = field(init=False)
    consistency: dict[str, Array] = field(init=False)
    errors: list[Failure] = field(default_factory=list)
    kept: int = 0
    devices: set[str] = field(default_factory=set)
    suspects: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = (len(self.judges), len(self.methods), len(self.images))
        self.values, self.seconds = np.full(shape, np.nan), np.full(shape, np.nan)
        self.applies = np.ones(shape, dtype=bool)
        self.consistency = {name: np.full(shape[1:], np.nan) for name in GUARDS}

    def only(self, numbers: Sequence[int]) -> "MethodScores":
        """The scores of these metrics alone, with all errors."""
        chosen = MethodScores([self.judges[number] for number in numbers], self.methods, self.images)
        rows = list(numbers)
        chosen.values, chosen.seconds, chosen.applies = self.values[rows], self.seconds[rows], self.applies[rows]
        chosen.errors, chosen.kept, chosen.devices = self.errors, self.kept, self.devices
        chosen.consistency, chosen.suspects = self.consistency, self.suspects
        return chosen

    @property
    def given(self) -> NDArray[np.bool_]:
        """(metrics, images) the images that the metric can be asked about."""
        return np.asarray(np.isfinite(self.values).any(axis=1) | self.applies.all(axis=1))

    def put(self, index: tuple[int, int, int], row: Row) -> None:
        """Enter the row of (metric, method, image)."""
        if row.score is not None:
            self.values[index], self.seconds[index] = row.score, row.seconds
            for name, figure in row.consistency.items() if self.judges[index[0]].is_guarded else ():
                self.consistency[name][index[1:]] = figure
        elif row.failed:
            self.errors.append(row.failure)
        else:
            self.applies[index] = False


@dataclass(frozen=True)
class Standing:
    """One method under one metric.

    Attributes:
        mean: of its images, failures counted as above; NaN where all failed, or one by a metric without a bound.
        low, high: 95 % percentile interval of the mean, over images.
        rank: 1 is the best mean; equal means share the better rank.
        behind: the best method's mean minus this one's, turned so that it is never negative; 0 for the best.
        p_holm: paired bootstrap test of that difference, Holm's correction over the methods; NaN for the best.
        tied: whether it is the best, or does not differ from it significantly at 5 %, which one image cannot tell.
        n_used, n_given: images with a score, and images that the metric could be asked about.
        seconds: median time of the metric on one image.
    """

    method: str
    metric: str
    reference: str
    mean: float
    low: float
    high: float
    rank: int
    behind: float
    p_holm: float
    tied: bool
    n_used: int
    n_given: int
    seconds: float

    @property
    def has_mean(self) -> bool:
        """Whether the metric gives the method a mean; its rank alone says nothing where it gives none to any."""
        return math.isfinite(self.mean)


@dataclass(frozen=True)
class Ranking:
    """Everything that is worked out from the scores.

    Attributes:
        standings: by metric, in the order of the scores, each in the order of the methods.
        mean_ranks: (methods,) means of the ranks over the metrics by which a method has a mean, without composites and
            those of restoration consistency unless there are no others; NaN where no such metric is left.
        agreement: (metrics, metrics) mean over images of Kendall's tau-b between the orders of the methods.
        values: (metrics, methods, images) scores, turned so that higher is better; NaN where there is none.
        filled: the same with failures as the worst that the metric can give, minus infinity where it has no bound.
        lead: number of the metric that orders the methods: the first of quality by which a method has a mean. Where
            there is none, the first of quality; where there is none of quality, of all.
    """

    standings: list[list[Standing]]
    mean_ranks: Array
    agreement: Array
    values: Array
    filled: Array
    lead: int = 0

    @property
    def leading(self) -> list[Standing]:
        """The standings by the metric that leads."""
        return self.standings[self.lead]

    @property
    def order(self) -> list[int]:
        """The methods' numbers, best by the leading metric first; of equal ones the better mean rank."""
        return sorted(range(len(self.leading)), key=lambda each: (self.leading[each].rank, self.mean_ranks[each]))


def rank(scores: MethodScores, n_bootstrap: int = 10_000, seed: int = 0) -> Ranking:
    """Rank the methods by every metric; every metric must apply to one image at least."""
    signs = np.array([1.0 if judge.metric.higher_is_better else -1.0 for judge in scores.judges])
    values = scores.values * signs[:, None, None]
    worst = np.array([worst_score(judge.metric) for judge in scores.judges])
    failed = np.isnan(values) & scores.given[:, None]
    filled = np.where(failed, worst[:, None, None], values)
    standings = [_standings(scores, number, filled[number], n_bootstrap, seed) for number in range(len(scores.judges))]
    ranks = np.array([[standing.rank for standing in of_metric] for of_metric in standings])
    numbers = range(len(scores.judges))
    known = {number for number in numbers if any(standing.has_mean for standing in standings[number])}
    counted = [number for number in numbers if _counts(scores.judges[number])] or numbers
    counted = [number for number in counted if number in known]
    mean_ranks = ranks[counted].mean(axis=0) if counted else np.full(len(scores.methods), np.nan)
    leaders = [number for number in numbers if scores.judges[number].judges_quality] or numbers
    lead = next((number for number in leaders if number in known), leaders[0])
    return Ranking(standings, mean_ranks, agreement(filled), values, filled, lead)


def _counts(judge: Judge) -> bool:
    """Whether its ranks count in the mean rank: those of a composite do in its metrics."""
    return judge.judges_quality and not isinstance(judge.metric, Composite)


def _standings(scores: MethodScores, number: int, filled: Array, n_bootstrap: int, seed: int) -> list[Standing]:
    judge = scores.judges[number]
    given = scores.given[number]
    filled, seconds = filled[:, given], scores.seconds[number]
    used = np.isfinite(scores.values[number][:, given]).sum(axis=1)
    n_given = filled.shape[1]
    failed = n_given - used
    has_mean = (used > 0) & np.isfinite(filled).all(axis=1)
    # Without a bound any value will do for the resamples: methods with failures have no mean, and are not tested.
    filled = np.where(np.isfinite(filled), filled, 0.0)
    means = filled.mean(axis=1)
    placed = np.where(has_mean, means, means[has_mean].min(initial=0) - 1 - failed)
    ranks = 1 + (placed > placed[:, None]).sum(axis=1)
    best = int(np.argmin(ranks))
    lows, highs, p_values = _resampled(filled, best, has_mean & has_mean[best], n_bootstrap, seed)

    def standing(index: int) -> Standing:
        mean, low, high = (means[index], lows[index], highs[index]) if has_mean[index] else (np.nan, np.nan, np.nan)
        if not judge.metric.higher_is_better:
            mean, low, high = -mean, -high, -low
        timed = seconds[index][np.isfinite(seconds[index])]
        return Standing(
            method=scores.methods[index],
            metric=judge.label,
            reference=judge.reference,
            mean=float(mean),
            low=float(low),
            high=float(high),
            rank=int(ranks[index]),
            behind=float(means[best] - means[index]) if has_mean[best] and has_mean[index] else float("nan"),
            p_holm=float(p_values[index]) if has_mean[index] else float("nan"),
            tied=bool(has_mean[index]) and bool(ranks[index] == 1 or (n_given > 1 and p_values[index] >= ALPHA)),
            n_used=int(used[index]),
            n_given=n_given,
            seconds=float(np.median(timed)) if timed.size else float("nan"),
        )

    return [standing(index) for index in range(len(means))]


def worst_score(metric: Metric) -> float:
    """The worst that the metric can give, turned so that higher is better; minus infinity where it has no bound."""
    lowest, highest = metric.score_range
    return lowest if metric.higher_is_better else -highest


def _resampled(values: Array, best: int, tested: Array, n: int, seed: int) -> tuple[Array, Array, Array]:
    """Both ends of the interval of each method's mean, and its p against the best after Holm, NaN for the best.

    So many tests are corrected for as methods are `tested`; p of the others is NaN.

    The test is `statistics.paired_bootstrap`. One image has no spread to see: NaN and 1.
    """
    n_methods, n_images = values.shape
    nothing = np.full(n_methods, np.nan)
    lows, highs, p_values = nothing, nothing, np.ones(n_methods)
    if n_images > 1:
        means, resampled = values.mean(axis=1), resampled_means(values.T, n, seed)
        lows, highs = np.percentile(resampled, [2.5, 97.5], axis=0)
        observed, differences = means[best] - means, resampled[:, [best]] - resampled
        extreme = np.abs(differences - observed) >= np.abs(observed) - 1e-12
        p_values = np.maximum((1 + extreme.sum(axis=0)) / (n + 1), least_p_value(n_images))
    others = tested & (np.arange(n_methods) != best)
    corrected = nothing.copy()
    corrected[others] = holm(p_values[others])
    return lows, highs, corrected


def resampled_means(values: Array, n: int, seed: int) -> Array:
    """(n, columns) means of the rows of (rows, columns), the rows drawn n times with replacement.

    The draws are those of `drmetric.statistics` for the same n and seed.
    """
    count = len(values)
    generator = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // count)
    means = []
    for start in range(0, n, at_once):
        size = min(at_once, n - start)
        draws = generator.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times_drawn = np.bincount(draws.ravel(), minlength=size * count).reshape(size, count)
        means.append(times_drawn @ values / count)
    return np.concatenate(means)


def agreement(values: Array) -> Array:
    """Mean over images of Kendall's tau-b between metrics, each ordering the methods of an image.

    `values` is (metrics, methods, images), minus infinity where a method is last. Images of which one of two metrics
    has no values, or on which it tells no methods apart, are left out for these two. NaN where no image is left.
    """
    orders = np.array([[_order(of[a], of[b]) for a, b in combinations(range(len(of)), 2)] for of in values])
    matrix = np.eye(len(values))
    for a, b in combinations(range(len(values)), 2):
        matrix[a, b] = matrix[b, a] = _mean_tau(orders[a], orders[b])
    return matrix


def _order(first: Array, second: Array) -> Array:
    """1 where the first is larger, -1 where the second is, 0 where they are equal; NaN where there is none."""
    unknown = np.isnan(first) | np.isnan(second)
    return np.where(unknown, np.nan, (first > second).astype(float) - (first < second))


def _mean_tau(first: Array, second: Array) -> float:
    """Mean tau-b of (pairs, images) signs of differences, over images where it is defined."""
    known = np.isfinite(first) & np.isfinite(second)
    x, y = np.where(known, first, 0), np.where(known, second, 0)
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    defined = scale > 0
    return float(np.mean((x * y).sum(axis=0)[defined] / scale[defined])) if defined.any() else float("nan")
