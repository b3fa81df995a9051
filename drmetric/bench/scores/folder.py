"""Scores of whole folders: images pair by name, broken files are named, and an interrupted run is continued."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from drmetric.bench.judges import Entry, Judge, Reference
from drmetric.bench.scores.geometry import are_swapped, misfits, read_sizes, scales_of_folder
from drmetric.bench.scores.pairing import Pairing, pair, refuse_absent
from drmetric.bench.scores.rows import WORDS, Row
from drmetric.bench.scores.run import Engine, Progress, Task, run, score_tasks
from drmetric.bench.scores.store import ScoreFile
from drmetric.errors import DrmetricError, InputError, PairingError, quoted, refuse_all
from drmetric.images.files import Alpha
from drmetric.metrics.base import Metric, Mode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FolderScores:
    """What `score_folder` found.

    Attributes:
        judges: what scored.
        rows: one per restored image and judge, sorted by the image's name.
        pairings: which files belong together, by the kind of the images that the judges meet.
        kept: how many rows were taken from an earlier run.
    """

    judges: Sequence[Judge]
    rows: list[Row]
    pairings: Mapping[Reference, Pairing]
    kept: int

    @property
    def scores(self) -> dict[str, float]:
        """By the first judge, of the images that it could score, by name."""
        label = self.judges[0].label
        return {row.image: row.score for row in self.rows if row.metric == label and row.score is not None}

    @property
    def mean(self) -> float:
        """Mean of `scores`; NaN if no image could be scored."""
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else math.nan

    @property
    def pairing(self) -> Pairing:
        """That of the first judge."""
        return self.pairings[self.judges[0].reference]

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.score is None]


def folder_judges(
    entries: Sequence[Entry],
    restored: Path,
    degraded: Path | None = None,
    truth: Path | None = None,
    *,
    guarded: bool = True,
) -> list[Judge]:
    """The judges of a folder, made before anything is scored, so that all that is missing is named at once.

    Args:
        entries: the metrics. One of full reference meets the truth, or where there is none the enlarged inputs.
        restored, degraded, truth: as in `score_folder`.
        guarded: have the consistency with the input beside the scores of metrics that know that alone.

    Raises:
        DrmetricError: what is missing or does not exist, of its own type; of several things a `ConfigError` with all.
        InputError: one metric twice, or two of one label.
    """
    missing: list[DrmetricError] = []
    for role, path in {"restored": restored, "degraded": degraded, "truth": truth}.items():
        if path is not None:
            _collect(missing, partial(refuse_absent, path, role))
    judges: dict[tuple[str, Reference], Judge] = {}
    for entry in entries:
        judge = _collect(missing, partial(_judge_of, entry, degraded, truth, guarded))
        if judge is not None and judges.setdefault((judge.signature, judge.reference), judge) is not judge:
            raise InputError(f"the metric {judge.label!r} is named twice", "name each metric once")
    if twice := [label for label, count in Counter(judge.label for judge in judges.values()).items() if count > 1]:
        raise InputError(f"two metrics are called {twice[0]!r}", "give one of them another label in its brackets")
    refuse_all(missing)
    return list(judges.values())


def _collect(missing: list[DrmetricError], make: Callable[[], T]) -> T | None:
    """What is made, or None and the error among those that are missing."""
    try:
        return make()
    except DrmetricError as error:
        missing.append(error)
        return None


def _judge_of(entry: Entry, degraded: Path | None, truth: Path | None, guarded: bool) -> Judge:
    asked = entry.reference
    if entry.mode == "fr" and asked == "default" and truth is None and degraded is not None:
        asked = "degraded"
    reference = replace(entry, reference=asked).meets()
    if reference != "none" and {"degraded": degraded, "truth": truth}[reference] is None:
        raise _no_images(entry.title, entry.mode)
    return Judge(entry.title, reference, entry.make(reference), guarded)


def score_folder(
    metric: Metric | Sequence[Judge],
    restored: Path,
    degraded: Path | None = None,
    *,
    truth: Path | None = None,
    output: Path | None = None,
    overwrite: bool = False,
    alpha: Alpha = "refuse",
    engine: Engine = score_tasks,
    progress: Progress = lambda done, total: None,
) -> FolderScores:
    """Score each image of a folder and write one row per image and metric as it is made.

    An image fails whose size no scale explains, or another than that of most: see `drmetric.bench.scores.geometry`.

    With an `output` that exists, rows whose files and signature are unchanged are kept, and only the other images
    (new, changed, failed before, or not reached by a killed run) are scored.

    Args:
        metric: a metric, or several as `folder_judges` makes them; the engine moves them to its device.
        restored: folder, or one image.
        degraded: folder, or one image, that a metric with a reference meets; not read by one that needs none. A
            full-reference metric that is to meet smaller inputs must be made with ``upscale=True``.
        truth: the same of ground truth, which a full-reference metric meets in place of `degraded`.
        output: ``*.jsonl``, ``*.csv`` or ``*.parquet``; None keeps the rows in memory only.
        overwrite: score every image and replace `output`.
        alpha: what `read_image` does with an alpha channel.
        engine: what scores; by default this process, on the CPU.
        progress: called with the number of scores done and in all.

    Raises:
        InputError: no `degraded` or `truth` for a metric that needs it; an `output` of another run or not writable.
        OutputError: an `output` that another run is writing, or that is deleted or replaced meanwhile.
        ImageFileError: a folder holds no images.
        PairingError: a path does not exist, or there is no pair, or an ambiguous one, or every restored image is
            smaller than its input.
        MissingDependencyError: a ``*.parquet`` output, and pyarrow is not installed.
    """
    judges = [Judge(metric.name, _met(metric, degraded, truth), metric)] if isinstance(metric, Metric) else list(metric)
    folders: dict[Reference, Path | None] = {"none": None, "degraded": degraded, "truth": truth}
    pairings = {kind: pair(restored, folders[kind]) for kind in dict.fromkeys(judge.reference for judge in judges)}
    errors: dict[Reference, dict[str, DrmetricError]] = {}
    for kind, pairing in pairings.items():
        _refuse_no_pairs(pairing, restored, folders[kind])
        errors[kind] = {name: PairingError(f"no {WORDS[kind]} has the name of this image") for name in pairing.missing}
        if kind == "degraded":
            errors[kind] |= _misfits(pairing, restored, degraded)
    tasks = _tasks(judges, pairings, errors, alpha)
    failed = [
        Task(name, {}, alpha=alpha).row(judge).because(error)
        for judge in judges
        for name, error in errors[judge.reference].items()
    ]
    file = ScoreFile(output) if output is None or overwrite else ScoreFile.read(output)
    if output is not None and file.earlier:
        wanted = [task.row(judges[number]) for task in tasks for number in task.judges] + failed
        _refuse_other_run(file.earlier, output, judges, wanted)
    for row in file.rows:
        if any(row.reference == kind and row.image in of_kind for kind, of_kind in errors.items()):
            file.drop(row.key)
    scores = run(judges, tasks, file, engine, progress, failed)
    return FolderScores(judges, sorted(scores.rows, key=lambda row: row.image), pairings, scores.kept)


def _tasks(
    judges: Sequence[Judge],
    pairings: Mapping[Reference, Pairing],
    errors: Mapping[Reference, Mapping[str, DrmetricError]],
    alpha: Alpha,
) -> list[Task]:
    """One a restored image, for the judges that find the image they meet."""
    tasks: dict[str, Task] = {}
    for kind, pairing in pairings.items():
        able = [number for number, judge in enumerate(judges) if judge.reference == kind]
        for each in pairing.pairs:
            if each.name in errors[kind]:
                continue
            task = tasks.get(each.name) or Task(each.name, {"restored": each.restored}, judges=(), alpha=alpha)
            met: dict[str, Path] = {kind: each.degraded} if each.degraded else {}
            tasks[each.name] = replace(
                task,
                files={**task.files, **met},
                degraded=each.degraded_name if kind == "degraded" else task.degraded,
                judges=(*task.judges, *able),
            )
    return [tasks[name] for name in sorted(tasks)]


def _met(metric: Metric, degraded: Path | None, truth: Path | None) -> Reference:
    """The kind of image that a metric meets."""
    if not metric.needs_reference:
        return "none"
    if metric.mode == "fr" and truth is not None:
        return "truth"
    if degraded is None:
        raise _no_images(metric.name, metric.mode)
    return "degraded"


def _no_images(name: str, mode: Mode) -> InputError:
    if mode == "fr":
        return InputError(
            f"{name} compares each restored image with its ground truth, but none was given",
            "--truth FOLDER  # or --degraded FOLDER, to compare with the inputs",
        )
    return InputError(
        f"{name} compares each restored image with its degraded input, but no inputs were given",
        "--degraded FOLDER  # the inputs that the restorer was given",
    )


def _misfits(pairing: Pairing, restored: Path, degraded: Path | None) -> Mapping[str, DrmetricError]:
    """The outputs whose size does not fit their inputs; raises `PairingError` where the folders look swapped."""
    files = {each.name: (each.restored, each.degraded) for each in pairing.pairs if each.degraded}
    sizes = read_sizes(files)
    if are_swapped(sizes.values()):
        raise PairingError(
            f"every image of {str(restored)!r} is smaller than its input in {str(degraded)!r}",
            _swapped(restored, degraded),
        )
    return misfits(sizes, scales_of_folder(sizes, {name: degraded for name, (_, degraded) in files.items()}))


def _refuse_other_run(earlier: Sequence[Row], output: Path, judges: Sequence[Judge], wanted: Sequence[Row]) -> None:
    known = {row.image for row in wanted}
    if others := [row.image for row in earlier if row.image not in known]:
        raise InputError(
            f"{str(output)!r} holds rows of {len(others)} images that are not in this folder, "
            f"for example {others[0]!r}",
            "--overwrite  # to replace it; or give another file with -o",
        )
    signatures = {row.signature: row.metric for row in wanted} | {judge.signature: judge.label for judge in judges}
    for row in earlier:
        if row.signature not in signatures:
            these = ", ".join(f"{row.metric} ({row.signature})" for row in {row.metric: row for row in wanted}.values())
            raise InputError(
                f"{str(output)!r} holds scores of {row.metric} ({row.signature}), this run is {these}",
                "--overwrite  # to replace it; or give another file with -o",
            )


def _swapped(restored: Path, degraded: Path | None) -> str:
    """The command with the two folders the other way round."""
    return (
        f"drmetric score {quoted(degraded)} --degraded {quoted(restored)}  "
        "# if they were swapped: restored images come first"
    )


def _refuse_no_pairs(pairing: Pairing, restored: Path, degraded: Path | None) -> None:
    if pairing.pairs:
        return
    problem = (
        f"none of the {len(pairing.missing)} images in {str(restored)!r} has an image "
        f"of its name in {str(degraded)!r}: {pairing.missing[0]!r} does not match {pairing.extra[0]!r}"
    )
    if degraded is not None and _pairs(degraded, restored):
        raise PairingError(problem, _swapped(restored, degraded))
    raise PairingError(
        problem, "name each input or truth as its restored image, which may add a tag: 0001.png and 0001_tag.png"
    )


def _pairs(restored: Path, degraded: Path) -> bool:
    """Whether any restored image has one input."""
    try:
        return bool(pair(restored, degraded).pairs)
    except PairingError:
        return False
