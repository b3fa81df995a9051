"""Scores of folders on a Ray cluster, the same bit for bit as those of `score_folder`.

A worker writes the records of its block as Parquet before it hands them over, so neither its end nor that of the
command loses what was finished.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from drmetric.bench.engines.ray_cluster import BlockScorer, Job, connect
from drmetric.bench.scores.folder import FolderScores, plan_folder, score_pairs
from drmetric.bench.scores.pairing import Pair
from drmetric.bench.scores.parquet import ParquetWriter, write_parquet
from drmetric.bench.scores.records import Record, is_parquet
from drmetric.errors import InputError
from drmetric.images.files import Alpha
from drmetric.metrics.base import Metric


def score_folder_on_ray(
    make: Callable[[str], Metric],
    restored: Path,
    degraded: Path | None = None,
    *,
    output: Path,
    overwrite: bool = False,
    alpha: Alpha = "refuse",
    batch: int = 1,
    device: str = "auto",
    address: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FolderScores:
    """Score each image of a folder on a Ray cluster; what is kept of an earlier run is as in `score_folder`.

    Args:
        make: makes the metric on a device; it is called on every worker, and once here.
        restored, degraded, overwrite, alpha, progress: as in `score_folder`.
        output: ``*.parquet``.
        batch: as in `score_folder`; above one, scores are those of one machine within the metric's tolerance.
        address, device, workers: as in `connect`.

    Raises:
        ClusterError: no cluster at the address; workers that do not see the files, hold another metric, or die.
        InputError, ImageFileError, PairingError: as `score_folder`; a device that the cluster does not have.
    """
    if not is_parquet(output):
        raise InputError(
            f"the output {str(output)!r} ends in {output.suffix!r}; the engine 'ray' writes .parquet",
            f"-o {output.with_suffix('.parquet')}",
        )
    restored, output = restored.absolute(), output.absolute()
    degraded = None if degraded is None else degraded.absolute()
    metric = make("cpu")
    plan = plan_folder(metric, restored, degraded, output=output, overwrite=overwrite, alpha=alpha)
    records = list(plan.kept)
    with (
        connect(address, device, workers) if plan.todo else nullcontext() as cluster,
        ParquetWriter(output, records) as writer,
    ):
        for record in plan.unpaired:
            writer.write(record)
            records.append(record)
        progress(len(records), plan.total)
        folders = [restored, *([degraded] if degraded and metric.needs_reference else [])]
        job = Job(partial(_FolderScorer, make, alpha, batch, writer.parts), [metric.signature], writer.parts, folders)
        for block in cluster.map(job, plan.todo) if cluster else ():
            for record in block:
                writer.join(record)
                records.append(record)
            progress(len(records), plan.total)
    return FolderScores(sorted(records, key=lambda record: record.file), plan.pairing, len(plan.kept))


class _FolderScorer(BlockScorer[Pair, Record]):
    """Holds the metric on a worker."""

    def __init__(self, make: Callable[[str], Metric], alpha: Alpha, batch: int, parts: Path, device: str) -> None:
        self._metric = make(device)
        self._score = partial(score_pairs, self._metric, alpha=alpha, batch=batch, device=device)
        self._parts = parts

    @property
    def signatures(self) -> list[str]:
        return [self._metric.signature]

    def score(self, block: Sequence[Pair], name: str) -> list[Record]:
        records = list(self._score(block))
        write_parquet(self._parts / f"{name}.parquet", records)
        return records
