"""Names of metrics and how to make them."""

from importlib import import_module
from typing import Any

from drmetric.errors import InputError
from drmetric.metrics.base import Metric

_METRICS: dict[str, str] = {
    "driqa": "drmetric.metrics.dr:DRIQA",
    "nariqa": "drmetric.metrics.nar:NARIQA",
    "nriqa": "drmetric.metrics.nr:NRIQA",
    "psnr": "drmetric.metrics.baselines:PSNR",
    "ssim": "drmetric.metrics.baselines:SSIM",
    "ms_ssim": "drmetric.metrics.baselines:MSSSIM",
    "vif": "drmetric.metrics.baselines:VIF",
    "fsim": "drmetric.metrics.baselines:FSIM",
    "gmsd": "drmetric.metrics.baselines:GMSD",
    "haarpsi": "drmetric.metrics.baselines:HaarPSI",
    "mdsi": "drmetric.metrics.baselines:MDSI",
    "lpips": "drmetric.metrics.baselines:LPIPS",
    "brisque": "drmetric.metrics.brisque:BRISQUE",
    "niqe": "drmetric.metrics.niqe:NIQE",
}


def available() -> list[str]:
    """Names that `create` takes, drmetric's own first."""
    return list(_METRICS)


def metric_class(name: str) -> type[Metric]:
    """The class behind a name; raises `InputError` for an unknown one."""
    if name not in _METRICS:
        raise InputError(f"unknown metric {name!r}; known: {', '.join(_METRICS)}", 'create("driqa")')
    module, attribute = _METRICS[name].split(":")
    found: type[Metric] = getattr(import_module(module), attribute)
    return found


def create(name: str, **options: Any) -> Metric:
    """Make a metric by name: ``create("driqa", tile=512)`` is ``DRIQA(tile=512)``.

    Raises:
        InputError: an unknown name or option.
        MissingDependencyError: the metric needs an extra that is not installed.
    """
    found = metric_class(name)
    try:
        return found(**options)
    except TypeError as error:
        raise InputError(
            f"{name} does not take these options: {options} ({error})", f"help({found.__name__})"
        ) from error
