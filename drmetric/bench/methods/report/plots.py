"""Coordinates of a report's pictures: distributions of scores, courses of ranks, agreement of metrics."""

from dataclasses import dataclass
from textwrap import wrap

import numpy as np

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.ranking import Standing
from drmetric.bench.methods.tables import decimals, loss
from drmetric.bench.tables import number
from drmetric.metrics.base import Metric
from drmetric.statistics import Array

MOST_TICKS = 150
"""Scores drawn one by one for each method; of more, quantiles at equal distances."""
COLUMN, ROW, LABEL = 112, 26, 160
"""Pixels between metrics, between ranks, and for the names at both ends of the plot of ranks."""
LINE = 14
"""Characters of a metric's name on one line above its column."""

HUES, SHAPES = 6, ("circle", "square", "triangle", "diamond")
"""What tells the marks of methods apart in the plot of ranks."""


@dataclass(frozen=True)
class Strip:
    """Scores of one method by one metric, in per cent of the axis: each of them, quartiles, and the mean's interval.

    Failures are among them as the worst score, where the metric has one; where not, there is no mean.
    """

    method: str
    ticks: list[float]
    box: tuple[float, float, float]
    mean: float | None
    interval: tuple[float, float] | None
    text: str


@dataclass(frozen=True)
class Distribution:
    """Strips of all methods by one metric, best first, and the ends of their axis."""

    metric: str
    better: str
    low: str
    high: str
    strips: list[Strip]


def distributions(board: MethodBoard) -> list[Distribution]:
    """A distribution for each metric."""
    found = []
    for judge, filled, standings in zip(
        board.scores.judges, board.ranking.filled, board.ranking.standings, strict=True
    ):
        order = sorted(range(len(standings)), key=lambda method: standings[method].rank)
        drawn = [method for method in order if standings[method].n_used]
        values = {method: np.sort(filled[method][np.isfinite(filled[method])]) for method in drawn}
        if not judge.metric.higher_is_better:
            values = {method: -of_method[::-1] for method, of_method in values.items()}
        if not drawn:
            continue
        low, high = (float(end) for end in np.percentile(np.concatenate([*values.values()]), [0, 100]))
        span = (high - low) or 1.0
        form = f".{decimals(standings)}f"
        strips = [_strip(judge.metric, values[m], standings[m], low, span, form) for m in drawn]
        better = "higher is better" if judge.metric.higher_is_better else "lower is better"
        found.append(Distribution(judge.head, better, number(low, form), number(high, form), strips))
    return found


def _strip(metric: Metric, values: Array, standing: Standing, low: float, span: float, form: str) -> Strip:
    """That of sorted values."""
    drawn = np.quantile(values, np.linspace(0, 1, MOST_TICKS)) if values.size > MOST_TICKS else values

    def share(value: float) -> float:
        return round(100 * min(max((value - low) / span, 0.0), 1.0), 2)

    first, median, third = (share(quartile) for quartile in np.quantile(values, [0.25, 0.5, 0.75]))
    mean, ends, middle = None, None, f"median {number(np.median(values), form)}"
    failed = loss(metric, standing)
    text = f"no mean, {failed}; {middle} of the others"
    if standing.has_mean:
        mean = share(standing.mean)
        ends = (share(standing.low), share(standing.high)) if np.isfinite(standing.low) else (mean, mean)
        text = f"mean {number(standing.mean, form)}, {middle}, {failed or f'{values.size} images'}"
    return Strip(standing.method, [share(value) for value in drawn], (first, median, third), mean, ends, text)


@dataclass(frozen=True)
class Course:
    """One method's way through the metrics' orders: pixels of its points, its ranks in words, classes of its mark."""

    method: str
    points: list[tuple[float, float]]
    text: str
    mark: tuple[str, str, str]


@dataclass(frozen=True)
class Courses:
    """The plot of ranks: its size, the metrics' lines with their horizontal position, and a course a method."""

    width: int
    height: int
    metrics: list[tuple[list[str], float]]
    methods: list[Course]


def courses(board: MethodBoard) -> Courses:
    """Where each method stands by each metric; equal ranks are drawn in the order of the table."""
    standings, order = board.ranking.standings, board.ranking.order
    heads = [judge.head for judge in board.scores.judges]
    places = [sorted(order, key=lambda method: of_metric[method].rank) for of_metric in standings]
    columns = [LABEL + COLUMN * column for column in range(len(standings))]
    methods = []
    for position, method in enumerate(order):
        points = [(float(x), float(ROW * (place.index(method) + 2))) for x, place in zip(columns, places, strict=True)]
        ranks = ", ".join(f"{head} {of[method].rank}" for head, of in zip(heads, standings, strict=True))
        name = board.scores.methods[method]
        methods.append(Course(name, points, f"{name}: {ranks}", mark(position)))
    labels = [(wrap(head, LINE)[:2], float(x)) for head, x in zip(heads, columns, strict=True)]
    return Courses(columns[-1] + LABEL, ROW * (len(order) + 2), labels, methods)


def mark(position: int) -> tuple[str, str, str]:
    """Classes of hue, shape and filling: neighbours differ in hue, and no two of the first 48 in all three.

    >>> mark(0), mark(7)
    (('hue0', 'circle', 'full'), ('hue1', 'square', 'full'))
    """
    rounds, hue = divmod(position, HUES)
    filled, shape = divmod(rounds, len(SHAPES))
    return f"hue{hue}", SHAPES[shape], "hollow" if filled % 2 else "full"


@dataclass(frozen=True)
class Agreement:
    """One cell of the matrix: Kendall's tau, in text and as a share of colour in per cent, and its sign."""

    text: str
    share: int
    sign: str


def agreements(board: MethodBoard) -> list[tuple[str, list[Agreement]]]:
    """The rows of the matrix with the labels of the metrics."""
    return [
        (judge.head, [_agreement(float(tau)) for tau in row])
        for judge, row in zip(board.scores.judges, board.ranking.agreement, strict=True)
    ]


def _agreement(tau: float) -> Agreement:
    if np.isnan(tau):
        return Agreement("–", 0, "with")
    return Agreement(f"{tau:.2f}", round(60 * abs(tau)), "with" if tau >= 0 else "against")
