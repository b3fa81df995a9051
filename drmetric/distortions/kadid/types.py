"""The 25 distortions of KADID-10k at their five levels, for any image.

Hanhe Lin, Vlad Hosu, Dietmar Saupe: "KADID-10k: A Large-scale Artificially Distorted IQA Database", QoMEX 2019.
Written anew from the published definitions. KADID's seeds are not known and its codecs and colour conversions are
MATLAB's, so the results have the statistics of KADID's images, not their pixels.

Level 5 is the strongest except for two types: `mean_shift` goes from +0.15 over none (level 3) to -0.15, and
`contrast_change` from more contrast to less, weakest about level 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drmetric.distortions.kadid import colour, noise, spatial
from drmetric.distortions.kadid.colour import stretched
from drmetric.distortions.kadid.noise import Denoiser
from drmetric.errors import InputError

__all__ = ["KADID10K", "Denoiser", "DistortionType", "distort", "stretched"]


@dataclass(frozen=True)
class DistortionType:
    """One type of distortion.

    Attributes:
        function: from an image (1,3,H,W) in [0, 1], a `torch.Generator` and a value of `levels` to the distorted
            image; its docstring says what the value means, and in which unit.
        levels: the values at the levels 1 to 5.
    """

    function: Callable[..., Tensor]
    levels: tuple[float, float, float, float, float]

    @property
    def name(self) -> str:
        """The name that `distort` knows, such as ``"lens_blur"``."""
        return self.function.__name__


KADID10K: dict[int, DistortionType] = {
    1: DistortionType(spatial.gaussian_blur, (0.1, 0.5, 1, 2, 5)),
    2: DistortionType(spatial.lens_blur, (1, 2, 4, 6, 8)),
    3: DistortionType(spatial.motion_blur, (1, 2, 4, 6, 10)),
    4: DistortionType(colour.color_diffusion, (1, 3, 6, 8, 12)),
    5: DistortionType(colour.color_shift, (1, 3, 6, 8, 12)),
    6: DistortionType(colour.color_quantization, (64, 48, 32, 16, 8)),
    7: DistortionType(colour.color_saturation_hsv, (0.4, 0.2, 0.1, 0, -0.4)),
    8: DistortionType(colour.color_saturation_lab, (1, 2, 3, 6, 9)),
    9: DistortionType(noise.jpeg2000, (16, 32, 45, 120, 400)),
    10: DistortionType(noise.jpeg, (43, 36, 24, 7, 4)),
    11: DistortionType(noise.white_noise, (0.001, 0.002, 0.003, 0.005, 0.01)),
    12: DistortionType(noise.white_noise_ycbcr, (0.0001, 0.0005, 0.001, 0.002, 0.003)),
    13: DistortionType(noise.impulse_noise, (0.001, 0.005, 0.01, 0.02, 0.03)),
    14: DistortionType(noise.multiplicative_noise, (0.001, 0.005, 0.01, 0.02, 0.05)),
    15: DistortionType(noise.denoise, (0.01, 0.03, 0.05, 0.1, 0.15)),
    16: DistortionType(colour.brighten, (0.1, 0.2, 0.4, 0.7, 1.1)),
    17: DistortionType(colour.darken, (0.05, 0.1, 0.2, 0.4, 0.8)),
    18: DistortionType(colour.mean_shift, (0.15, 0.08, 0, -0.08, -0.15)),
    19: DistortionType(spatial.jitter, (0.05, 0.1, 0.2, 0.5, 1)),
    20: DistortionType(spatial.non_eccentricity_patch, (20, 40, 60, 80, 100)),
    21: DistortionType(spatial.pixelate, (0.01, 0.05, 0.1, 0.2, 0.5)),
    22: DistortionType(colour.quantization, (20, 16, 13, 10, 7)),
    23: DistortionType(spatial.color_block, (2, 4, 6, 8, 10)),
    24: DistortionType(colour.high_sharpen, (1, 2, 3, 6, 12)),
    25: DistortionType(colour.contrast_change, (0.3, 0.15, 0, -0.4, -0.6)),
}
"""Type number to distortion, as KADID-10k numbers its types and levels."""


@torch.no_grad()
def distort(
    image: Tensor,
    type: int | str,
    level: int,
    seed: int | Sequence[int],
    *,
    stretch: bool = True,
    denoiser: Denoiser | None = None,
) -> Tensor:
    """Distort images as KADID-10k does.

    Each image is treated by itself, so its result does not depend on the batch it comes in. Chain two types with
    two different seeds: with one, they draw the same random numbers.

    Args:
        image: (N,3,H,W) floats in [0, 1], sRGB; computed in float32 on its device.
        type: a number in `KADID10K`, or the name of a type.
        level: 1 to 5.
        seed: of all randomness. One number is used for every image, and then all get the same noise; give N numbers
            for noise of their own. The same image, arguments and seed give the same pixels on one machine.
        stretch: stretch the image linearly to the full range [0, 1], over all its pixels and channels, before and
            after the distortion, as KADID does. A brightness shift then shows only where it was clipped, and the
            undistorted partner of the result is ``stretched(image)``, of one image. Without it the result is
            clipped.
        denoiser: for type 15 only, and needed there: see `drmetric.distortions.kadid.noise.denoise`.

    Returns:
        (N,3,H,W) in [0, 1], of the input's dtype; no gradients.

    Raises:
        InputError: an unknown type or level, a wrong shape or range, a number of seeds other than 1 or N, type 15
            without a denoiser, or sides below 48 pixels (type 20) or 32 pixels (type 23).
    """
    _check(image)
    number = _number(type)
    if not isinstance(level, int) or level not in range(1, 6):
        raise InputError(f"unknown level {level!r} of {KADID10K[number].name}; known: 1, 2, 3, 4, 5", "level=3")
    seeds = list(seed) if isinstance(seed, Sequence) else [seed] * len(image)
    if len(seeds) != len(image):
        raise InputError(f"{len(seeds)} seeds for {len(image)} images; want one, or one an image", "seed=0")
    function, value = KADID10K[number].function, KADID10K[number].levels[level - 1]
    options = {"denoiser": denoiser} if function is noise.denoise else {}
    results = []
    for single, single_seed in zip(image.float().contiguous(), seeds, strict=True):
        source = stretched(single[None]) if stretch else single[None]
        distorted = function(source, torch.Generator().manual_seed(int(single_seed)), value, **options)
        results.append((stretched(distorted) if stretch else distorted).clamp(0, 1))
    return torch.cat(results).to(image)


def _number(type: int | str) -> int:
    for number, entry in KADID10K.items():
        if type in (number, entry.name):
            return number
    known = ", ".join(f"{number} {entry.name}" for number, entry in KADID10K.items())
    raise InputError(f"unknown distortion {type!r}; known: {known}", 'distort(image, "lens_blur", level=3, seed=0)')


def _check(image: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point() or image.numel() == 0:
        raise InputError(
            f"want floats (N,3,H,W) in [0, 1]; got {image.dtype} of shape {tuple(image.shape)}",
            "distort(image[None].float() / 255, ...)  # from (3,H,W) uint8",
        )
    if not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"want values in [0, 1]; got {image.min():.4g} to {image.max():.4g}", "distort(image / 255, ...)"
        )
