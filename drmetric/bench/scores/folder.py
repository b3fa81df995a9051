"""Scores of whole folders: pairs by name, past broken files, and on from where a killed run stopped."""

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from drmetric.bench.scores.pairing import Pair, Pairing, pair
from drmetric.bench.scores.records import Failed, Hashes, Record, Scored, read_records, writer_of
from drmetric.errors import InputError, PairingError
from drmetric.images import read_image
from drmetric.images.files import Alpha
from drmetric.metrics.base import Metric

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """What `plan_folder` found there is to do.

    Attributes:
        pairing: which files belong together.
        kept: records of an earlier run that still hold.
        todo: pairs without such a record.
        unpaired: records of the images that have no degraded input.
    """

    pairing: Pairing
    kept: list[Record]
    todo: list[Pair]
    unpaired: list[Record]

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self.kept) + len(self.todo) + len(self.unpaired)


@dataclass(frozen=True, slots=True)
class FolderScores:
    """What `score_folder` found.

    Attributes:
        records: one per restored image, sorted by file.
        pairing: which files belong together.
        kept: how many records were taken from an earlier run.
    """

    records: list[Record]
    pairing: Pairing
    kept: int

    @property
    def scored(self) -> list[Scored]:
        return [record for record in self.records if isinstance(record, Scored)]

    @property
    def failed(self) -> list[Failed]:
        return [record for record in self.records if isinstance(record, Failed)]

    @property
    def mean(self) -> float:
        """Mean of the scores; NaN if no image could be scored."""
        scores = [record.score for record in self.scored]
        return math.fsum(scores) / len(scores) if scores else math.nan


def score_folder(
    metric: Metric,
    restored: Path,
    degraded: Path | None = None,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    alpha: Alpha = "refuse",
    batch: int = 1,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FolderScores:
    """Score each image of a folder and write one record per image as it is made.

    With an `output` that exists, records whose files and signature are unchanged are kept, and only the other
    images (new, changed, failed before, or not reached by a killed run) are scored.

    Args:
        metric: a metric on `device`.
        restored: folder, or one image.
        degraded: folder, or one image; not read by a metric that needs none.
        output: ``*.jsonl``, ``*.csv`` or ``*.parquet``; None keeps the records in memory only.
        overwrite: score every image and replace `output`.
        alpha: what `read_image` does with an alpha channel.
        batch: how many successive images of one size to score at once.
        device: where to score.
        progress: called with the number of images done and in all.

    Raises:
        InputError: no `degraded` for a metric that needs it; an `output` of another run or not writable.
        ImageFileError: a folder holds no images.
        PairingError: a path does not exist, or there is no pair, or an ambiguous one.
        MissingDependencyError: a ``*.parquet`` output, and pyarrow is not installed.
    """
    plan = plan_folder(metric, restored, degraded, output=output, overwrite=overwrite, alpha=alpha)
    records = list(plan.kept)
    with nullcontext() if output is None else writer_of(output, records) as writer:
        progress(len(records), plan.total)
        scored = score_pairs(metric, plan.todo, alpha=alpha, batch=batch, device=device)
        for record in chain(plan.unpaired, scored):
            if writer is not None:
                writer.write(record)
            records.append(record)
            progress(len(records), plan.total)
    return FolderScores(sorted(records, key=lambda record: record.file), plan.pairing, len(plan.kept))


def plan_folder(
    metric: Metric, restored: Path, degraded: Path | None, *, output: Path | None, overwrite: bool, alpha: Alpha
) -> FolderPlan:
    """Find what `score_folder`, whose arguments these are, keeps and what it is to score; raises what it does."""
    if degraded is None and metric.needs_reference:
        raise InputError(
            f"{metric.name} compares each restored image with its degraded input, but no inputs were given",
            "add --degraded FOLDER, the inputs that the restorer was given",
        )
    pairing = pair(restored, degraded if metric.needs_reference else None)
    _refuse_no_pairs(pairing, restored, degraded)
    kept: list[Record] = []
    if output is not None and output.exists() and not overwrite:
        kept.extend(_kept(read_records(output), output, metric, alpha, pairing))
    done = {record.file for record in kept}
    todo = [each for each in pairing.pairs if each.name not in done]
    return FolderPlan(pairing, kept, todo, [_without_degraded(name) for name in pairing.missing])


def score_pairs(
    metric: Metric,
    pairs: Iterable[Pair],
    *,
    alpha: Alpha = "refuse",
    batch: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[Record]:
    """Score pairs one after the other; the next images are decoded meanwhile.

    Memory does not grow with the number of pairs. An image that cannot be read or scored gives a `Failed`
    record, and the next one follows.

    Args:
        metric: a metric on `device`.
        pairs: from `pair`.
        alpha, batch, device: as in `score_folder`.

    Raises:
        InputError: a batch of less than one image.
    """
    if batch < 1:
        raise InputError(f"batch is {batch}; wanted at least 1", "batch=1")
    signature = _signature(metric, alpha)
    group: list[_Loaded] = []
    for loaded in ahead(_Loader(alpha), pairs, depth=batch + 1):
        if isinstance(loaded, Failed) or (group and loaded.sizes != group[0].sizes):
            yield from _score_group(metric, group, signature, device)
            group = []
        if isinstance(loaded, Failed):
            yield loaded
            continue
        group.append(loaded)
        if len(group) == batch:
            yield from _score_group(metric, group, signature, device)
            group = []
    yield from _score_group(metric, group, signature, device)


@dataclass(frozen=True, slots=True)
class _Loaded:
    pair: Pair
    images: tuple[Tensor, ...]
    sha256: Hashes

    @property
    def sizes(self) -> list[torch.Size]:
        return [image.shape for image in self.images]


def _score_group(metric: Metric, group: Sequence[_Loaded], signature: str, device: torch.device | str) -> list[Record]:
    """Score images of one size together; if that fails, one by one, so that only the culprit fails."""
    if not group:
        return []
    start = time.perf_counter()
    try:
        scores = _scores(metric, group, device)
    except Exception as error:
        if len(group) == 1:
            return [Failed.because(group[0].pair.name, error)]
        return [record for one in group for record in _score_group(metric, [one], signature, device)]
    seconds = (time.perf_counter() - start) / len(group)
    return [
        Scored(
            file=loaded.pair.name,
            degraded=loaded.pair.degraded_name,
            score=score,
            metric=metric.name,
            signature=signature,
            height=loaded.images[0].shape[-2],
            width=loaded.images[0].shape[-1],
            seconds=round(seconds, 6),
            sha256=loaded.sha256,
        )
        for loaded, score in zip(group, scores, strict=True)
    ]


def _scores(metric: Metric, group: Sequence[_Loaded], device: torch.device | str) -> list[float]:
    images = [torch.stack(same).to(device) for same in zip(*(each.images for each in group), strict=True)]
    with torch.no_grad():
        scores: list[float] = metric(*images).tolist()
    if not all(map(math.isfinite, scores)):
        raise ArithmeticError(f"{metric.name} gave a score that is not finite: {scores}")
    return scores


def ahead(load: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """`load` of each item, in order, done in a thread up to `depth` items ahead of the one in use."""
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Loader:
    """Reads pairs; the last degraded image is kept, as the next restored image may share it."""

    def __init__(self, alpha: Alpha) -> None:
        self._alpha: Alpha = alpha
        self._last: tuple[Path, Tensor, str] | None = None

    def __call__(self, pair: Pair) -> _Loaded | Failed:
        try:
            restored = read_image(pair.restored, alpha=self._alpha)
            sha256 = sha256_of(pair.restored)
            if pair.degraded is None:
                return _Loaded(pair, (restored,), Hashes(sha256, None))
            degraded, degraded_sha256 = self._degraded(pair.degraded)
            return _Loaded(pair, (restored, degraded), Hashes(sha256, degraded_sha256))
        except Exception as error:
            return Failed.because(pair.name, error)

    def _degraded(self, path: Path) -> tuple[Tensor, str]:
        if self._last is None or self._last[0] != path:
            self._last = (path, read_image(path, alpha=self._alpha), sha256_of(path))
        return self._last[1:]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signature(metric: Metric, alpha: Alpha) -> str:
    return metric.signature if alpha == "refuse" else f"{metric.signature}|alpha:{alpha}"


def _kept(earlier: Sequence[Record], output: Path, metric: Metric, alpha: Alpha, pairing: Pairing) -> Iterator[Scored]:
    """The records of an earlier run that still hold: same files, same content, same signature."""
    _refuse_other_folder(earlier, output, pairing)
    scored = {record.file: record for record in earlier if isinstance(record, Scored)}
    _refuse_other_metric(scored.values(), output, metric, alpha)
    sha256 = cache(sha256_of)
    for each in pairing.pairs:
        record = scored.get(each.name)
        if record is None or record.degraded != each.degraded_name:
            continue
        if record.sha256 == Hashes(sha256(each.restored), sha256(each.degraded) if each.degraded else None):
            yield record


def _refuse_other_metric(scored: Iterable[Scored], output: Path, metric: Metric, alpha: Alpha) -> None:
    # Where alpha was refused no image had any, so those scores hold under every policy.
    valid = {metric.signature, _signature(metric, alpha)}
    for record in scored:
        if record.signature not in valid:
            raise InputError(
                f"{str(output)!r} holds scores of {record.metric} ({record.signature}), "
                f"this run is {metric.name} ({_signature(metric, alpha)})",
                "give another file with -o, or add --overwrite to replace it",
            )


def _refuse_other_folder(earlier: Sequence[Record], output: Path, pairing: Pairing) -> None:
    known = {each.name for each in pairing.pairs} | set(pairing.missing)
    others = [record.file for record in earlier if record.file not in known]
    if others:
        raise InputError(
            f"{str(output)!r} holds records of {len(others)} images that are not in this folder, "
            f"for example {others[0]!r}",
            "give another file with -o, or add --overwrite to replace it",
        )


def _refuse_no_pairs(pairing: Pairing, restored: Path, degraded: Path | None) -> None:
    if not pairing.pairs:
        raise PairingError(
            f"none of the {len(pairing.missing)} images in {str(restored)!r} has a degraded input "
            f"of its name in {str(degraded)!r}: {pairing.missing[0]!r} does not match {pairing.extra[0]!r}",
            "name each degraded input as its restored image, which may add a tag: 0001.png and 0001_tag.png",
        )


def _without_degraded(name: str) -> Failed:
    return Failed.because(name, PairingError("no degraded input has the name of this image"))
