"""How often metrics choose the image of a pair that people chose (two-alternative forced choice).

Where a share p of the people chose the second image, a metric that prefers it gets p, one that prefers the first gets
1 - p, and equal scores get one half; the mean over the pairs is BAPPS' 2AFC score. A pair on which the metric failed
gets the smaller of p and 1 - p. Intervals are 95 % percentile bootstraps over pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from drmetric.bench.agreement.correlation import COST, SUBJECT, Interval, MetricScores, Rows
from drmetric.bench.tables import Column
from drmetric.statistics import Array, bootstrap_mean, holm, paired_bootstrap


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
    difference: float = math.nan
    difference_interval: Interval = (math.nan, math.nan)
    p_holm: float = math.nan

    @property
    def rank_by(self) -> float:
        """The 2AFC score."""
        return self.score


def credits(scores: MetricScores, shares: Array) -> Array:
    """(pairs,) what the metric gets for each pair, 0..1; see the module.

    Args:
        scores: of the first and the second image of each pair, in turns.
        shares: (pairs,) of the people who chose the second image.
    """
    first, second = scores.signed.reshape(-1, 2).T
    given = np.where(second > first, shares, np.where(first > second, 1 - shares, 0.5))
    return np.where(np.isfinite(first) & np.isfinite(second), given, np.minimum(shares, 1 - shares))


def compare(part: str, scores: Sequence[MetricScores], rows: Rows, shares: Array, n: int = 1000) -> list[PairAgreement]:
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


def _line(part: str, scores: MetricScores, rows: Rows, shares: Array, gained: Array, n: int) -> PairAgreement:
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
        milliseconds=float(np.median(timed)) if timed.size else math.nan,
        signature=scores.signature,
    )


COLUMNS = (
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
