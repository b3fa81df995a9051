"""The report of a methods board: its tables, its page and its lock file in one folder."""

from pathlib import Path

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report.page import to_html
from drmetric.bench.methods.tables import to_csv, to_jsonl, to_latex, to_markdown, to_parquet
from drmetric.bench.provenance import facts, write_lock


def write_report(board: MethodBoard, config: Config, output: Path) -> list[Path]:
    """Write table.md, table.csv, table.jsonl, table.parquet, table.tex, report.html and lock.json beside scores.jsonl.

    Returns:
        The files, the page first.

    Raises:
        MissingDependencyError: jinja2 or pyarrow is not installed.
    """
    texts = {
        "report.html": to_html(board, facts(board)),
        "table.md": to_markdown(board),
        "table.csv": to_csv(board),
        "table.jsonl": to_jsonl(board),
        "table.tex": to_latex(board),
    }
    files = {name: text.encode() for name, text in texts.items()} | {"table.parquet": to_parquet(board)}
    for name, content in files.items():
        (output / name).write_bytes(content)
    lock = write_lock(board, config, output, ["scores.jsonl", *files])
    return [*(output / name for name in files), lock]
