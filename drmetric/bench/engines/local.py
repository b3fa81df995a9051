"""The engine of this process, on a device that is there."""

from functools import partial

import torch

from drmetric.bench.scores.run import Engine, score_tasks
from drmetric.errors import InputError


def usable_device(wanted: str) -> str:
    """A device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first of cuda, mps and cpu that is there.

    Raises:
        InputError: a device that this machine does not have, or a name of none.
    """
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, works in usable.items() if works)
    kind, _, index = wanted.partition(":")
    numbers = [str(number) for number in range(torch.cuda.device_count())] if kind == "cuda" else []
    if not usable.get(kind, False) or (":" in wanted and index not in numbers):
        raise InputError(
            f"the device {wanted!r} is not usable on this machine with torch {torch.__version__}", "--device auto"
        )
    return wanted


def local_engine(device: str = "cpu", batch: int = 1) -> Engine:
    """Scores on a device of this machine.

    Args:
        device: as in `usable_device`.
        batch: as in `score_tasks`.

    Raises:
        InputError: a device that this machine does not have.
    """
    return partial(score_tasks, device=usable_device(device), batch=batch)
