"""Names of metrics and how to make them: drmetric's own, those of other packages, and all of pyiqa's.

A package adds a metric by an entry point in its pyproject.toml, whose name is the one that `create` takes:

    [project.entry-points."drmetric.metrics"]
    mine = "my_package.metrics:Mine"        # a subclass of drmetric.metrics.base.Metric

``create("pyiqa:musiq")`` makes a metric of the package pyiqa; see `drmetric.metrics.pyiqa_metric`.
"""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import Parameter, isabstract, signature
from typing import Any, get_args

from drmetric.errors import DrmetricError, InputError, MissingDependencyError
from drmetric.metrics.base import Metric, Mode
from drmetric.metrics.pyiqa_metric import PYIQA, pyiqa_class

__all__ = [
    "ENTRY_POINTS",
    "OWN",
    "PYIQA",
    "available",
    "create",
    "meant",
    "meant_option",
    "metric_class",
    "takes",
    "unknown_options",
]


_METRICS: dict[str, str] = {
    "driqa": "drmetric.metrics.driqa:DRIQA",
    "nariqa": "drmetric.metrics.nariqa:NARIQA",
    "nriqa": "drmetric.metrics.nriqa:NRIQA",
    "nriqa_akd": "drmetric.metrics.nriqa:AKDNRIQA",
    "psnr": "drmetric.metrics.pixel:PSNR",
    "ssim": "drmetric.metrics.pixel:SSIM",
    "ms_ssim": "drmetric.metrics.piq_metrics:MSSSIM",
    "vif": "drmetric.metrics.piq_metrics:VIF",
    "fsim": "drmetric.metrics.piq_metrics:FSIM",
    "gmsd": "drmetric.metrics.piq_metrics:GMSD",
    "haarpsi": "drmetric.metrics.piq_metrics:HaarPSI",
    "mdsi": "drmetric.metrics.piq_metrics:MDSI",
    "lpips": "drmetric.metrics.lpips:LPIPS",
    "dists": "drmetric.metrics.dists:DISTS",
    "brisque": "drmetric.metrics.brisque:BRISQUE",
    "niqe": "drmetric.metrics.niqe:NIQE",
    "lr_psnr": "drmetric.metrics.consistency:LowResolutionPSNR",
    "low_band_psnr": "drmetric.metrics.consistency:LowBandPSNR",
    "colour_difference": "drmetric.metrics.consistency:ColourDifference",
}

OWN = frozenset(_METRICS)
"""The names of drmetric's own metrics."""
ENTRY_POINTS = "drmetric.metrics"
"""The group of entry points in which other packages register metrics."""


def available() -> list[str]:
    """Names that `create` takes, drmetric's own first, then other packages'; those of pyiqa are not listed."""
    return [*_METRICS, *(name for name in _plugins() if name not in _METRICS)]


def metric_class(name: str) -> type[Metric]:
    """The class behind a name.

    Raises:
        InputError: an unknown name, or an entry point that is no metric.
        MissingDependencyError: a package that the class needs is not installed, or does not import.
    """
    if name in _METRICS:
        module, attribute = _METRICS[name].split(":")
        found: type[Metric] = getattr(import_module(module), attribute)
        return found
    if name.startswith(PYIQA):
        return pyiqa_class(name.removeprefix(PYIQA))
    plugin = _plugins().get(name)
    if plugin is None:
        raise InputError(
            f"unknown metric {name!r}; known: {', '.join(available())}, and {PYIQA}<name of a metric of pyiqa>",
            f"create({meant(name)!r})  # or one that available() lists",
        )
    return _loaded(plugin)


def meant(name: str) -> str:
    """The metric that an unknown name was probably meant to be: the nearest, or else pyiqa's of that name."""
    by_form = {_form(each): each for each in available()}
    near = get_close_matches(_form(name), by_form, 1, cutoff=0.75)
    return by_form[near[0]] if near else f"{PYIQA}{name.lower()}"


def _form(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _package_of(plugin: EntryPoint) -> str:
    return plugin.dist.name if plugin.dist else plugin.value.partition(":")[0]


def _loaded(plugin: EntryPoint) -> type[Metric]:
    try:
        found = plugin.load()
    except (Exception, SystemExit) as error:
        package = _package_of(plugin)
        raise MissingDependencyError(
            f"metric {plugin.name!r} ({plugin.value}) of the package {package} cannot be loaded: "
            f"{type(error).__name__}: {error}",
            f"pip install --upgrade {package}",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Metric)) or isabstract(found) or not _is_described(found):
        module = plugin.value.partition(":")[0]
        raise InputError(
            f"metric {plugin.name!r} is {found!r}; wanted a subclass of drmetric.metrics.base.Metric "
            "with `_score` and `signature`, a `name` and a `mode`",
            f'{plugin.name} = "{module}:A_SUBCLASS_OF_METRIC"  # [project.entry-points."{ENTRY_POINTS}"]',
        )
    return found


def _is_described(metric: type[Metric]) -> bool:
    return isinstance(getattr(metric, "name", None), str) and getattr(metric, "mode", None) in get_args(Mode)


def create(name: str, **options: Any) -> Metric:
    """Make a metric by name: ``create("driqa", tile=512)`` is ``DRIQA(tile=512)``.

    Raises:
        InputError: an unknown name or option, or one that the metric cannot be made with.
        MissingDependencyError: the metric needs an extra that is not installed.
    """
    found = metric_class(name)
    try:
        metric = found(**options)
        _ = metric.signature
    except DrmetricError:
        raise
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        if not options:
            raise InputError(f"{name} cannot be made: {why}") from error
        raise InputError(
            f"{name} does not take these options: {options} ({why}){takes(unknown_options(found, options))}",
            _fix_of_options(name, found, options),
        ) from error
    return metric


def unknown_options(metric: type[Metric], options: Mapping[str, Any]) -> dict[str, list[str]]:
    """The options that the metric does not have by name, each with all that it has, the most alike first.

    There are none where it takes any.
    """
    parameters = signature(metric).parameters
    if any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values()):
        return {}
    return {
        option: sorted(parameters, key=lambda known: -SequenceMatcher(None, option, known).ratio())
        for option in options
        if option not in parameters
    }


def meant_option(option: str, known: Sequence[str]) -> str:
    """The option that an unknown one was probably meant to be; empty where none is like it."""
    return next(iter(get_close_matches(option, known, 1)), "")


def takes(unknown: Mapping[str, Sequence[str]]) -> str:
    """The end of a sentence on unknown options: those that there are."""
    known = next(iter(unknown.values()), None)
    return "" if known is None else f"; it takes {', '.join(known) or 'none'}"


def _fix_of_options(name: str, metric: type[Metric], options: Mapping[str, Any]) -> str:
    unknown = unknown_options(metric, options)
    if "device" in unknown:
        return f"create({name!r}).to({str(options['device'])!r})"
    named = {meant_option(each, unknown[each]) if each in unknown else each: options[each] for each in options}
    if unknown and all(named) and len(named) == len(options):
        return f"create({', '.join([repr(name), *(f'{key}={value!r}' for key, value in named.items())])})"
    return f"from {metric.__module__} import {metric.__name__}; help({metric.__name__})"
