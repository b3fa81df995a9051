"""All scores of a methods board: what scores.jsonl holds is kept, an engine scores the rest."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path

from drmetric.bench.methods.files import Failure, Picture
from drmetric.bench.methods.scores import Judge, MethodScores, Progress
from drmetric.bench.methods.tasks import Scored, Task, TaskEngine
from drmetric.bench.scores.folder import sha256_of
from drmetric.bench.scores.score_file import Row, ScoreFile


def score_methods(
    judges: Sequence[Judge],
    methods: Sequence[str],
    pictures: Sequence[Picture],
    file: ScoreFile,
    device: str,
    engine: TaskEngine,
    progress: Progress,
) -> MethodScores:
    """Score every output with every metric, each score a row of `file` as it is made.

    Args:
        judges, methods, pictures: what to score, with what.
        file: rows of it that hold still are kept.
        device: where the engine computes.
        engine: what scores the others.
        progress: called with the numbers of scores done and in all.
    """
    scores = MethodScores(list(judges), list(methods), [picture.name for picture in pictures])
    tasks = _tasks(scores, pictures)
    total = sum(len(task.judges) for task in tasks)
    kept, todo, sha256 = 0, [], cache(sha256_of)
    for task in tasks:
        rest = replace(task, judges=_without_kept(scores, task, file, sha256))
        kept += len(task.judges) - len(rest.judges)
        progress(kept, total)
        if rest.judges:
            todo.append(rest)
    made: list[Scored] = []
    with closing(engine(judges, todo, device)) as results:
        for result in results:
            file.append(result.row)
            made.append(result)
            progress(kept + len(made), total)
    for result in sorted(made, key=lambda result: result.index[::-1]):
        scores.put(result.index, result.row)
        scores.devices.add(result.device)
    return scores


def _tasks(scores: MethodScores, pictures: Sequence[Picture]) -> list[Task]:
    """All outputs, the pictures in turn; what is missing is entered in the scores."""
    tasks = []
    for image, picture in enumerate(pictures):
        for method, name in enumerate(scores.methods):
            if name not in picture.restored:
                scores.errors.append(Failure("", name, picture.name, "there is no output of this input"))
                continue
            applicable = []
            for number, judge in enumerate(scores.judges):
                if judge.reference == "truth" and picture.truth is None:
                    scores.put((number, method, image), {"score": None})
                else:
                    applicable.append(number)
            tasks.append(Task(picture, name, (method, image), applicable))
    return tasks


def _without_kept(scores: MethodScores, task: Task, file: ScoreFile, sha256: Callable[[Path], str]) -> list[int]:
    """The judges of the task that must score it; rows of the file that hold still are entered in the scores."""
    rest = []
    for number in task.judges:
        judge = scores.judges[number]
        row = file.find(task.row(judge))
        if row is not None and _holds(row, task, judge, sha256):
            scores.put((number, *task.index), row)
            scores.kept += row["score"] is not None
        else:
            rest.append(number)
    return rest


def _holds(row: Row, task: Task, judge: Judge, sha256: Callable[[Path], str]) -> bool:
    try:
        return bool(row["sha256"] == {kind: sha256(path) for kind, path in task.files(judge).items()})
    except OSError:
        return False
