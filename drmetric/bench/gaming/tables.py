"""A gaming report as tables, and as a folder: table.md, table.csv and gaming.json beside gaming.jsonl."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from drmetric import __version__
from drmetric.bench import provenance
from drmetric.bench.gaming.gains import ALL, WORST_BY_GRADIENT, WORST_BY_HAND, Line
from drmetric.bench.gaming.run import BY_GRADIENT, BY_HAND, GamingReport
from drmetric.bench.gaming.settings import heading
from drmetric.bench.tables import Cell, Column, Table, to_markdown
from drmetric.writing import write_whole


def _gain(line: Line) -> Cell:
    """The gain, how many images it is of where that is not all, or why there is none."""
    if not line.n_used:
        return Cell(text=line.remark or "no score")
    shortfall = f"{line.n_used}/{line.n_given}" if line.n_used < line.n_given else ""
    return Cell(line.gain, line.low, line.high, note=shortfall)


def _score(line: Line) -> Cell:
    return Cell(text=f"{line.untouched:.3g} to {line.attacked:.3g}" if line.n_used else "")


def _seen(witness: str, line: Line) -> Cell:
    return Cell(line.witnesses[witness])


def _gain_of(metric: int, row: tuple[str, list[Line]]) -> Cell:
    return _gain(row[1][metric])


def _columns(report: GamingReport) -> list[Column]:
    """Of a table whose rows are the lines of a metric by attack."""

    def column(head: str, attack: str, cell: Callable[[Line], Cell], form: str = ".2f") -> Column:
        return Column(head=head, form=form, interval="shown", cell=lambda lines: cell(lines[attack]))

    return [
        Column(head="metric", cell=lambda lines: Cell(lines[ALL].metric)),
        column("worst-case gain [95 %]", ALL, _gain),
        column("by hand", WORST_BY_HAND, _gain),
        column("by gradient", WORST_BY_GRADIENT, _gain),
        column("mostly", ALL, lambda line: Cell(line.attack_used)),
        column("score", ALL, _score),
        column("first minus this", ALL, lambda line: Cell(line.difference, line.difference_low, line.difference_high)),
        column("p (Holm)", ALL, lambda line: Cell(line.p_holm), ".4f"),
        *(column(heading(witness), ALL, partial(_seen, witness.label), ".3f") for witness in report.witnesses),
    ]


def worst_cases(report: GamingReport, lines: Sequence[Line]) -> list[Table]:
    """A table a PSNR, a row a metric: its worst-case gain, and what the witnesses saw of those images."""
    columns = _columns(report)
    tables = []
    for psnr in report.settings.psnrs:
        by_metric: dict[str, dict[str, Line]] = {judge.label: {} for judge in report.judges}
        for line in lines:
            if line.psnr == psnr:
                by_metric[line.metric][line.attack] = line
        tables.append(Table(columns, list(by_metric.values()), f"{title(report)}, at {psnr:g} dB"))
    return tables


def attacks(report: GamingReport, worst: Table) -> Table:
    """A row an attack: the mean gain of each metric, of the lines of a table of worst cases."""
    columns = [
        Column(head=judge.label, form=".2f", interval="shown", cell=partial(_gain_of, place))
        for place, judge in enumerate(report.judges)
    ]
    rows = [(attack, [lines[attack] for lines in worst.rows]) for attack in (*BY_HAND, *BY_GRADIENT)]
    return Table([Column(head="attack", cell=lambda row: Cell(row[0])), *columns], rows)


def title(report: GamingReport) -> str:
    """How much was attacked, in words."""
    contents = len({subject.content for subject in report.subjects})
    return f"Gaming: {len(report.subjects)} images of {contents} contents"


def note(report: GamingReport) -> str:
    """How the figures were made."""
    settings = report.settings
    return (
        "Gains are in units of the metric's own spread, positive where the score improved. Worst-case gain: of each "
        "image the largest gain over all attacks, mean over images; the scores and the witnesses' columns are of those "
        "images. A metric without gradient is attacked by hand alone: compare that column. "
        f"Brackets: 95 % percentile intervals, {settings.n_bootstrap} bootstraps over contents; differences: paired, "
        f"Holm's correction over the metrics. Iterated and universal: {settings.steps} steps. Seed {settings.seed}, "
        f"{settings.device}, drmetric {__version__}, torch {torch.__version__}."
    )


def remarks(report: GamingReport) -> list[str]:
    """What a reader should know besides the figures: the spreads, and who could not testify."""
    spreads = [
        f"Spread of {judge.label}: {spread.sd:.4g}, of {spread.n} scores ({spread.source})."
        for judge, spread in zip(report.judges, report.spreads, strict=True)
    ]
    if len({spread.n for spread in report.spreads}) > 1:
        spreads.append("The spreads are of different sets: compare the gains of different metrics with care.")
    absent = [f"Witness {name} is absent: {reason}." for name, reason in report.unavailable.items()]
    failed = len(report.failures)
    return [*spreads, *absent, *([f"{failed} scores failed."] if failed else [])]


def tables(report: GamingReport, lines: Sequence[Line], with_attacks: bool = False) -> list[Table]:
    """For each PSNR the worst cases and, if wanted, the gain of every attack; the last has the notes."""
    found = []
    for worst in worst_cases(report, lines):
        found += [worst, attacks(report, worst)] if with_attacks else [worst]
    return [*found[:-1], replace(found[-1], notes=[note(report), *remarks(report)])]


def records(lines: Sequence[Line]) -> Table:
    """Every line, for programs."""
    return Table.of([_flat(line) for line in lines])


def _flat(line: Line) -> dict[str, Any]:
    row = asdict(line)
    row |= {f"witness_{name}": value for name, value in row.pop("witnesses").items()}
    row |= {f"spread_{key}": value for key, value in row.pop("spread").items()}
    return row


def write_report(report: GamingReport, lines: Sequence[Line], output: Path) -> list[Path]:
    """Write table.md, table.csv and gaming.json beside gaming.jsonl, and return all four."""
    write_whole(output / "table.md", to_markdown(tables(report, lines, with_attacks=True)).encode())
    write_whole(output / "table.csv", records(lines).to_csv().encode())
    written = [output / name for name in ("table.md", "table.csv", "gaming.jsonl")]
    settings = report.settings
    contents = {
        "facts": provenance.facts(
            device=settings.device,
            psnrs=list(settings.psnrs),
            steps=settings.steps,
            seed=settings.seed,
            bootstraps=settings.n_bootstrap,
        ),
        "metrics": [
            {**provenance.described(judge), "spread": spread.described()}
            for judge, spread in zip(report.judges, report.spreads, strict=True)
        ],
        "witnesses": list(map(provenance.described, report.witnesses)),
        "absent": report.unavailable,
        "images": provenance.digest_of(
            (f"{kind} of {subject.name}", path) for subject in report.subjects for kind, path in subject.paths.items()
        ),
    }
    return [*written, provenance.write_lock(output / "gaming.json", contents, [path.name for path in written])]
