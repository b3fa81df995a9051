"""The `drmetric bench` commands; what needs torch is imported inside them, so that --help is instant."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Compare metrics with labels.")


@app.callback()
def bench() -> None:
    """Compare metrics with labels."""


@app.command()
def metrics(
    config: Annotated[Path, typer.Argument(help="TOML file: [data] corpus, split; [[metrics]] name, ...")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the results [default: runs/<config's name>]"),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps")] = "cpu",
    bootstrap: Annotated[int, typer.Option(help="Resamples of each interval", min=1)] = 1000,
) -> None:
    """Rank metrics by their agreement with a corpus' labels.

    Writes scores.jsonl (a killed run goes on where it stopped), table.csv and table.md, and prints the table.
    Exits with 1 if any image could not be scored by any of the metrics.
    """
    from rich.console import Console
    from rich.progress import Progress

    from drmetric.bench.leaderboard import Config, run

    settings = Config.read(config)
    folder = output or Path("runs") / config.stem
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        bar = bars.add_task("reading", total=None)
        board = run(
            settings,
            folder,
            device=device,
            n_bootstrap=bootstrap,
            progress=lambda label, done, total: bars.update(bar, description=label, completed=done, total=total),
        )
    Console(width=None if sys.stdout.isatty() else 240).print(board.to_rich())
    typer.echo(f"written: {folder / 'table.md'}, {folder / 'table.csv'}, {folder / 'scores.jsonl'}")
    for (metric, error), count in Counter((metric, error) for metric, _, error in board.errors).most_common(20):
        typer.echo(f"failed: {metric} on {count} images: {error}", err=True)
    if board.errors:
        raise typer.Exit(1)
