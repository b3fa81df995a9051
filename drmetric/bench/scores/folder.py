"""Scores of whole folders: images pair by name, broken files are named, and an interrupted run is continued."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drmetric.bench.judges import Judge, Reference
from drmetric.bench.scores.geometry import are_swapped, misfits, read_sizes, scales_of_folder
from drmetric.bench.scores.pairing import Pairing, pair
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.run import Engine, Progress, Task, run, score_tasks
from drmetric.bench.scores.store import ScoreFile
from drmetric.errors import DrmetricError, InputError, PairingError
from drmetric.images.files import Alpha
from drmetric.metrics.base import Metric

WORDS = {"degraded": "degraded input", "truth": "ground truth"}


@dataclass(frozen=True, slots=True)
class FolderScores:
    """What `score_folder` found.

    Attributes:
        rows: one per restored image, sorted by its name.
        pairing: which files belong together.
        kept: how many rows were taken from an earlier run.
    """

    rows: list[Row]
    pairing: Pairing
    kept: int

    @property
    def scores(self) -> dict[str, float]:
        """Of the images that could be scored, by name."""
        return {row.image: row.score for row in self.rows if row.score is not None}

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.score is None]

    @property
    def mean(self) -> float:
        """Mean of the scores; NaN if no image could be scored."""
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else math.nan

    @property
    def means(self) -> list[tuple[str, float, int]]:
        """What to call a mean, the mean and its number of images: one, or one a sub folder where these share inputs.

        Sub folders that restore the same inputs are methods, and a mean over several of them says nothing.
        """
        folders: dict[str, set[str]] = {}
        for each in self.pairing.pairs:
            if each.degraded_name is not None:
                folders.setdefault(each.name.rpartition("/")[0], set()).add(each.degraded_name)
        inputs = [name for names in folders.values() for name in names]
        if len(inputs) == len(set(inputs)):
            return [("mean", self.mean, len(self.scores))]
        found = []
        for folder in folders:
            scores = [score for name, score in self.scores.items() if name.rpartition("/")[0] == folder]
            mean = math.fsum(scores) / len(scores) if scores else math.nan
            found.append((f"mean of {folder or '.'}", mean, len(scores)))
        return found


def score_folder(
    metric: Metric,
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
    """Score each image of a folder and write one row per image as it is made.

    An image fails whose size no scale explains, or another than that of most: see `drmetric.bench.scores.geometry`.

    With an `output` that exists, rows whose files and signature are unchanged are kept, and only the other images
    (new, changed, failed before, or not reached by a killed run) are scored.

    Args:
        metric: a metric; the engine moves it to its device.
        restored: folder, or one image.
        degraded: folder, or one image, that a metric with a reference meets; not read by one that needs none. A
            full-reference metric that is to meet smaller inputs must be made with ``upscale=True``.
        truth: the same of ground truth, which a full-reference metric meets in place of `degraded`.
        output: ``*.jsonl``, ``*.csv`` or ``*.parquet``; None keeps the rows in memory only.
        overwrite: score every image and replace `output`.
        alpha: what `read_image` does with an alpha channel.
        engine: what scores; by default this process, on the CPU.
        progress: called with the number of images done and in all.

    Raises:
        InputError: no `degraded` or `truth` for a metric that needs it; an `output` of another run or not writable.
        OutputError: an `output` that another run is writing, or that is deleted or replaced meanwhile.
        ImageFileError: a folder holds no images.
        PairingError: a path does not exist, or there is no pair, or an ambiguous one, or every restored image is
            smaller than its input.
        MissingDependencyError: a ``*.parquet`` output, and pyarrow is not installed.
    """
    kind, references = _met(metric, degraded, truth)
    judge = Judge(metric.name, kind, metric)
    pairing = pair(restored, references)
    _refuse_no_pairs(pairing, restored, references)
    errors: dict[str, DrmetricError] = {
        name: PairingError(f"no {WORDS[kind]} has the name of this image") for name in pairing.missing
    }
    if kind == "degraded":
        errors |= _misfits(pairing, restored, references)
    tasks = [
        Task(
            image=each.name,
            files={"restored": each.restored} | ({kind: each.degraded} if each.degraded else {}),
            degraded=each.degraded_name,
            alpha=alpha,
        )
        for each in pairing.pairs
        if each.name not in errors
    ]
    failed = [Task(name, {}, alpha=alpha).row(judge).because(error) for name, error in errors.items()]
    file = ScoreFile(output) if output is None or overwrite else ScoreFile.read(output)
    if output is not None and file.earlier:
        _refuse_other_run(file.earlier, output, judge, [task.row(judge) for task in tasks] + failed)
    for row in file.rows:
        if row.image in errors:
            file.drop(row.key)
    scores = run([judge], tasks, file, engine, progress, failed)
    return FolderScores(sorted(scores.rows, key=lambda row: row.image), pairing, scores.kept)


def _met(metric: Metric, degraded: Path | None, truth: Path | None) -> tuple[Reference, Path | None]:
    """The kind of image that a metric meets, and where these images are."""
    if not metric.needs_reference:
        return "none", None
    if metric.mode == "fr" and truth is not None:
        return "truth", truth
    if degraded is not None:
        return "degraded", degraded
    if metric.mode == "fr":
        raise InputError(
            f"{metric.name} compares each restored image with its ground truth, but none was given",
            "add --truth FOLDER, or --degraded FOLDER to compare with the inputs",
        )
    raise InputError(
        f"{metric.name} compares each restored image with its degraded input, but no inputs were given",
        "add --degraded FOLDER, the inputs that the restorer was given",
    )


def _misfits(pairing: Pairing, restored: Path, degraded: Path | None) -> Mapping[str, DrmetricError]:
    """The outputs whose size does not fit their inputs; raises `PairingError` where the folders look swapped."""
    files = {each.name: (each.restored, each.degraded) for each in pairing.pairs if each.degraded}
    sizes = read_sizes(files)
    if are_swapped(sizes.values()):
        raise PairingError(
            f"every image of {str(restored)!r} is smaller than its input in {str(degraded)!r}",
            f"drmetric score {shlex.quote(str(degraded))} --degraded {shlex.quote(str(restored))}  "
            "# if they were swapped: restored images come first",
        )
    return misfits(sizes, scales_of_folder(sizes, {name: degraded for name, (_, degraded) in files.items()}))


def _refuse_other_run(earlier: Sequence[Row], output: Path, judge: Judge, wanted_rows: Sequence[Row]) -> None:
    known = {row.image for row in wanted_rows}
    if others := [row.image for row in earlier if row.image not in known]:
        raise InputError(
            f"{str(output)!r} holds rows of {len(others)} images that are not in this folder, "
            f"for example {others[0]!r}",
            "give another file with -o, or add --overwrite to replace it",
        )
    wanted = wanted_rows[0].signature
    for row in earlier:
        if row.signature not in (wanted, judge.signature):
            raise InputError(
                f"{str(output)!r} holds scores of {row.metric} ({row.signature}), this run is {judge.label} ({wanted})",
                "give another file with -o, or add --overwrite to replace it",
            )


def _refuse_no_pairs(pairing: Pairing, restored: Path, degraded: Path | None) -> None:
    if not pairing.pairs:
        raise PairingError(
            f"none of the {len(pairing.missing)} images in {str(restored)!r} has an image "
            f"of its name in {str(degraded)!r}: {pairing.missing[0]!r} does not match {pairing.extra[0]!r}",
            "name each input or truth as its restored image, which may add a tag: 0001.png and 0001_tag.png",
        )
