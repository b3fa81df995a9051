"""KADID-10k's distortions of place: blur, and pixels that are moved, copied or covered.

Every function takes one image (1,3,H,W) in [0, 1], a random state and the parameter that the levels set, and
returns a new image of the same shape. See `drmetric.distortions.kadid.types` for the levels and the paper.
"""

import math

import kornia.filters
import kornia.geometry.transform
import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric.errors import InputError

__all__ = [
    "BLOCK",
    "JITTER_PASSES",
    "PATCH",
    "color_block",
    "disk_kernel",
    "gaussian_blur",
    "jitter",
    "lens_blur",
    "motion_blur",
    "motion_kernel",
    "non_eccentricity_patch",
    "pixelate",
    "smoothed",
]


JITTER_PASSES = 5
PATCH = 16
"""Side of a copied patch, its least distance from the border and the span of its displacement, pixels."""
BLOCK = 32
"""Side of a coloured square, pixels."""


def smoothed(image: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of (N,C,H,W) whose kernel has 2 ceil(2 sigma) + 1 taps, MATLAB's default; edges repeated."""
    taps = 2 * math.ceil(2 * sigma) + 1
    blurred: Tensor = kornia.filters.gaussian_blur2d(image, (taps, taps), (sigma, sigma), border_type="replicate")
    return blurred


def gaussian_blur(image: Tensor, generator: torch.Generator, sigma: float) -> Tensor:
    """Type 1: Gaussian blur of standard deviation `sigma` pixels."""
    return smoothed(image, sigma)


def lens_blur(image: Tensor, generator: torch.Generator, radius: float) -> Tensor:
    """Type 2: mean over a disk of `radius` pixels."""
    blurred: Tensor = kornia.filters.filter2d(image, disk_kernel(radius)[None].to(image), border_type="replicate")
    return blurred


def disk_kernel(radius: float, strips: int = 1024) -> Tensor:
    """Kernel of `lens_blur`, (k,k): how much of each pixel the disk covers, integrated over `strips` a pixel."""
    reach = math.ceil(radius - 0.5)
    centres = torch.arange(-reach, reach + 1, dtype=torch.float64)
    strip_centres = centres[:, None] + (torch.arange(strips) + 0.5) / strips - 0.5
    half_chord = (radius**2 - strip_centres**2).clamp(min=0).sqrt()
    top = torch.minimum(centres[:, None, None] + 0.5, half_chord)
    bottom = torch.maximum(centres[:, None, None] - 0.5, -half_chord)
    covered = (top - bottom).clamp(min=0).mean(-1)
    return covered / covered.sum()


def motion_blur(image: Tensor, generator: torch.Generator, length: float) -> Tensor:
    """Type 3: linear motion over `length` pixels in a random whole number of degrees, 0 to 180."""
    angle = int(torch.randint(0, 181, (), generator=generator))
    kernel = motion_kernel(length, angle).to(image)
    blurred: Tensor = kornia.filters.filter2d(image, kernel[None], border_type="replicate")
    return blurred


def motion_kernel(length: float, angle: float) -> Tensor:
    """Kernel of `motion_blur`, (k,k): a line of `length` pixels, `angle` degrees counter-clockwise; sums to 1.

    Weights fall from 1 to 0 over one pixel of distance from the segment that joins the centres of its two ends.
    """
    half = (length - 1) / 2
    reach = math.ceil(half)
    y, x = torch.meshgrid(*[torch.arange(-reach, reach + 1, dtype=torch.float64)] * 2, indexing="ij")
    theta = math.radians(angle)
    along = x * math.cos(theta) - y * math.sin(theta)
    across = x * math.sin(theta) + y * math.cos(theta)
    beyond_the_end = (along.abs() - half).clamp(min=0)
    kernel = (1 - torch.hypot(beyond_the_end, across)).clamp(min=0)
    return kernel / kernel.sum()


def jitter(image: Tensor, generator: torch.Generator, sigma: float) -> Tensor:
    """Type 19: five times, fetch every pixel from a place off by N(0, `sigma`^2) pixels in x and in y (bilinear)."""
    height, width = image.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for _ in range(JITTER_PASSES):
        across, down = sigma * torch.randn(2, height, width, generator=generator)
        x, y = (columns + across)[None].to(image), (rows + down)[None].to(image)
        image = kornia.geometry.transform.remap(image, x, y, padding_mode="border", align_corners=True)
    return image


def non_eccentricity_patch(image: Tensor, generator: torch.Generator, count: float) -> Tensor:
    """Type 20: `count` times, copy a patch of 16x16 pixels by up to 8 pixels in x and in y.

    Patches come from at least 16 pixels inside the border, and may copy what earlier ones have copied.

    Raises:
        InputError: an image of less than 48 pixels in height or width.
    """
    height, width = _sides(image, at_least=3 * PATCH)
    image = image.clone()
    for _ in range(int(count)):
        u = torch.rand(4, generator=generator).tolist()
        row, column = (PATCH + int(u[i] * (side - 3 * PATCH + 1)) for i, side in enumerate((height, width)))
        to_row, to_column = row + round((u[2] - 0.5) * PATCH), column + round((u[3] - 0.5) * PATCH)
        patch = image[..., row : row + PATCH, column : column + PATCH].clone()
        image[..., to_row : to_row + PATCH, to_column : to_column + PATCH] = patch
    return image


def pixelate(image: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Type 21: nearest-neighbour resizing by 0.95 - `strength`^0.6 and back. MATLAB's grid may differ by a pixel."""
    scale = 0.95 - strength**0.6
    height, width = image.shape[-2:]
    small = F.interpolate(image, size=(math.ceil(scale * height), math.ceil(scale * width)), mode="nearest-exact")
    return F.interpolate(small, size=(height, width), mode="nearest-exact")


def color_block(image: Tensor, generator: torch.Generator, count: float) -> Tensor:
    """Type 23: cover the image with `count` squares of 32x32 pixels, each of one random colour, all inside it.

    Whether KADID lets squares cross the border is not known.

    Raises:
        InputError: an image of less than 32 pixels in height or width.
    """
    height, width = _sides(image, at_least=BLOCK)
    image = image.clone()
    for _ in range(int(count)):
        draws = torch.rand(5, generator=generator)
        row, column = int(draws[0] * (height - BLOCK + 1)), int(draws[1] * (width - BLOCK + 1))
        image[..., row : row + BLOCK, column : column + BLOCK] = draws[2:, None, None].to(image)
    return image


def _sides(image: Tensor, at_least: int) -> tuple[int, int]:
    height, width = image.shape[-2:]
    if min(height, width) < at_least:
        raise InputError(
            f"this distortion wants sides of at least {at_least} pixels; got {height}x{width}",
            f"image = torch.nn.functional.interpolate(image, size=({at_least}, {at_least}))",
        )
    return height, width
