"""The figures of a gaming report: gains in the metric's own spread, and what the witnesses saw.

The number of a metric at a PSNR is its worst-case gain: of each image the largest gain over all attacks, then the
mean over images. `WORST` names it, and the same over the attacks by hand and by gradient alone.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from drmetric.bench.gaming.run import BY_GRADIENT, BY_HAND, GamingReport
from drmetric.bench.judges import UNTOUCHED, Judge
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.spread import Spread
from drmetric.statistics import bootstrap_by_content, holm, paired_bootstrap_of, pooled_mean

ALL, WORST_BY_HAND, WORST_BY_GRADIENT = "worst of all", "worst by hand", "worst by gradient"
WORST = {ALL: (*BY_HAND, *BY_GRADIENT), WORST_BY_HAND: BY_HAND, WORST_BY_GRADIENT: BY_GRADIENT}


@dataclass(frozen=True)
class Line:
    """What one attack, or the worst of several, gains by one metric at one PSNR.

    Attributes:
        untouched, attacked: mean scores of the images before and after, as the metric gives them.
        gain: mean over images, in spreads; positive where the score improved.
        low, high: 95 % percentile interval of the mean, bootstrapped over contents.
        raised: share of the images whose score improved.
        difference: the first metric's gain minus this one's, mean over the images of both, with its interval and its
            p value (paired bootstrap over contents, Holm's correction over the metrics); for `WORST` only.
        n_used, n_given: images with a gain, and images.
        attack_used: for `WORST` the attack that was the worst on most images.
        witnesses: mean over images of what each saw; see `drmetric.bench.gaming.settings.heading`.
        remark: why images are missing.
    """

    metric: str
    reference: str
    psnr: float
    attack: str
    untouched: float
    attacked: float
    gain: float
    low: float
    high: float
    raised: float
    difference: float
    difference_low: float
    difference_high: float
    p_holm: float
    n_used: int
    n_given: int
    attack_used: str
    witnesses: dict[str, float]
    remark: str
    spread: Spread
    signature: str


@dataclass(frozen=True)
class _Gain:
    """One attack on one image: its gain, and the row that it is from."""

    content: str
    value: float
    untouched: float
    attacked: float
    row: Row


Gains = Mapping[str, _Gain]
"""By image."""


def lines(report: GamingReport) -> list[Line]:
    """A line for each PSNR, attack (the worst first) and metric, in the order of the metrics."""
    tables = [_gains(judge, spread, report.rows) for judge, spread in zip(report.judges, report.spreads, strict=True)]
    made = []
    for psnr in report.settings.psnrs:
        for attack in (*WORST, *BY_HAND, *BY_GRADIENT):
            of_metrics = [_worst(table, psnr, WORST.get(attack, (attack,))) for table in tables]
            group = [_line(report, number, psnr, attack, gains) for number, gains in enumerate(of_metrics)]
            made += _compared(group, of_metrics, report) if attack in WORST else group
    return made


def _gains(judge: Judge, spread: Spread, rows: Sequence[Row]) -> dict[tuple[float, str], Gains]:
    """Gains by PSNR and attack."""
    sign = 1 if judge.metric.higher_is_better else -1
    own = [row for row in rows if row.metric == judge.label]
    untouched = {row.image: row.score for row in own if row.method == UNTOUCHED}
    table: defaultdict[tuple[float, str], dict[str, _Gain]] = defaultdict(dict)
    for row in own:
        before, wanted = untouched[row.image], row.settings["psnr"]
        if wanted is not None and row.score is not None and row.method is not None and before is not None:
            value = sign * (row.score - before) / spread.sd
            table[wanted, row.method][row.image] = _Gain(row.details["content"], value, before, row.score, row)
    return dict(table)


def _worst(table: Mapping[tuple[float, str], Gains], psnr: float, attacks: Sequence[str]) -> Gains:
    """The largest gain of each image over some attacks."""
    worst: dict[str, _Gain] = {}
    for attack in attacks:
        for image, gain in table.get((psnr, attack), {}).items():
            if image not in worst or gain.value > worst[image].value:
                worst[image] = gain
    return worst


def _line(report: GamingReport, index: int, psnr: float, attack: str, gains: Gains) -> Line:
    judge, settings = report.judges[index], report.settings
    values = [gain.value for gain in gains.values()]
    contents = _by_content({image: (gain.content, gain.value) for image, gain in gains.items()})
    low, high = bootstrap_by_content(contents, pooled_mean, settings.n_bootstrap, settings.seed)
    used = Counter(gain.row.method or "" for gain in gains.values())
    return Line(
        metric=judge.label,
        reference=judge.reference,
        psnr=psnr,
        attack=attack,
        untouched=fmean(gain.untouched for gain in gains.values()) if gains else math.nan,
        attacked=fmean(gain.attacked for gain in gains.values()) if gains else math.nan,
        gain=fmean(values) if values else math.nan,
        low=low,
        high=high,
        raised=fmean(value > 0 for value in values) if values else math.nan,
        difference=math.nan,
        difference_low=math.nan,
        difference_high=math.nan,
        p_holm=math.nan,
        n_used=len(values),
        n_given=len(report.subjects),
        attack_used=used.most_common(1)[0][0] if used else "",
        witnesses={witness.label: _seen(witness, gains, report.rows) for witness in report.witnesses},
        remark=_remark(report.rows, judge, psnr, WORST.get(attack, (attack,))),
        spread=report.spreads[index],
        signature=judge.metric.signature,
    )


def _by_content(values: Mapping[str, tuple[str, float]]) -> list[list[float]]:
    """Values of the images of each content, from (content, value) by image."""
    contents: defaultdict[str, list[float]] = defaultdict(list)
    for content, value in values.values():
        contents[content].append(value)
    return list(contents.values())


def _seen(witness: Judge, gains: Gains, rows: Sequence[Row]) -> float:
    """Mean of a witness over the attacked images; less what it says of the untouched ones where these are no peak."""
    before: dict[str, float] = {}
    if witness.reference != "untouched":
        for row in rows:
            if row.method == UNTOUCHED and row.score is not None:
                before[row.image] = _known(row.details["witnesses"].get(witness.label))
    said = {image: _known(gain.row.details["witnesses"].get(witness.label)) for image, gain in gains.items()}
    values = [value - before.get(image, 0.0) for image, value in said.items()]
    values = [value for value in values if math.isfinite(value)]
    return fmean(values) if values else math.nan


def _known(said: float | str | None) -> float:
    return said if isinstance(said, float) else math.nan


def _remark(rows: Sequence[Row], judge: Judge, psnr: float, attacks: Sequence[str]) -> str:
    """Why attacks gave no score, with the number of images."""
    reasons = Counter(
        row.failure.error if row.failed else row.error
        for row in rows
        if row.metric == judge.label and row.settings["psnr"] == psnr and row.method in attacks and row.score is None
    )
    return "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))


def _compared(group: list[Line], gains: Sequence[Gains], report: GamingReport) -> list[Line]:
    """The lines of all metrics with the difference of the first from each other."""
    settings = report.settings
    tests = []
    for other in gains[1:]:
        both = {
            image: (first.content, first.value - other[image].value)
            for image, first in gains[0].items()
            if image in other and math.isfinite(first.value - other[image].value)
        }
        tests.append(
            paired_bootstrap_of(_by_content(both), pooled_mean, settings.n_bootstrap, settings.seed) if both else None
        )
    corrected = iter(holm([test.p_value for test in tests if test]).tolist())
    return group[:1] + [
        replace(
            line,
            difference=test.difference,
            difference_low=test.low,
            difference_high=test.high,
            p_holm=next(corrected),
        )
        if test
        else line
        for line, test in zip(group[1:], tests, strict=True)
    ]
