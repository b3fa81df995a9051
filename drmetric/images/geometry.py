"""The one resize of the package, 8-bit rounding, and tiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch.nn import functional

from drmetric.errors import InputError
from drmetric.images.checks import as_floats
from drmetric.images.contexts import without_autocast

__all__ = ["Tile", "from_random_origin", "random_view", "resize", "rounded_to_8_bit", "tiles", "to_8_bit"]

VIEWED_AT = (0.65, 1.35)
"""The least and the largest factor by which `random_view` resizes."""


def resize(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The one resize of the package: bicubic with anti-aliasing, computed in float32 and clamped to [0, 1].

    It is `torch.nn.functional.interpolate(mode="bicubic", antialias=True, align_corners=False)`, which agrees
    with Pillow's BICUBIC on float images to about 1e-6. Differentiable except where the clamp acts.

    Args:
        image: (N, C, H, W), floats in [0, 1], or uint8, which is divided by 255.
        size: the wanted height and width in pixels.

    Returns:
        (N, C, *size) float32; floats that have that size already are returned as they are.

    Raises:
        InputError: `size` is not two positive whole numbers.
    """
    if len(size) != 2 or any(isinstance(side, float) or side < 1 for side in size):
        raise InputError(f"size is {size}; wanted a height and a width of at least one pixel", "size=(256, 256)")
    image = as_floats(image)
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    with without_autocast(image.device):
        resized = functional.interpolate(image.float(), size=size, mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 1)


def from_random_origin(images: Sequence[torch.Tensor], reach: int) -> list[torch.Tensor]:
    """The images moved right and down, all alike, by numbers of pixels below `reach` that are drawn anew.

    What comes into sight at the left and at the top is mirrored. Numbers are drawn on the CPU: no device waits.

    Args:
        images: (N,C,H,W) of one size, which is at least `reach`, and on one device.
        reach: in pixels.
    """
    height, width = images[0].shape[-2:]
    device = images[0].device
    rows, columns = (
        (torch.arange(side, device=device) - int(torch.randint(reach, (), device="cpu"))).abs()
        for side in (height, width)
    )
    return [image.index_select(-2, rows).index_select(-1, columns) for image in images]


def random_view(images: Sequence[torch.Tensor], reach: int, least: int) -> list[torch.Tensor]:
    """The images mirrored, turned, resized by a factor within `VIEWED_AT` and moved, all alike, as drawn anew.

    A pattern that pleases a network at one size, from one side and at one place need not do so in other views. What is
    drawn comes from torch's generator on the CPU, so that no device waits.

    Args:
        images: (N,C,H,W) in [0, 1], of one size, and on one device.
        reach: of `from_random_origin`.
        least: pixels that the sides keep, if they have them.
    """
    turns, mirrored = int(torch.randint(4, (), device="cpu")), bool(torch.randint(2, (), device="cpu"))
    factor = VIEWED_AT[0] + (VIEWED_AT[1] - VIEWED_AT[0]) * float(torch.rand((), device="cpu"))
    turned = [torch.rot90(image.flip(-1) if mirrored else image, turns, (-2, -1)) for image in images]
    height, width = turned[0].shape[-2:]
    factor = max(factor, min(1.0, least / min(height, width)))
    size = (round(factor * height), round(factor * width))
    return from_random_origin([resize(image, size) for image in turned], reach)


@dataclass(frozen=True)
class Tile:
    """A part of an image in pixels: the core, which no other tile covers, within the outer box to compute.

    Bottom and right are exclusive: ``image[..., tile.top:tile.bottom, tile.left:tile.right]`` is the core.
    """

    outer_top: int
    outer_left: int
    outer_bottom: int
    outer_right: int
    top: int
    left: int
    bottom: int
    right: int


def tiles(height: int, width: int, size: int, overlap: int, stride: int) -> list[Tile]:
    """Cut an image into tiles of about equal size whose cores partition it, row by row.

    All origins are multiples of `stride`, so that a convolutional network of that stride computes its
    features on the grid of the whole image; ends are too, except at the border of the image. No core of a
    divided side is narrower than `overlap`.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        size: the most pixels along a side of a core: a multiple of `stride`, at least 2 (overlap + stride).
        overlap: the least pixels that the outer box adds on each side, up to the border of the image.
        stride: the grid in pixels.

    Raises:
        InputError: an argument out of these bounds.
    """
    _check_tiling(height, width, size, overlap, stride)
    rows = _spans(height, size, overlap, stride)
    columns = _spans(width, size, overlap, stride)
    return [
        Tile(outer_top, outer_left, outer_bottom, outer_right, top, left, bottom, right)
        for outer_top, top, bottom, outer_bottom in rows
        for outer_left, left, right, outer_right in columns
    ]


def _spans(length: int, size: int, overlap: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Outer start, core start, core end and outer end of the tiles along one side."""
    count = math.ceil(length / size)
    cuts = [stride * math.ceil(k * length / (count * stride)) for k in range(count)]
    return [
        (
            max(0, (start - overlap) // stride * stride),
            start,
            end,
            min(length, math.ceil((end + overlap) / stride) * stride),
        )
        for start, end in pairwise([*cuts, length])
    ]


def _check_tiling(height: int, width: int, size: int, overlap: int, stride: int) -> None:
    if height < 1 or width < 1:
        raise InputError(f"the image is {height} x {width} pixels; wanted at least 1 x 1")
    if stride < 1 or overlap < 0:
        raise InputError(f"stride is {stride} and overlap {overlap}; wanted stride >= 1 and overlap >= 0")
    least = 2 * (overlap + stride)
    if size < least or size % stride:
        raise InputError(
            f"size is {size}; wanted a multiple of the stride {stride}, at least 2 (overlap + stride) = {least}",
            f"size={stride * math.ceil(max(size, least) / stride)}",
        )


def to_8_bit(image: torch.Tensor) -> torch.Tensor:
    """Floats in [0, 1], clamped and rounded to the nearest of 256 values, as uint8 of the same shape."""
    return image.clamp(0, 1).mul(255).round().to(torch.uint8)


def rounded_to_8_bit(image: torch.Tensor) -> torch.Tensor:
    """What an 8-bit file keeps of floats in [0, 1]: multiples of 1/255, as floats of the same type."""
    return image.clamp(0, 1).mul(255).round().div(255)
