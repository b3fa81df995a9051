"""What the commands print: tables and failures on stdout and stderr, and a bar while they work."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer

from drmetric.bench.tables import Table
from drmetric.text import printable

Progress = Callable[..., None]
"""Called with the numbers of things done and in all and, where it changes, with what is being done."""


def show(*tables: Table) -> None:
    """Print tables: on a terminal as such, else as lines of values between tabs under a line of heads."""
    for number, table in enumerate(tables):
        if sys.stdout.isatty():
            from rich.console import Console

            console = Console()
            console.print(table.to_rich(console.width))
            for text in table.explained:
                console.print(text, markup=False, highlight=False, style="dim")
            continue
        above = ([""] if number else []) + ([printable(table.title)] if table.title else [])
        for line in (*above, *table.to_lines(), *table.explained):
            typer.echo(line)


@contextmanager
def progress(doing: str) -> Iterator[Progress]:
    """A bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total, doing="": None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(doing, total=None)

        def update(done: int, total: int, doing: str = doing) -> None:
            bars.update(bar, description=escape(printable(doing)), completed=done, total=total)

        yield update


def say(text: object) -> None:
    """Print a text on one line of stdout."""
    typer.echo(printable(str(text)))


def note(text: str) -> None:
    """Print a text on one line of stderr."""
    typer.echo(printable(" ".join(text.split())), err=True)


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


@contextmanager
def logged() -> Iterator[None]:
    """What drmetric logs meanwhile is noted on stderr, as it is at that moment."""
    logger, notes = logging.getLogger("drmetric"), _Notes()
    level = logger.level
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(notes)
        logger.setLevel(level)


def failures(lines: Sequence[str], most: int = 20) -> None:
    """Note what failed; exit with 1 if anything did."""
    for line in lines[:most]:
        note(f"failed: {line}")
    if len(lines) > most:
        note(f"failed: {len(lines) - most} more")
    if lines:
        raise typer.Exit(1)
