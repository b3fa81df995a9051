"""The degraded inputs that restorers see: seeded, and described by plain data.

A degradation is a list of steps such as ``{"op": "gaussian_noise", "sigma": 0.1}``. `degrade` applies it,
`sample_degradation` draws one. The steps and a seed are enough to make the same pixels again, so a corpus
keeps them in its manifest.

The families follow the settings restoration networks are trained for: bicubic downscaling (SRCNN and its
successors), anisotropic Gaussian blur with downscaling, noise and JPEG in chains (BSRGAN, ICCV 2021;
Real-ESRGAN, ICCVW 2021), motion blur, Gaussian and Poisson noise, JPEG.
"""

import inspect
import io
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kornia.filters
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from drmetric.errors import ConfigError, InputError

__all__ = [
    "FAMILIES",
    "OPERATIONS",
    "Step",
    "anisotropic_blur",
    "anisotropic_kernel",
    "box_downscale",
    "check_families",
    "degrade",
    "downscale",
    "from_pillow",
    "gaussian_noise",
    "haze",
    "jpeg",
    "motion_blur",
    "poisson_noise",
    "rain",
    "sample_degradation",
    "to_pillow",
    "with_noise",
]


Step = Mapping[str, Any]


def downscale(image: Tensor, generator: torch.Generator, *, scale: int) -> Tensor:
    """Bicubic, anti-aliased downscaling of (N,3,H,W) by an integer `scale` (H and W are floored)."""
    size = (image.shape[-2] // scale, image.shape[-1] // scale)
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def box_downscale(image: Tensor, generator: torch.Generator, *, scale: int) -> Tensor:
    """Downscaling by the mean of `scale` x `scale` pixels, as a sensor bins them (H and W are floored)."""
    reduced: Tensor = F.avg_pool2d(image, scale)
    return reduced


def anisotropic_blur(
    image: Tensor, generator: torch.Generator, *, sigma_x: float, sigma_y: float, angle: float
) -> Tensor:
    """Gaussian blur whose axes have standard deviations `sigma_x`, `sigma_y` (pixels), turned by `angle` degrees."""
    kernel = anisotropic_kernel(sigma_x, sigma_y, angle).to(image)
    blurred: Tensor = kornia.filters.filter2d(image, kernel[None], border_type="replicate")
    return blurred


def anisotropic_kernel(sigma_x: float, sigma_y: float, angle: float) -> Tensor:
    """Kernel of `anisotropic_blur`, (k,k), k odd and wide enough for three standard deviations; sums to 1."""
    radius = max(1, math.ceil(3 * max(sigma_x, sigma_y)))
    y, x = torch.meshgrid(*[torch.arange(-radius, radius + 1, dtype=torch.float32)] * 2, indexing="ij")
    theta = math.radians(angle)
    along = x * math.cos(theta) + y * math.sin(theta)
    across = -x * math.sin(theta) + y * math.cos(theta)
    kernel = torch.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return kernel / kernel.sum()


def motion_blur(image: Tensor, generator: torch.Generator, *, length: int, angle: float) -> Tensor:
    """Linear motion blur over `length` pixels (odd) in the direction `angle` (degrees)."""
    blurred: Tensor = kornia.filters.motion_blur(image, length, angle, direction=0.0, border_type="replicate")
    return blurred


def gaussian_noise(image: Tensor, generator: torch.Generator, *, sigma: float) -> Tensor:
    """Add white Gaussian noise of standard deviation `sigma` (of a range of 1), clipped to [0, 1]."""
    return with_noise(image, torch.randn(image.shape, generator=generator), sigma)


def with_noise(image: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Add `sigma` times noise of the image's shape, clipped to [0, 1]."""
    return (image + sigma * noise.to(image)).clamp(0, 1)


def poisson_noise(image: Tensor, generator: torch.Generator, *, peak: float) -> Tensor:
    """Photon noise: Poisson counts with a mean of `peak` at white, divided by `peak`, clipped to [0, 1]."""
    counts = torch.poisson(image.detach().cpu() * peak, generator=generator)
    return (counts / peak).clamp(0, 1).to(image)


def rain(image: Tensor, generator: torch.Generator, *, density: float, length: int, angle: float) -> Tensor:
    """Add bright streaks: a share `density` of the pixels, drawn out over `length` pixels (odd) at `angle` degrees."""
    drops = (torch.rand((len(image), 1, *image.shape[-2:]), generator=generator) < density).float()
    streaks: Tensor = kornia.filters.motion_blur(drops, length, angle, direction=0.0, border_type="replicate")
    return (image + (0.35 * length * streaks).clamp(max=0.6).to(image)).clamp(0, 1)


def haze(image: Tensor, generator: torch.Generator, *, transmission: float, airlight: float) -> Tensor:
    """Koschmieder's model J t + A (1 - t); t varies smoothly and is `transmission` at its least."""
    coarse = torch.rand((len(image), 1, 3, 3), generator=generator)
    depth = F.interpolate(coarse, size=image.shape[-2:], mode="bicubic", align_corners=True).clamp(0, 1).to(image)
    passed = 1 - (1 - transmission) * (0.5 + 0.5 * depth)
    return image * passed + airlight * (1 - passed)


def jpeg(image: Tensor, generator: torch.Generator, *, quality: int) -> Tensor:
    """Encode and decode with Pillow's JPEG codec at `quality` 1..95 (4:2:0 chroma); not differentiable."""
    decoded = []
    for single in torch.split(image.detach(), 1):
        buffer = io.BytesIO()
        to_pillow(single).save(buffer, "JPEG", quality=quality, subsampling=2)
        decoded.append(from_pillow(Image.open(buffer)))
    return torch.cat(decoded).to(image)


def to_pillow(image: Tensor) -> Image.Image:
    """(1,3,H,W) in [0, 1] as an 8-bit RGB picture."""
    pixels = (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    return Image.fromarray(pixels.cpu().numpy())


def from_pillow(picture: Image.Image) -> Tensor:
    """An 8-bit RGB picture as (1,3,H,W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        downscale,
        box_downscale,
        anisotropic_blur,
        motion_blur,
        gaussian_noise,
        poisson_noise,
        rain,
        haze,
        jpeg,
    )
}


def degrade(image: Tensor, steps: Sequence[Step], seed: int) -> Tensor:
    """Apply `steps` in order.

    Args:
        image: (N,3,H,W) floats in [0, 1].
        steps: mappings with the key ``"op"`` (a name in `OPERATIONS`) and that operation's parameters.
        seed: of all noise; the same image, steps and seed give the same pixels on one machine.

    Returns:
        (N,3,h,w) in [0, 1]; smaller than the input where a step downscales.

    Raises:
        InputError: an unknown operation, or parameters that it does not take.
    """
    generator = torch.Generator().manual_seed(seed)
    for step in steps:
        parameters = {key: value for key, value in step.items() if key != "op"}
        if step.get("op") not in OPERATIONS:
            raise InputError(
                f"unknown degradation {step.get('op')!r}; known: {', '.join(OPERATIONS)}",
                'degrade(image, [{"op": "jpeg", "quality": 30}], seed=0)',
            )
        operation = OPERATIONS[step["op"]]
        try:
            inspect.signature(operation).bind(image, generator, **parameters)
        except TypeError as error:
            raise InputError(f"degradation {step['op']!r} with {parameters}: {error}", "see its signature") from error
        image = operation(image, generator, **parameters)
    return image.clamp(0, 1)


def _downscaled(rng: random.Random) -> list[Step]:
    return [{"op": "downscale", "scale": rng.choice([2, 3, 4])}]


def _downscaled_blindly(rng: random.Random) -> list[Step]:
    """A reducing step that no network was told: another filter, or blur before it and noise or JPEG after it."""
    scale = rng.choice([2, 3, 4])
    if rng.random() < 0.4:
        return [{"op": "box_downscale", "scale": scale}]
    after: list[Step] = rng.choice([[], _noisy(rng, strongest=0.06), [{"op": "jpeg", "quality": rng.randint(40, 95)}]])
    return [*_blurred(rng, strongest=0.7 * scale), {"op": "downscale", "scale": scale}, *after]


def _blurred(rng: random.Random, strongest: float = 3.0) -> list[Step]:
    sigmas = [rng.uniform(0.6, strongest), rng.uniform(0.6, strongest)]
    blur = {"op": "anisotropic_blur", "sigma_x": round(sigmas[0], 3), "sigma_y": round(sigmas[1], 3)}
    return [{**blur, "angle": round(rng.uniform(0, 180), 1)}]


def _moved(rng: random.Random) -> list[Step]:
    length = rng.choice([5, 7, 9, 11, 15, 19])
    return [{"op": "motion_blur", "length": length, "angle": round(rng.uniform(0, 180), 1)}]


def _noisy(rng: random.Random, strongest: float = 0.2) -> list[Step]:
    if rng.random() < 0.3:
        return [{"op": "poisson_noise", "peak": round(math.exp(rng.uniform(math.log(20), math.log(400))), 1)}]
    return [{"op": "gaussian_noise", "sigma": round(rng.uniform(0.02, strongest), 4)}]


def _compressed(rng: random.Random) -> list[Step]:
    return [{"op": "jpeg", "quality": rng.randint(8, 60)}]


def _rained(rng: random.Random) -> list[Step]:
    streaks = {"density": round(rng.uniform(0.002, 0.02), 4), "length": rng.choice([9, 13, 19, 25])}
    return [{"op": "rain", **streaks, "angle": round(rng.uniform(55, 125), 1)}]


def _hazed(rng: random.Random) -> list[Step]:
    air = {"transmission": round(rng.uniform(0.2, 0.7), 3), "airlight": round(rng.uniform(0.75, 1.0), 3)}
    return [{"op": "haze", **air}]


def _chained(rng: random.Random) -> list[Step]:
    """Blur, downscaling, noise and JPEG in this order, each kept with some probability, at least two of them."""
    stages = [
        _blurred(rng, strongest=2.0),
        _downscaled(rng),
        _noisy(rng, strongest=0.1),
        _compressed(rng),
    ]
    kept = sorted(rng.sample(range(4), k=rng.choice([2, 2, 3, 4])))
    return [step for index in kept for step in stages[index]]


FAMILIES: dict[str, Callable[[random.Random], list[Step]]] = {
    "super_resolution": _downscaled,
    "blind_super_resolution": _downscaled_blindly,
    "blur": _blurred,
    "motion_blur": _moved,
    "noise": _noisy,
    "jpeg": _compressed,
    "rain": _rained,
    "haze": _hazed,
    "chain": _chained,
}


def check_families(weights: Mapping[str, float], where: str) -> None:
    """Raise `ConfigError` where a table of a configuration does not give families of `FAMILIES` their weights."""
    negative = [family for family, weight in weights.items() if weight < 0]
    if negative or not sum(weights.values()) > 0:
        raise ConfigError(
            f"{where}: families are {weights}; wanted weights, one above 0", f"{next(iter(negative), 'jpeg')} = 1.0"
        )
    for family in weights:
        if family not in FAMILIES:
            raise ConfigError(f"{where}: unknown family {family!r}", f"jpeg = 1.0  # one of: {', '.join(FAMILIES)}")


def sample_degradation(family: str, rng: random.Random) -> list[Step]:
    """Draw the steps of one degradation of a `family` in `FAMILIES` with the random state `rng`."""
    if family not in FAMILIES:
        raise InputError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}", "sample_degradation('jpeg', rng)")
    return FAMILIES[family](rng)
