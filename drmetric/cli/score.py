"""Score images, and say what can score and what cannot be scored: `drmetric score`, `example`, `doctor`, `list`.

What needs torch is imported inside the commands, so that --help is instant.
"""

from collections.abc import Sequence
from difflib import get_close_matches
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


commands = typer.Typer(rich_markup_mode=None)

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
    truth: Annotated[
        Path | None, typer.Option(help="For full-reference metrics: folder of the ground truth, paired by file name.")
    ] = None,
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
    """Score restored images against their degraded inputs, or alone with a metric that needs none.

    Images pair by name without the suffix. An output may add a tag (0001_x4_net.png is of 0001.png); an input may end
    in x2, x3, x4, x8, x16, _lr, _lq, _degraded, _input, _noisy, _blur or _blurry. The longest name wins; sub folders
    pair with those of the same name, or with one flat folder. All rules: drmetric/bench/scores/pairing.py.

    An output is as large as its input or larger by the scale of its fellows; others fail and are named.
    """
    from drmetric.bench.scores.folder import score_folder

    score_all = make_engine(engine, device.value, output, batch, address, workers)
    meets_inputs = truth is None and degraded is not None
    scorer = _make_metric(metric, weights, references, enlarges=meets_inputs)
    options: dict[str, Any] = {"truth": truth, "output": output, "overwrite": overwrite, "alpha": alpha.value}
    try:
        with progress("scoring") as bar:
            scores = score_folder(scorer, restored, degraded, engine=score_all, progress=bar, **options)
    except KeyboardInterrupt:
        note(_how_to_resume(output, overwrite))
        raise typer.Exit(130) from None
    _note_references(scorer, degraded, truth)
    if output is None:
        _print_scores(scores)
    else:
        for name, mean, count in scores.means:
            typer.echo(f"{name} {mean:.6f} of {count} images in {output}")
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
    """Check image files for what would make a score wrong or impossible.

    Of two folders, restored images and then their degraded inputs, it also checks pairs: names, scales, orientation.
    """
    from drmetric.images.doctor import inspect, summary

    findings = list(inspect(paths, alpha=alpha.value))
    if len(paths) == 2 and all(path.is_dir() for path in paths):
        from drmetric.bench.scores.doctor import inspect_pairs

        findings += inspect_pairs(*paths)
    if faults := [finding for finding in findings if finding.level != "ok"]:
        show(Table(FINDINGS, faults))
    counts = summary(findings)
    note(", ".join(f"{level}: {count}" for level, count in counts.items()))
    if counts["error"]:
        raise typer.Exit(1)


@commands.command("list", epilog="Example: drmetric list")
def list_metrics() -> None:
    """List the metrics and what they need."""
    from drmetric.metrics.registry import available

    fixes = {name: _what_is_missing(name) for name in available()}
    show(Table.of([_described(name) | {"available": "no" if fixes[name] else "yes"} for name in fixes]))
    for name, fix in fixes.items():
        if fix:
            note(f"to have {name}: {fix}")


def _make_metric(name: str, weights: str | None, references: Path | None, enlarges: bool) -> "Metric":
    """The metric of the command; with `enlarges` one of full reference brings a smaller input to the image's size."""
    from drmetric.metrics.alignment import Alignment
    from drmetric.metrics.registry import PYIQA, available, create

    try:
        scorer = create(name, **({} if weights is None else {"weights": weights}))
    except InputError as error:
        if name in available() or name.startswith(PYIQA):
            raise
        raise InputError(error.problem, f"--metric {_meant(name, available())}") from error
    if enlarges and scorer.mode == "fr":
        vars(scorer)["alignment"] = Alignment(upscale=True)
    if references is not None:
        _set_references(scorer, references)
    return scorer


def _meant(name: str, known: Sequence[str]) -> str:
    """The metric that an unknown name was probably meant to be."""
    by_form = {_form(each): each for each in known}
    near = get_close_matches(_form(name), by_form, 1, cutoff=0.75)
    return by_form[near[0]] if near else f"pyiqa:{name.lower()}  # if pyiqa has it; else see drmetric list"


def _form(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def _note_references(scorer: "Metric", degraded: Path | None, truth: Path | None) -> None:
    """What was given and not used, and what a full-reference metric was compared with."""
    if degraded is not None and (not scorer.needs_reference or (scorer.mode == "fr" and truth is not None)):
        note(f"note: {scorer.name} needs no degraded inputs; --degraded is not used")
    elif scorer.mode == "fr" and truth is None:
        note(f"note: {scorer.name} is to the degraded inputs, enlarged where they are smaller; --truth gives the truth")
    if truth is not None and scorer.mode != "fr":
        note(f"note: {scorer.name} does not look at ground truth; --truth is not used")


def _set_references(scorer: "Metric", folder: Path) -> None:
    from drmetric.images import list_images, read_image
    from drmetric.metrics.nariqa import NARIQA

    if not isinstance(scorer, NARIQA):
        raise InputError(f"{scorer.name} takes no --references", "--metric nariqa --references DIR")
    scorer.set_references([read_image(path)[None] for path in list_images(folder)])


def _described(name: str) -> dict[str, str]:
    """The line of a metric; blank where the plug-in that has it cannot be loaded."""
    from drmetric.metrics.registry import metric_class

    try:
        kind = metric_class(name)
    except DrmetricError:
        return {"metric": name} | dict.fromkeys(("mode", "better", "range", "gradient", "min size", "licence"), "")
    low, high = kind.score_range
    return {
        "metric": name,
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
    show(Table(SCORES, [*rows, *({"image": name, "score": mean} for name, mean, _ in scores.means)]))


def _finish(scores: "FolderScores") -> None:
    """Name on stderr what the user must know, and exit with 1 if an image has no score."""
    if scores.kept:
        note(f"note: {scores.kept} scores were kept from an earlier run")
    if unread := scores.pairing.unread:
        note(f"note: files that are not read as images: {unread}")
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
