"""Any metric of drmetric as one of torchmetrics: averaged over batches and processes, in collections, with plots.

>>> import torch
>>> from drmetric.adapters.torchmetrics import QualityMetric
>>> quality = QualityMetric("driqa", weights="driqa-patches-3")
>>> restored, degraded = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 32, 32)
>>> quality.update(restored, degraded=degraded)
>>> quality.compute().shape
torch.Size([])
"""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from drmetric.adapters import as_metric, framework_class, score
from drmetric.images import as_image
from drmetric.metrics.base import INFINITY, Metric

__all__ = ["QualityMetric"]

_CALLS = {"dr": "quality.update(preds, degraded=degraded)", "fr": "quality.update(preds, target)"}
_Base: Any = framework_class("torchmetrics:Metric", "a metric of torchmetrics")


class QualityMetric(_Base):  # type: ignore[misc]
    """The mean score of all images since the last reset.

    In a collection with metrics that know ``preds`` and ``target`` alone, hand over the degraded images by name:
    ``collection(preds, target, degraded=degraded)``.

    Args:
        metric: one of drmetric, or its name for `drmetric.create`.
        input_range: black and white of the images, such as (-1, 1).
        kwargs: of ``torchmetrics.Metric`` as they are called there (``sync_on_compute``, ``dist_sync_fn``, ...);
            others are options of the metric.
    """

    is_differentiable: bool = False
    full_state_update: bool = False
    _of_torchmetrics: ClassVar[Sequence[str]] = (
        "compute_on_cpu",
        "dist_sync_on_step",
        "process_group",
        "dist_sync_fn",
        "distributed_available_fn",
        "sync_on_compute",
        "compute_with_cache",
    )

    def __init__(
        self, metric: Metric | str = "driqa", *, input_range: tuple[float, float] = (0.0, 1.0), **kwargs: Any
    ) -> None:
        super().__init__(**{key: kwargs.pop(key) for key in self._of_torchmetrics if key in kwargs})
        self.metric = as_metric(metric, **kwargs)
        self.input_range = input_range
        # A collection takes metrics of equal states for one metric: the states of two metrics are never called alike.
        self._key = hashlib.sha256(self.metric.signature.encode()).hexdigest()[:12]
        # Two of 32 bits, as MPS has no 64: the sum, and what rounding took from it (Neumaier's summation).
        self.add_state(f"total_{self._key}", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state(f"rounded_{self._key}", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state(f"count_{self._key}", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:
        """Of the metric."""
        return self.metric.higher_is_better

    @property
    def plot_lower_bound(self) -> float | None:
        """The least score, where there is one."""
        return _finite(self.metric.score_range[0])

    @property
    def plot_upper_bound(self) -> float | None:
        """The greatest score, where there is one."""
        return _finite(self.metric.score_range[1])

    def update(self, preds: Tensor, target: Tensor | None = None, *, degraded: Tensor | None = None) -> None:
        """Score a batch; values that a network puts out beyond the range are clamped, as saving does.

        Args:
            preds: (N,3,H,W) restored images.
            target: (N,3,H,W) ground truth, which full-reference metrics meet.
            degraded: (N,3,h,w) what the images were restored from, which degraded-reference metrics meet.

        Raises:
            InputError: as the metric does.
        """
        restored, truth, source = (
            None if each is None else as_image(each, input_range=self.input_range, clamp=True, name=name)
            for each, name in ((preds, "preds"), (target, "target"), (degraded, "degraded"))
        )
        assert restored is not None
        with torch.no_grad():
            scores = score(self.metric, restored, source, truth, _CALLS).float()
        before, added = getattr(self, f"total_{self._key}"), scores.sum()
        after = before + added
        rounded = torch.where(before.abs() < added.abs(), added - after + before, before - after + added)
        rounded = torch.where(after.isfinite(), rounded, 0)  # of an infinite score: infinity less infinity
        setattr(self, f"total_{self._key}", after)
        setattr(self, f"rounded_{self._key}", getattr(self, f"rounded_{self._key}") + rounded)
        setattr(self, f"count_{self._key}", getattr(self, f"count_{self._key}") + len(scores))

    def compute(self) -> Tensor:
        """The mean score of an image, float32."""
        total, rounded, count = (getattr(self, f"{what}_{self._key}") for what in ("total", "rounded", "count"))
        mean: Tensor = (total + rounded) / count
        return mean

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """A figure and its axes of one value or of several; see ``torchmetrics.Metric.plot``."""
        return self._plot(val, ax)


def _finite(bound: float) -> float | None:
    return None if abs(bound) == INFINITY else bound
