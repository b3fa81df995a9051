"""The figures of a fidelity report: on how many images a score falls, how far, and where the map points."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from drmetric.bench.fidelity.pointing import BY_CHANGE, BY_MAP
from drmetric.bench.fidelity.probes import Level, Probe
from drmetric.bench.fidelity.run import FidelityReport
from drmetric.bench.judges import Judge
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.spread import Spread
from drmetric.bench.tables import Cell
from drmetric.statistics import bootstrap_by_content, pooled_mean

FALL, FELL = "fall", "fell"


@dataclass(frozen=True)
class Line:
    """What one metric makes of one probe at one level.

    Attributes:
        falls: share of the images on which the score falls by more than the tolerance.
        fall: mean over images of how far it falls, in spreads; negative where it rises.
        auc, auc_of_change: mean over images, see `drmetric.bench.fidelity.pointing`; of local changes, and of metrics
            with maps.
        before, after: mean scores, as the metric gives them.
        seen: mean over images of what the witnesses say of the change, by name.
        n_used, n_given: images with a score before and after, and images.
        remark: why images are missing.
        values: the figures of each image, by content: what the means and intervals are of.
    """

    metric: str
    reference: str
    probe: Probe
    level: Level
    falls: Cell
    fall: Cell
    auc: Cell
    auc_of_change: Cell
    before: float
    after: float
    seen: dict[str, Cell]
    n_used: int
    n_given: int
    remark: str
    spread: Spread
    signature: str
    values: Mapping[str, Sequence[Mapping[str, float]]]


def lines(report: FidelityReport) -> list[Line]:
    """A line for each level, probe and metric, in the order of the settings."""
    by_metric: defaultdict[str, dict[tuple[str, str | None, str | None], Row]] = defaultdict(dict)
    for row in report.rows:
        by_metric[row.metric][row.image, row.method, row.settings["level"]] = row
    return [
        _line(report, number, probe, level, by_metric)
        for level in report.settings.levels
        for probe in report.settings.probes
        for number in range(len(report.judges))
    ]


Rows = Mapping[tuple[str, str | None, str | None], Row]
"""By image, method and level."""


def _line(report: FidelityReport, number: int, probe: Probe, level: Level, rows: Mapping[str, Rows]) -> Line:
    judge, spread, settings = report.judges[number], report.spreads[number], report.settings
    sign = 1 if judge.metric.higher_is_better else -1
    own = rows[judge.label]
    values: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    scores, missing = [], []
    for scene in report.subjects:
        base, row = own.get((scene.name, probe.base, None)), own.get((scene.name, probe.name, level))
        if base is None or row is None or base.score is None or row.score is None:
            missing.append(row or base)
            continue
        fall = sign * (base.score - row.score) / spread.sd
        found = {FALL: fall, FELL: float(fall > settings.tolerance)} if math.isfinite(fall) else {}
        values[scene.content].append(
            found | {key: row.details[key] for key in (BY_MAP, BY_CHANGE) if key in row.details}
        )
        scores.append((base.score, row.score))

    def cell(key: str) -> Cell:
        return mean_of(report, {content: [each[key] for each in of if key in each] for content, of in values.items()})

    return Line(
        metric=judge.label,
        reference=judge.reference,
        probe=probe,
        level=level,
        falls=cell(FELL),
        fall=cell(FALL),
        auc=cell(BY_MAP),
        auc_of_change=cell(BY_CHANGE),
        before=fmean(before for before, _ in scores) if scores else math.nan,
        after=fmean(after for _, after in scores) if scores else math.nan,
        seen={witness.label: _seen(witness, report, probe, level, rows) for witness in report.witnesses},
        n_used=len(scores),
        n_given=len(report.subjects),
        remark=_remark(missing),
        spread=spread,
        signature=judge.signature,
        values=values,
    )


def mean_of(report: FidelityReport, contents: Mapping[str, Sequence[float]]) -> Cell:
    """The mean over images and its 95 % interval, bootstrapped over contents; blank where there are none."""
    known = [[value for value in values if math.isfinite(value)] for values in contents.values()]
    known = [values for values in known if values]
    if not known:
        return Cell(math.nan)
    settings = report.settings
    return Cell(pooled_mean(known), *bootstrap_by_content(known, pooled_mean, settings.n_bootstrap, settings.seed))


def _seen(witness: Judge, report: FidelityReport, probe: Probe, level: Level, rows: Mapping[str, Rows]) -> Cell:
    values: defaultdict[str, list[float]] = defaultdict(list)
    for scene in report.subjects:
        row = rows[witness.label].get((scene.name, probe.name, level))
        if row is not None and row.score is not None:
            values[scene.content].append(row.score)
    return mean_of(report, values)


def _remark(missing: Sequence[Row | None]) -> str:
    """Why scores are missing, with the number of images."""
    reasons = Counter(
        "not scored unchanged" if row is None else row.failure.error if row.failed else row.error or ""
        for row in missing
    )
    return "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))


def overall(
    report: FidelityReport, lines: Sequence[Line], key: str, where: Callable[[Line], bool] = lambda line: True
) -> Cell:
    """The mean of a figure over the probes of some lines, each the mean over its images; interval over contents."""
    chosen = [line for line in lines if where(line)]
    contents: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for line in chosen:
        for content, images in line.values.items():
            contents[content] += [
                (line.probe.name, image[key]) for image in images if math.isfinite(image.get(key, math.nan))
            ]
    known = [values for values in contents.values() if values]
    if not known:
        return Cell(math.nan)
    settings = report.settings
    return Cell(
        _mean_of_probes(known), *bootstrap_by_content(known, _mean_of_probes, settings.n_bootstrap, settings.seed)
    )


def _mean_of_probes(contents: Sequence[Sequence[tuple[str, float]]]) -> float:
    by_probe: defaultdict[str, list[float]] = defaultdict(list)
    for content in contents:
        for probe, value in content:
            by_probe[probe].append(value)
    return fmean(map(fmean, by_probe.values()))
