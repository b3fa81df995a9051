"""Score images, and say what can score and what cannot be scored: `drmetric score`, `example`, `doctor`, `list`.

What needs torch is imported inside the commands, so that --help is instant.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drmetric.bench.tables import Column, Table
from drmetric.cli.console import note, progress, say, show
from drmetric.cli.engines import Address, DeviceOption, Engine, EngineOption, Workers, make_engine
from drmetric.cli.entries import metric_entry
from drmetric.errors import DrmetricError, InputError, quoted
from drmetric.text import printable

if TYPE_CHECKING:
    from drmetric.bench.judges import Judge
    from drmetric.bench.scores.folder import FolderScores
    from drmetric.bench.scores.pairing import Pairing


commands = typer.Typer(rich_markup_mode=None)

FINDINGS = (
    Column("level", "level"),
    Column("file", "file"),
    Column("check", "check"),
    Column("message", "finding"),
    Column("fix", "fix"),
)


_ENLARGED = "to the degraded inputs, enlarged where they are smaller"


class Alpha(StrEnum):
    refuse = "refuse"
    white = "white"
    black = "black"


Restored = Annotated[Path, typer.Argument(help="Folder of restored images, or one image.", metavar="RESTORED")]
AlphaOption = Annotated[Alpha, typer.Option(help="Transparent images: refuse, or lay over a colour.")]


@commands.command(
    epilog="Example: drmetric score restored/ --degraded degraded/ -o scores.jsonl",
    context_settings={"allow_extra_args": True},
)
def score(
    context: typer.Context,
    restored: Restored,
    degraded: Annotated[Path | None, typer.Option(help="Folder of the degraded inputs, paired by file name.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="For full-reference metrics: folder of the ground truth, paired by file name.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Metric of drmetric list, such as lpips or 'psnr(channel=y)'; repeatable [default: driqa]"),
    ] = None,
    references: Annotated[
        Path | None, typer.Option(help="For nariqa: folder of high-quality images of any content.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Scores as .jsonl, .csv or .parquet; an existing file is resumed."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Name or path of the weights.")] = None,
    device: DeviceOption = "auto",
    alpha: AlphaOption = Alpha.refuse,
    consistency: Annotated[
        bool, typer.Option(help="Beside DRIQA: does the output, degraded again, give its input? In dB and colour.")
    ] = True,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Beside nriqa and nariqa: the standard error of each score.")
    ] = False,
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

    if context.args:
        raise _too_many([str(restored), *context.args], degraded)
    judges = _make_judges(metric or ["driqa"], weights, references, restored, degraded, truth, consistency)
    if uncertainty:
        judges = _uncertain(judges)
    score_all = make_engine(engine, device, output, batch, address, workers)
    options: dict[str, Any] = {"truth": truth, "output": output, "overwrite": overwrite, "alpha": alpha.value}
    try:
        with progress("scoring") as bar:
            scores = score_folder(judges, restored, degraded, engine=score_all, progress=bar, **options)
    except KeyboardInterrupt:
        note(_how_to_resume(output, overwrite))
        raise typer.Exit(130) from None
    _note_references(judges, degraded, truth)
    folders = [each for each in (restored, degraded or truth) if each is not None and each.is_dir()]
    _finish(scores, output, "drmetric doctor " + quoted(*(folders or [restored])))


@commands.command(epilog="Example: drmetric example --copy photographs/")
def example(
    copy: Annotated[
        Path | None, typer.Option(help="Also copy the images to restored/ and degraded/ in this folder.")
    ] = None,
) -> None:
    """Score the images that come with drmetric."""
    from drmetric import example as bundled
    from drmetric.bench.judges import Entry
    from drmetric.bench.scores.folder import folder_judges, score_folder

    if copy is not None:
        bundled.copy(copy)
    folders = bundled.FOLDER / "restored", bundled.FOLDER / "degraded"
    scores = score_folder(folder_judges([Entry("driqa")], *folders), *folders)
    note("on your images: drmetric score RESTORED --degraded DEGRADED -o scores.jsonl")
    _finish(scores)


@commands.command(epilog="Example: drmetric doctor restored/ degraded/")
def doctor(
    paths: Annotated[list[Path], typer.Argument(help="Folders or images.", metavar="PATH...")],
    degraded: Annotated[Path | None, typer.Option(help="The second of two folders, as in drmetric score.")] = None,
    alpha: AlphaOption = Alpha.refuse,
) -> None:
    """Check image files for what would make a score wrong or impossible.

    Of two folders, restored images and then their degraded inputs, it also checks pairs: names, scales, orientation.
    """
    from drmetric.images.doctor import inspect, summary

    if degraded is None and len(paths) == 2 and all(path.is_dir() for path in paths):
        paths, degraded = paths[:1], paths[1]
    findings, pairs = list(inspect(paths, alpha.value, degraded)), ""
    if degraded is not None and len(paths) == 1 and degraded.is_dir() and paths[0].is_dir():
        from drmetric.bench.scores.doctor import inspect_pairs

        findings += inspect_pairs(paths[0], degraded)
        pairs = " and their pairs"
    if faults := [finding for finding in findings if finding.level != "ok"]:
        show(Table(FINDINGS, faults))
    counts = summary(findings)
    files = sum(Path(file).is_file() for file in {finding.file for finding in findings})
    levels = ", ".join(f"{level}: {count}" for level, count in counts.items())
    note(f"findings on {files} files{pairs}: {levels}")
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


def _too_many(paths: Sequence[str], degraded: Path | None) -> InputError:
    """The error where the command came with several paths, of which the second is often the inputs."""
    problem = f"{len(paths)} paths came: {', '.join(paths[:3])}{', ...' if paths[3:] else ''}; wanted one, RESTORED"
    if len(paths) == 2 and degraded is None:
        return InputError(problem, f"drmetric score {quoted(paths[0], '--degraded', paths[1])}")
    return InputError(problem, "name the folder of the images, or one image")


def _make_judges(
    names: Sequence[str],
    weights: str | None,
    references: Path | None,
    restored: Path,
    degraded: Path | None,
    truth: Path | None,
    consistency: bool,
) -> "list[Judge]":
    from drmetric.bench.scores.folder import folder_judges

    entries = [metric_entry(name) for name in names]
    if weights is not None:
        if len(entries) > 1:
            raise InputError(
                f"--weights {weights} is for one metric, and {len(entries)} were named",
                f"--metric '{entries[0].name}(weights={weights})'",
            )
        only = entries[0]
        entries = [replace(only, options={**only.options, "weights": weights})]
    judges = folder_judges(entries, restored, degraded, truth, guarded=consistency)
    if references is not None:
        _set_references(judges, references)
    return judges


def _uncertain(judges: "Sequence[Judge]") -> "list[Judge]":
    """The judges, of which those that can give standard errors."""
    from drmetric.metrics.opinions import OpinionMetric

    able = [isinstance(judge.metric, OpinionMetric) for judge in judges]
    if not any(able):
        names = ", ".join(judge.label for judge in judges)
        raise InputError(f"{names} cannot say how far its scores may be off", "--metric nriqa")
    for judge in judges:
        if isinstance(judge.metric, OpinionMetric) and not judge.metric.is_calibrated:
            raise InputError(
                f"the weights of {judge.label}, {judge.metric.weights_file.name}, hold no calibrated uncertainty",
                "take weights of a training that validated",
            )
    return [replace(judge, uncertain=is_able) for judge, is_able in zip(judges, able, strict=True)]


def _note_references(judges: "Sequence[Judge]", degraded: Path | None, truth: Path | None) -> None:
    """What was given and not used, and what a full-reference metric was compared with."""
    met, names = {judge.reference for judge in judges}, ", ".join(judge.label for judge in judges)
    if degraded is not None and "degraded" not in met:
        note(f"note: {names} needs no degraded inputs; --degraded is not used")
    if truth is not None and "truth" not in met:
        note(f"note: {names} does not look at ground truth; --truth is not used")
    for judge in judges:
        if judge.metric.mode == "fr" and judge.reference == "degraded":
            note(f"note: {judge.label} is {_ENLARGED}; --truth gives the truth")


def _set_references(judges: "Sequence[Judge]", folder: Path) -> None:
    from drmetric.images import list_images, read_image
    from drmetric.metrics.nariqa import NARIQA

    takers = [judge.metric for judge in judges if isinstance(judge.metric, NARIQA)]
    if not takers:
        raise InputError(f"{judges[0].label} takes no --references", "--metric nariqa --references DIR")
    images = [read_image(path)[None] for path in list_images(folder)]
    for metric in takers:
        metric.set_references(images)


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


def _finish(scores: "FolderScores", output: Path | None = None, fix: str = "") -> None:
    """Print the table, name on stderr what the user must know, and exit with 1 if an image has no score."""
    from drmetric.bench.scores.geometry import odd_scales
    from drmetric.bench.scores.means import doubts, table
    from drmetric.bench.scores.rows import suspects

    show(table(scores, with_images=output is None))
    if output is not None:
        say(f"{len(scores.rows) - len(scores.failed)} scores in {output}")
    met = scores.pairings["degraded"].pairs if "degraded" in scores.pairings else ()
    files = {each.name: (each.restored, each.degraded) for each in met if each.degraded is not None}
    for sentence in (*odd_scales(files), *doubts(scores), *suspects(scores.rows)):
        note(f"warning: {sentence}")
    if scores.kept:
        note(f"note: {scores.kept} scores were kept from an earlier run")
    for line in dict.fromkeys(line for pairing in scores.pairings.values() for line in _notes(pairing)):
        note(f"note: {line}")
    for line in dict.fromkeys(f"{printable(row.image)}: {row.error} ({row.error_type})" for row in scores.failed):
        note(f"failed: {line}")
    if scores.failed:
        images, failed = ({row.image for row in rows} for rows in (scores.rows, scores.failed))
        note(f"{len(failed)} of {len(images)} images have no score")
        if fix:
            note(f"fix: {fix}  # says of each file what mends it")
        raise typer.Exit(1)


def _notes(pairing: "Pairing") -> Iterator[str]:
    """What a user should know of how files were paired."""
    if pairing.unread:
        yield f"files that are not read as images: {pairing.unread}"
    by_tag = [each for each in pairing.pairs if each.rule in ("tag", "input tag")]
    if by_tag:
        such = f"such as {by_tag[0].name!r} with {by_tag[0].degraded_name!r}"
        yield f"{len(by_tag)} images are paired by name and tag, {such}"
    if extra := pairing.extra:
        more = f" and {len(extra) - 5} more" if len(extra) > 5 else ""
        yield f"no restored image uses {', '.join(map(repr, extra[:5]))}{more}"
