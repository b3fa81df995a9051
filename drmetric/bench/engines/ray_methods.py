"""Scores of a methods board on a Ray cluster, the same bit for bit as those of `score_tasks`."""

import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from drmetric.bench.engines.ray_cluster import BlockScorer, Job, connect
from drmetric.bench.methods.config import Config, MetricEntry
from drmetric.bench.methods.scores import Judge
from drmetric.bench.methods.tasks import Scored, Task, score_tasks


def score_tasks_on_ray(
    judges: Sequence[Judge],
    tasks: Sequence[Task],
    device: str,
    *,
    config: Config,
    output: Path,
    address: str | None = None,
    workers: int | None = None,
) -> Generator[Scored, None, None]:
    """Score outputs in blocks on a Ray cluster; a block that is not handed over is scored again by the next run.

    Args:
        judges, tasks: as in `score_tasks`.
        config: with the metrics of the judges, which every worker makes, and the folders of the files.
        output: folder, which all machines see, for what is needed while the workers run.
        address, device, workers: as in `connect`.

    Raises:
        ClusterError: no cluster at the address; workers that do not see the files, hold another metric, or die.
        InputError: a device that the cluster does not have.
        DrmetricError: a metric that a worker cannot make.
    """
    if not tasks:
        return
    entries = {entry.title: entry for entry in config.metrics}
    folders = [config.degraded, *([config.truth] if config.truth else []), *(each.folder for each in config.methods)]
    with (
        connect(address, device, workers) as cluster,
        _new_folder(output.absolute() / "scores.jsonl.attempts") as attempts,
    ):
        make = partial(_TaskScorer, [entries[judge.label] for judge in judges])
        for block in cluster.map(Job(make, [judge.signature for judge in judges], attempts, folders), tasks):
            yield from block


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """An empty folder, which goes in the end; a killed run may have left it."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class _TaskScorer(BlockScorer[Task, Scored]):
    """Holds the metrics of a board on a worker."""

    def __init__(self, entries: Sequence[MetricEntry], device: str) -> None:
        self._judges = [Judge(entry.title, entry.reference_used(), entry.make()) for entry in entries]
        self._device = device

    @property
    def signatures(self) -> list[str]:
        return [judge.signature for judge in self._judges]

    def score(self, block: Sequence[Task], name: str) -> list[Scored]:
        return list(score_tasks(self._judges, block, self._device))
