"""The engine past one machine: blocks of images mapped over the workers of a Ray cluster by Ray Data.

A worker holds the judges, computes with as many threads as this process would, and scores as `score_tasks` does, so
rows are the same bit for bit on the same kind of processor. It writes the rows of a block to a file before it hands
them over: neither its end nor that of the command loses what was finished. A worker that dies is replaced and its block
begun again, `ATTEMPTS` times at most. Every machine must see the files under the same paths and have the same drmetric;
the weights travel with the judges.
"""

import logging
import os
import pickle
import platform
import socket
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import torch

from drmetric.bench.engines.agents import ended_with_this_process
from drmetric.bench.judges import Judge
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.run import Engine, Task, score_tasks
from drmetric.bench.scores.store import parts_of, write_rows
from drmetric.errors import DrmetricError, InputError, optional

pa = optional("pyarrow", "ray", "the engine 'ray'")
ray = optional("ray", "ray", "the engine 'ray'")
optional("ray.data", "ray", "the engine 'ray'")

LARGEST_BLOCK = 32
"""Images of a block, at most: what is scored again where a worker dies."""
ATTEMPTS = 4
"""How often a block may be begun: what ends a worker each time would else never end."""
_CONNECT_SECONDS = 10


class ClusterError(DrmetricError, RuntimeError):
    """A Ray cluster that cannot be reached, or whose workers cannot score."""


def ray_engine(
    output: Path, device: str = "auto", batch: int = 1, address: str | None = None, workers: int | None = None
) -> Engine:
    """Scores on a Ray cluster, to which it connects where there is something to score.

    Args:
        output: the score file; all machines see the folder of its parts.
        batch: as in `score_tasks`; above one, scores are those of one machine within the metric's tolerance.
        device: "cpu", "cuda" (a GPU a worker), "mps", or "auto" for "cuda" where the cluster has GPUs, else "cpu".
        address: as `ray.init` takes it; None for that in RAY_ADDRESS, or else a cluster of this machine's own, which
            ends with the run. An existing connection is used and left open.
        workers: how many processes score; None for as many as there is room for.

    The engine raises:
        ClusterError: no cluster at the address; workers that do not see the files, hold another metric, or die.
        InputError: a device that the cluster does not have.
    """

    def score(judges: Sequence[Judge], tasks: Sequence[Task]) -> Generator[Row, None, None]:
        where = address or os.environ.get("RAY_ADDRESS") or "local"
        if tasks and not ray.is_initialized():
            _check_address(where)
        return rows_of(where, judges, tasks)

    def rows_of(where: str, judges: Sequence[Judge], tasks: Sequence[Task]) -> Generator[Row, None, None]:
        if not tasks:
            return
        parts = parts_of(output.absolute())
        parts.mkdir(parents=True, exist_ok=True)
        absolute = [replace(task, files={kind: path.absolute() for kind, path in task.files.items()}) for task in tasks]
        with _connected(where):
            cluster = _room(device, workers)
            job = Job(judges, [judge.signature for judge in judges], parts, batch)
            for block in cluster.map(job, absolute):
                yield from block

    return score


@dataclass(frozen=True)
class Job:
    """What every worker is told.

    Attributes:
        judges: on the CPU.
        signatures: those that the judges must have where the worker is.
        parts: folder of the finished blocks, and of the attempts at each.
        batch: images that are scored at once.
        threads: with which a worker computes; sums in another order may differ in their last bit.
    """

    judges: Sequence[Judge]
    signatures: Sequence[str]
    parts: Path
    batch: int = 1
    threads: int = field(default_factory=torch.get_num_threads)


class Worker:
    """Scores blocks of tasks in a process of the cluster.

    Args:
        job: what to do.
        device: where the metrics run.
    """

    def __init__(self, job: Job, device: str) -> None:
        self._job, self._device = job, device

    def __call__(self, table: Any) -> Any:
        """Score one block; of an error that is raised Ray would hand over the text alone."""
        (block,) = unpack(table)
        try:
            return pack([self._score(block)])
        except DrmetricError as error:
            return pack([error])

    @cached_property
    def _judges(self) -> Sequence[Judge]:
        torch.set_num_threads(self._job.threads)
        here = [judge.signature for judge in self._job.judges]
        if here != self._job.signatures:
            raise ClusterError(
                f"the metric of a worker on {platform.node()} is {_without(here, self._job.signatures)}, "
                f"here it is {_without(self._job.signatures, here)}",
                "install the same drmetric on all machines",
            )
        return self._job.judges

    def _score(self, block: Sequence[Task]) -> list[Row]:
        for folder in (self._job.parts, *(path.parent for task in block for path in task.files.values())):
            if not folder.exists():
                raise ClusterError(
                    f"a worker on {platform.node()} does not see {str(folder)!r}",
                    "put the images and the output where all machines see them under one path",
                )
        judges = self._judges
        name = sha256("\0".join(task.name for task in block).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._count_attempt(name, block)
        rows = list(score_tasks(judges, block, self._device, self._job.batch))
        write_rows(self._job.parts / f"{name}-{uuid4().hex}.jsonl", rows)
        return rows

    def _count_attempt(self, name: str, block: Sequence[Task]) -> None:
        with (self._job.parts / f"{name}.attempts").open("ab") as file:
            file.write(b".")
            if file.tell() > ATTEMPTS:
                raise ClusterError(
                    f"{ATTEMPTS} workers died on the images from {block[0].name!r} to {block[-1].name!r}",
                    "--engine local  # to find the image that ends it; or give a worker more memory",
                )


def _without(signatures: Sequence[str], others: Sequence[str]) -> str:
    return ", ".join(each for each in signatures if each not in others)


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray, with room for `workers` processes that have these `cpus` and `gpus` each."""

    device: str
    workers: int
    cpus: int
    gpus: int

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[list[Row]]:
        """Score tasks in blocks.

        Args:
            job: what the workers do.
            tasks: neighbours are in one block.

        Returns:
            The rows of each block as it is finished.

        Raises:
            ClusterError: workers that do not see the files, hold another metric, or die.
        """
        size = max(1, min(LARGEST_BLOCK, ceil(len(tasks) / (4 * self.workers))))
        blocks = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        rows = ray.data.from_arrow([pack([block]) for block in blocks])
        rows.context.enable_progress_bars = False
        rows.context.print_on_execution_start = False
        rows.context.execution_no_progress_timeout_s = -1  # a block of large images may take its time
        scored = rows.map_batches(
            Worker,
            fn_constructor_args=(job, self.device),
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(blocks))),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )
        try:
            for table in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for result in unpack(table):
                    if isinstance(result, DrmetricError):
                        raise result
                    yield result
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the workers stopped: {error}", "run the same command again; it keeps what was finished"
            ) from error


def pack(values: Sequence[Any]) -> Any:
    """A table of pickled values."""
    return pa.table({"value": pa.array(map(pickle.dumps, values), pa.binary())})


def unpack(table: Any) -> list[Any]:
    """What `pack` was given."""
    return [pickle.loads(value) for value in table["value"].to_pylist()]


def _room(device: str, workers: int | None) -> Cluster:
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device not in ("cpu", "cuda", "mps"):
        raise InputError(
            f"the device {device!r} cannot be given to a worker; wanted cpu, mps, or cuda, which is a GPU for each",
            "--device cuda",
        )
    if device == "cuda":
        if not gpus:
            raise InputError("the device 'cuda' is not usable: the Ray cluster has no GPU", "--device cpu")
        return Cluster(device, workers or gpus, 1, 1)
    total = int(resources.get("CPU", 1))
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    cpus = min(torch.get_num_threads(), largest, total // (workers or 1))
    return Cluster(device, workers or max(1, total // max(1, cpus)), max(1, cpus), 0)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Ray, with its notices on stderr."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with redirect_stdout(sys.stderr):
        _connect(address)
        own = ended_with_this_process(ray.get_runtime_context().get_node_id()) if address == "local" else nullcontext()
        with own:
            try:
                yield
            finally:
                ray.shutdown()


def _check_address(address: str) -> None:
    """Refuse a host and port that nothing listens at, before anything is written and without Ray's long wait."""
    try:
        where = urlsplit(address if "://" in address else f"//{address}")
        if where.hostname and where.port:
            socket.create_connection((where.hostname, where.port), _CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ClusterError:
    return ClusterError(
        f"no Ray cluster at {address!r}: {error}",
        "--address HOST:PORT of `ray start --head`, with RAY_AUTH_MODE=token where the cluster asks for a token; "
        "--address local for one of this machine's own",
    )


def _connect(address: str) -> None:
    try:
        with _muted_stderr():
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise _no_cluster(address, error) from error
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
