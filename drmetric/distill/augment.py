"""Changes of training images: to grey, with noise, and attacked so as to raise their scores."""

import math
import random
from collections.abc import Callable, Sequence

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from drmetric.errors import ConfigError
from drmetric.images import luma

LEAST_NOISE, MOST_NOISE = 0.004, 0.1
"""Standard deviations between which every image draws its own, evenly in their logarithm."""


def grey(images: Tensor) -> Tensor:
    """(N,3,H,W) images without their colour, still of three channels."""
    return luma(images).expand(-1, 3, -1, -1)


def with_noise(image: Tensor) -> tuple[Tensor, Tensor]:
    """Images with noise added, so that it is not taken for detail: white, or of a coarser grain as denoisers leave it.

    Args:
        image: (N,3,H,W) in [0, 1].

    Returns:
        (N,3,H,W) in [0, 1], and the standard deviation (N,) of each image's noise.
    """
    share = torch.rand(len(image), device=image.device)
    deviation = LEAST_NOISE * (MOST_NOISE / LEAST_NOISE) ** share
    noise = torch.randn_like(image)
    if random.random() < 0.5:
        grain = random.uniform(0.4, 1.2)
        noise = gaussian_blur2d(noise, (7, 7), (grain, grain))
        noise = noise / noise.std()
    return (image + deviation[:, None, None, None] * noise).clamp(0, 1), deviation


def noise_loss(score: Tensor, noisy_score: Tensor, deviation: Tensor) -> Tensor:
    """How far scores in [0, 1] are from falling by two per cent for every hundredth of noise; all arguments (N,).

    A ranking loss on faults added by oneself needs no label: Liu, van de Weijer, Bagdanov, "RankIQA", ICCV 2017,
    arXiv:1707.08347.
    """
    return (noisy_score - (1 - 2 * deviation) * score).clamp_min(0).mean()


def attacked(image: Tensor, score: Callable[[Tensor], Tensor], largest: float) -> Tensor:
    """Images changed so as to raise their scores: one step along the sign of the gradient, from a random start.

    FGSM with a random start: Wong, Rice, Kolter, "Fast is better than free", ICLR 2020, arXiv:2001.03994.

    Args:
        image: (N,3,H,W) in [0, 1].
        score: from images to scores (N,), higher is better.
        largest: change of a value; each image draws its own between 0 and this.

    Returns:
        (N,3,H,W) in [0, 1], without gradients.
    """
    size = largest * torch.rand(len(image), 1, 1, 1, device=image.device)
    change = size * (2 * torch.rand_like(image) - 1)
    start = (image + change).clamp(0, 1).requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(score(start).sum(), start)
    change = (change + 1.25 * size * gradient.sign()).clamp(-size, size)
    return (image + change).clamp(0, 1).detach()


def check_bounds(psnr: Sequence[float], where: str) -> None:
    """Raise `ConfigError` where an entry `attack_psnr` is not the bounds of a PSNR in dB."""
    if len(psnr) != 2 or not 0 < psnr[0] <= psnr[1]:
        raise ConfigError(
            f"{where}: attack_psnr is {list(psnr)}; wanted the lower and the upper bound, above 0",
            "attack_psnr = [34.0, 44.0]",
        )


def ascended(image: Tensor, score: Callable[[Tensor], Tensor], psnr: Tensor, steps: int) -> Tensor:
    """Images after projected gradient ascent on their scores, at most so far away (Madry et al., ICLR 2018).

    Args:
        image: (N,3,H,W) in [0, 1].
        score: from images to scores (N,), to be raised.
        psnr: (N,) in dB, of the changes.
        steps: of the ascent.

    Returns:
        (N,3,H,W) in [0, 1], without gradients.
    """
    radius = (10 ** (-psnr / 20) * math.sqrt(image[0].numel())).view(-1, 1, 1, 1).to(image)
    change = torch.zeros_like(image)
    for step in range(steps):
        start = (image + change).clamp(0, 1).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(score(start).sum(), start)
        length = 2.5 * radius * (1 - step / (2 * steps)) / steps
        change = change + length * gradient / _norm(gradient)
        change = change * (radius / _norm(change)).clamp(max=1)
    return (image + change).clamp(0, 1).detach()


def _norm(change: Tensor) -> Tensor:
    """(N,1,1,1), never 0."""
    length: Tensor = change.flatten(1).norm(dim=1).clamp_min(1e-12)
    return length.view(-1, 1, 1, 1)
