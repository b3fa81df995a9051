"""The report of a methods board: its tables, its page and its lock file in one folder."""

from pathlib import Path

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report.lock import facts, write_lock
from drmetric.bench.methods.report.page import to_html
from drmetric.bench.methods.tables import records, results
from drmetric.errors import optional
from drmetric.writing import write_whole


def refuse_without_packages() -> None:
    """Raise a `MissingDependencyError` where a package is missing that a report needs; to call before scoring."""
    optional("jinja2", "bench", "the HTML report")
    optional("pyarrow.parquet", "bench", "a Parquet file")


def write_report(board: MethodBoard, config: Config, output: Path, latex_intervals: bool = True) -> list[Path]:
    """Write table.md, table.csv, table.jsonl, table.parquet, table.tex, report.html and lock.json beside scores.jsonl.

    Without `latex_intervals` those of table.tex are left out, as where a paper has no room for them.

    Returns:
        The files, the page first.

    Raises:
        MissingDependencyError: jinja2 or pyarrow is not installed.
    """
    for_people, for_programs = results(board), records(board)
    texts = {
        "report.html": to_html(board, facts(board)),
        "table.md": for_people.to_markdown(),
        "table.tex": for_people.to_latex(latex_intervals),
        "table.csv": for_programs.to_csv(),
        "table.jsonl": for_programs.to_jsonl(),
    }
    files = {name: text.encode() for name, text in texts.items()} | {"table.parquet": for_programs.to_parquet()}
    for name, content in files.items():
        write_whole(output / name, content)
    lock = write_lock(board, config, output)
    return [*(output / name for name in files), lock]
