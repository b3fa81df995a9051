"""The drmetric command. Whatever needs torch is imported inside the commands, so that --help is instant."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from drmetric import __version__
from drmetric.cli.bench import app as bench_app
from drmetric.cli.engines import Address, Engine, EngineOption, Workers, check_engine
from drmetric.errors import DrmetricError, InputError

if TYPE_CHECKING:
    from drmetric.bench.scores.folder import FolderScores
    from drmetric.metrics.base import Metric


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Alpha(StrEnum):
    refuse = "refuse"
    white = "white"
    black = "black"


class Split(StrEnum):
    train = "train"
    validation = "validation"
    test = "test"


class _Commands(TyperGroup):
    """Prints errors of drmetric and of the system in two lines; DRMETRIC_DEBUG=1 keeps the traceback."""

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
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None


def _fail(error: Exception, problem: str, fix: str) -> None:
    if os.environ.get("DRMETRIC_DEBUG") == "1":
        raise error
    typer.echo(f"error: {problem}", err=True)
    if fix:
        typer.echo(f"fix: {fix}", err=True)
    raise typer.Exit(2)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Quality of restored images when there is no clean ground truth.",
    epilog="Example: drmetric score restored/ --degraded degraded/ -o scores.jsonl",
)
app.add_typer(bench_app, name="bench")


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what a terminal cannot show


Restored = Annotated[Path, typer.Argument(help="Folder of restored images, or one image.", metavar="RESTORED")]
AlphaOption = Annotated[Alpha, typer.Option(help="Transparent images: refuse, or lay over a colour.")]


@app.command(epilog="Example: drmetric score restored/ --degraded degraded/ -o scores.jsonl")
def score(
    restored: Restored,
    degraded: Annotated[Path | None, typer.Option(help="Folder of the degraded inputs, paired by file name.")] = None,
    metric: Annotated[str, typer.Option(help="Name of the metric; see drmetric list.")] = "driqa",
    references: Annotated[
        Path | None, typer.Option(help="For nariqa: folder of high-quality images of any content.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Scores as .jsonl, .csv or .parquet (of ray: .parquet); an existing file is resumed."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Name or path of the weights.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    alpha: AlphaOption = Alpha.refuse,
    batch: Annotated[int, typer.Option(min=1, help="Images of one size to score at once.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Score every image again.")] = False,
    engine: EngineOption = Engine.local,
    address: Address = None,
    workers: Workers = None,
) -> None:
    """Score restored images against their degraded inputs, or alone with a metric that needs none."""
    check_engine(engine, address, workers)
    if engine is Engine.ray and output is None:
        raise InputError("the engine 'ray' writes the scores to a file, but none was given", "-o scores.parquet")
    make = partial(_make_metric, metric, _absolute(weights), references and references.absolute())
    options: dict[str, Any] = {"output": output, "overwrite": overwrite, "alpha": alpha.value, "batch": batch}
    try:
        with _progress() as progress:
            if engine is Engine.ray:
                from drmetric.bench.engines.ray_folder import score_folder_on_ray

                options |= {"device": device.value, "address": address, "workers": workers}
                scores = score_folder_on_ray(make, restored, degraded, progress=progress, **options)
            else:
                from drmetric.bench.scores.folder import score_folder

                where = _torch_device(device)
                scores = score_folder(make(where), restored, degraded, device=where, progress=progress, **options)
    except KeyboardInterrupt:
        typer.echo(_how_to_resume(output, overwrite), err=True)
        raise typer.Exit(130) from None
    if degraded is not None and scores.pairing.pairs[0].degraded is None:
        typer.echo(f"note: {metric} needs no degraded inputs; --degraded is not used", err=True)
    if output is None:
        _print_scores(scores)
    else:
        typer.echo(f"mean {scores.mean:.6f} of {len(scores.scored)} images in {output}")
    _finish(scores)


@app.command(epilog="Example: drmetric example --copy photographs/")
def example(
    copy: Annotated[
        Path | None, typer.Option(help="Also copy the images to restored/ and degraded/ in this folder.")
    ] = None,
) -> None:
    """Score the images that come with drmetric."""
    from drmetric import example as bundled
    from drmetric.bench.scores.folder import score_folder
    from drmetric.metrics.registry import create

    if copy is not None:
        bundled.copy(copy)
    scores = score_folder(create("driqa"), bundled.FOLDER / "restored", bundled.FOLDER / "degraded")
    _print_scores(scores)
    typer.echo("on your images: drmetric score RESTORED --degraded DEGRADED -o scores.jsonl", err=True)
    _finish(scores)


@app.command(epilog="Example: drmetric doctor restored/ degraded/")
def doctor(
    paths: Annotated[list[Path], typer.Argument(help="Folders or images.", metavar="PATH...")],
    alpha: AlphaOption = Alpha.refuse,
) -> None:
    """Check image files for what would make a score wrong or impossible."""
    from drmetric.images.doctor import inspect, summary

    findings = list(inspect(paths, alpha=alpha.value))
    rows = [(f.level, f.file, f.check, f.message, f.fix) for f in findings if f.level != "ok"]
    if rows:
        _print_table(("level", "file", "check", "finding", "fix"), rows)
    counts = summary(findings)
    typer.echo(", ".join(f"{level}: {count}" for level, count in counts.items()), err=True)
    if counts["error"]:
        raise typer.Exit(1)


@app.command("list", epilog="Example: drmetric list")
def list_metrics() -> None:
    """List the metrics and what they need."""
    from drmetric.metrics.registry import available, metric_class

    rows, fixes = [], {}
    for name in available():
        kind = metric_class(name)
        low, high = kind.score_range
        fixes[name] = _what_is_missing(name)
        rows.append(
            (
                name,
                kind.mode,
                "higher" if kind.higher_is_better else "lower",
                f"{low:g}..{high:g}",
                "yes" if kind.differentiable else "no",
                f"{kind.min_size} px",
                kind.licence,
                "no" if fixes[name] else "yes",
            )
        )
    _print_table(("metric", "mode", "better", "range", "gradient", "min size", "licence", "available"), rows)
    for name, fix in fixes.items():
        if fix:
            typer.echo(f"to have {name}: {fix}", err=True)


@app.command(epilog="Example: drmetric train weights/driqa-mobilenetv2-10/recipe.toml --output runs/driqa")
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe of the training.", metavar="RECIPE.toml")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    max_time: Annotated[str | None, typer.Option(help="Stop after DD:HH:MM:SS; --resume goes on.")] = None,
) -> None:
    """Train a metric from a recipe."""
    from drmetric.distill.trainer import train as run

    typer.echo(run(recipe, resume=resume, output=output, max_time=max_time))


@app.command(epilog="Example: drmetric corpus corpus.toml --output data/corpus --workers 4")
def corpus(
    config: Annotated[Path, typer.Argument(help="Configuration of the corpus.", metavar="CONFIG.toml")],
    output: Annotated[Path, typer.Option(help="Folder of the corpus.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    fusion: Annotated[Path | None, typer.Option(help="JSON file of the label; the bundled one by default.")] = None,
    split: Annotated[
        list[Split] | None, typer.Option(help="Build train, validation or test alone; may be repeated. Default: all.")
    ] = None,
) -> None:
    """Build a corpus of degraded and restored images from pristine ones and label it; a stopped run goes on."""
    import logging

    from drmetric.data.make.corpus import build
    from drmetric.data.make.labels import Fusion, label

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(config, output, workers, [each.value for each in split or Split])
    typer.echo(label(output, Fusion.read(fusion) if fusion else None, workers))


@app.command(epilog="Example: drmetric conditions kadid10k.toml --output data/conditions --workers 4")
def conditions(
    config: Annotated[Path, typer.Argument(help="Photographs, opinions, how many conditions.", metavar="CONFIG.toml")],
    output: Annotated[Path, typer.Option(help="Folder of the images.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Make KADID-10k's distortions on your photographs, labelled with their mean opinions; a stopped run goes on."""
    import logging

    from drmetric.data.make.conditions import build

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    typer.echo(build(config, output, workers))


def _make_metric(name: str, weights: str | None, references: Path | None, device: str) -> "Metric":
    from drmetric.metrics.registry import create

    scorer = create(name, **({} if weights is None else {"weights": weights})).to(device)
    if references is not None:
        _set_references(scorer, references, device)
    return scorer


def _absolute(weights: str | None) -> str | None:
    """A path of weights as one that holds in any folder; a name, which has no suffix, as it is."""
    if weights is None or not Path(weights).suffix or not Path(weights).is_file():
        return weights
    return str(Path(weights).absolute())


def _set_references(scorer: "Metric", folder: Path, device: str) -> None:
    from drmetric.images import list_images, read_image
    from drmetric.metrics.nariqa import NARIQA

    if not isinstance(scorer, NARIQA):
        raise InputError(f"{scorer.name} takes no --references", "--metric nariqa --references DIR")
    scorer.set_references([read_image(path)[None].to(device) for path in list_images(folder)])


def _torch_device(wanted: Device) -> str:
    import torch

    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted is Device.auto:
        return next(name for name, works in usable.items() if works)
    if not usable[wanted.value]:
        raise InputError(
            f"the device {wanted.value!r} is not usable on this machine with torch {torch.__version__}",
            "--device auto",
        )
    return wanted.value


def _what_is_missing(name: str) -> str:
    """How to make a metric available; empty if it is."""
    from drmetric.metrics.registry import create

    try:
        create(name)
    except DrmetricError as error:
        return error.fix or error.problem
    return ""


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _how_to_resume(output: Path | None, overwrite: bool) -> str:
    if output is None:
        return "interrupted; with -o FILE.jsonl a later run would take up where this one stopped"
    without = " without --overwrite" if overwrite else ""
    where = f"{output}.parts" if output.suffix.lower() == ".parquet" else output
    return f"interrupted; the scores so far are in {where}, and the same command{without} takes up from there"


def _print_scores(scores: "FolderScores") -> None:
    from drmetric.bench.scores.records import Scored

    rows = [
        (record.file, f"{record.score:.6f}" if isinstance(record, Scored) else "failed") for record in scores.records
    ]
    _print_table(("file", "score"), [*rows, ("mean", f"{scores.mean:.6f}")])


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal, else lines of values between tabs under a line of names."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            typer.echo("\t".join(map(_printable, row)))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_printable(value)) for value in row))
    Console().print(table)


def _printable(text: str) -> str:
    """The text with tabs, line ends and other control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _finish(scores: "FolderScores") -> None:
    """Name on stderr what the user must know, and exit with 1 if an image has no score."""
    if scores.kept:
        typer.echo(f"note: {scores.kept} scores were kept from an earlier run", err=True)
    by_tag = [each for each in scores.pairing.pairs if each.rule in ("tag", "input tag")]
    if by_tag:
        typer.echo(
            f"note: {len(by_tag)} images are paired by name and tag, "
            f"such as {by_tag[0].name!r} with {by_tag[0].degraded_name!r}",
            err=True,
        )
    if extra := scores.pairing.extra:
        more = f" and {len(extra) - 5} more" if len(extra) > 5 else ""
        typer.echo(f"note: no restored image uses {', '.join(map(repr, extra[:5]))}{more}", err=True)
    for record in scores.failed:
        typer.echo(f"failed: {_printable(record.file)}: {record.error} ({record.error_type})", err=True)
    if scores.failed:
        typer.echo(f"{len(scores.failed)} of {len(scores.records)} images have no score", err=True)
        raise typer.Exit(1)
