"""Scores of many methods by many metrics: each file is hashed and decoded once, each reference encoded once."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drmetric.bench.consistency import Consistency, NotApplicableError
from drmetric.bench.method_files import Failure, Picture
from drmetric.bench.records import Failed
from drmetric.bench.score_file import Row, ScoreFile
from drmetric.bench.scoring import ahead, sha256_of
from drmetric.bench.statistics import Array
from drmetric.images import read_image
from drmetric.metrics.base import Metric

Reference = Literal["degraded", "truth", "none"]
Progress = Callable[[int, int], None]

KEY = ("method", "image", "signature", "reference")
"""What tells rows of scores.jsonl apart; a row holds as long as its "sha256" are those of the files."""


@dataclass(frozen=True)
class Judge:
    """A metric, what to call it, and which image it compares with."""

    label: str
    reference: Reference
    metric: Metric

    @property
    def judges_quality(self) -> bool:
        """Whether its ranks count in the mean rank: those of restoration consistency, a guard, do not."""
        return not isinstance(self.metric, Consistency)


@dataclass
class MethodScores:
    """Scores of all images, (metrics, methods, images), in the order of the lists; NaN where there is none.

    Attributes:
        values: as the metrics give them.
        seconds: spent in the metric, without reading files; the first method bears the cost of the reference.
        applies: False where a metric says nothing about this kind of image, such as without ground truth.
        errors: scores that are missing and should not be.
        kept: how many were taken from an earlier run.
    """

    judges: list[Judge]
    methods: list[str]
    images: list[str]
    values: Array = field(init=False)
    seconds: Array = field(init=False)
    applies: NDArray[np.bool_] = field(init=False)
    errors: list[Failure] = field(default_factory=list)
    kept: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.judges), len(self.methods), len(self.images))
        self.values, self.seconds = np.full(shape, np.nan), np.full(shape, np.nan)
        self.applies = np.ones(shape, dtype=bool)

    def only(self, numbers: Sequence[int]) -> "MethodScores":
        """The scores of these metrics alone, with all errors."""
        chosen = MethodScores([self.judges[number] for number in numbers], self.methods, self.images)
        rows = list(numbers)
        chosen.values, chosen.seconds, chosen.applies = self.values[rows], self.seconds[rows], self.applies[rows]
        chosen.errors, chosen.kept = self.errors, self.kept
        return chosen

    @property
    def given(self) -> NDArray[np.bool_]:
        """(metrics, images) the images that the metric can be asked about."""
        return np.asarray(np.isfinite(self.values).any(axis=1) | self.applies.all(axis=1))

    def put(self, index: tuple[int, int, int], row: Row) -> None:
        """Enter a row of scores.jsonl at (metric, method, image)."""
        if "error" in row:
            judge, method, image = index
            self.errors.append(
                Failure(self.judges[judge].label, self.methods[method], self.images[image], row["error"])
            )
        elif row["score"] is None:
            self.applies[index] = False
        else:
            self.values[index], self.seconds[index] = row["score"], row["seconds"]


@dataclass(frozen=True)
class _Task:
    """One output; `index` is the number of its method and of its image."""

    picture: Picture
    method: str
    index: tuple[int, int]

    def path(self, kind: str) -> Path:
        """The file of this kind ("restored", "degraded" or "truth")."""
        found = {"degraded": self.picture.degraded, "truth": self.picture.truth}.get(
            kind, self.picture.restored.get(self.method)
        )
        assert found is not None
        return found


@dataclass(frozen=True)
class _Loaded:
    """The rows of one output, by number of judge, and the images that those without "score" need.

    There is no row where a judge wants ground truth and there is none.
    """

    task: _Task
    rows: dict[int, Row]
    images: dict[str, Tensor | Exception]


def score_methods(
    judges: Sequence[Judge],
    methods: Sequence[str],
    pictures: Sequence[Picture],
    file: ScoreFile,
    device: str = "cpu",
    progress: Progress = lambda done, total: None,
) -> MethodScores:
    """Score every output with every metric, taking from `file` what holds still.

    Whatever an image makes a metric raise is recorded as its failure, and the next one follows.
    """
    scores = MethodScores(list(judges), list(methods), [picture.name for picture in pictures])
    scorers = [_Scorer(judge, device) for judge in judges]
    tasks = []
    for image, picture in enumerate(pictures):
        for method, name in enumerate(methods):
            if name in picture.restored:
                tasks.append(_Task(picture, name, (method, image)))
            else:
                scores.errors.append(Failure("", name, picture.name, "there is no output of this input"))
    for done, loaded in enumerate(ahead(_Loader(judges, file), tasks, depth=2), start=1):
        for number, scorer in enumerate(scorers):
            row = loaded.rows.get(number, {"score": None})
            if "score" not in row:
                row |= scorer.score(loaded)
                file.append(row)
            elif row["score"] is not None:
                scores.kept += 1
            scores.put((number, *loaded.task.index), row)
        progress(done, len(tasks))
    return scores


def rescore(judge: Judge, picture: Picture, method: str, device: str = "cpu") -> float:
    """The score of one output, by itself; raises what the metric and `read_image` do."""
    task = _Task(picture, method, (0, 0))
    kinds = ("restored",) if judge.reference == "none" else ("restored", judge.reference)
    with torch.no_grad():
        return float(judge.metric(*(read_image(task.path(kind))[None].to(device) for kind in kinds)))


class _Scorer:
    """Scores with one metric; a reference stays set as long as the images that follow share it."""

    def __init__(self, judge: Judge, device: str) -> None:
        self._judge = judge
        self._device = device
        self._reference: Tensor | None = None

    def score(self, loaded: _Loaded) -> Row:
        """What is to be added to a row: its score and time, or why there is none."""
        metric, kind = self._judge.metric, self._judge.reference
        try:
            image = _tensor(loaded.images["restored"]).to(self._device)
            start = time.perf_counter()
            if kind != "none":
                self._refer(_tensor(loaded.images[kind]))
            with torch.no_grad():
                score = float(metric(image))
            seconds = time.perf_counter() - start
            if not math.isfinite(score):
                raise ArithmeticError(f"the score is {score}")
            return {"score": score, "seconds": round(seconds, 6)}
        except NotApplicableError as error:
            return {"score": None, "not_applicable": error.problem}
        except Exception as error:
            return {"score": None, "error": _without_folders(error, loaded.task)}

    def _refer(self, reference: Tensor) -> None:
        if self._reference is not reference:
            self._judge.metric.set_reference(reference.to(self._device))
            self._reference = reference


class _Loader:
    """Finds what is to be scored of an output, and decodes it; the last reference images are kept."""

    def __init__(self, judges: Sequence[Judge], file: ScoreFile) -> None:
        self._judges = judges
        self._signatures = [judge.metric.signature for judge in judges]
        self._file = file
        self._sha256 = cache(sha256_of)
        self._references: dict[str, tuple[Path, Tensor | Exception]] = {}

    def __call__(self, task: _Task) -> _Loaded:
        rows = {number: self._row(number, task) for number in self._applicable(task)}
        references = {self._judges[number].reference for number, row in rows.items() if "score" not in row}
        kinds = {"restored", *references} - {"none"} if references else set()
        return _Loaded(task, rows, {kind: self._image(task, kind) for kind in kinds})

    def _applicable(self, task: _Task) -> list[int]:
        wants_truth = [judge.reference == "truth" for judge in self._judges]
        return [number for number, wants in enumerate(wants_truth) if not wants or task.picture.truth is not None]

    def _row(self, number: int, task: _Task) -> Row:
        judge = self._judges[number]
        row: Row = {
            "method": task.method,
            "image": task.picture.name,
            "metric": judge.label,
            "reference": judge.reference,
            "signature": self._signatures[number],
        }
        kinds = ("restored",) if judge.reference == "none" else ("restored", judge.reference)
        try:
            row["sha256"] = {kind: self._sha256(task.path(kind)) for kind in kinds}
        except OSError as error:
            return row | {"score": None, "error": _without_folders(error, task)}
        kept = self._file.find(row)
        return row | kept if kept is not None and kept["sha256"] == row["sha256"] else row

    def _image(self, task: _Task, kind: str) -> Tensor | Exception:
        path = task.path(kind)
        if kind == "restored":
            return _read(path)
        if kind not in self._references or self._references[kind][0] != path:
            self._references[kind] = (path, _read(path))
        return self._references[kind][1]


def _read(path: Path) -> Tensor | Exception:
    try:
        return read_image(path)[None]
    except Exception as error:
        return error


def _tensor(image: Tensor | Exception) -> Tensor:
    if isinstance(image, Exception):
        raise image
    return image


def _without_folders(error: Exception, task: _Task) -> str:
    """Type and message of the error, which name files but not the folders that they are in."""
    failed = Failed.because("", error)
    message = f"{failed.error_type}: {failed.error}"
    for kind in ("restored", "degraded", "truth"):
        if kind != "truth" or task.picture.truth is not None:
            path = task.path(kind)
            message = message.replace(str(path), path.name)
    return message
