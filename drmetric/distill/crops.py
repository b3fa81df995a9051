"""Crops of image files for training."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from drmetric.errors import ConfigError
from drmetric.images import read_image


def rgb(file: Path) -> Tensor:
    """(1,3,H,W) in [0, 1]."""
    return read_image(file, alpha="white")[None]


def unit_range(image: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; floats as they are."""
    return image if image.is_floating_point() else image / 255


def crop_at(image: Tensor, patch: int, down: float, right: float) -> Tensor:
    """Cut (N,C,H,W) to (N,C,patch,patch); `down` and `right`, 0..1, say how far from the top left corner.

    An image that is smaller than the patch goes on as its mirror image on the right and below.

    Raises:
        ConfigError: an image of less than half the patch.
    """
    image = _mirrored(image, patch)
    top, left = (round(share * (side - patch)) for share, side in zip((down, right), image.shape[-2:], strict=True))
    return image[..., top : top + patch, left : left + patch]


def _mirrored(image: Tensor, patch: int) -> Tensor:
    height, width = image.shape[-2:]
    missing = max(0, patch - width), max(0, patch - height)
    if missing[0] >= width or missing[1] >= height:
        raise ConfigError(
            f"an image of {height} x {width} is less than half the patch", f"patch = {min(height, width)}"
        )
    return F.pad(unit_range(image), (0, missing[0], 0, missing[1]), mode="reflect") if any(missing) else image
