"""The options that say what scores, of `drmetric score` and `drmetric bench methods`."""

from enum import StrEnum
from typing import Annotated

import typer

from drmetric.errors import InputError


class Engine(StrEnum):
    local = "local"
    ray = "ray"


EngineOption = Annotated[Engine, typer.Option(help="This process, or the workers of a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(help="For ray: HOST:PORT, auto, or local for this machine alone (default: RAY_ADDRESS, or local)."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="For ray: processes (default: what the cluster has room for).")
]


def check_engine(engine: Engine, address: str | None, workers: int | None) -> None:
    """Refuse options of another engine.

    Raises:
        InputError: an address or workers for the local engine.
    """
    given = {"--address": address, "--workers": workers}
    named = [f"{option} {value}" for option, value in given.items() if value is not None]
    if engine is Engine.local and named:
        raise InputError(f"{' '.join(named)!r} is for the engine 'ray'; this one is 'local'", "--engine ray")
