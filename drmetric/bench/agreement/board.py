"""Rank metrics by how well they agree with what people think of images, or with the label of a corpus.

`run` scores every image of a split with every metric, one line of scores.jsonl a score (so that an interrupted run is
continued), and works out a table for the whole set and one for each part of it. What is scored:
`drmetric.bench.agreement.config`; the figures: `drmetric.bench.agreement.correlation` for images with a score,
`drmetric.bench.agreement.preferences` for pairs of images of which people chose one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from drmetric import __version__
from drmetric.bench.agreement import correlation, preferences
from drmetric.bench.agreement.config import Config, Data
from drmetric.bench.agreement.correlation import MetricScores, Rows
from drmetric.bench.judges import Entry, Judge, make_judges
from drmetric.bench.scores import run as scoring
from drmetric.bench.scores.rows import Failure, Row
from drmetric.bench.scores.run import Engine, Progress, Task, score_tasks
from drmetric.bench.scores.store import ScoreFile
from drmetric.bench.tables import Column, Table, to_markdown
from drmetric.data.rated import read_opinions
from drmetric.data.sets.bapps import read_preferences
from drmetric.writing import write_whole


class Line(Protocol):
    """One metric on one part."""

    @property
    def part(self) -> str: ...

    @property
    def rank_by(self) -> float:
        """What tables are sorted by, highest first."""
        ...


@dataclass(frozen=True)
class Board:
    """A finished board: the lines of every part, the whole set first.

    Attributes:
        title: data set and split, in words.
        note: how the figures were made.
        columns: of its tables.
        lines: part by part.
        errors: scores that are missing.
    """

    title: str
    note: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    errors: list[Failure]

    @property
    def table(self) -> Table:
        """All lines: part by part, best first."""
        parts = list(dict.fromkeys(line.part for line in self.lines))
        ranked = sorted(self.lines, key=lambda line: -np.nan_to_num(line.rank_by, nan=-2))
        return Table(self.columns, sorted(ranked, key=lambda line: parts.index(line.part)))

    def tables(self) -> list[Table]:
        """A table a part, for people: columns that are blank in all of them are left out."""
        whole = self.table.without_blanks()
        found = [
            replace(whole, rows=[line for line in whole.rows if line.part == part], title=f"{self.title}: {part}")
            for part in dict.fromkeys(line.part for line in whole.rows)
        ]
        return [*found[:-1], replace(found[-1], notes=[f"{whole.legends} {self.note}".lstrip()])]

    def write(self, folder: Path) -> None:
        """Write table.md and table.csv."""
        write_whole(folder / "table.md", to_markdown(self.tables()).encode())
        write_whole(folder / "table.csv", self.table.to_csv().encode())


@dataclass(frozen=True)
class _Set:
    """A set as the board sees it: its images, its parts, and how scores of all images become the lines of a part."""

    tasks: list[Task]
    parts: Mapping[str, Rows]
    compare: Callable[[str, Sequence[MetricScores], Rows], Sequence[Any]]
    columns: Sequence[Column]
    resampled: str


def run(
    config: Config,
    output: Path,
    *,
    device: str = "cpu",
    engine: Engine | None = None,
    n_bootstrap: int = 1000,
    progress: Progress = lambda done, total: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Board:
    """Score a rated set with all metrics, work out the tables, and write them to `output`.

    Args:
        config: what to score, with what.
        output: folder of scores.jsonl, table.csv and table.md; scores that exist are kept.
        device: where the metrics run.
        engine: what scores; by default this process, on the device.
        n_bootstrap: resamples of each interval and test.
        progress: called with the numbers of scores done and in all.
        warn: called before the first score, of each metric that will not score, and why.

    Raises:
        ConfigError: an unusable configuration, or a set that is not there.
        InputError: a metric or an option that does not exist.
        MissingDependencyError: a metric of pyiqa or of another package that is not installed.
    """
    data = config.data
    rated = _pairs(data, n_bootstrap) if data.is_of_pairs else _opinions(data, n_bootstrap)
    images = {kind for kind in ("degraded", "truth") if all(kind in task.files for task in rated.tasks)}
    judges, unmade = make_judges(config.metrics, images, data.reference)
    for title, reason in unmade.items():
        warn(f"{title} will not score: {reason}")
    tasks = [replace(task, judges=range(len(judges))) for task in rated.tasks]
    file = ScoreFile.read(output / "scores.jsonl")
    found = scoring.run(judges, tasks, file, engine or partial(score_tasks, device=device), progress)
    rows = {(row.metric, row.image): row for row in found.rows}
    by_title = {judge.label: judge for judge in judges}
    scores = [_scores(entry, by_title.get(entry.title), data, tasks, rows) for entry in config.metrics]
    board = Board(
        title=data.title,
        note=_note(scores[0].metric, rated.resampled, _devices(found.rows) or device, n_bootstrap),
        columns=rated.columns,
        lines=[line for part, numbers in rated.parts.items() for line in rated.compare(part, scores, numbers)],
        errors=[
            *(Failure(title, "", task.image, error) for title, error in unmade.items() for task in tasks),
            *(row.failure for row in found.rows if row.score is None),
        ],
    )
    board.write(output)
    return board


def _scores(
    entry: Entry, judge: Judge | None, data: Data, tasks: Sequence[Task], rows: Mapping[tuple[str, str], Row]
) -> MetricScores:
    """Of one metric, image by image; of a metric that could not be made there are none."""
    values, milliseconds = np.full(len(tasks), np.nan), np.full(len(tasks), np.nan)
    for number, task in enumerate(tasks):
        row = rows.get((entry.title, task.image))
        if row is not None and row.score is not None and row.seconds is not None:
            values[number], milliseconds[number] = row.score, row.seconds * 1e3
    return MetricScores(
        metric=entry.title,
        reference=entry.meets(data.reference),
        signature=judge.signature if judge else "",
        higher_is_better=judge.metric.higher_is_better if judge else True,
        values=values,
        milliseconds=milliseconds,
    )


def _opinions(data: Data, n: int) -> _Set:
    """A set of images with scores."""
    images = read_opinions(data.set, data.folder, data.drawn)
    tasks = [_task(data, image.image, image.degraded, image.reference) for image in images]
    parts = {f"all {len(images)} images": np.arange(len(images)), **_subsets(data, [each.subset for each in images])}
    if data.unshared:
        here = {image.image for image in images}
        shared = {each.content for each in read_opinions(data.set, data.folder) if each.image not in here}
        unshared = np.flatnonzero([image.content not in shared for image in images])
        parts[f"{len(unshared)} images whose content no other split has"] = unshared
    opinions = correlation.Opinions(
        labels=np.array([image.score for image in images], dtype=np.float64),
        contents=[image.content for image in images],
        inputs=None if any(task.degraded is None for task in tasks) else [str(task.degraded) for task in tasks],
    )

    def compare(part: str, scores: Sequence[MetricScores], rows: Rows) -> Sequence[Line]:
        return correlation.compare(part, scores, rows, opinions, n)

    return _Set(tasks, parts, compare, correlation.COLUMNS, "contents")


def _pairs(data: Data, n: int) -> _Set:
    """A set of pairs; the first and the second image of each are scored in turns."""
    pairs = read_preferences(data.set, data.folder, data.drawn)
    tasks = [_task(data, each, pair.degraded, pair.reference) for pair in pairs for each in (pair.first, pair.second)]
    parts = {f"all {len(pairs)} pairs": np.arange(len(pairs)), **_subsets(data, [pair.subset for pair in pairs])}
    shares = np.array([pair.share for pair in pairs])

    def compare(part: str, scores: Sequence[MetricScores], rows: Rows) -> Sequence[Line]:
        return preferences.compare(part, scores, rows, shares, n)

    return _Set(tasks, parts, compare, preferences.COLUMNS, "pairs")


def _task(data: Data, image: Path, degraded: Path | None, truth: Path | None) -> Task:
    files = {"restored": image, "degraded": degraded, "truth": truth}
    return Task(
        image=image.relative_to(data.folder).as_posix(),
        files={kind: path for kind, path in files.items() if path is not None},
        degraded=None if degraded is None else degraded.relative_to(data.folder).as_posix(),
    )


def _subsets(data: Data, subsets: Sequence[str]) -> dict[str, Rows]:
    """The numbers of the items of each subset by its name, if the configuration asks for parts."""
    names = sorted(set(subsets)) if data.parts else []
    return {f"subset {name}": np.flatnonzero(np.array(subsets) == name) for name in names}


def _devices(rows: Sequence[Row]) -> str:
    """Where the scores come from, those of earlier runs too."""
    return " and ".join(sorted({row.device for row in rows if row.score is not None and row.device}))


def _note(first: str, resampled: str, device: str, n_bootstrap: int) -> str:
    return (
        f"Brackets: 95 % percentile intervals, {n_bootstrap} bootstraps over {resampled}. Differences: that of {first} "
        f"minus that of each other, paired bootstrap over {resampled}, p after Holm. ms: median, {device}. "
        f"drmetric {__version__}, torch {torch.__version__}."
    )
