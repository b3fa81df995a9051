"""Differentiable metrics for image restoration when there is no clean ground truth.

>>> from drmetric import DRIQA
>>> metric = DRIQA()                         # doctest: +SKIP
>>> score = metric(restored, degraded)       # doctest: +SKIP
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("drmetric")

_HOMES = {
    "DRIQA": "drmetric.metrics.driqa",
    "NARIQA": "drmetric.metrics.nariqa",
    "NRIQA": "drmetric.metrics.nriqa",
    "create": "drmetric.metrics.registry",
    "available": "drmetric.metrics.registry",
}

__all__ = ["DRIQA", "NARIQA", "NRIQA", "__version__", "available", "create"]

if TYPE_CHECKING:
    from drmetric.metrics.driqa import DRIQA
    from drmetric.metrics.nariqa import NARIQA
    from drmetric.metrics.nriqa import NRIQA
    from drmetric.metrics.registry import available, create


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'drmetric' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
