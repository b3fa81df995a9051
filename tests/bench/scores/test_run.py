"""The one scoring loop: references that are shared or not, what stays on a metric, and which rows of a file hold."""

import hashlib
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from drmetric.bench.judges import Judge
from drmetric.bench.scores import run as scoring
from drmetric.bench.scores.run import Task, ahead, rescore, run, score_tasks
from drmetric.bench.scores.store import ScoreFile, read_rows
from drmetric.images.files import read_pixels
from drmetric.metrics.base import Metric
from tests.bench.scores.folders import Distance, without_time, write_image


class Counting(Distance):
    """Counts the references that it is given to keep."""

    kept = 0

    def set_reference(self, reference):  # type: ignore[no-untyped-def]
        self.kept += reference is not None
        return super().set_reference(reference)


class Pooled(Metric):
    """Non-aligned: all references are for every image."""

    name, mode, signature = "pooled", "nar", "pooled|1"

    def _score(self, image, reference):  # type: ignore[no-untyped-def]
        return image.mean((1, 2, 3)) - reference.mean()

    def _checked(self, image, reference):  # type: ignore[no-untyped-def]
        return image, self._reference if reference is None else reference


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    """Two outputs of each of three inputs, with their truth."""
    made = []
    for i in range(3):
        shared = {kind: write_image(tmp_path / kind / f"{i}.png", 10 * i, (8, 12)) for kind in ("degraded", "truth")}
        for method in ("a", "b"):
            restored = write_image(tmp_path / method / f"{i}.png", i + ord(method))
            made.append(Task(f"{i}.png", {"restored": restored, **shared}, method, f"{i}.png"))
    return made


def test_a_reference_is_kept_for_its_neighbours_and_none_is_left(tasks: list[Task]) -> None:
    metric = Counting()
    rows = list(score_tasks([Judge("m", "degraded", metric)], tasks))
    assert metric.kept == 3
    assert metric._reference is None
    assert [row.score for row in rows] == [rescore(Judge("m", "degraded", Distance()), task) for task in tasks]
    assert {(*row.sha256, row.degraded is None) for row in rows} == {("restored", "degraded", False)}


def test_the_hash_is_of_the_bytes_that_were_scored(tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is replaced just after it was read."""
    judge = Judge("m", "degraded", Distance())
    score = rescore(judge, tasks[0])
    hashes = {kind: hashlib.sha256(path.read_bytes()).hexdigest() for kind, path in tasks[0].files_of(judge).items()}

    def read_then_replace(path: Path) -> bytes:
        content = path.read_bytes()
        write_image(path, 200)
        return content

    monkeypatch.setattr("drmetric.bench.scores.run.read_bytes", read_then_replace)
    (row,) = score_tasks([judge], tasks[:1])
    assert (row.score, row.sha256) == (score, hashes)


@pytest.mark.parametrize("metric", [Distance(), Pooled()], ids=["pairs", "pooled references"])
def test_batches_mix_no_references(metric: Metric, tasks: list[Task]) -> None:
    judges = [Judge("m", "truth", metric)]
    alone = list(map(without_time, score_tasks(judges, tasks)))
    for batch in (2, 3, 6):
        assert list(map(without_time, score_tasks(judges, tasks, batch=batch))) == alone


def test_several_judges_read_an_image_once_and_meet_their_own(tasks: list[Task]) -> None:
    judges = [Judge("input", "degraded", Distance()), Judge("truth", "truth", Distance()), Judge("n", "none", Pooled())]
    todo = [replace(task, judges=(0, 1)) for task in tasks]
    rows = list(score_tasks(judges, todo))
    assert [(row.metric, row.reference) for row in rows[:2]] == [("input", "degraded"), ("truth", "truth")]
    assert len(rows) == 12


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.csv"])
def test_rows_hold_as_long_as_files_and_signature_do(tasks: list[Task], tmp_path: Path, name: str) -> None:
    path, metric = tmp_path / name, Distance()
    first = run([Judge("old name", "degraded", metric)], tasks, ScoreFile.read(path))
    assert (first.kept, metric.seen) == (0, 6)
    write_image(tasks[0].files["restored"], 99)
    calls: list[tuple[int, int]] = []
    again = run([Judge("m", "degraded", metric)], tasks, ScoreFile.read(path), progress=lambda *n: calls.append(n))
    assert (again.kept, metric.seen, len(again.rows)) == (5, 7, 6)
    assert {row.metric for row in again.rows} == {row.metric for row in read_rows(path)} == {"m"}
    assert calls == [(5, 6), (6, 6)]
    assert len(read_rows(path)) == 6
    assert run([Judge("m", "truth", metric)], tasks, ScoreFile.read(path)).kept == 0
    assert len(read_rows(path)) == 12


class Watching(Distance):
    """Notes how many images come at once."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def _score(self, image, reference):  # type: ignore[no-untyped-def]
        self.counts.append(len(image))
        return super()._score(image, reference)


def test_batches_are_bounded_by_their_bytes(tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    metric, expected = Watching(), list(map(without_time, score_tasks([Judge("m", "truth", Watching())], tasks)))
    size = sum(read_pixels(tasks[0].files[kind].read_bytes(), kind).nbytes for kind in ("restored", "truth"))
    for room, counts in ((6 * size, [6]), (3 * size - 1, [2, 2, 2]), (size - 1, [1] * 6)):
        metric.counts.clear()
        monkeypatch.setattr(scoring, "ROOM", room)
        assert list(map(without_time, score_tasks([Judge("m", "truth", metric)], tasks, batch=64))) == expected
        assert metric.counts == counts


def test_heavy_items_are_loaded_when_those_before_them_have_been_used() -> None:
    used: list[int] = []
    behind: list[int] = []

    def load(item: int) -> int:
        behind.append(item - len(used))
        return item

    for item in ahead(load, range(8), 2, lambda item: 5 if item < 4 else 1, 4):
        used.append(item)
    assert used == list(range(8))
    assert behind[:4] == [0, 0, 0, 0]
    assert max(behind) <= 2


def test_no_image_is_held_while_the_next_large_one_is_decoded(
    tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the loop nor by the metric nor as the last reference."""
    monkeypatch.setattr(scoring, "ROOM", 100)
    alive: list[weakref.ref[torch.Tensor]] = []
    held: list[int] = []

    def watched(*arguments: Any) -> torch.Tensor:
        held.append(sum(each() is not None for each in alive))
        pixels = read_pixels(*arguments)
        alive.append(weakref.ref(pixels))
        return pixels

    monkeypatch.setattr(scoring, "read_pixels", watched)
    assert len(list(score_tasks([Judge("m", "truth", Distance())], tasks[::2], batch=64))) == 3
    assert held == [0, 1, 1, 1, 1, 1]
