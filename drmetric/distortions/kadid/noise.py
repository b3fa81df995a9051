"""KADID-10k's noises and codecs.

Every function takes one image (1,3,H,W) in [0, 1], a random state and the parameter that the levels set, and
returns a new image of the same shape. Noise is drawn on the CPU, so that it does not depend on the device.
See `drmetric.distortions.kadid.types` for the levels and the paper.
"""

import io
import math
from collections.abc import Callable

import kornia.color
import torch
from PIL import Image
from torch import Tensor

from drmetric.distortions import degrade
from drmetric.distortions.degrade import from_pillow, to_pillow
from drmetric.errors import InputError

__all__ = [
    "Denoiser",
    "denoise",
    "impulse_noise",
    "jpeg",
    "jpeg2000",
    "multiplicative_noise",
    "white_noise",
    "white_noise_ycbcr",
    "with_impulses",
]


Denoiser = Callable[[Tensor], Tensor]


def jpeg2000(image: Tensor, generator: torch.Generator, ratio: float) -> Tensor:
    """Type 9: Pillow's JPEG 2000 codec at a compression `ratio`, lossy (9/7) wavelet, at most six resolutions.

    MATLAB's encoder is another one. Headers count: small images can miss the highest ratios.
    """
    buffer = io.BytesIO()
    resolutions = min(6, 1 + int(math.log2(min(image.shape[-2:]))))
    to_pillow(image).save(
        buffer,
        "JPEG2000",
        quality_mode="rates",
        quality_layers=[ratio],
        irreversible=True,
        num_resolutions=resolutions,
    )
    return from_pillow(Image.open(buffer)).to(image)


def jpeg(image: Tensor, generator: torch.Generator, quality: float) -> Tensor:
    """Type 10: Pillow's JPEG codec at `quality` 1..95 (4:2:0 chroma)."""
    return degrade.jpeg(image, generator, quality=int(quality))


def white_noise(image: Tensor, generator: torch.Generator, variance: float) -> Tensor:
    """Type 11: add Gaussian noise of `variance` (of a range of 1) to each pixel and channel; clip."""
    return degrade.gaussian_noise(image, generator, sigma=math.sqrt(variance))


def white_noise_ycbcr(image: Tensor, generator: torch.Generator, variance: float) -> Tensor:
    """Type 12: add Gaussian noise of `variance` to Y, Cb, Cr of BT.601 in MATLAB's studio range (16 to 235 or 240)."""
    span = image.new_tensor([219, 224, 224])[:, None, None] / 255
    floor = 16 / 255
    studio = floor + span * kornia.color.rgb_to_ycbcr(image)
    noisy = degrade.gaussian_noise(studio, generator, sigma=math.sqrt(variance))
    rgb: Tensor = kornia.color.ycbcr_to_rgb((noisy - floor) / span)
    return rgb.clamp(0, 1)


def impulse_noise(image: Tensor, generator: torch.Generator, density: float) -> Tensor:
    """Type 13: set each sample to 0 or to 1 with a probability of `density` / 2 each."""
    return with_impulses(image, torch.rand(image.shape, generator=generator), density)


def with_impulses(image: Tensor, draws: Tensor, density: float) -> Tensor:
    """`impulse_noise` of draws in [0, 1) of the image's shape."""
    draws = draws.to(image)
    return image.masked_fill(draws < density / 2, 0).masked_fill(draws > 1 - density / 2, 1)


def multiplicative_noise(image: Tensor, generator: torch.Generator, variance: float) -> Tensor:
    """Type 14: multiply each sample by 1 + n, n uniform of mean 0 and `variance` (MATLAB's speckle); clip."""
    draws = torch.rand(image.shape, generator=generator).to(image)
    return (image + image * math.sqrt(12 * variance) * (draws - 0.5)).clamp(0, 1)


def denoise(image: Tensor, generator: torch.Generator, variance: float, denoiser: Denoiser | None = None) -> Tensor:
    """Type 15: white noise of `variance`, then `denoiser` on R, G and B, each as a gray image; clip.

    Whether KADID clips after its denoiser is not known.

    Args:
        image, generator, variance: as of `white_noise`.
        denoiser: from (3,1,H,W), the channels with noise in [0, 1], to the same without it.

    Raises:
        InputError: no denoiser, or one that changes the shape.
    """
    if denoiser is None:
        raise InputError(
            "distortion 15, denoise, wants a denoiser: a callable from gray images (3,1,H,W) in [0, 1] to the same "
            "shape; KADID's own is MATLAB's DnCNN, whose weights are not part of this package",
            "distort(image, 15, level, seed, denoiser=dncnn)",
        )
    noisy = white_noise(image, generator, variance).transpose(0, 1)
    clean = denoiser(noisy)
    if clean.shape != noisy.shape:
        raise InputError(
            f"the denoiser got {tuple(noisy.shape)} and returned {tuple(clean.shape)}; want the same shape",
            "denoiser = lambda gray: dncnn(gray).reshape(gray.shape)",
        )
    return clean.transpose(0, 1).clamp(0, 1)
