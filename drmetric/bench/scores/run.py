"""The one scoring loop: folders, boards of methods and boards of metrics all go through `run`.

`run` keeps what a score file holds and still holds, and has an engine score the rest, each score a row of the file as
it is made. `score_tasks` is the engine of this process: the next files are hashed and decoded meanwhile, a reference is
read and encoded once for the images that share it, memory does not grow with the number of images, and whatever an
image makes a metric raise becomes its row, and the next one follows.
"""

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from drmetric.bench.judges import Judge
from drmetric.bench.scores.rows import ONE_COLOUR, Row
from drmetric.bench.scores.store import ScoreFile, sha256_of
from drmetric.errors import ImageFileError, InputError
from drmetric.images import as_floats
from drmetric.images.files import Alpha, open_image, read_bytes, read_pixels
from drmetric.images.memory import return_freed_memory
from drmetric.images.samples import bit_depth
from drmetric.metrics.base import Metric
from drmetric.metrics.consistency import consistency

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2
"""How many images are decoded ahead of those that are scored, however many these are."""
ROOM = 2**27
"""Bytes of pixels that are held for one batch, and decoded ahead of it: larger images come one at a time."""
Progress = Callable[[int, int], None]
"""Called with the numbers of scores done and in all."""


@dataclass(frozen=True)
class Task:
    """One image to score.

    Attributes:
        image, method, degraded: as in `Row`; `degraded` is told of metrics that meet it.
        files: by kind: "restored", and "degraded" and "truth" where there are such.
        judges: numbers of those that are to score it.
        alpha: what `read_image` does with an alpha channel.
    """

    image: str
    files: Mapping[str, Path]
    method: str | None = None
    degraded: str | None = None
    judges: Sequence[int] = (0,)
    alpha: Alpha = "refuse"

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.method}: {self.image}" if self.method else self.image

    def files_of(self, judge: Judge) -> dict[str, Path]:
        """The files that a judge looks at, by kind."""
        kinds = ("restored",) if judge.reference == "none" else ("restored", judge.reference)
        return {kind: self.files[kind] for kind in kinds}

    def row(self, judge: Judge) -> Row:
        """What its row begins with."""
        policy = "" if self.alpha == "refuse" else f"|alpha:{self.alpha}"
        return Row(
            image=self.image,
            metric=judge.label,
            signature=judge.signature + policy,
            reference=judge.reference,
            method=self.method,
            degraded=self.degraded if judge.reference == "degraded" else None,
        )


Engine = Callable[[Sequence[Judge], Sequence[Task]], Generator[Row, None, None]]
"""What scores tasks with the judges whose numbers they name, as `score_tasks` does."""


@dataclass(frozen=True)
class Scores:
    """What `run` found: a row for each task and judge, and how many scores were kept from an earlier run."""

    rows: list[Row]
    kept: int


def score_tasks(
    judges: Sequence[Judge], tasks: Iterable[Task], device: str = "cpu", batch: int = 1
) -> Generator[Row, None, None]:
    """Score images one after the other in this process.

    Args:
        judges: those whose numbers are in the tasks; they are moved to `device`.
        tasks: images; those that share a reference should be neighbours.
        device: where to score.
        batch: how many successive images of one size to score at once, as far as there is `ROOM` for them.

    Raises:
        InputError: a batch of less than one image.
    """
    if batch < 1:
        raise InputError(f"batch is {batch}; wanted at least 1", "batch=1")
    scorers = [_Scorer(judge, device) for judge in judges]
    try:
        for group in _groups(ahead(_Loader(judges), tasks, AHEAD, _pixels, ROOM), batch):
            for number in group[0].task.judges:
                yield from scorers[number].score(group)
            del group  # before the next images are decoded
    finally:
        for scorer in scorers:
            scorer.forget()


def run(
    judges: Sequence[Judge],
    tasks: Sequence[Task],
    file: ScoreFile,
    engine: Engine = score_tasks,
    progress: Progress = lambda done, total: None,
    failed: Sequence[Row] = (),
) -> Scores:
    """Score every task with its judges; rows of the file are kept where files and signature are the same.

    Args:
        judges, tasks: what to score, with what.
        file: of the rows; it is opened here.
        engine: what scores.
        progress: called as it goes.
        failed: rows of images that cannot be scored, for the file.
    """
    sha256 = cache(sha256_of)
    kept: list[Row] = []
    todo: list[Task] = []
    for task in tasks:
        found = {number: _kept(file, task, judges[number], sha256) for number in task.judges}
        kept += [row for row in found.values() if row is not None]
        if rest := [number for number, row in found.items() if row is None]:
            todo.append(replace(task, judges=rest))
    rows = list(kept)
    total = sum(len(task.judges) for task in tasks) + len(failed)
    progress(len(rows), total)
    with closing(engine(judges, todo)) as scored, file:
        for source in (failed, scored):
            for row in source:
                file.append(row)
                rows.append(row)
                progress(len(rows), total)
    return Scores(rows, sum(row.score is not None for row in kept))


def _kept(file: ScoreFile, task: Task, judge: Judge, sha256: Callable[[Path], str]) -> Row | None:
    """The row of an earlier run, if it still holds, with the label of this one, in the file too."""
    wanted = task.row(judge)
    # Where alpha was refused no image had any, so those scores hold under every policy.
    for signature in dict.fromkeys((wanted.signature, judge.signature)):
        row = file.find(replace(wanted, signature=signature).key)
        if row is not None and _holds(row, wanted, judge) and _same_files(row, task.files_of(judge), sha256):
            row = replace(row, metric=judge.label)
            file.put(row)
            return row
        if row is not None:
            file.drop(row.key)
    return None


def _holds(row: Row, wanted: Row, judge: Judge) -> bool:
    is_whole = (row.consistency or not judge.is_guarded) and (row.standard_error is not None or not judge.uncertain)
    return row.degraded == wanted.degraded and bool(row.score is None or is_whole)


def _same_files(row: Row, files: Mapping[str, Path], sha256: Callable[[Path], str]) -> bool:
    try:
        return row.sha256 == {kind: sha256(path) for kind, path in files.items()}
    except OSError:
        return False


def rescore(judge: Judge, task: Task, device: str = "cpu") -> float:
    """The score of one image, by itself; raises what the metric and `read_image` do."""
    paths, metric = task.files_of(judge).values(), judge.metric.to(device)
    images = (read_pixels(read_bytes(path), path, task.alpha)[None].to(device) for path in paths)
    with torch.no_grad():
        return float(metric(*(image if metric.takes_bytes else as_floats(image) for image in images)))


@dataclass(frozen=True)
class _Loaded:
    """A task with its images, or why they cannot be read, and the hashes of its files."""

    task: Task
    images: Mapping[str, Tensor | Exception]
    sha256: Mapping[str, str]

    @property
    def shape(self) -> tuple[object, ...]:
        """Tasks of one shape can be scored at once."""
        forms = [(image.shape, image.dtype) if isinstance(image, Tensor) else None for image in self.images.values()]
        return (*self.task.judges, *self.images, *forms)

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(image.nbytes for image in self.images.values() if isinstance(image, Tensor))

    def image(self, kind: str) -> Tensor:
        """(3,H,W), uint8 or float; raises why it cannot be read."""
        found = self.images[kind]
        if isinstance(found, Exception):
            raise found
        return found


def _groups(loaded: Iterable[_Loaded], batch: int) -> Iterator[list[_Loaded]]:
    """Neighbours of one shape. A group is not held while the next one is loaded."""
    group: list[_Loaded] = []
    for one in loaded:
        if group and one.shape != group[0].shape:
            yield group
            group = []
        group.append(one)
        is_full = len(group) == batch or (len(group) + 1) * one.size > ROOM
        del one
        if is_full:
            yield group
            group = []
    if group:
        yield group


class _Scorer:
    """Scores with one judge; a reference stays set as long as the images that follow share it."""

    def __init__(self, judge: Judge, device: str) -> None:
        self._judge, self._device = judge, device
        self._name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
        self._reference: Tensor | None = None

    @cached_property
    def _metric(self) -> Metric:
        return self._judge.metric.to(self._device)

    def score(self, group: Sequence[_Loaded]) -> list[Row]:
        """The rows of images of one size; if they fail together they go one by one, so that only the culprit fails."""
        if len(group) > 1 and self._judge.metric.mode == "nar" and self._judge.reference != "none":
            return self._one_by_one(group)  # references of a call are for all its images
        start = time.perf_counter()
        try:
            scores, standard_errors = self._scores(group)
            seconds = round((time.perf_counter() - start) / len(group), 6)
            guards = self._consistency(group)
            plain = [_is_of_one_colour(one.image("restored")) for one in group]
        except (Exception, SystemExit) as error:
            if len(group) > 1:
                return self._one_by_one(group)
            return [self._row(group[0]).because(error, group[0].task.files.values())]
        return [
            replace(
                self._row(one),
                score=score,
                standard_error=standard_error,
                seconds=seconds,
                height=one.image("restored").shape[-2],
                width=one.image("restored").shape[-1],
                consistency=beside,
                details={ONE_COLOUR: True} if is_plain else {},
            )
            for one, score, standard_error, beside, is_plain in zip(
                group, scores, standard_errors, guards, plain, strict=True
            )
        ]

    @torch.no_grad()
    def _consistency(self, group: Sequence[_Loaded]) -> list[dict[str, float]]:
        """Of each image with its input; empty where the metric needs no guard."""
        if not self._judge.is_guarded:
            return [{} for _ in group]
        pairs = [[one.image(kind)[None].to(self._device) for kind in ("restored", "degraded")] for one in group]
        return [{name: float(value) for name, value in consistency(*pair).items()} for pair in pairs]

    def _one_by_one(self, group: Sequence[_Loaded]) -> list[Row]:
        return [row for one in group for row in self.score([one])]

    def _scores(self, group: Sequence[_Loaded]) -> tuple[list[float], Sequence[float | None]]:
        """Of each image the score, and its standard error where that is wanted."""
        images = self._batch([one.image("restored") for one in group])
        references = [one.image(self._judge.reference) for one in group] if self._judge.reference != "none" else []
        others = []
        if any(reference is not references[0] for reference in references):
            others.append(self._batch(references))
        elif references and references[0].nbytes > ROOM // 4:  # to keep it takes more than to encode it again
            others.append(self._batch(references[:1]))
        elif references and references[0] is not self._reference:
            self._metric.set_reference(self._batch(references[:1]))
            self._reference = references[0]
        with torch.no_grad():
            found = self._metric(images, *others, **({"return_uncertainty": True} if self._judge.uncertain else {}))
        scores, errors = [each.tolist() for each in found] if self._judge.uncertain else (found.tolist(), [])
        if len(scores) != len(group):
            raise TypeError(f"{self._judge.metric.name} gave {len(scores)} scores of {len(group)} images")
        if not all(map(math.isfinite, [*scores, *errors])):
            raise ArithmeticError(f"{self._judge.metric.name} gave a score that is not finite: {scores}")
        return scores, errors or [None] * len(scores)

    def _batch(self, images: Sequence[Tensor]) -> Tensor:
        """(N,3,H,W) on the device, as the metric takes it; a single image is not copied."""
        batch = (torch.stack(list(images)) if len(images) > 1 else images[0][None]).to(self._device)
        return batch if self._metric.takes_bytes else as_floats(batch)

    def _row(self, loaded: _Loaded) -> Row:
        kinds = loaded.task.files_of(self._judge)
        hashes = {kind: loaded.sha256[kind] for kind in kinds if kind in loaded.sha256}
        return replace(loaded.task.row(self._judge), device=self._name, sha256=hashes)

    def forget(self) -> None:
        """Leave the metric as it came: without a reference."""
        if self._reference is not None:
            self._metric.set_reference(None)


def _is_of_one_colour(image: Tensor) -> bool:
    """Whether all pixels of (C,H,W) are equal; of most images a few show that they are not."""
    colour = image[:, :1, :1]
    return bool((image[:, ::64, ::64] == colour).all()) and bool((image == colour).all())


class _Loader:
    """Hashes and decodes the files of tasks; the last reference of each kind is kept, as the next may share it."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self._judges = judges
        self._references: dict[str, tuple[Path, Tensor | Exception, str | None]] = {}

    def __call__(self, task: Task) -> _Loaded:
        kinds = {kind: path for number in task.judges for kind, path in task.files_of(self._judges[number]).items()}
        images: dict[str, Tensor | Exception] = {}
        sha256: dict[str, str] = {}
        for kind, path in kinds.items():
            if kind == "restored" or self._references.get(kind, (None,))[0] != path:
                self._references.pop(kind, None)
                found = (path, *_read(path, task.alpha))
                if kind != "restored":
                    self._references[kind] = found
            else:
                found = self._references[kind]
            _, images[kind], digest = found
            if digest is not None:
                sha256[kind] = digest
        return _Loaded(task, images, sha256)


def _read(path: Path, alpha: Alpha) -> tuple[Tensor | Exception, str | None]:
    digest = None
    try:
        data = read_bytes(path)
        digest = hashlib.sha256(data).hexdigest()  # of what is decoded, also if the file is replaced meanwhile
        pixels = read_pixels(data, path, alpha)
        if pixels.nbytes > ROOM:
            return_freed_memory()
        return pixels, digest
    except Exception as error:
        return error, digest


def _pixels(task: Task) -> int:
    """Bytes that the images of a task take, by the heads of their files."""
    size = 0
    for path in task.files.values():
        with suppress(ImageFileError), open_image(path) as image:
            size += 3 * image.width * image.height * (1 if bit_depth(image) == 8 else 4)
    return size


def ahead(
    load: Callable[[T], R], items: Iterable[T], depth: int, weigh: Callable[[T], int] = lambda item: 0, room: int = 0
) -> Iterator[R]:
    """`load` of each item, in order, done in a thread up to `depth` items ahead of the one in use.

    Items that together weigh more than `room` are not waiting at once, and one that does so alone is loaded when those
    before it have been used.
    """
    waiting: deque[tuple[Future[R], int]] = deque()
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        for item in items:
            weight = weigh(item)
            while waiting and weight + sum(each for _, each in waiting) > room:
                yield waiting.popleft()[0].result()
            waiting.append((pool.submit(load, item), weight))
            if len(waiting) > depth or weight > room:
                yield waiting.popleft()[0].result()
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)
