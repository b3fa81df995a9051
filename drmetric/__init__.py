"""Differentiable metrics for image restoration when there is no clean ground truth.

>>> from drmetric import DRIQA, example
>>> metric = DRIQA()
>>> metric(example.image("restored/coffee_sharp"), example.image("degraded/coffee"))
tensor([0.9556])
"""

import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _version() -> str:
    """Of the checkout that this is, whatever is installed beside it; else of the installed package."""
    beside = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(beside.read_text(encoding="utf-8")).get("project", {}) if beside.is_file() else {}
    return str(project["version"]) if project.get("name") == "drmetric" else version("drmetric")


__version__ = _version()

_HOMES = {
    "DRIQA": "drmetric.metrics.driqa",
    "NARIQA": "drmetric.metrics.nariqa",
    "NRIQA": "drmetric.metrics.nriqa",
    "DRIQALoss": "drmetric.metrics.losses",
    "NARIQALoss": "drmetric.metrics.losses",
    "NRIQALoss": "drmetric.metrics.losses",
    "Metric": "drmetric.metrics.base",
    "create": "drmetric.metrics.registry",
    "available": "drmetric.metrics.registry",
    "as_image": "drmetric.images",
    "read_image": "drmetric.images",
}

__all__ = [
    "DRIQA",
    "NARIQA",
    "NRIQA",
    "DRIQALoss",
    "Metric",
    "NARIQALoss",
    "NRIQALoss",
    "__version__",
    "as_image",
    "available",
    "create",
    "errors",
    "example",
    "read_image",
]

if TYPE_CHECKING:
    from drmetric import errors, example
    from drmetric.images import as_image, read_image
    from drmetric.metrics.base import Metric
    from drmetric.metrics.driqa import DRIQA
    from drmetric.metrics.losses import DRIQALoss, NARIQALoss, NRIQALoss
    from drmetric.metrics.nariqa import NARIQA
    from drmetric.metrics.nriqa import NRIQA
    from drmetric.metrics.registry import available, create


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ("errors", "example"):
        return import_module(f"drmetric.{name}")
    raise AttributeError(f"module 'drmetric' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
