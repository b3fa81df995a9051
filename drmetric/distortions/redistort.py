"""An image distorted again, beyond doubt worse than it was: the reference of AKD-IQA's student.

AKD-IQA, IEEE Transactions on Broadcasting 2025, doi:10.1109/TBC.2025.3549985. All distortions have their strongest
setting and a fixed order. Open are the direction of the motion blur, here along the rows, and the kernel of the first
resizing, here bicubic.
"""

import math

import kornia.filters
import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric.distortions import degrade
from drmetric.distortions.kadid import noise as synthetic_noise
from drmetric.distortions.kadid.spatial import motion_kernel, pixelate, smoothed

__all__ = [
    "BLUR_SIGMA",
    "IMPULSE_DENSITY",
    "JPEG_QUALITY",
    "MOTION_LENGTH",
    "NEAREST_SCALE",
    "NOISE_VARIANCE",
    "PIXELATE_STRENGTH",
    "SCALE",
    "blurred",
    "noised",
    "redistort",
]


BLUR_SIGMA = 2.0
MOTION_LENGTH = 24
JPEG_QUALITY = 24
NOISE_VARIANCE = 0.05
IMPULSE_DENSITY = 0.02
SCALE = 8
NEAREST_SCALE = 5
PIXELATE_STRENGTH = 0.5


def redistort(image: Tensor, seed: int = 0) -> Tensor:
    """Distort images to very low quality.

    Each image is treated by itself, and all of one size get the same noise, so the result does not depend on the
    batch. Gradients flow except through samples that noise has replaced or clipped; the JPEG codec passes them as
    they are.

    Args:
        image: (N,3,H,W) floats in [0, 1], sides of at least 8 pixels; computed in float32 on its device.
        seed: of all noise.

    Returns:
        (N,3,H,W) in [0, 1], of the input's dtype.
    """
    results = [_distorted(single.float(), torch.Generator().manual_seed(seed)) for single in torch.split(image, 1)]
    return torch.cat(results).to(image)


def _distorted(image: Tensor, generator: torch.Generator) -> Tensor:
    """The chain, of one image (1,3,H,W)."""
    size = image.shape[-2:]
    normal, uniform = (draw(image.shape, generator=generator) for draw in (torch.randn, torch.rand))
    image = noised(blurred(image), normal, uniform)
    image = F.interpolate(degrade.downscale(image, generator, scale=SCALE), size=size, mode="bicubic").clamp(0, 1)
    image = F.interpolate(_shrunk(image, SCALE, mode="bilinear", antialias=True), size=size, mode="bilinear")
    image = F.interpolate(_shrunk(image, NEAREST_SCALE, mode="nearest-exact"), size=size, mode="nearest-exact")
    return pixelate(image, generator, PIXELATE_STRENGTH).clamp(0, 1)


def blurred(image: Tensor) -> Tensor:
    """The chain up to the noise: each row depends on the 16 above and below it alone, counted in blocks of 16."""
    return _compressed(_moved(smoothed(image, BLUR_SIGMA)))


def noised(image: Tensor, normal: Tensor, uniform: Tensor) -> Tensor:
    """Both noises, of draws of the image's shape from the normal distribution and from [0, 1)."""
    noisy = degrade.with_noise(image, normal, math.sqrt(NOISE_VARIANCE))
    return synthetic_noise.with_impulses(noisy, uniform, IMPULSE_DENSITY)


def _moved(image: Tensor) -> Tensor:
    """Linear motion blur along the rows."""
    kernel = motion_kernel(MOTION_LENGTH, angle=0).to(image)
    row = kernel[len(kernel) // 2]
    blurred: Tensor = kornia.filters.filter2d(image, row[None, None], border_type="replicate")
    return blurred


def _compressed(image: Tensor) -> Tensor:
    """JPEG; its gradient is the identity."""
    decoded = degrade.jpeg(image, torch.Generator(), quality=JPEG_QUALITY)
    return image + (decoded - image).detach()


def _shrunk(image: Tensor, scale: int, *, mode: str, antialias: bool = False) -> Tensor:
    size = (image.shape[-2] // scale, image.shape[-1] // scale)
    return F.interpolate(image, size=size, mode=mode, antialias=antialias)
