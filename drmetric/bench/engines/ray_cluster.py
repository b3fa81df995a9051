"""Blocks of items mapped over the workers of a Ray cluster by Ray Data; both commands that score use this.

A worker holds what scores. One that dies is replaced and its block begun again, `ATTEMPTS` times at most. Every machine
must see the files under the same paths, and have the same drmetric and weights.
"""

import logging
import os
import pickle
import platform
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
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

LARGEST_BLOCK = 32
"""Items of a block, at most: what is scored again where a worker dies."""
ATTEMPTS = 4
"""How often a block may be begun: what ends a worker each time would else never end."""
_CONNECT_SECONDS = 10


class ClusterError(DrmetricError, RuntimeError):
    """A Ray cluster that cannot be reached, or whose workers cannot score."""


class Named(Protocol):
    """An item of a block; no two have one name."""

    @property
    def name(self) -> str: ...


Item = TypeVar("Item", bound=Named)
Result = TypeVar("Result")


class BlockScorer(ABC, Generic[Item, Result]):
    """What a worker holds."""

    @property
    @abstractmethod
    def signatures(self) -> Sequence[str]:
        """Of its metrics."""

    @abstractmethod
    def score(self, block: Sequence[Item], name: str) -> list[Result]:
        """The results of a block, whose name is the same in every attempt."""


@dataclass(frozen=True)
class Job(Generic[Item, Result]):
    """What every worker is told.

    Attributes:
        make: makes the scorer on a device.
        signatures: those that the scorer must have.
        attempts: folder in which the attempts at each block are counted; it exists.
        folders: the others that the worker must see.
        threads: with which it computes; sums in another order may differ in their last bit.
    """

    make: Callable[[str], BlockScorer[Item, Result]]
    signatures: Sequence[str]
    attempts: Path
    folders: Sequence[Path]
    threads: int = field(default_factory=torch.get_num_threads)


class Worker(Generic[Item, Result]):
    """Scores blocks in a process of the cluster.

    Args:
        job: what to do.
        device: where the metrics run.
    """

    def __init__(self, job: Job[Item, Result], device: str) -> None:
        self._job, self._device = job, device

    def __call__(self, row: Any) -> Any:
        """Score one block; of an error that is raised Ray would hand over the text alone."""
        (block,) = unpack(row)
        try:
            return pack([self._score(block)])
        except DrmetricError as error:
            return pack([error])

    @cached_property
    def _scorer(self) -> BlockScorer[Item, Result]:
        job = self._job
        for folder in (*job.folders, job.attempts):
            if not folder.exists():
                raise ClusterError(
                    f"a worker on {platform.node()} does not see {str(folder)!r}",
                    "put the images and the output where all machines see them under one path",
                )
        torch.set_num_threads(job.threads)
        scorer = job.make(self._device)
        if scorer.signatures != job.signatures:
            raise ClusterError(
                f"the metric of a worker on {platform.node()} is {_without(scorer.signatures, job.signatures)}, "
                f"here it is {_without(job.signatures, scorer.signatures)}",
                "install the same drmetric and the same weights on all machines",
            )
        return scorer

    def _score(self, block: Sequence[Item]) -> list[Result]:
        scorer = self._scorer
        name = sha256("\0".join(item.name for item in block).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._count_attempt(name, block)
        return scorer.score(block, name)

    def _count_attempt(self, name: str, block: Sequence[Item]) -> None:
        with (self._job.attempts / f"{name}.attempts").open("ab") as file:
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

    def map(self, job: Job[Item, Result], items: Sequence[Item]) -> Iterator[list[Result]]:
        """Score items in blocks.

        Args:
            job: what the workers do.
            items: neighbours are in one block.

        Returns:
            The results of each block as it is finished.

        Raises:
            ClusterError: workers that do not see the files, hold another metric, or die.
            DrmetricError: of the scorer.
        """
        size = max(1, min(LARGEST_BLOCK, ceil(len(items) / (4 * self.workers))))
        blocks = [items[start : start + size] for start in range(0, len(items), size)]
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
                f"the workers stopped: {error}", "run the same command again; it takes up what was finished"
            ) from error


def pack(values: Sequence[Any]) -> Any:
    """A table of pickled values."""
    return pa.table({"value": pa.array(map(pickle.dumps, values), pa.binary())})


def unpack(table: Any) -> list[Any]:
    """What `pack` was given."""
    return [pickle.loads(value) for value in table["value"].to_pylist()]


@contextmanager
def connect(address: str | None, device: str, workers: int | None) -> Iterator[Cluster]:
    """A cluster to score on, with Ray's notices on stderr; a connection that is there already is used and left open.

    Args:
        address: as `ray.init` takes it; None for that in RAY_ADDRESS, or else a cluster of this machine's own, which
            ends with the connection.
        device: "cpu", "cuda" (a GPU a worker), "mps", or "auto" for "cuda" where the cluster has GPUs, else "cpu".
        workers: how many processes score; None for as many as there is room for.

    Raises:
        ClusterError: no cluster at the address.
        InputError: another device, or no GPU for "cuda".
    """
    with _connected(address):
        yield _room(device, workers)


def _room(device: str, workers: int | None) -> Cluster:
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device not in ("cpu", "cuda", "mps"):
        raise InputError(
            f"the device {device!r} is none that Ray gives a worker; wanted cpu, mps, or cuda, which is a GPU for each",
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
