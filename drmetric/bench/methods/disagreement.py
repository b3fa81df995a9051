"""Where to look: the images on which methods differ most, and those on which metrics disagree most.

Scores are (metrics, methods, images), turned so that higher is better, NaN where there is none. Differences are
counted in deviations of a metric: of its scores between methods, within images.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from drmetric.statistics import Array


@dataclass(frozen=True)
class Disagreement:
    """An image on which one metric prefers a method to another and a second metric the other way round.

    Attributes:
        image: its number.
        metrics: numbers of the two metrics.
        methods: numbers of the method that the first metric prefers and of the one that the second does.
        strength: the lesser of the two preferences, in deviations.
    """

    image: int
    metrics: tuple[int, int]
    methods: tuple[int, int]
    strength: float


def spreads(values: Array) -> Array:
    """(images,) deviation of the methods from one another, mean over metrics; 0 where there is none to see."""
    variances = _mean_of_known((_in_deviations(values) - _centres(_in_deviations(values))) ** 2, axis=1)
    return np.nan_to_num(_mean_of_known(np.sqrt(variances), axis=0))


def disagreements(values: Array) -> list[Disagreement]:
    """The strongest disagreement of two metrics on each image that has one, the strongest first."""
    scaled = _in_deviations(values)
    n_metrics, n_methods, n_images = values.shape
    strongest = np.zeros(n_images)
    found = np.zeros((n_images, 4), dtype=int)
    for a, b in combinations(range(n_metrics), 2):
        for x in range(n_methods):
            for y in range(n_methods):
                strength = np.nan_to_num(np.minimum(scaled[a, x] - scaled[a, y], scaled[b, y] - scaled[b, x]))
                stronger = strength > strongest
                strongest[stronger] = strength[stronger]
                found[stronger] = a, b, x, y
    found_on = [int(image) for image in np.argsort(-strongest, kind="stable") if strongest[image] > 0]
    return [_disagreement(image, found[image].tolist(), float(strongest[image])) for image in found_on]


def _disagreement(image: int, numbers: list[int], strength: float) -> Disagreement:
    first_metric, second_metric, first_method, second_method = numbers
    return Disagreement(image, (first_metric, second_metric), (first_method, second_method), strength)


def _in_deviations(values: Array) -> Array:
    pooled = _mean_of_known(_mean_of_known((values - _centres(values)) ** 2, axis=1), axis=1)
    return values / np.sqrt(np.where(pooled > 0, pooled, np.nan))[:, None, None]


def _centres(values: Array) -> Array:
    return _mean_of_known(values, axis=1)[:, None]


def _mean_of_known(values: Array, axis: int) -> Array:
    """Mean without NaN; NaN where nothing is known."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)
