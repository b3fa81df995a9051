"""The options that say what scores, of `drmetric score` and `drmetric bench methods`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drmetric.errors import InputError

if TYPE_CHECKING:
    from drmetric.bench.scores.run import Engine as ScoringEngine


class Engine(StrEnum):
    local = "local"
    ray = "ray"


EngineOption = Annotated[Engine, typer.Option(help="This process, or the workers of a Ray cluster.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Where to compute: auto, cpu, cuda, cuda:1 or mps.")]
Address = Annotated[
    str | None,
    typer.Option(help="For ray: HOST:PORT, auto, or local for this machine alone (default: RAY_ADDRESS, or local)."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="For ray: processes (default: what the cluster has room for).")
]


def make_engine(
    engine: Engine,
    device: str,
    output: Path | None,
    batch: int = 1,
    address: str | None = None,
    workers: int | None = None,
) -> "ScoringEngine":
    """What scores, for the score file `output`.

    Raises:
        InputError: options of another engine, a device that is not there, or no score file for Ray.
        MissingDependencyError: Ray is not installed.
    """
    given = {"--address": address, "--workers": workers}
    named = [f"{option} {value}" for option, value in given.items() if value is not None]
    if engine is Engine.local:
        if named:
            raise InputError(f"{' '.join(named)!r} is for the engine 'ray'; this one is 'local'", "--engine ray")
        from drmetric.bench.engines.local import local_engine

        return local_engine(device, batch)
    if output is None:
        raise InputError("the engine 'ray' writes the scores to a file, but none was given", "-o scores.parquet")
    from drmetric.bench.engines.ray import ray_engine

    return ray_engine(output, device, batch, address, workers)
