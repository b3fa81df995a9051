"""Agreement of scores with labels: correlations, fits, intervals and tests, with the sign kept.

Everywhere, `scores` and `labels` are 1-D arrays of one length, finite, and higher is better in both (turn a
lower-is-better metric round before it comes here). Three rules hold for every statistic:

* scores that are all equal order nothing and count as 0 (0.5 for pair accuracy): they are not dropped;
* labels that are all equal, or fewer than two of them, leave nothing to agree with: the value is NaN, and
  `mean_within` reports how many groups had one ("n used of n given");
* nothing is made absolute: a metric that orders the images the wrong way round gets a negative value.
"""

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drmetric.errors import InputError, optional

__all__ = [
    "DRAWS_AT_ONCE",
    "Array",
    "LogisticFit",
    "PairedTest",
    "Statistic",
    "Within",
    "auc",
    "bootstrap_by_content",
    "bootstrap_mean",
    "difference_test",
    "holm",
    "interval_of",
    "krcc",
    "least_p_value",
    "logistic_fit",
    "mean_within",
    "pair_accuracy",
    "paired_bootstrap",
    "paired_bootstrap_of",
    "plcc",
    "pooled_mean",
    "resampled_by_content",
    "rmse",
    "srcc",
    "worst_for_missing",
]

Array = NDArray[np.float64]
Statistic = Callable[[ArrayLike, ArrayLike], float]
T = TypeVar("T")

_STEEPEST = 1e-6
"""The least width of a logistic, in deviations of the scores."""
DRAWS_AT_ONCE = 4_000_000
"""Resampled values that are in memory at a time."""


def _numbers(values: ArrayLike, name: str) -> Array:
    """Floats; what a masked array hides is NaN."""
    try:
        return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{name} are no numbers: {error}", f"{name} = [float(each) for each in {name}]") from error


def _check_resamples(n: int) -> None:
    if n < 1:
        raise InputError(f"n is {n}; wanted at least one resample", "n=1000")


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    x, y = _numbers(scores, "scores"), _numbers(labels, "labels")
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"scores and labels must be 1-D and of one length, got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        if np.isfinite(y).all():
            raise InputError("scores must be finite, got NaN or infinity", "scores = worst_for_missing(scores)")
        raise InputError(
            "labels must be finite, got NaN or infinity: an item without a label says nothing",
            "scores, labels = scores[np.isfinite(labels)], labels[np.isfinite(labels)]",
        )
    return x, y


def _constant(values: Array) -> bool:
    return values.size < 2 or bool(np.all(values == values[0]))


def _correlation(scores: ArrayLike, labels: ArrayLike, correlate: Callable[[Array, Array], Any]) -> float:
    x, y = _checked(scores, labels)
    if _constant(y):
        return float("nan")
    return 0.0 if _constant(x) else float(correlate(x, y).statistic)


def _scipy(part: str) -> Any:
    """A part of SciPy, where it is needed: means and their intervals do without the extra that installs it."""
    return optional(f"scipy.{part}", "bench", "drmetric.statistics")


def srcc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Spearman's rank correlation, ties by mean rank; in [-1, 1]."""
    return _correlation(scores, labels, _scipy("stats").spearmanr)


def krcc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Kendall's rank correlation tau-b; in [-1, 1]."""
    return _correlation(scores, labels, _scipy("stats").kendalltau)


@dataclass(frozen=True)
class LogisticFit:
    """Labels as predicted from the scores, and how the prediction was made.

    Attributes:
        predicted: (n,) fitted labels.
        direction: +1 where the fitted curve rises with the score, -1 where it falls.
        is_linear: True where the stated fallback, the straight line, stands in for the logistic.
    """

    predicted: Array
    direction: int
    is_linear: bool


def logistic_fit(scores: ArrayLike, labels: ArrayLike) -> LogisticFit:
    """Least-squares fit of the 4-parameter logistic of VQEG (2000, FR-TV phase I).

    f(x) = b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|)), on standardised scores. The optimiser starts from b1 = max(y),
    b2 = min(y) and from these exchanged, with b3 = median(x) and b4 = std(x), and from the best of two grids of b3 and
    b4, where b1 and b2 are linear: in units of the deviation, and of the range between the quartiles, as beside far
    outliers all other scores lie within little of the former. The least error is kept. The line f(x) = a x + b is used
    instead, and flagged, below five points, where the optimiser does not converge, and where it ends in a local minimum
    that explains less of the variance (by more than .001) than the line.
    """
    x, y = _checked(scores, labels)
    if _constant(x):
        return LogisticFit(np.full_like(y, y.mean()), 0, True)
    x = (x - x.mean()) / x.std()
    slope, intercept = np.polyfit(x, y, 1)
    line = LogisticFit(slope * x + intercept, int(np.sign(slope)), True)
    if x.size < 5 or _constant(y):
        return line

    def logistic(z: Array, b1: float, b2: float, b3: float, b4: float) -> Array:
        steepness = np.clip((z - b3) / max(abs(b4), _STEEPEST), -60, 60)
        return np.asarray(b2 + (b1 - b2) / (1 + np.exp(-steepness)))

    fits, optimize = [], _scipy("optimize")
    middle = (float(np.median(x)), 1.0)
    between = float(np.subtract(*np.quantile(x, [0.75, 0.25])))
    grids = (_best_of_grid(x, y, unit) for unit in (1.0, between) if unit > _STEEPEST)
    for start in ((y.max(), y.min(), *middle), (y.min(), y.max(), *middle), *grids):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optimize.OptimizeWarning)
                fits.append(optimize.curve_fit(logistic, x, y, p0=start, maxfev=5000)[0])
        except RuntimeError:
            continue
    if not fits:
        return line
    parameters = min(fits, key=lambda fit: float(np.sum((logistic(x, *fit) - y) ** 2)))
    predicted = logistic(x, *parameters)
    excess = np.sum((predicted - y) ** 2) - np.sum((line.predicted - y) ** 2)
    if not np.isfinite(excess) or excess > 1e-3 * np.sum((y - y.mean()) ** 2):
        return line
    return LogisticFit(predicted, int(np.sign(parameters[0] - parameters[1])), False)


def _best_of_grid(x: Array, y: Array, unit: float) -> tuple[float, float, float, float]:
    """The logistic of the least error among those of a grid of centres and widths, the latter in units of
    `unit`, by its four parameters."""
    centres = np.quantile(x, [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
    widths = unit * np.array([0.05, 0.2, 0.5, 1.0, 2.0])
    centre, width = (each.ravel() for each in np.meshgrid(centres, widths))
    steps = 1 / (1 + np.exp(-np.clip((x - centre[:, None]) / width[:, None], -60, 60)))
    offsets = steps - steps.mean(axis=1, keepdims=True)
    variances = (offsets**2).sum(axis=1)
    slopes = np.divide(offsets @ (y - y.mean()), variances, out=np.zeros_like(variances), where=variances > 1e-12)
    best = int(np.argmax(slopes**2 * variances))
    low = float(y.mean() - slopes[best] * steps[best].mean())
    return low + float(slopes[best]), low, float(centre[best]), float(width[best])


def plcc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Pearson's correlation of labels with `logistic_fit`, times the direction of the curve; in [-1, 1]."""
    x, y = _checked(scores, labels)
    if _constant(y):
        return float("nan")
    fit = logistic_fit(x, y)
    if _constant(fit.predicted):
        return 0.0
    return fit.direction * float(np.corrcoef(fit.predicted, y)[0, 1])


def rmse(scores: ArrayLike, labels: ArrayLike) -> float:
    """Root mean squared error of `logistic_fit`, in units of the labels; at least 0, lower is better."""
    x, y = _checked(scores, labels)
    return float(np.sqrt(np.mean((logistic_fit(x, y).predicted - y) ** 2))) if y.size else float("nan")


def pair_accuracy(scores: ArrayLike, labels: ArrayLike) -> float:
    """Share of pairs with unequal labels that the scores order the same way; equal scores count one half."""
    x, y = _checked(scores, labels)
    decided = agreed = 0.0
    for place in range(1, y.size):  # row by row: all pairs of a large set at once do not fit in memory
        label_order = np.sign(y[place] - y[:place])
        decided += np.count_nonzero(label_order)
        agreed += float(np.sign(x[place] - x[:place]) @ label_order)
    return (agreed / decided + 1) / 2 if decided else float("nan")


def worst_for_missing(scores: ArrayLike) -> Array:
    """Replace NaN and minus infinity (an item the metric failed on) by a score just below the metric's worst one.

    So a failure costs the metric: it ranks last, below every image it could score. All missing gives all 0. Infinity,
    as of the PSNR of equal images, becomes a score just above the best one. Higher scores are better.
    """
    x = _numbers(scores, "scores").copy()
    finite = x[np.isfinite(x)]
    x[np.isnan(x) | (x == -np.inf)] = np.nextafter(finite.min(), -np.inf) if finite.size else 0.0
    x[x == np.inf] = np.nextafter(finite.max() if finite.size else 0.0, np.inf)
    return x


@dataclass(frozen=True)
class Within:
    """A statistic inside each group, {group: value} (NaN where undefined), and its mean over the groups."""

    values: dict[Hashable, float]

    @property
    def n_given(self) -> int:
        return len(self.values)

    @property
    def n_used(self) -> int:
        return sum(not np.isnan(value) for value in self.values.values())

    @property
    def mean(self) -> float:
        defined = [value for value in self.values.values() if not np.isnan(value)]
        return float(np.mean(defined)) if defined else float("nan")


def mean_within(statistic: Statistic, scores: ArrayLike, labels: ArrayLike, groups: Sequence[Hashable]) -> Within:
    """`statistic` inside each group of images (say, all restorations of one content); see `Within.mean`."""
    x, y = _checked(scores, labels)
    if len(groups) != x.size:
        raise InputError(f"groups must name one group an image: got {len(groups)} for {x.size} images")
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return Within({group: statistic(x[rows], y[rows]) for group, rows in members.items()})


def resampled_by_content(
    contents: Sequence[T], statistic: Callable[[list[T]], float], n: int = 1000, seed: int = 0
) -> Array:
    """(n,) values of `statistic`, each of as many contents drawn with replacement; none of fewer than two contents.

    Images of one content are not independent, so contents are drawn and not images: `contents` holds whatever
    belongs to each (one value, or its scores and labels). Equal seeds draw alike, so that two metrics can be compared
    draw by draw (`difference_test`).
    """
    _check_resamples(n)
    if len(contents) < 2:
        return np.empty(0)
    draws = np.random.default_rng(seed).integers(len(contents), size=(n, len(contents)))
    return np.array([statistic([contents[i] for i in draw]) for draw in draws])


def pooled_mean(contents: Sequence[Sequence[float]]) -> float:
    """Mean of all values of all contents."""
    return fmean(value for content in contents for value in content)


def bootstrap_by_content(
    contents: Sequence[T], statistic: Callable[[list[T]], float], n: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of `statistic`, resampling contents with replacement (`resampled_by_content`).

    Resamples in which it is NaN are left out. One content has no spread to see: (NaN, NaN).
    """
    return interval_of(resampled_by_content(contents, statistic, n, seed))


def interval_of(resampled: Array) -> tuple[float, float]:
    """95 % percentile interval of (n,) resampled values, NaN left out; (NaN, NaN) of none."""
    known = resampled[~np.isnan(resampled)]
    return _percentiles(known) if known.size else (float("nan"), float("nan"))


def bootstrap_mean(values: ArrayLike, n: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of a mean, resampling the values; NaN for fewer than two."""
    _check_resamples(n)
    x = _numbers(values, "values")
    return _percentiles(_resampled_means(x, n, seed)) if x.size > 1 else (float("nan"), float("nan"))


def _percentiles(values: Array) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _resampled_means(values: Array, n: int, seed: int) -> Array:
    """(n,) means of as many values drawn with replacement, in blocks that fit in memory."""
    generator = np.random.default_rng(seed)
    block = max(1, DRAWS_AT_ONCE // values.size)
    sizes = [min(block, n - start) for start in range(0, n, block)]
    draws = (generator.integers(values.size, size=(size, values.size)) for size in sizes)
    return np.concatenate([values[draw].mean(axis=1) for draw in draws])


@dataclass(frozen=True)
class PairedTest:
    """First minus second: mean difference, its 95 % interval, two-sided p value of "no difference"."""

    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(first: ArrayLike, second: ArrayLike, n: int = 10_000, seed: int = 0) -> PairedTest:
    """Do two metrics differ on the same contents? Shifted paired bootstrap over contents.

    Args:
        first, second: (contents,) per-content values of a statistic, in one order; contents where either is
            NaN are left out.
        n: resamples; p is (1 + those at least as far from the observed difference as it is from 0) / (n + 1), and not
            below `least_p_value`.

    Fewer than two contents cannot tell: p = 1 and a NaN interval (Efron and Tibshirani, 1993, chapter 16).
    """
    _check_resamples(n)
    x, y = _numbers(first, "first"), _numbers(second, "second")
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"paired values must be 1-D and of one length, got {x.shape} and {y.shape}")
    if np.isinf(x).any() or np.isinf(y).any():
        raise InputError(
            "paired values must be finite or NaN, got infinity", "first = np.where(np.isinf(first), np.nan, first)"
        )
    differences = (x - y)[~np.isnan(x - y)]
    if differences.size < 2:
        observed = float(differences.mean()) if differences.size else float("nan")
        return PairedTest(observed, float("nan"), float("nan"), 1.0)
    observed = float(differences.mean())
    return difference_test(observed, _resampled_means(differences, n, seed), differences.size)


def paired_bootstrap_of(
    contents: Sequence[T], difference: Callable[[list[T]], float], n: int = 1000, seed: int = 0
) -> PairedTest:
    """`paired_bootstrap` of a difference that is no mean over contents, such as that of two pooled correlations.

    Args:
        contents: whatever belongs to each content.
        difference: of contents, each as often as it was drawn.
        n: resamples.
    """
    resampled = resampled_by_content(contents, difference, n, seed)
    return difference_test(difference(list(contents)), resampled, len(contents))


def difference_test(observed: float, resampled: Array, contents: int) -> PairedTest:
    """Shifted bootstrap test of a difference, from (n,) resampled ones, NaN left out; of none, p = 1.

    Of `contents` that were resampled, p is not below `least_p_value`.
    """
    known = resampled[~np.isnan(resampled)]
    if not known.size:
        return PairedTest(observed, float("nan"), float("nan"), 1.0)
    low, high = _percentiles(known)
    extreme = np.abs(known - observed) >= abs(observed) - 1e-12
    p_value = float((1 + extreme.sum()) / (known.size + 1))
    return PairedTest(observed, low, high, max(p_value, least_p_value(contents)))


def least_p_value(contents: int) -> float:
    """The least p of a two-sided paired test of so many contents: had each difference been drawn with either sign, that
    often all would have had one."""
    return min(1.0, 2.0 ** (1 - contents))


def holm(p_values: ArrayLike) -> Array:
    """Holm's (1979) adjusted p values, in the order given: compare each with the family-wise level."""
    p = _numbers(p_values, "p_values")
    if p.ndim != 1 or (p < 0).any() or (p > 1).any():
        raise InputError(f"p values must be 1-D and within [0, 1], got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return adjusted


def auc(values: ArrayLike, is_positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive's value is above a negative's; equal values count one half.

    Args:
        values: (n,) finite.
        is_positive: (n,) booleans.

    Returns:
        In [0, 1], 0.5 by chance; NaN where all are positive, or none.
    """
    x, positive = _checked(values, is_positive)
    if not np.isin(positive, (0, 1)).all():
        raise InputError("is_positive must be booleans, got other numbers", "is_positive = np.asarray(is_positive) > 0")
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = _scipy("stats").rankdata(x)
    return float((ranks[positive > 0].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
