"""Contexts that the caller may have set, undone: scores depend neither on autocast nor on a default type or device."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock

import torch

__all__ = ["plain_defaults", "without_autocast"]


_DEFAULT_TYPE = RLock()
"""torch has one default type for all threads."""
if hasattr(os, "register_at_fork"):  # a child of another thread would wait for ever for one that it does not have
    os.register_at_fork(
        before=_DEFAULT_TYPE.acquire, after_in_parent=_DEFAULT_TYPE.release, after_in_child=_DEFAULT_TYPE.release
    )


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Float32 arithmetic on the device; "meta" knows no autocast, and `torch.autocast` fails there."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


@contextmanager
def plain_defaults() -> Iterator[None]:
    """New tensors are float32 on the CPU, whatever default type or device is set (``torch.device("meta")`` too)."""
    with _DEFAULT_TYPE:
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.device("cpu"):
                yield
        finally:
            torch.set_default_dtype(default)
