"""Score images, and say what can score and what cannot be scored: `drmetric score`, `example`, `doctor`, `list`.

What needs torch is imported inside the commands, so that --help is instant.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drmetric.bench.tables import Column, Table, printable
from drmetric.cli.console import note, progress, show
from drmetric.cli.engines import Address, Engine, EngineOption, Workers, make_engine
from drmetric.errors import DrmetricError, InputError

if TYPE_CHECKING:
    from drmetric.bench.scores.folder import FolderScores
    from drmetric.metrics.base import Metric


commands = typer.Typer()

SCORES = (Column("image", "image"), Column("score", "score", ".6f"))
FINDINGS = (
    Column("level", "level"),
    Column("file", "file"),
    Column("check", "check"),
    Column("message", "finding"),
    Column("fix", "fix"),
)


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Alpha(StrEnum):
    refuse = "refuse"
    white = "white"
    black = "black"


Restored = Annotated[Path, typer.Argument(help="Folder of restored images, or one image.", metavar="RESTORED")]
AlphaOption = Annotated[Alpha, typer.Option(help="Transparent images: refuse, or lay over a colour.")]


@commands.command(epilog="Example: drmetric score restored/ --degraded degraded/ -o scores.jsonl")
def score(
    restored: Restored,
    degraded: Annotated[Path | None, typer.Option(help="Folder of the degraded inputs, paired by file name.")] = None,
    metric: Annotated[str, typer.Option(help="Name of the metric; see drmetric list.")] = "driqa",
    references: Annotated[
        Path | None, typer.Option(help="For nariqa: folder of high-quality images of any content.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Scores as .jsonl, .csv or .parquet; an existing file is resumed."),
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
    from drmetric.bench.scores.folder import score_folder

    score_all = make_engine(engine, device.value, output, batch, address, workers)
    scorer = _make_metric(metric, weights, references)
    options: dict[str, Any] = {"output": output, "overwrite": overwrite, "alpha": alpha.value}
    try:
        with progress("scoring") as bar:
            scores = score_folder(scorer, restored, degraded, engine=score_all, progress=bar, **options)
    except KeyboardInterrupt:
        note(_how_to_resume(output, overwrite))
        raise typer.Exit(130) from None
    if degraded is not None and scores.pairing.pairs[0].degraded is None:
        note(f"note: {metric} needs no degraded inputs; --degraded is not used")
    if output is None:
        _print_scores(scores)
    else:
        typer.echo(f"mean {scores.mean:.6f} of {len(scores.scores)} images in {output}")
    _finish(scores)


@commands.command(epilog="Example: drmetric example --copy photographs/")
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
    note("on your images: drmetric score RESTORED --degraded DEGRADED -o scores.jsonl")
    _finish(scores)


@commands.command(epilog="Example: drmetric doctor restored/ degraded/")
def doctor(
    paths: Annotated[list[Path], typer.Argument(help="Folders or images.", metavar="PATH...")],
    alpha: AlphaOption = Alpha.refuse,
) -> None:
    """Check image files for what would make a score wrong or impossible."""
    from drmetric.images.doctor import inspect, summary

    findings = list(inspect(paths, alpha=alpha.value))
    if faults := [finding for finding in findings if finding.level != "ok"]:
        show(Table(FINDINGS, faults))
    counts = summary(findings)
    note(", ".join(f"{level}: {count}" for level, count in counts.items()))
    if counts["error"]:
        raise typer.Exit(1)


@commands.command("list", epilog="Example: drmetric list")
def list_metrics() -> None:
    """List the metrics and what they need."""
    from drmetric.metrics.registry import available, metric_class

    fixes = {name: _what_is_missing(name) for name in available()}
    show(Table.of([_described(metric_class(name)) | {"available": "no" if fixes[name] else "yes"} for name in fixes]))
    for name, fix in fixes.items():
        if fix:
            note(f"to have {name}: {fix}")


def _make_metric(name: str, weights: str | None, references: Path | None) -> "Metric":
    from drmetric.metrics.registry import create

    scorer = create(name, **({} if weights is None else {"weights": weights}))
    if references is not None:
        _set_references(scorer, references)
    return scorer


def _set_references(scorer: "Metric", folder: Path) -> None:
    from drmetric.images import list_images, read_image
    from drmetric.metrics.nariqa import NARIQA

    if not isinstance(scorer, NARIQA):
        raise InputError(f"{scorer.name} takes no --references", "--metric nariqa --references DIR")
    scorer.set_references([read_image(path)[None] for path in list_images(folder)])


def _described(kind: type["Metric"]) -> dict[str, str]:
    low, high = kind.score_range
    return {
        "metric": kind.name,
        "mode": kind.mode,
        "better": "higher" if kind.higher_is_better else "lower",
        "range": f"{low:g}..{high:g}",
        "gradient": "yes" if kind.differentiable else "no",
        "min size": f"{kind.min_size} px",
        "licence": kind.licence,
    }


def _what_is_missing(name: str) -> str:
    """How to make a metric available; empty if it is."""
    from drmetric.metrics.registry import create

    try:
        create(name)
    except DrmetricError as error:
        return error.fix or error.problem
    return ""


def _how_to_resume(output: Path | None, overwrite: bool) -> str:
    if output is None:
        return "interrupted; with -o FILE.jsonl a later run would continue this one"
    without = " without --overwrite" if overwrite else ""
    where = output if output.suffix.lower() == ".jsonl" else f"{output}.parts"
    return f"interrupted; the scores so far are in {where}, and the same command{without} continues from there"


def _print_scores(scores: "FolderScores") -> None:
    rows: list[dict[str, Any]] = [
        {"image": row.image, "score": "failed" if row.score is None else row.score} for row in scores.rows
    ]
    show(Table(SCORES, [*rows, {"image": "mean", "score": scores.mean}]))


def _finish(scores: "FolderScores") -> None:
    """Name on stderr what the user must know, and exit with 1 if an image has no score."""
    if scores.kept:
        note(f"note: {scores.kept} scores were kept from an earlier run")
    by_tag = [each for each in scores.pairing.pairs if each.rule in ("tag", "input tag")]
    if by_tag:
        such = f"such as {by_tag[0].name!r} with {by_tag[0].degraded_name!r}"
        note(f"note: {len(by_tag)} images are paired by name and tag, {such}")
    if extra := scores.pairing.extra:
        more = f" and {len(extra) - 5} more" if len(extra) > 5 else ""
        note(f"note: no restored image uses {', '.join(map(repr, extra[:5]))}{more}")
    for row in scores.failed:
        note(f"failed: {printable(row.image)}: {row.error} ({row.error_type})")
    if scores.failed:
        note(f"{len(scores.failed)} of {len(scores.rows)} images have no score")
        raise typer.Exit(1)
