"""Scores of folders on a Ray cluster, the same bit for bit as those of `score_folder`.

Ray Data maps blocks of pairs over workers that hold the metric. A worker writes the records of its block as Parquet
before it hands them over, so neither its end nor that of the command loses what was finished. Every machine must see
the images and the folder of the output under the same paths, and have the same drmetric and weights.
"""

import logging
import os
import pickle
import platform
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from drmetric.errors import DrmetricError, InputError, MissingDependencyError

try:
    import pyarrow as pa
    import ray
    import ray.data
    import ray.exceptions
except ImportError as error:
    raise MissingDependencyError(
        "the engine 'ray' needs Ray Data, which is not installed", "pip install 'drmetric[ray]'"
    ) from error

from drmetric.bench.pairing import Pair
from drmetric.bench.parquet import ParquetWriter, write_parquet
from drmetric.bench.records import Record, is_parquet
from drmetric.bench.scoring import FolderScores, plan_folder, score_pairs
from drmetric.image_files import Alpha
from drmetric.metrics.base import Metric

LARGEST_BLOCK = 32
"""Pairs of a block, at most: what is scored again where a worker dies."""
ATTEMPTS = 4
"""How often a block may be begun: what ends a worker each time would else never end."""
_CONNECT_SECONDS = 10


class ClusterError(DrmetricError, RuntimeError):
    """A Ray cluster that cannot be reached, or whose workers cannot score."""


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

    A connection to Ray that is there already is used and left open.

    Args:
        make: makes the metric on a device; it is called on every worker, and once here.
        restored, degraded, overwrite, alpha, progress: as in `score_folder`.
        output: ``*.parquet``.
        batch: as in `score_folder`; above one, scores are those of one machine within the metric's tolerance.
        device: "cpu", "cuda" (a GPU a worker), "mps", or "auto" for "cuda" where the cluster has GPUs, else "cpu".
        address: of the cluster, as `ray.init` takes it; None for that in RAY_ADDRESS, or else one of this machine's
            own, which ends with the run.
        workers: how many processes score; None for as many as there is room for.

    Raises:
        ClusterError: no cluster at the address; workers that do not see the files, hold another metric, or die.
        InputError, ImageFileError, PairingError: as `score_folder`; no GPU for "cuda".
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
    with _connected(address) if plan.todo else nullcontext():
        resources = _Resources.choose(device, workers) if plan.todo else None
        with ParquetWriter(output, records) as writer:
            for record in plan.unpaired:
                writer.write(record)
                records.append(record)
            progress(len(records), plan.total)
            folders = [restored, writer.parts, *([degraded] if degraded and metric.needs_reference else [])]
            job = _Job(make, metric.signature, torch.get_num_threads(), alpha, batch, writer.parts, folders)
            for block in _scored(plan.todo, job, resources) if resources else ():
                for record in block:
                    writer.join(record)
                    records.append(record)
                progress(len(records), plan.total)
    return FolderScores(sorted(records, key=lambda record: record.file), plan.pairing, len(plan.kept))


@dataclass(frozen=True)
class _Resources:
    """What to ask of the cluster: `workers` processes, each with these `cpus` and `gpus`."""

    device: str
    workers: int
    cpus: int
    gpus: int

    @classmethod
    def choose(cls, device: str, workers: int | None) -> "_Resources":
        cluster = ray.cluster_resources()
        gpus = int(cluster.get("GPU", 0))
        if device == "auto":
            device = "cuda" if gpus else "cpu"
        if device == "cuda":
            if not gpus:
                raise InputError("the device 'cuda' is not usable: the Ray cluster has no GPU", "--device cpu")
            return cls(device, workers or gpus, 1, 1)
        total = int(cluster.get("CPU", 1))
        largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
        cpus = min(torch.get_num_threads(), largest, total // (workers or 1))
        return cls(device, workers or max(1, total // max(1, cpus)), max(1, cpus), 0)


@dataclass(frozen=True)
class _Job:
    """What every worker is told."""

    make: Callable[[str], Metric]
    signature: str
    threads: int
    alpha: Alpha
    batch: int
    parts: Path
    folders: Sequence[Path]


class _Worker:
    """Holds the metric in a process of the cluster."""

    def __init__(self, job: _Job, device: str) -> None:
        self._job, self._device = job, device

    @cached_property
    def _metric(self) -> Metric:
        job = self._job
        for folder in job.folders:
            if not folder.exists():
                raise ClusterError(
                    f"a worker on {platform.node()} does not see {str(folder)!r}",
                    "put the images and the output where all machines see them under one path",
                )
        torch.set_num_threads(job.threads)  # sums in another order may differ in their last bit
        metric = job.make(self._device)
        if metric.signature != job.signature:
            raise ClusterError(
                f"the metric of a worker on {platform.node()} is {metric.signature}, here it is {job.signature}",
                "install the same drmetric and the same weights on all machines",
            )
        return metric

    def __call__(self, row: Any) -> Any:
        """Score one block; of an error that is raised Ray would hand over the text alone."""
        (pairs,) = _unpack(row)
        try:
            return _pack([self._score(pairs)])
        except DrmetricError as error:
            return _pack([error])

    def _score(self, pairs: Sequence[Pair]) -> list[Record]:
        job, metric = self._job, self._metric
        name = sha256("\0".join(pair.name for pair in pairs).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._count_attempt(name, pairs)
        records = list(score_pairs(metric, pairs, alpha=job.alpha, batch=job.batch, device=self._device))
        write_parquet(job.parts / f"{name}.parquet", records)
        return records

    def _count_attempt(self, name: str, pairs: Sequence[Pair]) -> None:
        with (self._job.parts / f"{name}.attempts").open("ab") as file:
            file.write(b".")
            if file.tell() > ATTEMPTS:
                raise ClusterError(
                    f"{ATTEMPTS} workers died on the images from {pairs[0].name!r} to {pairs[-1].name!r}",
                    "find the image that ends drmetric score --engine local, or give a worker more memory",
                )


def _scored(pairs: Sequence[Pair], job: _Job, resources: _Resources) -> Iterator[list[Record]]:
    """The records of each block as it is finished."""
    size = max(1, min(LARGEST_BLOCK, ceil(len(pairs) / (4 * resources.workers))))
    blocks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    rows = ray.data.from_arrow([_pack([block]) for block in blocks])
    rows.context.enable_progress_bars = False
    rows.context.print_on_execution_start = False
    rows.context.execution_no_progress_timeout_s = -1  # a block of large images may take its time
    scored = rows.map_batches(
        _Worker,
        fn_constructor_args=(job, resources.device),
        compute=ray.data.ActorPoolStrategy(size=resources.workers),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
    )
    try:
        for table in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for result in _unpack(table):
                if isinstance(result, DrmetricError):
                    raise result
                yield result
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the workers stopped: {error}", "run the same command again; it takes up what was finished"
        ) from error


def _pack(values: Sequence[Any]) -> Any:
    """A table of pickled values."""
    return pa.table({"value": pa.array(map(pickle.dumps, values), pa.binary())})


def _unpack(table: Any) -> list[Any]:
    """What `_pack` was given."""
    return [pickle.loads(value) for value in table["value"].to_pylist()]


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Ray, with its notices on stderr."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with redirect_stdout(sys.stderr):
        _connect(address)
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str) -> None:
    try:
        where = urlsplit(address if "://" in address else f"//{address}")
        if where.hostname and where.port:
            socket.create_connection((where.hostname, where.port), _CONNECT_SECONDS).close()
        with _muted_stderr():
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise ClusterError(
            f"no Ray cluster at {address!r}: {error}",
            "--address HOST:PORT of `ray start --head`, with RAY_AUTH_MODE=token where the cluster asks for a token; "
            "--address local for one of this machine's own",
        ) from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Without the line in which Ray's core says that its level of logging was set."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
