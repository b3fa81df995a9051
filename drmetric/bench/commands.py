"""The `drmetric bench` commands; what needs torch is imported inside them, so that --help is instant."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Rank metrics, and rank restoration methods.")


@app.callback()
def bench() -> None:
    """Rank metrics by labels, and restoration methods by metrics."""


@app.command()
def metrics(
    config: Annotated[Path, typer.Argument(help="TOML file: [data] corpus or opinions, split; [[metrics]] name, ...")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the results [default: runs/<config's name>]"),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps")] = "cpu",
    bootstrap: Annotated[int, typer.Option(help="Resamples of each interval", min=1)] = 1000,
) -> None:
    """Rank metrics by their agreement with a corpus' labels or with human opinions.

    Writes scores.jsonl (a killed run goes on where it stopped), table.csv and table.md, and prints the table.
    Exits with 1 if any image could not be scored by any of the metrics.
    """
    from rich.console import Console
    from rich.progress import Progress

    from drmetric.bench import leaderboard, opinions
    from drmetric.config import read_toml

    kind = opinions if "opinions" in read_toml(config).get("data", {}) else leaderboard
    settings = kind.Config.read(config)
    folder = output or Path("runs") / config.stem
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        bar = bars.add_task("reading", total=None)
        board = kind.run(
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


Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder of the report [default: runs/<config's name>]")
]
Where = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps")]
Resamples = Annotated[int, typer.Option("--bootstrap", help="Resamples of each interval and test", min=1)]
Seed = Annotated[int, typer.Option("--seed", help="Of the resamples")]


@app.command(epilog="Example: drmetric bench methods board.toml -o report/")
def methods(
    config: Annotated[
        Path, typer.Argument(help="TOML file: [data] degraded, truth; [[methods]] name, folder; [[metrics]] name, ...")
    ],
    output: Output = None,
    device: Where = "cpu",
    bootstrap: Resamples = 10_000,
    seed: Seed = 0,
) -> None:
    """Rank restoration methods by the scores of their outputs.

    Writes scores.jsonl (a killed run goes on where it stopped), report.html, table.md, .csv, .jsonl and .tex, and
    lock.json, and prints the table. Exits with 1 if any score is missing.
    """
    _rank_methods(config, output or Path("runs") / config.stem, device, bootstrap, seed)


@app.command(epilog="Example: drmetric bench demo -o demo/")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of images, configuration and report")] = Path(
        "runs/demo"
    ),
    device: Where = "cpu",
) -> None:
    """Rank three methods on the images that come with drmetric; the configuration is yours to change."""
    from drmetric.bench.demo import write_demo

    config = write_demo(output)
    _rank_methods(config, output, device, 10_000, 0)
    typer.echo(f"on your images: change {config}, then drmetric bench methods {config}", err=True)


@app.command(epilog="Example: drmetric bench verify report/lock.json --sample 50")
def verify(
    lock: Annotated[Path, typer.Argument(help="lock.json of a report", metavar="LOCK")],
    sample: Annotated[int, typer.Option(help="Scores to compute again", min=1)] = 20,
    device: Where = "cpu",
) -> None:
    """Say whether the numbers of a report still hold: same files, same metrics, same scores.

    Exits with 1 if anything differs, and names it.
    """
    from drmetric.bench.lock import TOLERANCE
    from drmetric.bench.lock import verify as compare

    verdict = compare(lock, sample, device)
    typer.echo(
        f"{verdict.recomputed} of {verdict.given} scores computed again; the largest change is "
        f"{verdict.largest * TOLERANCE:.1e}, where {TOLERANCE:.0e} (relative above 1) is allowed"
    )
    for difference in verdict.differences:
        typer.echo(f"differs: {difference}", err=True)
    if verdict.differences:
        raise typer.Exit(1)
    typer.echo("the numbers hold")


def _rank_methods(config: Path, output: Path, device: str, n_bootstrap: int, seed: int) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from drmetric.bench.method_tables import failures, to_rich
    from drmetric.bench.methods import run
    from drmetric.bench.methods_config import Config
    from drmetric.bench.report import write_report

    settings = Config.read(config)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        bar = bars.add_task("scoring", total=None)
        board = run(
            settings,
            output,
            device=device,
            n_bootstrap=n_bootstrap,
            seed=seed,
            progress=lambda done, total: bars.update(bar, completed=done, total=total),
        )
    written = write_report(board, settings, output)
    Console(width=None if sys.stdout.isatty() else 240).print(to_rich(board))
    typer.echo(f"written: {', '.join(map(str, [*written, output / 'scores.jsonl']))}")
    if board.scores.kept:
        typer.echo(f"note: {board.scores.kept} scores were kept from an earlier run", err=True)
    lines = failures(board)
    for line in lines[:20]:
        typer.echo(f"failed: {line}", err=True)
    if len(lines) > 20:
        typer.echo(f"failed: {len(lines) - 20} more, listed in {written[0]}", err=True)
    if board.errors:
        raise typer.Exit(1)
