"""Any metric of drmetric in deepinv, whose Trainer hands the measurement ``y`` to losses and metrics.

    trainer = deepinv.Trainer(
        losses=[deepinv.loss.SupLoss(), as_loss("driqa", weight=0.02)],
        metrics=[as_score("driqa"), deepinv.loss.metric.PSNR()],
        ...
    )

DRIQA meets ``y``, a full-reference metric ``x``. Where ``y`` is no image, as of compressed sensing, use "nriqa".
deepinv's ``norm_inputs`` and ``center_crop`` do not touch ``y``, so the adapters have neither.
"""

from typing import Any

from torch import Tensor

from drmetric.adapters import as_metric, clamped, framework_class, reference_of, score
from drmetric.images import as_image
from drmetric.metrics.base import Metric
from drmetric.metrics.losses import LossSettings, MetricLoss

__all__ = ["as_loss", "as_score"]

_CALLS = {"dr": "score(x_net, x, y=y)", "fr": "score(x_net, x)"}

_Metric: Any = framework_class("deepinv.loss.metric:Metric", "a metric of deepinv")
_Loss: Any = framework_class("deepinv.loss:Loss", "a loss of deepinv")


class _Score(_Metric):  # type: ignore[misc]
    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self.of = metric
        self.lower_better = not metric.higher_is_better

    def metric(self, x_net: Tensor, x: Tensor | None = None, *, y: Tensor | None = None, **_: Any) -> Tensor:
        restored, truth, degraded = (
            None if each is None or not needed else as_image(each, clamp=True, name=name)
            for each, name, needed in (
                (x_net, "x_net", True),
                (x, "x", self.of.mode == "fr"),
                (y, "y", self.of.mode == "dr"),
            )
        )
        assert restored is not None
        return score(self.of, restored, degraded, truth, _CALLS)


class _LossOf(_Loss):  # type: ignore[misc]
    def __init__(self, loss: MetricLoss) -> None:
        super().__init__()
        self.of = loss

    def forward(self, x_net: Tensor, x: Tensor | None = None, y: Tensor | None = None, **_: Any) -> Tensor:
        name = "y" if self.of.metric.mode == "dr" else "x"
        loss: Tensor = self.of(x_net, clamped(reference_of(self.of.metric, y, x), self.of.input_range, name))
        return loss


def as_score(metric: Metric | str = "driqa", **options: Any) -> Any:
    """A ``deepinv.loss.metric.Metric``: (N,) scores, with `lower_better` set; outputs beyond [0, 1] are clamped.

    Args:
        metric: one of drmetric, or its name with `options` for `drmetric.create`. deepinv's log calls it by its class.
    """
    of = as_metric(metric, **options)
    return type(type(of).__name__, (_Score,), {})(of)


def as_loss(metric: Metric | str = "driqa", **settings: Any) -> Any:
    """A ``deepinv.loss.Loss``: the distance of the score from its best value.

    Args:
        metric: one of drmetric, or its name with options for `drmetric.create`.
        settings: of `drmetric.metrics.losses.MetricLoss`, such as ``weight=0.02``.
    """
    wanted = {key: value for key, value in settings.items() if key in LossSettings.__annotations__}
    options = {key: value for key, value in settings.items() if key not in wanted}
    of = as_metric(metric, **options)
    return type(f"{type(of).__name__}Loss", (_LossOf,), {})(MetricLoss(of, **wanted))
