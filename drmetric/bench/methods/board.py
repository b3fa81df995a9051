"""Rank restoration methods by the scores of their outputs.

`run` scores every output with every metric, one line of scores.jsonl a score (so a killed run goes on where it
stopped), and ranks the methods. What is scored: `drmetric.bench.methods.config`; how ranks and intervals are made:
`drmetric.bench.methods.ranking`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from drmetric import __version__
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.files import Failure, Picture, collect
from drmetric.bench.methods.ranking import Ranking, rank
from drmetric.bench.methods.scores import KEY, Judge, MethodScores, Progress, Reference
from drmetric.bench.methods.scoring import score_methods
from drmetric.bench.methods.tasks import TaskEngine, score_tasks
from drmetric.bench.scores.score_file import ScoreFile
from drmetric.errors import ConfigError, MissingDependencyError, WeightsError


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


def run(
    config: Config,
    output: Path,
    *,
    device: str = "cpu",
    engine: TaskEngine = score_tasks,
    n_bootstrap: int = 10_000,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> MethodBoard:
    """Score the outputs of all methods with all metrics and rank the methods.

    Args:
        config: what to score, with what.
        output: folder of scores.jsonl; scores that are there already and still hold are kept.
        device: where the metrics run.
        engine: what runs them; by default this process.
        n_bootstrap: resamples of each interval and test.
        seed: of the resamples.
        progress: called with the numbers of scores done and in all.

    Raises:
        ConfigError: an unusable configuration.
        PairingError, ImageFileError: folders that are missing, empty or do not pair.
        InputError: a metric or an option that does not exist.
        DrmetricError: of an engine that cannot score.
    """
    judges, skipped, failures = make_judges(config)
    collection = collect(config.degraded, config.truth, config.methods)
    output.mkdir(parents=True, exist_ok=True)
    names = [method.name for method in config.methods]
    with ScoreFile(output / "scores.jsonl", KEY) as file:
        scores = score_methods(judges, names, collection.pictures, file, device, engine, progress)
    used = [number for number in range(len(judges)) if scores.given[number].any()]
    unused = set(range(len(judges))) - set(used)
    skipped |= {judges[number].label: "it applies to no image" for number in sorted(unused)}
    if not used:
        raise ConfigError("no metric applies to any image", 'add [[metrics]] with name = "driqa"')
    scores = scores.only(used)
    return MethodBoard(
        name=config.name,
        title=", ".join([_count(names, "method"), _count(collection.pictures, "image"), _count(used, "metric")]),
        note=_note(n_bootstrap, len(collection.pictures), device),
        notes=collection.notes,
        pictures=collection.pictures,
        scores=scores,
        ranking=rank(scores, n_bootstrap, seed),
        skipped=skipped,
        errors=[*failures, *collection.strays, *scores.errors],
        device=", ".join(sorted(scores.devices)) or device,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )


def make_judges(config: Config) -> tuple[list[Judge], dict[str, str], list[Failure]]:
    """The metrics that can be used, {label: reason} of those without ground truth, and those that cannot be made.

    Raises:
        ConfigError: an impossible reference, one metric under two labels, or none that can be used.
        InputError: a metric or an option that does not exist.
    """
    judges: dict[tuple[str, Reference], Judge] = {}
    skipped, failures = {}, []
    for entry in config.metrics:
        reference = entry.reference_used()
        if reference == "truth" and config.truth is None:
            skipped[entry.title] = "it needs ground truth, and [data] names none"
            continue
        try:
            metric = entry.make()
        except (WeightsError, MissingDependencyError) as error:
            failures.append(Failure(entry.title, "", "", f"{type(error).__name__}: {error}"))
            continue
        twin = judges.setdefault((metric.signature, reference), Judge(entry.title, reference, metric))
        if twin.label != entry.title:
            raise ConfigError(f"{twin.label!r} and {entry.title!r} are the same metric", "remove one of them")
    if not judges:
        reasons = [*skipped.items(), *((failure.metric, failure.error) for failure in failures)]
        raise ConfigError(
            f"no metric can be used: {'; '.join(f'{label}: {reason}' for label, reason in reasons)}",
            'add [[metrics]] with name = "driqa"',
        )
    return list(judges.values()), skipped, failures


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _note(n_bootstrap: int, n_images: int, device: str) -> str:
    few = " With so few images, intervals and tests say little." if n_images < 10 else ""
    return (
        f"Means over images; brackets: 95 % percentile intervals, {n_bootstrap} bootstraps over images.{few} Tied, "
        "marked *: not told from the best at 5 % (paired bootstrap, Holm's correction over the methods). A failed "
        "image counts as the worst score of any method on any image. Mean rank: over the metrics, without those of "
        "restoration consistency (lr_psnr, low_band_psnr, colour_difference). Agreement: Kendall's tau-b between "
        f"the metrics' orders of the methods, mean over images. {device}, drmetric {__version__}, "
        f"torch {torch.__version__}."
    )
