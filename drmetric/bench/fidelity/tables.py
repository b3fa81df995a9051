"""A fidelity report as tables, and as a folder: table.md, .csv, .tex and fidelity.json beside fidelity.jsonl."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from drmetric import __version__
from drmetric.bench import provenance
from drmetric.bench.fidelity.figures import FELL, Line, overall
from drmetric.bench.fidelity.pointing import BY_CHANGE, BY_MAP
from drmetric.bench.fidelity.probes import LEVELS, Level, Probe
from drmetric.bench.fidelity.run import FidelityReport
from drmetric.bench.tables import Cell, Column, Table, to_markdown
from drmetric.writing import write_whole

Row = tuple[Probe, Sequence[Line]]
"""A probe at one level and its lines, one a metric."""


def tables(report: FidelityReport, lines: Sequence[Line]) -> list[Table]:
    """The shares of each metric by group and, for each level, every probe: shares, falls, where maps point."""
    found = [_summary(report, lines, level) for level in reversed(report.settings.levels)]
    for level in reversed(report.settings.levels):
        of_level = [line for line in lines if line.level == level]
        found += [
            _grid(report, of_level, f"Share of images on which the score falls, {level} visible changes", _falls),
            _grid(report, of_level, f"Mean fall in the metric's own spread, {level} visible changes", _fall),
        ]
        if any(math.isfinite(line.auc.value) for line in of_level):
            found.append(_pointing(of_level, level))
    return [*found[:-1], replace(found[-1], notes=[note(report), *remarks(report)])]


def _summary(report: FidelityReport, lines: Sequence[Line], level: Level) -> Table:
    """A row a metric: its mean share over all probes of a level, over those of each group, and where its map points."""
    of_level = [line for line in lines if line.level == level]
    groups = list(dict.fromkeys(probe.group for probe in report.settings.probes))

    def row(metric: str) -> dict[str, Cell | str]:
        own = [line for line in of_level if line.metric == metric]
        scored = [line for line in own if line.n_used]
        least = min(scored, key=lambda line: line.falls.value, default=None)
        cells: dict[str, Cell | str] = {"metric": metric, "all probes": overall(report, own, FELL)}
        for group in groups:
            share = overall(report, own, FELL, lambda line, group=group: line.probe.group == group)  # type: ignore[misc]
            cells[group] = replace(share, low=math.nan, high=math.nan)
        cells["map, AUC"] = overall(report, own, BY_MAP)
        cells["least of"] = f"{least.probe.name}, {least.falls.value:.2f}" if least else ""
        return cells

    title = f"Fidelity: {_extent(report)}, {level} visible changes: share on which the score falls"
    return Table.of([row(judge.label) for judge in report.judges], title, form=".2f")


def _falls(line: Line) -> Cell:
    return _or_remark(line, line.falls)


def _fall(line: Line) -> Cell:
    return _or_remark(line, line.fall)


def _or_remark(line: Line, cell: Cell) -> Cell:
    """The figure, and how many images it is of where that is not all; blank where there is none."""
    if not line.n_used:
        return Cell(text="")
    return replace(cell, note=f"{line.n_used}/{line.n_given}" if line.n_used < line.n_given else "")


def _grid(report: FidelityReport, lines: Sequence[Line], title: str, cell: Callable[[Line], Cell]) -> Table:
    """A row a probe, a column a metric, and what the witnesses say of the change."""
    rows: list[Row] = [(probe, [line for line in lines if line.probe is probe]) for probe in report.settings.probes]
    columns = [
        Column(head="change", cell=lambda row: Cell(row[0].name)),
        Column(head="how much", cell=_amount),
        *(
            Column(head=witness.label, form=".2f", interval="shown", cell=partial(_seen, witness.label))
            for witness in report.witnesses
        ),
        *(
            Column(head=judge.label, form=".2f", interval="shown", cell=partial(_of_metric, number, cell))
            for number, judge in enumerate(report.judges)
        ),
    ]
    return Table(columns, [row for row in rows if row[1]], title)


def _of_metric(number: int, cell: Callable[[Line], Cell], row: Row) -> Cell:
    return cell(row[1][number])


def _amount(row: Row) -> Cell:
    probe, lines = row
    return Cell(f"{probe.amount(lines[0].level):g} {probe.unit}")


def _seen(witness: str, row: Row) -> Cell:
    return row[1][0].seen[witness]


def _pointing(lines: Sequence[Line], level: Level) -> Table:
    """A row a local probe, two columns a metric with maps."""
    with_maps = {line.metric for line in lines if math.isfinite(line.auc.value)}
    rows: dict[str, dict[str, Cell | str]] = {}
    for line in lines:
        if line.probe.is_local and line.metric in with_maps:
            row = rows.setdefault(line.probe.name, {"change": line.probe.name})
            row |= {line.metric: line.auc, f"{line.metric}, change of the map": line.auc_of_change}
    title = f"Where the map points, {level} visible changes: AUC of the changed region, by map and by change of the map"
    return Table.of(list(rows.values()), title, form=".2f")


def _extent(report: FidelityReport) -> str:
    contents = len({subject.content for subject in report.subjects})
    return f"{len(report.subjects)} images of {contents} contents"


def note(report: FidelityReport) -> str:
    """How the figures were made."""
    settings = report.settings
    return (
        "A score has fallen if it is worse than that of the unchanged image by more than "
        f"{settings.tolerance:g} of the metric's own spread. A share over several probes is the mean of theirs. AUC: "
        "how often a changed cell of the map looks worse than an unchanged one, .5 by chance. Brackets: 95 % "
        f"percentile intervals, {settings.n_bootstrap} bootstraps over contents. "
        f"Seed {settings.seed}, {settings.device}, drmetric {__version__}, torch {torch.__version__}."
    )


def remarks(report: FidelityReport) -> list[str]:
    """What a reader should know besides the figures: the spreads, what was not measured, and what failed."""
    spreads = [
        f"Spread of {judge.label}: {spread.sd:.4g}, of {spread.n} scores ({spread.source})."
        for judge, spread in zip(report.judges, report.spreads, strict=True)
    ]
    failed = sum(row.failed for row in report.rows)
    return [*spreads, *([f"{failed} scores failed."] if failed else [])]


def records(report: FidelityReport, lines: Sequence[Line]) -> Table:
    """Every line, for programs."""

    def flat(line: Line) -> dict[str, Any]:
        row: dict[str, Any] = {
            "metric": line.metric, "reference": line.reference, "probe": line.probe.name, "group": line.probe.group,
            "level": line.level, "amount": line.probe.amount(line.level), "unit": line.probe.unit,
        }  # fmt: skip
        cells = {"falls": line.falls, "fall": line.fall, BY_MAP: line.auc, BY_CHANGE: line.auc_of_change, **line.seen}
        for name, cell in cells.items():
            row |= {name: cell.value, f"{name}_low": cell.low, f"{name}_high": cell.high}
        row |= {"before": line.before, "after": line.after, "n_used": line.n_used, "n_given": line.n_given}
        row |= {f"spread_{name}": value for name, value in asdict(line.spread).items()}
        return row | {"signature": line.signature, "remark": line.remark}

    return Table.of([flat(line) for line in lines])


def write_report(report: FidelityReport, lines: Sequence[Line], output: Path) -> list[Path]:
    """Write table.md, table.csv, table.tex and fidelity.json beside fidelity.jsonl, and return all five."""
    made = tables(report, lines)
    write_whole(output / "table.md", to_markdown(made).encode())
    write_whole(output / "table.csv", records(report, lines).to_csv().encode())
    write_whole(output / "table.tex", "\n".join(table.to_latex() for table in made).encode())
    written = [output / name for name in ("table.md", "table.csv", "table.tex", "fidelity.jsonl")]
    settings = report.settings
    contents = {
        "facts": provenance.facts(
            device=settings.device,
            tolerance=settings.tolerance,
            seed=settings.seed,
            bootstraps=settings.n_bootstrap,
        ),
        "probes": [
            {"name": probe.name, "unit": probe.unit, **{level: probe.amount(level) for level in LEVELS}}
            for probe in settings.probes
        ],
        "metrics": [
            {**provenance.described(judge), "spread": spread.described()}
            for judge, spread in zip(report.judges, report.spreads, strict=True)
        ],
        "witnesses": list(map(provenance.described, report.witnesses)),
        "images": provenance.digest_of(
            (f"{kind} of {subject.name}", path) for subject in report.subjects for kind, path in subject.paths.items()
        ),
    }
    return [*written, provenance.write_lock(output / "fidelity.json", contents, [path.name for path in written])]
