"""Metrics as losses of a training loop: a weight that warms up, a cap of the gradient, outputs beyond the range.

>>> import torch
>>> from drmetric import DRIQALoss
>>> loss = DRIQALoss(weight=0.1, warmup_steps=1000)
>>> restored = torch.rand(2, 3, 64, 64, requires_grad=True)
>>> loss(restored, degraded=torch.rand(2, 3, 32, 32)).backward()
>>> restored.grad.shape
torch.Size([2, 3, 64, 64])

Gradients of a learned metric lead out of natural images where nothing else holds the restorer: use it beside a pixel
loss, and watch `drmetric.metrics.consistency` and other metrics.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

import torch
from torch import Tensor, nn

from drmetric.errors import InputError
from drmetric.images import check_input_range
from drmetric.metrics.base import Metric, Reduction, reduced
from drmetric.metrics.driqa import DRIQA
from drmetric.metrics.nariqa import NARIQA, References
from drmetric.metrics.nriqa import NRIQA, System

__all__ = ["DRIQALoss", "LossSettings", "MetricLoss", "NARIQALoss", "NRIQALoss"]


Method = TypeVar("Method", bound=Callable[..., Any])


def _outside_of_graphs(method: Method) -> Method:
    """Left out of a compiled graph, unlike what it calls: a graph is compiled anew for every count of steps."""
    eager: Method = torch.compiler.disable(method, recursive=False)  # type: ignore[no-untyped-call]
    return eager


class LossSettings(TypedDict, total=False):
    """The settings of `MetricLoss`, which all losses take."""

    weight: float
    reduction: Reduction
    warmup_steps: int
    start_step: int
    max_gradient_norm: float | None
    input_range: tuple[float, float]
    random_view: bool


class MetricLoss(nn.Module):
    """`Metric.loss` as a module; it adds neither parameters nor keys to a model that holds it.

    Args:
        metric: a differentiable metric.
        weight: factor.
        reduction: "mean" or "sum" over the batch, or "none" for (N,).
        warmup_steps: calls with gradients over which the factor rises from 0 to `weight`, linearly.
        start_step: the `steps` of a training that is taken up again, so that its warm-up goes on where it was.
        max_gradient_norm: the most that the gradient of one image's loss, weighted but not reduced, may measure
            (L2 over its pixels); longer ones are shortened. The loss is then differentiated at once: its graph is
            freed, and there is no second derivative.
        input_range: black and white of the images, such as (-1, 1) in diffusion models.
        random_view: as of `Metric.loss`; False where equal images must always give the same number. With it a compiled
            loss runs as it is, since a view has another size in every call.

    Attributes:
        steps: calls with gradients so far. They are in no state_dict: keep them beside the step of your training.

    Raises:
        InputError: a negative weight, number of steps or norm; as `Metric.loss` when it is called.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        weight: float = 1.0,
        reduction: Reduction = "mean",
        warmup_steps: int = 0,
        start_step: int = 0,
        max_gradient_norm: float | None = None,
        input_range: tuple[float, float] = (0.0, 1.0),
        random_view: bool = True,
    ) -> None:
        super().__init__()
        try:
            valid = min(weight, warmup_steps, start_step) >= 0 and (max_gradient_norm is None or max_gradient_norm > 0)
        except TypeError:
            valid = False
        if not valid:
            raise InputError(
                f"weight is {weight!r}, warmup_steps {warmup_steps!r}, start_step {start_step!r}, max_gradient_norm "
                f"{max_gradient_norm!r}; wanted weight and steps of 0 or more, and a norm above 0 or None",
                "weight=1.0, warmup_steps=0, start_step=0, max_gradient_norm=None",
            )
        self.metric = metric
        self.weight = weight
        self.reduction: Reduction = reduction
        self.warmup_steps = warmup_steps
        self.max_gradient_norm = max_gradient_norm
        self.input_range = check_input_range(input_range)
        self.random_view = random_view
        self.steps = start_step

    @_outside_of_graphs
    def forward(self, image: Tensor, reference: Any = None) -> Tensor:
        """The loss of a batch.

        Args:
            image: (N,3,H,W), RGB, in `input_range`; it may overshoot.
            reference: what the metric takes beside it.

        Returns:
            A float32 scalar, or (N,).

        Raises:
            InputError: as the metric does; `max_gradient_norm` where more than the image wants a gradient.
        """
        weight = self._next_weight()
        wants_gradient = isinstance(image, Tensor) and image.ndim == 4 and image.requires_grad
        if self.max_gradient_norm is None or not (wants_gradient and torch.is_grad_enabled()):
            return weight * self._loss(image, reference, self.reduction)
        return reduced(self._capped(image, reference, weight), self.reduction)

    def _loss(self, image: Tensor, reference: Any, reduction: Reduction) -> Tensor:
        # A view has another size in every call, and a graph of it would be compiled anew each time.
        loss = torch.compiler.disable(self.metric.loss) if self.random_view else self.metric.loss  # type: ignore[no-untyped-call]
        value: Tensor = loss(
            image,
            reference,
            reduction=reduction,
            input_range=self.input_range,
            random_view=self.random_view,
        )
        return value

    def _next_weight(self) -> float:
        """The factor of this call; calls without gradients do not advance it."""
        if self.warmup_steps and getattr(self, "_is_replica", False):
            raise InputError(
                f"warmup_steps is {self.warmup_steps} within nn.DataParallel, whose copies do not count steps",
                f"{type(self).__name__}(warmup_steps=0)  # or call the loss outside of nn.DataParallel",
            )
        if torch.is_grad_enabled():
            self.steps += 1
        return self.weight * min(1.0, self.steps / self.warmup_steps) if self.warmup_steps else self.weight

    def _capped(self, image: Tensor, reference: Any, weight: float) -> Tensor:
        """(N,) losses whose gradients are no longer than allowed."""
        if getattr(self.metric, "trainable", False) or getattr(reference, "requires_grad", False):
            raise InputError(
                "with max_gradient_norm only the image has a gradient, but the metric or the reference wants one, too",
                f"{type(self).__name__}(max_gradient_norm=None)",
            )
        leaf, unfit = _single(image.detach())
        losses = self._loss(leaf.requires_grad_(), reference, "none")
        (slopes,) = torch.autograd.grad(losses.sum(), leaf)
        gradient = weight * slopes + unfit.view(-1, 1, 1, 1)
        norms = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
        shorter = gradient * (self.max_gradient_norm / norms).clamp(max=1).view(-1, 1, 1, 1)
        # Its value is 0 and its gradient the shortened one.
        carrier = (shorter * (image - image.detach())).flatten(1).sum(1)
        capped: Tensor = weight * losses.detach() + unfit + carrier
        return capped

    def set_reference(self, reference: Any) -> Self:
        """Keep a reference, in `input_range`, for calls without one; see `Metric.set_reference`."""
        self.metric.set_reference(_unit(reference, self.input_range))
        return self

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"weight={self.weight}, reduction={self.reduction!r}, warmup_steps={self.warmup_steps}"


def _single(image: Tensor) -> tuple[Tensor, Tensor]:
    """Images in single precision, as half precision holds neither small gradients nor large ones; and (N,) numbers that
    are 0, or NaN where an image in half precision is not finite, which is then mended in the first."""
    single = image.float()
    unfit = 0 * single.sum((1, 2, 3))
    is_half = image.dtype in (torch.float16, torch.bfloat16)
    return (single.nan_to_num(0.0, 1.0, 0.0) if is_half else single), unfit


def _unit(images: Any, input_range: tuple[float, float]) -> Any:
    """Images, or a list of them, brought to [0, 1] where they are floats of another range."""
    low, high = input_range
    if isinstance(images, list | tuple):
        return [_unit(each, input_range) for each in images]
    if isinstance(images, Tensor) and images.is_floating_point() and (low, high) != (0, 1):
        return (images - low) / (high - low)
    return images


class DRIQALoss(MetricLoss):
    """1 minus `DRIQA` of what a restorer made of its degraded input.

    Args:
        weights: of `DRIQA`.
        settings: of `MetricLoss`.
    """

    def __init__(self, weights: str | Path = "default", **settings: Unpack[LossSettings]) -> None:
        super().__init__(DRIQA(weights), **settings)

    def forward(self, restored: Tensor, degraded: Tensor | None = None) -> Tensor:
        """The loss of (N,3,H,W) outputs and their inputs (N,3,h,w); see `MetricLoss.forward`."""
        return super().forward(restored, degraded)


class NARIQALoss(MetricLoss):
    """1 minus `NARIQA` beside good images of any content, or beside the bank of the weights.

    Args:
        weights: of `NARIQA`.
        references: of `NARIQA`; they are in [0, 1] whatever the `input_range`.
        settings: of `MetricLoss`.
    """

    def __init__(
        self,
        weights: str | Path = "default",
        references: References | Literal["default"] = "default",
        **settings: Unpack[LossSettings],
    ) -> None:
        super().__init__(NARIQA(weights, references), **settings)

    def forward(self, restored: Tensor, references: References | None = None) -> Tensor:
        """The loss of (N,3,H,W) outputs; see `MetricLoss.forward`."""
        return super().forward(restored, references)


class NRIQALoss(MetricLoss):
    """1 minus `NRIQA` of outputs alone.

    Args:
        system: of `NRIQA`; "akd" encodes a JPEG on the CPU, so its steps wait for the device.
        weights: of `NRIQA`.
        settings: of `MetricLoss`.
    """

    def __init__(
        self, system: System = "mobile", weights: str | Path = "default", **settings: Unpack[LossSettings]
    ) -> None:
        super().__init__(NRIQA(system, weights), **settings)

    def forward(self, restored: Tensor) -> Tensor:  # type: ignore[override]
        """The loss of (N,3,H,W) outputs; see `MetricLoss.forward`."""
        return super().forward(restored)
