"""The drmetric command: its parts put together, and how it ends where something is wrong."""

import errno
import io
import os
import re
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from drmetric import __version__
from drmetric.cli import bench, export, score, train
from drmetric.cli.console import note
from drmetric.errors import DrmetricError, InputError, ScaleWarning
from drmetric.text import printable


class _Commands(TyperGroup):
    """Prints errors of drmetric and of the system in two lines; DRMETRIC_DEBUG=1 keeps the traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Without a stdout or stderr, what is printed is lost, and goes into no file that is opened in its place."""
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        return super().main(*args, **options)

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Refuse an empty argument, such as that of a variable that is not set: a path of it is the working folder."""
        for before, each in zip(["", *args], args, strict=False):
            if not each or (each.startswith("--") and each.endswith("=")):
                what = f"the value of {before or each}" if (before or each).startswith("-") else "an argument"
                _fail(InputError(""), f"{what} is empty; wanted a name, a number or a path", "-o results/")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DrmetricError as error:
            _fail(error, error.problem, error.fix)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            _fail(error, str(error), "")
        except KeyboardInterrupt:
            note("interrupted")
            raise typer.Exit(130) from None


def _fail(error: Exception, problem: str, fix: str) -> None:
    """Print an error and its fix, where that is an argument in Python as the option here, and end."""
    fix = re.sub(r'^weights="([^"]+)"', r"--weights \1", fix)
    if os.environ.get("DRMETRIC_DEBUG") == "1":
        raise error
    for text in (f"error: {problem}", *([f"fix: {fix}"] if fix else [])):
        typer.echo("\n".join(map(printable, text.split("\n"))), err=True)
    raise typer.Exit(2)


app = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Quality of restored images when there is no clean ground truth.",
    epilog="Example: drmetric score restored/ --degraded degraded/ -o scores.jsonl",
)
app.add_typer(score.commands)
app.add_typer(train.commands)
app.add_typer(export.commands)
app.add_typer(bench.commands, name="bench")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"drmetric {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    warnings.simplefilter("ignore", ScaleWarning)  # commands name the files
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what a terminal cannot show
