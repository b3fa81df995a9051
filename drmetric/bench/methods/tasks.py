"""Scores of the outputs of a methods board: each file is hashed and decoded once, each reference encoded once."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from drmetric.bench.methods.files import Picture
from drmetric.bench.methods.scores import Judge
from drmetric.bench.scores.folder import ahead, sha256_of
from drmetric.bench.scores.records import Failed
from drmetric.bench.scores.score_file import Row
from drmetric.errors import NotApplicableError
from drmetric.images import read_image


@dataclass(frozen=True)
class Task:
    """One output to score.

    Attributes:
        index: numbers of its method and of its image.
        judges: numbers of those that are to score it.
    """

    picture: Picture
    method: str
    index: tuple[int, int] = (0, 0)
    judges: Sequence[int] = ()

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.method}: {self.picture.name}"

    def path(self, kind: str) -> Path:
        """The file of this kind ("restored", "degraded" or "truth")."""
        found = {"degraded": self.picture.degraded, "truth": self.picture.truth}.get(
            kind, self.picture.restored.get(self.method)
        )
        assert found is not None
        return found

    def files(self, judge: Judge) -> dict[str, Path]:
        """The files that a judge looks at, by kind."""
        kinds = ("restored",) if judge.reference == "none" else ("restored", judge.reference)
        return {kind: self.path(kind) for kind in kinds}

    def row(self, judge: Judge) -> Row:
        """What a row of scores.jsonl begins with."""
        return {
            "method": self.method,
            "image": self.picture.name,
            "metric": judge.label,
            "reference": judge.reference,
            "signature": judge.signature,
        }


@dataclass(frozen=True)
class Scored:
    """A row of scores.jsonl.

    Attributes:
        index: numbers of its metric, of its method and of its image.
        device: what computed it; a GPU by its name.
    """

    index: tuple[int, int, int]
    row: Row
    device: str


TaskEngine = Callable[[Sequence[Judge], Sequence[Task], str], Generator[Scored, None, None]]
"""What scores tasks on a device, as `score_tasks` does."""


def score_tasks(judges: Sequence[Judge], tasks: Sequence[Task], device: str) -> Generator[Scored, None, None]:
    """Score outputs one after the other in this process; the next files are read meanwhile.

    Whatever an image makes a metric raise is recorded as its failure, and the next one follows.

    Args:
        judges: those whose numbers are in the tasks.
        tasks: outputs; those of one picture share its reference where they are neighbours.
        device: where the metrics run.
    """
    scorers = [_Scorer(judge, device) for judge in judges]
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    for loaded in ahead(_Loader(judges), tasks, depth=2):
        for number, row in loaded.rows.items():
            if "score" not in row:
                row |= scorers[number].score(loaded)
            yield Scored((number, *loaded.task.index), row, name)


def rescore(judge: Judge, picture: Picture, method: str, device: str = "cpu") -> float:
    """The score of one output, by itself; raises what the metric and `read_image` do."""
    paths = Task(picture, method).files(judge).values()
    with torch.no_grad():
        return float(judge.metric.to(device)(*(read_image(path)[None].to(device) for path in paths)))


@dataclass(frozen=True)
class _Loaded:
    """The rows of one output, by number of judge, and the images that those without "score" need."""

    task: Task
    rows: dict[int, Row]
    images: dict[str, Tensor | Exception]


class _Scorer:
    """Scores with one metric; a reference stays set as long as the images that follow share it."""

    def __init__(self, judge: Judge, device: str) -> None:
        self._metric, self._kind = judge.metric.to(device), judge.reference
        self._device = device
        self._reference: Tensor | None = None

    def score(self, loaded: _Loaded) -> Row:
        """What is to be added to a row: its score and time, or why there is none."""
        try:
            image = _tensor(loaded.images["restored"]).to(self._device)
            start = time.perf_counter()
            if self._kind != "none":
                self._refer(_tensor(loaded.images[self._kind]))
            with torch.no_grad():
                score = float(self._metric(image))
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
            self._metric.set_reference(reference.to(self._device))
            self._reference = reference


class _Loader:
    """Hashes and decodes the files of an output; the last reference images are kept."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self._judges = judges
        self._sha256 = cache(sha256_of)
        self._references: dict[str, tuple[Path, Tensor | Exception]] = {}

    def __call__(self, task: Task) -> _Loaded:
        rows = {number: self._row(self._judges[number], task) for number in task.judges}
        readers = [self._judges[number] for number, row in rows.items() if "score" not in row]
        kinds = {kind for judge in readers for kind in task.files(judge)}
        return _Loaded(task, rows, {kind: self._image(task, kind) for kind in kinds})

    def _row(self, judge: Judge, task: Task) -> Row:
        row = task.row(judge)
        try:
            return row | {"sha256": {kind: self._sha256(path) for kind, path in task.files(judge).items()}}
        except OSError as error:
            return row | {"score": None, "error": _without_folders(error, task)}

    def _image(self, task: Task, kind: str) -> Tensor | Exception:
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


def _without_folders(error: Exception, task: Task) -> str:
    """Type and message of the error, which name files but not the folders that they are in."""
    failed = Failed.because("", error)
    message = f"{failed.error_type}: {failed.error}"
    for kind in ("restored", "degraded", "truth"):
        if kind != "truth" or task.picture.truth is not None:
            path = task.path(kind)
            message = message.replace(str(path), path.name)
    return message
