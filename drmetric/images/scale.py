"""How many times as large an output is as the input it was made from, from their sizes alone.

An input of h x w pixels is explained by an output of H x W if one scale s of 1 or more makes both sides: H/s and W/s
lie less than one pixel from h and w, so that it does not matter whether a side was rounded up, down or to the nearest.
"""

import math
import warnings
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from drmetric.errors import InputError, ScaleWarning

Size = tuple[int, int]
"""Height and width in pixels."""


class Scales(NamedTuple):
    """The scales that explain a pair: above `low` and below `high`; where both are 1, that one alone."""

    low: float
    high: float

    def holds(self, scale: float) -> bool:
        """Whether the scale explains the pair."""
        return self.low < scale < self.high or self.low == scale == self.high

    @property
    def plain(self) -> float | None:
        """Of these scales a whole number, tenth, quarter or third, in this order; None where there is none of them."""
        if self.low == self.high:
            return self.low
        for step in (1, 10, 4, 3):
            found = math.floor(self.low * step + 1) / step
            if self.holds(found):
                return found
        return None

    @property
    def plainest(self) -> float:
        """The `plain` one, or else the middle."""
        return (self.low + self.high) / 2 if self.plain is None else self.plain


def scales_of(output: Size, degraded: Size) -> Scales | None:
    """The scales that make an output of this size from an input of that one; None where there are none."""
    if output == degraded:
        return Scales(1.0, 1.0)
    if output[0] < degraded[0] or output[1] < degraded[1]:
        return None
    low = max(1.0, *(side / (small + 1) for side, small in zip(output, degraded, strict=True)))
    high = min(side / (small - 1) if small > 1 else math.inf for side, small in zip(output, degraded, strict=True))
    return Scales(low, high) if low < high else None


def common_scale(pairs: Iterable[Scales]) -> float | None:
    """The scale that explains the most pairs, of those that explain as many the largest; None without pairs."""
    given = list(pairs)
    lows, highs = sorted(each.low for each in given), sorted(each.high for each in given)
    votes = {low: bisect_right(lows, low) - bisect_right(highs, low) for low in lows}  # just above each low
    unscaled = sum(each.low == each.high for each in given)
    if not given or unscaled > max(votes.values()):
        return 1.0 if given else None
    start = max(votes, key=lambda low: (votes[low], low))
    agreeing = [each for each in given if each.low <= start < each.high]
    return Scales(max(each.low for each in agreeing), min(each.high for each in agreeing)).plainest


def size_of(image: Tensor) -> Size:
    """Height and width of (N, C, H, W)."""
    return image.shape[-2], image.shape[-1]


def pixels(size: Size) -> str:
    """A size in words."""
    return f"{size[0]} x {size[1]} pixels"


def problem_of(output: Size, degraded: Size, output_name: str = "restored", degraded_name: str = "degraded") -> str:
    """What is wrong with a pair of sizes that no scale explains, and empty where one does."""
    if scales_of(output, degraded) is not None:
        return ""
    names = f"{degraded_name} is {pixels(degraded)} and {output_name} {pixels(output)}"
    if output == degraded[::-1]:
        return f"{names}: one of them lies on its side"
    if output[0] <= degraded[0] and output[1] <= degraded[1]:
        return f"{names}; wanted a {degraded_name} image that is no larger than the {output_name} one"
    turned = ", but one of them turned by 90 degrees would fit" if scales_of(output, degraded[::-1]) else ""
    factors = " and ".join(f"{side / small:.4g}" for side, small in zip(output, degraded, strict=True))
    return f"{names}: no common scale makes one from the other, the sides differ by factors of {factors}{turned}"


def doubt_of(output: Size, degraded: Size, output_name: str = "restored", degraded_name: str = "degraded") -> str:
    """What may be wrong with a pair of sizes that only a crooked scale explains, and empty where a plain one does."""
    scales = scales_of(output, degraded)
    if scales is None or scales.plain is not None:
        return ""
    return (
        f"{degraded_name} is {pixels(degraded)} and {output_name} {pixels(output)}, a scale of {scales.plainest:.4g}; "
        "if the output was cropped, crop the input alike"
    )


def check_scale(
    output: Tensor, degraded: Tensor, output_name: str = "restored", degraded_name: str = "degraded"
) -> None:
    """Raise an `InputError` unless the output is as large as its input, or a common scale larger.

    A scale that is no whole number, tenth, quarter or third, as of a cropped output, is a `ScaleWarning`.
    Sizes are not checked while a graph is traced, where they may be symbols.
    """
    if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return
    sizes = size_of(output), size_of(degraded)
    if not (problem := problem_of(*sizes, output_name, degraded_name)):
        if doubt := doubt_of(*sizes, output_name, degraded_name):
            warnings.warn(doubt, ScaleWarning, stacklevel=2)
        return
    if scales_of(*sizes[::-1]):
        raise InputError(
            problem, f"pass the larger image first, as {output_name}, and the smaller one second, as {degraded_name}"
        )
    raise InputError(problem, f"pass the {degraded_name} image that this output was made from, uncropped and upright")
