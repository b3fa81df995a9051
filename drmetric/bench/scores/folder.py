"""Scores of whole folders: images pair by name, broken files are named, and an interrupted run is continued."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drmetric.bench.judges import Judge
from drmetric.bench.scores.geometry import are_swapped, misfits, read_sizes, scales_of_folder
from drmetric.bench.scores.pairing import Pairing, pair
from drmetric.bench.scores.run import Engine, Progress, Task, run, score_tasks
from drmetric.bench.scores.store import Row, ScoreFile, read_rows
from drmetric.errors import DrmetricError, InputError, PairingError
from drmetric.images.files import Alpha
from drmetric.metrics.base import Metric


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


def score_folder(
    metric: Metric,
    restored: Path,
    degraded: Path | None = None,
    *,
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
        degraded: folder, or one image, that every metric with a reference meets; not read by one that needs none.
        output: ``*.jsonl``, ``*.csv`` or ``*.parquet``; None keeps the rows in memory only.
        overwrite: score every image and replace `output`.
        alpha: what `read_image` does with an alpha channel.
        engine: what scores; by default this process, on the CPU.
        progress: called with the number of images done and in all.

    Raises:
        InputError: no `degraded` for a metric that needs it; an `output` of another run or not writable.
        ImageFileError: a folder holds no images.
        PairingError: a path does not exist, or there is no pair, or an ambiguous one, or every restored image is
            smaller than its input.
        MissingDependencyError: a ``*.parquet`` output, and pyarrow is not installed.
    """
    if degraded is None and metric.needs_reference:
        raise InputError(
            f"{metric.name} compares each restored image with its degraded input, but no inputs were given",
            "add --degraded FOLDER, the inputs that the restorer was given",
        )
    judge = Judge(metric.name, "degraded" if metric.needs_reference else "none", metric)
    pairing = pair(restored, degraded if metric.needs_reference else None)
    _refuse_no_pairs(pairing, restored, degraded)
    errors: dict[str, DrmetricError] = {
        name: PairingError("no degraded input has the name of this image") for name in pairing.missing
    }
    errors |= _misfits(pairing, restored, degraded)
    tasks = [
        Task(
            image=each.name,
            files={"restored": each.restored} | ({"degraded": each.degraded} if each.degraded else {}),
            degraded=each.degraded_name,
            alpha=alpha,
        )
        for each in pairing.pairs
        if each.name not in errors
    ]
    failed = [Task(name, {}, alpha=alpha).row(judge).because(error) for name, error in errors.items()]
    earlier: list[Row] = []
    if output is not None and output.exists() and not overwrite:
        earlier = read_rows(output)
        _refuse_other_run(earlier, output, judge, [task.row(judge) for task in tasks] + failed)
    file = ScoreFile(output, [row for row in earlier if row.image not in errors])
    scores = run([judge], tasks, file, engine, progress, failed)
    return FolderScores(sorted(scores.rows, key=lambda row: row.image), pairing, scores.kept)


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
            f"none of the {len(pairing.missing)} images in {str(restored)!r} has a degraded input "
            f"of its name in {str(degraded)!r}: {pairing.missing[0]!r} does not match {pairing.extra[0]!r}",
            "name each degraded input as its restored image, which may add a tag: 0001.png and 0001_tag.png",
        )
