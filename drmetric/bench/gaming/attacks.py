"""Attacks on a score: changes of an image that do not help it, each brought to a stated PSNR.

An attack is a difference, (1,3,H,W), of which `at_psnr` adds as much to the image as the PSNR allows. By hand:
`MANIPULATIONS`. By the metric's gradient: one signed step (FGSM: Goodfellow, Shlens, Szegedy, ICLR 2015), projected
gradient ascent within an L2 ball (Madry et al., ICLR 2018), and one perturbation for all images (after
Moosavi-Dezfooli et al., CVPR 2017), a tile that is repeated over images of any size.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from drmetric.distortions.degrade import degrade
from drmetric.distortions.kadid.spatial import smoothed
from drmetric.errors import NotApplicableError
from drmetric.images import as_doubles, luma, resize

Score = Callable[[Tensor], Tensor]
"""From an image (1,3,H,W) to its score, turned so that higher is better."""
Difference = Callable[[Tensor, float, int], Tensor]
"""From an image, a PSNR and a seed to the difference, of which at most `Manipulation.limit` times is added."""

TILE = 64
"""Side of the universal perturbation, pixels."""
FACTORS = (1.25, 1.5, 2.0, 3.0, 4.0)
FIRST_STEP = 5.0
"""In radii of the ball over the number of steps; steps get shorter linearly, together about half as many radii."""
LEAST_POWER = 1e-8
"""Mean square below which a difference is rounding, and not made larger."""
MOST_CLIPPED = 1e4
"""Times the amount that would do without clipping, above which an attack counts as unable to continue."""


@dataclass(frozen=True)
class Manipulation:
    """A change by hand, and how much of its difference may be added: 1 where it is all of it."""

    name: str
    difference: Difference
    limit: float = math.inf


def _mean_square(difference: Tensor) -> float:
    return float(as_doubles(difference).square().mean())


def psnr(image: Tensor, other: Tensor) -> float:
    """PSNR of two images in [0, 1] in dB; infinite where they are equal."""
    error = _mean_square(image - other)
    return -10 * math.log10(error) if error > 0 else math.inf


def at_psnr(image: Tensor, difference: Tensor, wanted: float, limit: float = math.inf) -> Tensor:
    """The image with as much of the difference as brings it, clipped to [0, 1], to a PSNR.

    Args:
        image: (1,3,H,W) in [0, 1].
        difference: of the same shape.
        wanted: PSNR to the image in dB, met to .001 dB; nothing is rounded to 8 bits.
        limit: the most that is added of the difference.

    Raises:
        NotApplicableError: the image cannot be changed this much in this direction.
        ArithmeticError: a difference that is not finite.
    """
    if not difference.isfinite().all():
        raise ArithmeticError("the attack's difference is not finite")
    target, power = 10 ** (-wanted / 10), _mean_square(difference)
    if power < LEAST_POWER:
        raise NotApplicableError("the attack changes nothing in this image")

    def moved(amount: float) -> Tensor:
        return (image + amount * difference).clamp(0, 1)

    unclipped = math.sqrt(target / power)
    low, high = 0.0, min(unclipped, limit)
    while (error := _mean_square(moved(high) - image)) < target * (1 - 1e-5):
        if high >= limit or high > MOST_CLIPPED * unclipped:
            reached = f"{-10 * math.log10(error):.1f} dB" if error > 0 else "no change"
            raise NotApplicableError(f"{wanted:g} dB cannot be reached: at full strength it is {reached}")
        low, high = high, min(2 * high, limit)
    for _ in range(60):
        middle = (low + high) / 2
        error = _mean_square(moved(middle) - image)
        if abs(error - target) < 1e-5 * target:
            return moved(middle)
        low, high = (middle, high) if error < target else (low, middle)
    return moved(high)


def _sharpening(sigma: float) -> Difference:
    return lambda image, wanted, seed: image - smoothed(image, sigma)


def _from_mean(sign: int) -> Difference:
    return lambda image, wanted, seed: sign * (image - image.mean())


def _from_grey(sign: int) -> Difference:
    def difference(image: Tensor, wanted: float, seed: int) -> Tensor:
        return sign * (image - luma(image))

    return difference


def _noise(image: Tensor, wanted: float, seed: int) -> Tensor:
    return torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).to(image)


def _ringing(cut_off: float) -> Difference:
    """What an ideal low-pass adds to a Gaussian one that halves at the same `cut_off`, in cycles per pixel."""

    def difference(image: Tensor, wanted: float, seed: int) -> Tensor:
        height, width = image.shape[-2:]
        pad = min(32, height - 1, width - 1)
        spectrum = torch.fft.rfft2(functional.pad(image, (pad, pad, pad, pad), mode="reflect"))
        vertical = torch.fft.fftfreq(height + 2 * pad, device=image.device)[:, None]
        frequency = (vertical**2 + torch.fft.rfftfreq(width + 2 * pad, device=image.device) ** 2).sqrt() / cut_off
        response = (frequency <= 1).float() - torch.exp(-math.log(2) * frequency**2)
        filtered: Tensor = torch.fft.irfft2(spectrum * response, s=(height + 2 * pad, width + 2 * pad))
        return filtered[..., pad : pad + height, pad : pad + width]

    return difference


def _gentlest(image: Tensor, wanted: float, count: int, version: Callable[[int], Tensor]) -> Tensor:
    """The difference to the first of `count` versions, ordered from gentle to strong, that is at the PSNR or below.

    It is found by bisection; where none is, the last.
    """
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if psnr(image, version(middle)) <= wanted else (middle + 1, high)
    return version(low) - image


def _jpeg(image: Tensor, wanted: float, seed: int) -> Tensor:
    return _gentlest(image, wanted, 95, lambda number: degrade(image, [{"op": "jpeg", "quality": 95 - number}], 0))


def _upscaling(image: Tensor, wanted: float, seed: int) -> Tensor:
    height, width = image.shape[-2:]

    def version(number: int) -> Tensor:
        small = (max(1, round(height / FACTORS[number])), max(1, round(width / FACTORS[number])))
        return resize(resize(image, small), (height, width))

    return _gentlest(image, wanted, len(FACTORS), version)


MANIPULATIONS = (
    Manipulation("sharpening, sigma 1", _sharpening(1.0)),
    Manipulation("sharpening, sigma 3", _sharpening(3.0)),
    Manipulation("more contrast", _from_mean(1)),
    Manipulation("less contrast", _from_mean(-1), limit=1.0),
    Manipulation("more saturation", _from_grey(1)),
    Manipulation("less saturation", _from_grey(-1), limit=1.0),
    Manipulation("noise", _noise),
    Manipulation("ringing at 1/4 cycle", _ringing(1 / 4)),
    Manipulation("ringing at 1/8 cycle", _ringing(1 / 8)),
    Manipulation("JPEG", _jpeg, limit=1.0),
    Manipulation("upscaling", _upscaling, limit=1.0),
)
"""By hand. JPEG and upscaling: the gentlest quality or factor that is at the PSNR or below, blended with the image."""


def _gradient(score: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(score(at).sum(), at)
    if not gradient.isfinite().all():
        raise ArithmeticError("the gradient is not finite")
    return gradient


def _ascended(at: Tensor, gradient: Tensor, radius: float, progress: float, steps: int) -> Tensor:
    """A step along the gradient, shorter by the share of `progress`, brought back into the L2 ball around 0."""
    length = FIRST_STEP * (1 - progress) * radius / steps
    moved: Tensor = at + length * gradient / gradient.norm().clamp_min(torch.finfo(at.dtype).tiny)
    distance = float(moved.norm())
    return moved * (radius / distance) if distance > radius else moved


def signed_step(score: Score, image: Tensor, wanted: float) -> Tensor:
    """FGSM: a step along the sign of the gradient, at a PSNR; raises what `at_psnr` does."""
    return at_psnr(image, _gradient(score, image).sign(), wanted)


def iterated(score: Score, image: Tensor, wanted: float, steps: int) -> Tensor:
    """Projected gradient ascent from the image, at a PSNR; raises what `at_psnr` does."""
    radius = 10 ** (-wanted / 20) * math.sqrt(image.numel())
    difference = torch.zeros_like(image)
    for step in range(steps):
        ascended = _ascended(difference, _gradient(score, image + difference), radius, step / steps, steps)
        difference = (image + ascended).clamp(0, 1) - image
    return at_psnr(image, difference, wanted)


def tiled(tile: Tensor, size: Sequence[int]) -> Tensor:
    """(1,3,H,W) of the size from a repeated tile (1,3,h,w)."""
    height, width = size
    rows, columns = -(-height // tile.shape[-2]), -(-width // tile.shape[-1])
    return tile.repeat(1, 1, rows, columns)[..., :height, :width]


def universal_tile(
    targets: Sequence[Callable[[], tuple[Score, Tensor]]], wanted: float, steps: int, device: str = "cpu"
) -> Tensor:
    """One perturbation that raises the sum of all scores, by projected gradient ascent on all images at each step.

    Args:
        targets: each gives the score and the image to train on; called once a step, so that images need not stay
            in memory.
        wanted: PSNR in dB of an image with the tile repeated over it, before clipping.
        steps: of the ascent.
        device: of the images.

    Returns:
        (1,3,TILE,TILE), to be repeated by `tiled`.
    """
    tile = torch.zeros(1, 3, TILE, TILE, device=device)
    radius = 10 ** (-wanted / 20) * math.sqrt(tile.numel())
    for step in range(steps):
        gradient = torch.zeros_like(tile)
        for target in targets:
            score, image = target()

            def with_tile(at: Tensor, score: Score = score, image: Tensor = image) -> Tensor:
                return score((image + tiled(at, image.shape[-2:])).clamp(0, 1))

            gradient += _gradient(with_tile, tile)
        tile = _ascended(tile, gradient, radius, step / steps, steps)
    return tile
