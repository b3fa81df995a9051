"""A gaming report as tables, and as a folder: table.md, table.csv and gaming.json beside gaming.jsonl."""

import csv
import io
import json
import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text

from drmetric import __version__
from drmetric.bench import provenance as lock
from drmetric.bench.gaming.gains import ALL, WORST_BY_GRADIENT, WORST_BY_HAND, Line
from drmetric.bench.gaming.run import BY_GRADIENT, BY_HAND, GamingReport
from drmetric.bench.methods.tables import number
from drmetric.bench.scores.folder import sha256_of

FORMAT = 1
Rows = list[list[str]]


def _cell(value: float, low: float, high: float) -> str:
    interval = f" [{number(low, 2)}, {number(high, 2)}]" if math.isfinite(low) else ""
    return number(value, 2) + interval


def _gain(line: Line) -> str:
    """The gain and its interval, how many images it is of where that is not all, or why there is none."""
    if not line.n_used:
        return line.remark or "no score"
    shortfall = f" {line.n_used}/{line.n_given}" if line.n_used < line.n_given else ""
    return _cell(line.gain, line.low, line.high) + shortfall


def numbers(report: GamingReport, lines: Sequence[Line], psnr: float) -> Rows:
    """Heads, and a row a metric: its worst-case gain at a PSNR, and what the witnesses saw of those images."""
    by_attack = {(line.attack, line.metric): line for line in lines if line.psnr == psnr}
    heads = ["metric", "worst-case gain [95 %]", "by hand", "by gradient", "mostly", "score"]
    rows = [[*heads, "first minus this", "p (Holm)", *(witness.label for witness in report.witnesses)]]
    for judge in report.judges:
        worst = by_attack[ALL, judge.label]
        rows.append(
            [
                judge.label,
                _gain(worst),
                _gain(by_attack[WORST_BY_HAND, judge.label]),
                _gain(by_attack[WORST_BY_GRADIENT, judge.label]),
                worst.attack_used,
                f"{worst.untouched:.3g} to {worst.attacked:.3g}" if worst.n_used else "",
                _cell(worst.difference, worst.difference_low, worst.difference_high),
                number(worst.p_holm, 4),
                *(number(worst.witnesses[witness.name], 3) for witness in report.witnesses),
            ]
        )
    return rows


def attacks(report: GamingReport, lines: Sequence[Line], psnr: float) -> Rows:
    """Heads, and a row an attack: the mean gain of each metric at a PSNR."""
    by_attack = {(line.attack, line.metric): line for line in lines if line.psnr == psnr}
    labels = [judge.label for judge in report.judges]
    return [
        ["attack", *labels],
        *([attack, *(_gain(by_attack[attack, label]) for label in labels)] for attack in (*BY_HAND, *BY_GRADIENT)),
    ]


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
    """What a reader should know besides the figures: the spreads, and who could not testify or be attacked."""
    spreads = [
        f"Spread of {judge.label}: {spread.sd:.4g}, of {spread.n} scores ({spread.source})."
        for judge, spread in zip(report.judges, report.spreads, strict=True)
    ]
    if len({spread.n for spread in report.spreads}) > 1:
        spreads.append("The spreads are of different sets: compare the gains of different metrics with care.")
    absent = [f"Witness {name} is absent: {reason}." for name, reason in report.unavailable.items()]
    unmade = [f"{each.metric} could not be attacked: {each.error}." for each in report.failures if not each.method]
    failed = len(report.failures) - len(unmade)
    return [*spreads, *absent, *unmade, *([f"{failed} scores failed."] if failed else [])]


def to_rich(report: GamingReport, lines: Sequence[Line]) -> Group:
    """The numbers for a terminal, a table a PSNR."""
    tables = []
    for psnr in report.settings.psnrs:
        heads, *rows = numbers(report, lines, psnr)
        table = Table(title=Text(f"{title(report)}, at {psnr:g} dB"))
        for column, head in enumerate(heads):
            table.add_column(Text(head), justify="right" if column else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        tables.append(table)
    return Group(*tables, Text(" ".join([note(report), *remarks(report)])))


def to_markdown(report: GamingReport, lines: Sequence[Line]) -> str:
    """For each PSNR the numbers and the gain of every attack, then the notes."""
    parts = [f"# {title(report)}"]
    for psnr in report.settings.psnrs:
        parts += [f"## At {psnr:g} dB", _table(numbers(report, lines, psnr)), _table(attacks(report, lines, psnr))]
    return "\n\n".join([*parts, note(report), *remarks(report)]) + "\n"


def _table(rows: Rows) -> str:
    heads, *rest = rows
    with_rule = [heads, ["---", *["---:"] * (len(heads) - 1)], *rest]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in with_rule)


def to_csv(lines: Sequence[Line]) -> str:
    """Every line at full precision; what is not known is empty."""
    text, rows = io.StringIO(), [_flat(line) for line in lines]
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(line: Line) -> dict[str, Any]:
    row = asdict(line)
    row |= {f"witness_{name}": value for name, value in row.pop("witnesses").items()}
    row |= {f"spread_{key}": value for key, value in row.pop("spread").items()}
    return {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def write_report(report: GamingReport, lines: Sequence[Line], output: Path) -> list[Path]:
    """Write table.md, table.csv and gaming.json beside gaming.jsonl, and return all four."""
    (output / "table.md").write_text(to_markdown(report, lines), encoding="utf-8")
    (output / "table.csv").write_text(to_csv(lines), encoding="utf-8")
    written = [output / name for name in ("table.md", "table.csv", "gaming.jsonl")]
    header = {
        "format": FORMAT,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "facts": _facts(report),
        "metrics": [
            {**lock.described(judge), "spread": {**asdict(spread), "sd": _or_none(spread.sd)}}
            for judge, spread in zip(report.judges, report.spreads, strict=True)
        ],
        "witnesses": [
            {"name": witness.name, "reference": witness.reference, "signature": witness.metric.signature}
            for witness in report.witnesses
        ],
        "absent": report.unavailable,
        "images": {
            "count": len(report.subjects),
            "sha256": sha256("".join(map(repr, (each.sha256 for each in report.subjects))).encode()).hexdigest(),
        },
        "reports": {path.name: sha256_of(path) for path in written},
    }
    path = output / "gaming.json"
    path.write_text(json.dumps(header, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return [*written, path]


def _facts(report: GamingReport) -> dict[str, Any]:
    settings = report.settings
    return {
        **lock.versions(),
        "platform": platform.platform(),
        "device": settings.device,
        "threads": torch.get_num_threads(),
        "psnrs": list(settings.psnrs),
        "steps": settings.steps,
        "seed": settings.seed,
        "bootstraps": settings.n_bootstrap,
    }


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
