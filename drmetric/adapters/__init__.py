"""Metrics where users work: one file a framework, each importable without it.

What all adapters share is here. Frameworks hand over the restored image beside one other, which they call target: the
ground truth. Which of the images a metric meets is decided by `reference_of`, the same in all of them: DRIQA meets the
degraded image, a full-reference metric the truth, all others none.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from drmetric.errors import InputError, MissingDependencyError, optional
from drmetric.images import as_image, check_image
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create

__all__ = ["as_metric", "by_label", "framework_class", "installed", "map_pictures", "reference_of", "score"]


def installed(package: str) -> bool:
    """Whether a package can be found; it is not imported."""
    return find_spec(package) is not None


def framework_class(path: str, purpose: str, install: str = "'drmetric[adapters]'") -> Any:
    """A class of a framework to inherit from; where that is not installed, one that says so when it is made.

    Args:
        path: module and class, such as "torchmetrics:Metric".
        purpose: what needs it, as the subject of a sentence.
        install: what pip installs.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(optional(module, "adapters", purpose), name)
    except MissingDependencyError as error:
        problem, fix = error.problem, f"pip install {install}"

    def refuse(cls: type, *args: object, **options: object) -> None:
        raise MissingDependencyError(problem, fix)

    return type(name, (), {"__new__": refuse})


def as_metric(metric: Metric | str, **options: Any) -> Metric:
    """The metric itself, or the one of that name; see `drmetric.create`."""
    return metric if isinstance(metric, Metric) else create(metric, **options)


def by_label(metrics: Metric | str | Sequence[Metric | str] | Mapping[str, Metric | str]) -> dict[str, Metric]:
    """Metrics by what a log is to call them: keys of a mapping, or names; raises `InputError` where two are alike."""
    if isinstance(metrics, Mapping):
        return {label: as_metric(metric) for label, metric in metrics.items()}
    made = [as_metric(metric) for metric in ([metrics] if isinstance(metrics, Metric | str) else metrics)]
    names = [metric.name for metric in made]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InputError(
            f"several metrics are called {', '.join(twice)}, and the log would hold their mean",
            f'QualityCallback({{"{twice[0]}": ..., "{twice[0]}_2": ...}})  # by what the log is to call them',
        )
    return dict(zip(names, made, strict=True))


def reference_of(metric: Metric, degraded: Tensor | None, truth: Tensor | None) -> Tensor | None:
    """The image that a metric meets: the degraded one, the truth, or none.

    None too where the metric needs one and it did not come: the metric then takes the one that was set, or says what
    is missing.
    """
    return {"dr": degraded, "fr": truth}.get(metric.mode)


def score(
    metric: Metric, restored: Tensor, degraded: Tensor | None, truth: Tensor | None, calls: Mapping[str, str]
) -> Tensor:
    """(N,) scores of images of the contract, beside the one that the metric meets.

    Args:
        metric: what scores.
        restored: (N,3,H,W).
        degraded: (N,3,h,w), or none.
        truth: (N,3,H,W), or none.
        calls: by the modes "dr" and "fr", how the framework is to hand over the image that they meet.

    Raises:
        InputError: the image that the metric needs did not come, and none was set; as the metric does.
    """
    reference = reference_of(metric, degraded, truth)
    if reference is None and metric.needs_reference and metric._reference is None:
        wanted = "degraded image" if metric.mode == "dr" else "ground truth"
        raise InputError(f"{metric.name} needs the {wanted} beside the image it scores", calls[metric.mode])
    scores = metric(restored, reference)
    assert isinstance(scores, Tensor)
    return scores


def clamped(image: Tensor | None, input_range: tuple[float, float], name: str) -> Tensor | None:
    """An image that noise takes beyond its range, clamped to it; raises `InputError` where it is far beyond."""
    if image is None:
        return None
    low, high = input_range
    return low + (high - low) * as_image(image, input_range=input_range, clamp=True, name=name)


def map_pictures(metric: Metric, restored: Tensor, degraded: Tensor | None, truth: Tensor | None) -> Tensor:
    """(N,3,H,2W): each restored image beside its quality map, white where it is good; empty for a metric without maps.

    A map of scores before the sigmoid is shown after it.
    """
    if type(metric)._score_with_map is Metric._score_with_map:
        return restored.new_empty((0, *restored.shape[1:]))
    restored = check_image(restored, "restored")
    with torch.no_grad():
        _, maps = metric(restored, reference_of(metric, degraded, truth), return_map=True)
    grey = functional.interpolate(maps.sigmoid(), size=restored.shape[-2:]).expand(-1, 3, -1, -1)
    return torch.cat([restored, grey], dim=-1)
