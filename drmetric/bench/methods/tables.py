"""A methods board as tables: for a terminal, Markdown and LaTeX for people, CSV, JSON lines, Parquet for programs."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.ranking import Standing

LATEX_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def decimals(standings: Sequence[Standing]) -> int:
    """How many decimals the figures of a metric get: more where they are smaller."""
    largest = max((abs(each.mean) for each in standings if math.isfinite(each.mean)), default=1.0)
    return 2 if largest >= 10 else 3 if largest >= 0.1 else 4


def number(value: float, places: int) -> str:
    """The number, or nothing for NaN."""
    return format(value, f".{places}f") if math.isfinite(value) else ""


def interval(standing: Standing, places: int) -> str:
    """The interval in brackets, or nothing."""
    return f"[{number(standing.low, places)}, {number(standing.high, places)}]" if math.isfinite(standing.low) else ""


def is_best(standing: Standing) -> bool:
    """Whether it has the best mean, of one image at least."""
    return standing.rank == 1 and standing.n_used > 0


def is_tied(standing: Standing) -> bool:
    """Whether it is marked: not the best, and not told from it."""
    return standing.tied and standing.rank > 1


def shortfall(standing: Standing) -> str:
    """n used/n given where these differ."""
    return f"{standing.n_used}/{standing.n_given}" if standing.n_used < standing.n_given else ""


def _cell(standing: Standing, places: int) -> str:
    parts = (number(standing.mean, places), interval(standing, places), shortfall(standing))
    return " ".join(filter(None, parts)) + ("*" if is_tied(standing) else "")


def _head(board: MethodBoard, index: int) -> str:
    judge = board.scores.judges[index]
    return f"{judge.label} {'↑' if judge.metric.higher_is_better else '↓'}"


def _rows(board: MethodBoard) -> list[list[str]]:
    """Method, mean rank and a cell a metric; best mean rank first."""
    ranking = board.ranking
    places = [decimals(standings) for standings in ranking.standings]
    return [
        [
            board.scores.methods[method],
            number(float(ranking.mean_ranks[method]), 2),
            *(_cell(standings[method], of) for standings, of in zip(ranking.standings, places, strict=True)),
        ]
        for method in ranking.order
    ]


def _heads(board: MethodBoard) -> list[str]:
    return ["method", "mean rank", *(_head(board, index) for index in range(len(board.scores.judges)))]


def remarks(board: MethodBoard) -> list[str]:
    """What a reader should know besides the figures: sentences on the data, skipped metrics and failures."""
    skipped = [f"{label} was not used: {reason}." for label, reason in board.skipped.items()]
    failed = [f"{len(board.errors)} scores failed and count as the worst."] if board.errors else []
    return [*board.notes, *skipped, *failed]


def failures(board: MethodBoard) -> list[str]:
    """What failed, in a line each: method, image and error, once for all the metrics that it concerns."""
    metrics: dict[tuple[str, str, str], list[str]] = {}
    for failure in board.errors:
        metrics.setdefault((failure.method, failure.image, failure.error), []).append(failure.metric)
    lines = []
    for (method, image, error), concerned in metrics.items():
        where = ", ".join(filter(None, [method, image, *concerned[:1]]))
        more = f" (and {len(concerned) - 1} more metrics)" if len(concerned) > 1 else ""
        lines.append(f"{where}{more}: {error}")
    return lines


def to_rich(board: MethodBoard) -> Table:
    """The table for a terminal."""
    table = Table(title=Text(f"{board.name}: {board.title}"), caption=Text(" ".join([board.note, *remarks(board)])))
    for column, head in enumerate(_heads(board)):
        table.add_column(Text(head), justify="right" if column else "left", overflow="fold")
    for row in _rows(board):
        table.add_row(*map(Text, row))
    return table


def to_markdown(board: MethodBoard) -> str:
    """Title, table and notes."""
    heads = _heads(board)
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *_rows(board)]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n\n".join([f"# {board.name}: {board.title}", table, board.note, *remarks(board)]) + "\n"


def to_latex(board: MethodBoard) -> str:
    """A table for the package booktabs: the best mean in bold, those not told from it underlined."""
    ranking, scores = board.ranking, board.scores
    arrows = [r"$\uparrow$" if judge.metric.higher_is_better else r"$\downarrow$" for judge in scores.judges]
    labels = [judge.label.translate(LATEX_ESCAPES) for judge in scores.judges]
    heads = ["Method", "Mean rank", *(f"{label} {arrow}" for label, arrow in zip(labels, arrows, strict=True))]
    lines = [
        f"% {board.name}: {board.title}",
        *(f"% {line}" for line in (board.note, *remarks(board))),
        r"% \usepackage{booktabs}; bold: best; underlined: not told from the best at 5 %",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for method in ranking.order:
        cells = [_latex_cell(standings[method], decimals(standings)) for standings in ranking.standings]
        name = scores.methods[method].translate(LATEX_ESCAPES)
        lines.append(" & ".join([name, number(float(ranking.mean_ranks[method]), 2), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_cell(standing: Standing, places: int) -> str:
    mean = number(standing.mean, places) or "--"
    if is_best(standing):
        mean = rf"\textbf{{{mean}}}"
    elif is_tied(standing):
        mean = rf"\underline{{{mean}}}"
    small = " ".join(filter(None, (interval(standing, places), shortfall(standing))))
    return f"{mean} {{\\scriptsize {small}}}" if small else mean


def records(board: MethodBoard) -> list[dict[str, Any]]:
    """One record a method and metric, at full precision; NaN is None."""
    rows = []
    for judge, standings in zip(board.scores.judges, board.ranking.standings, strict=True):
        for method in board.ranking.order:
            values = {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in asdict(standings[method]).items()
            }
            mean_rank = float(board.ranking.mean_ranks[method])
            rows.append({**values, "mean_rank": mean_rank, "signature": judge.metric.signature})
    return rows


def to_csv(board: MethodBoard) -> str:
    """`records` as CSV."""
    text, rows = io.StringIO(), records(board)
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_jsonl(board: MethodBoard) -> str:
    """`records` as JSON lines."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in records(board))


def to_parquet(board: MethodBoard) -> bytes:
    """`records` as Parquet; raises `MissingDependencyError` without pyarrow."""
    from drmetric.bench.scores.parquet import parquet_of

    return parquet_of(records(board))
