"""Rank restoration methods by the scores of their outputs.

`run` scores every output with every metric, one line of scores.jsonl a score (so that an interrupted run is
continued), and ranks the methods. What is scored: `drmetric.bench.methods.config`; how ranks and intervals are made:
`drmetric.bench.methods.ranking`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import product
from pathlib import Path

import torch

from drmetric import __version__
from drmetric.bench.composites import Composite
from drmetric.bench.judges import Judge, make_judges, why
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.files import Picture, collect
from drmetric.bench.methods.ranking import MethodScores, Ranking, rank
from drmetric.bench.methods.scale import Output, unlike_sizes, wrong_sizes
from drmetric.bench.scores import run as scoring
from drmetric.bench.scores.geometry import odd_scales
from drmetric.bench.scores.rows import Failure, suspects
from drmetric.bench.scores.run import Engine, Progress, Task, score_tasks
from drmetric.bench.scores.store import ScoreFile
from drmetric.errors import ConfigError, DrmetricError, MissingDependencyError

FEW = 10
"""Images below which intervals and tests say little."""


@dataclass(frozen=True)
class MethodBoard:
    """A finished methods board.

    Attributes:
        name: of the configuration.
        title: how much was compared, in words.
        note: how the figures were made.
        skipped: {metric: why it was not used}.
        errors: scores that are missing and should not be, and outputs without an input.
        device: what computed the scores: GPUs by their names.
        made: the day.
    """

    name: str
    title: str
    note: str
    notes: list[str]
    pictures: list[Picture]
    scores: MethodScores
    ranking: Ranking
    skipped: dict[str, str]
    errors: list[Failure]
    device: str
    n_bootstrap: int
    seed: int
    made: date


def run(
    config: Config,
    output: Path,
    *,
    engine: Engine = score_tasks,
    n_bootstrap: int = 10_000,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
    warn: Callable[[str], None] = lambda text: None,
) -> MethodBoard:
    """Score the outputs of all methods with all metrics and rank the methods.

    Args:
        config: what to score, with what.
        output: folder of scores.jsonl; scores that exist and still hold are kept.
        engine: what scores; by default this process, on the CPU.
        n_bootstrap: resamples of each interval and test.
        seed: of the resamples.
        progress: called with the numbers of scores done and in all.
        warn: called before the first score, of each metric that will not score, and why, and with what composites are.

    Raises:
        ConfigError: an unusable configuration, or outputs that leave their scale open.
        PairingError, ImageFileError: folders that are missing, empty or do not pair.
        InputError: a metric or an option that does not exist.
        DrmetricError: of an engine that cannot score.
    """
    judges, unmade, skipped = judges_of(config)
    for title, reason in (unmade | skipped).items():
        warn(f"{title} will not score: {reason}")
    formulas = [
        f"{judge.label} = {judge.metric.formula}, image by image; it does not count in the mean rank."
        for judge in judges
        if isinstance(judge.metric, Composite)
    ]
    for formula in formulas:
        warn(formula)
    collection = collect(config.degraded, config.truth, config.methods)
    names = [method.name for method in config.methods]
    wrong = wrong_sizes(collection.pictures, config.scale)
    scores = score(judges, names, collection.pictures, wrong, output / "scores.jsonl", engine, progress)
    used = [number for number in range(len(judges)) if scores.given[number].any()]
    unused = set(range(len(judges))) - set(used)
    skipped |= {judges[number].label: "it applies to no image" for number in sorted(unused)}
    if not used:
        raise ConfigError("no metric applies to any image", config.usable_metric)
    scores = scores.only(used)
    device = ", ".join(sorted(scores.devices))
    return MethodBoard(
        name=config.name,
        title=", ".join([_count(names, "method"), _count(collection.pictures, "image"), _count(used, "metric")]),
        note=_note(n_bootstrap, len(collection.pictures), device),
        notes=[
            *collection.notes,
            *unlike_sizes(collection.pictures),
            *(f"{each}." for each in odd_scales(_pairs(collection.pictures))),
            *(f"{each}." for each in scores.suspects),
            *formulas,
        ],
        pictures=collection.pictures,
        scores=scores,
        ranking=rank(scores, n_bootstrap, seed),
        skipped=skipped,
        errors=[
            *(Failure(title, "", "", error) for title, error in unmade.items()),
            *collection.strays,
            *scores.errors,
        ],
        device=device,
        n_bootstrap=n_bootstrap,
        seed=seed,
        made=datetime.now().astimezone().date(),
    )


def _pairs(pictures: Sequence[Picture]) -> dict[str, tuple[Path, Path]]:
    """Every output that has an input, with it."""
    return {
        f"{picture.name} of {method}": (path, picture.degraded)
        for picture in pictures
        if picture.degraded is not None
        for method, path in picture.restored.items()
    }


def judges_of(config: Config) -> tuple[list[Judge], dict[str, str], dict[str, str]]:
    """The judges, composites last, and {title: why} of the metrics that cannot be made and of what is left out:
    metrics without the images that they compare with, and composites without all of their metrics.

    Raises:
        ConfigError: an impossible reference, one metric under two labels, or none that can be used.
        InputError: a metric or an option that does not exist.
    """
    folders = {"degraded": config.degraded, "truth": config.truth}
    images = [kind for kind, folder in folders.items() if folder is not None]
    usable, skipped, strange = [], {}, {}
    for entry in config.metrics:
        try:
            lack = entry.lacks(images)
        except MissingDependencyError as error:
            strange[entry.label or entry.name] = why(error)
            continue
        if lack:
            skipped[entry.title] = f"{lack[0]} ({lack[1]})"
        else:
            usable.append(entry)
    judges, unmade = make_judges(usable, images, guarded=config.consistency) if usable else ([], {})
    unmade |= strange
    if not judges:
        reasons = "; ".join(f"{title}: {reason}" for title, reason in (skipped | unmade).items())
        raise ConfigError(f"no metric can be used: {reasons}", config.usable_metric)
    for composite in config.composites:
        made = composite.make(judges, skipped | unmade)
        if isinstance(made, Judge):
            judges.append(made)
        else:
            skipped[composite.name] = made
    return judges, unmade, skipped


def task_of(picture: Picture, method: str, judges: Sequence[Judge]) -> Task:
    """The task of one output: those judges score it that find the image they meet."""
    files = picture.files(method)
    able = [number for number, judge in enumerate(scored(judges)) if judge.reference in ("none", *files)]
    return Task(picture.name, files, method, picture.name, able)


def scored(judges: Sequence[Judge]) -> list[Judge]:
    """The judges that look at images: all but composites, which stand behind them."""
    return [judge for judge in judges if not isinstance(judge.metric, Composite)]


def score(
    judges: Sequence[Judge],
    methods: Sequence[str],
    pictures: Sequence[Picture],
    wrong: Mapping[Output, DrmetricError],
    path: Path,
    engine: Engine,
    progress: Progress,
) -> MethodScores:
    """Score every output with every judge, the pictures in turn, but for those that are `wrong`.

    `path` is the score file.
    """
    scores = MethodScores(list(judges), list(methods), [picture.name for picture in pictures])
    tasks = []
    for picture in pictures:
        for method in methods:
            if error := wrong.get((method, picture.name)):
                scores.errors.append(Failure("", method, picture.name, f"{type(error).__name__}: {error.problem}"))
            elif method in picture.restored:
                tasks.append(task_of(picture, method, judges))
            else:
                scores.errors.append(Failure("", method, picture.name, "there is no output of this image"))
    found = scoring.run(scored(judges), tasks, ScoreFile.read(path), engine, progress)
    rows = {(row.metric, row.method, row.image): row for row in found.rows}
    for index in product(range(len(pictures)), range(len(methods)), range(len(judges))):
        picture, method, judge = pictures[index[0]], methods[index[1]], judges[index[2]]
        row = rows.get((judge.label, method, picture.name))
        if row is not None:
            scores.put(index[::-1], row)
        elif judge.reference not in ("none", *picture.files(method)):
            scores.applies[index[::-1]] = False
    _put_together(scores)
    scores.kept, scores.suspects = found.kept, suspects(found.rows)
    scores.devices = {row.device for row in found.rows if row.device}
    return scores


def _put_together(scores: MethodScores) -> None:
    """Enter the composites."""
    numbers = {judge.label: number for number, judge in enumerate(scores.judges)}
    for judge in scores.judges:
        if isinstance(judge.metric, Composite):
            parts = {part.label: numbers[part.label] for part in judge.metric.parts}
            of_parts = {label: scores.values[number] for label, number in parts.items()}
            scores.values[numbers[judge.label]] = judge.metric.combined(of_parts)
            scores.applies[numbers[judge.label]] = scores.applies[list(parts.values())].all(axis=0)


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _note(n_bootstrap: int, n_images: int, device: str) -> str:
    few = " With so few images, intervals and tests say little." if n_images < FEW else ""
    return (
        f"Means over images; brackets: 95 % percentile intervals, {n_bootstrap} bootstraps over images.{few} "
        "A failed image counts as the worst score that the metric can give; where there is no worst, its "
        "method has no mean and is placed behind those with fewer failures. #: by the first metric that gives a mean. "
        "Mean rank: over such metrics without those of restoration consistency (lr_psnr, low_band_psnr, "
        "colour_difference). Agreement: Kendall's tau-b between the metrics' orders of the methods, failures last, "
        "mean over images. "
        f"{device}, drmetric {__version__}, torch {torch.__version__}."
    )
