"""Images on their way into a loss: outputs that overshoot, and checks for which no device waits.

A network under training leaves [0, 1] at every step. `pull_home` clamps such values for the metric and turns their
gradients towards the range. Mistakes are still found: values of 0..255 and the like, and NaN outside mixed precision.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drmetric.images.checks import (
    Range,
    check_form,
    check_input_range,
    extremes,
    in_range,
    range_error,
    values_are_known,
    warn_if_outside,
)

__all__ = ["OVERSHOOT", "LossInputs", "RangeWatch", "pull_home"]

OVERSHOOT = 10.0
"""How far an output may lie outside [0, 1]: untrained networks reach a few units, 8-bit codes 255."""


class _PullHome(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(image: Tensor) -> Tensor:
        # x - x is 0, and NaN for what is infinite, which a clamp alone would hide.
        return image.clamp(0, 1) + (image - image)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        image: Tensor = ctx.saved_tensors[0]
        outwards = (image > 1).to(gradient) - (image < 0).to(gradient)
        turned = torch.where(outwards == 0, gradient, outwards * gradient.abs())
        # Networks may lose a NaN on the way back (as ReLU6 does), and GradScaler looks at gradients alone.
        return turned + (image - image)


def pull_home(image: Tensor) -> Tensor:
    """Clamp to [0, 1] with a gradient that leads back into the range.

    Inside the range the gradient passes unchanged. Outside, where a clamp would have none, it keeps its size and is
    turned so that a step down the gradient moves the value towards the range. Values that are not finite become NaN,
    and so do their gradients.

    >>> image = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
    >>> pulled = pull_home(image)
    >>> pulled.tolist()
    [0.0, 0.5, 1.0]
    >>> (-pulled.sum()).backward()  # a loss that falls as values rise
    >>> image.grad.tolist()
    [-1.0, -1.0, 1.0]
    """
    pulled: Tensor = _PullHome.apply(image)  # type: ignore[no-untyped-call]
    return pulled


class RangeWatch:
    """Judges ranges of images: on the CPU at once; on a GPU the first of each name at once, and later ones when their
    extremes have arrived, some calls on, so that no step waits for the device.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._arriving: deque[tuple[torch.cuda.Event, Tensor, str, float, Range]] = deque(maxlen=64)

    def check(
        self, image: Tensor, name: str, overshoot: float, *, may_be_nonfinite: bool, input_range: Range = (0.0, 1.0)
    ) -> None:
        """Raise an `InputError` where this image, or an earlier one, leaves [0, 1] by more than `overshoot`.

        What is not finite is an error where it may not be, and where the device is not asked to wait it is none. The
        error is in the units of `input_range`, from which the image came. Of the first image of a name that may
        overshoot, `warn_if_outside`.
        """
        if not values_are_known(image):
            return
        if image.is_cuda and name in self._known:
            self._watch(image, name, overshoot, input_range)
            return
        low, high = extremes(image).tolist()
        if not _admissible(low, high, overshoot) and not (may_be_nonfinite and not math.isfinite(low + high)):
            raise range_error(image, low, high, name, input_range)
        if overshoot and name not in self._known:
            warn_if_outside(image, name, input_range)
        self._known.add(name)

    def _watch(self, image: Tensor, name: str, overshoot: float, input_range: Range) -> None:
        if torch.cuda.is_current_stream_capturing():
            return
        while self._arriving and self._arriving[0][0].query():  # type: ignore[no-untyped-call]
            _, found, its_name, allowed, its_range = self._arriving.popleft()
            low, high = found.tolist()
            if math.isfinite(low + high) and not _admissible(low, high, allowed):
                raise range_error(found, low, high, its_name, its_range)
        found = extremes(image).to("cpu", non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._arriving.append((event, found, name, overshoot, input_range))

    def __reduce__(self) -> tuple[type["RangeWatch"], tuple[()]]:
        """Copies begin anew: what is on its way belongs to this process."""
        return RangeWatch, ()


def _admissible(low: float, high: float, overshoot: float) -> bool:
    return in_range(low + overshoot, high - overshoot)


@dataclass(frozen=True)
class LossInputs:
    """Checks of the images of one call of a loss.

    Attributes:
        watch: of the metric.
        input_range: of floats; (-1, 1) for diffusion models. uint8 is of 0..255 whatever the range.
    """

    watch: RangeWatch
    input_range: Range = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_input_range(self.input_range)

    def output(self, image: Tensor, name: str, min_size: int = 1) -> Tensor:
        """(N,3,H,W) float32 in [0, 1] of what a network puts out; raises as `check_image`, but not for overshoot."""
        unit = self._unit(image, name, min_size)
        half = image.dtype in (torch.float16, torch.bfloat16)
        mixed = half or (values_are_known(image) and torch.is_autocast_enabled(image.device.type))
        self.watch.check(unit, name, OVERSHOOT, may_be_nonfinite=mixed, input_range=self.input_range)
        return pull_home(unit)

    def reference(self, image: Tensor, name: str, min_size: int = 1) -> Tensor:
        """(N,3,H,W) float32 in [0, 1] of what the network was given; raises as `check_image`."""
        unit = self._unit(image, name, min_size)
        self.watch.check(unit, name, 0.0, may_be_nonfinite=False, input_range=self.input_range)
        return unit

    def _unit(self, image: Tensor, name: str, min_size: int) -> Tensor:
        form = check_form(image, name, min_size)
        black, white = self.input_range
        return form if image.dtype == torch.uint8 or (black, white) == (0, 1) else (form - black) / (white - black)
