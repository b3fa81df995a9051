"""Noise added in training, so that it is not taken for detail.

A ranking loss on faults added by oneself needs no label: Liu, van de Weijer, Bagdanov, "RankIQA", ICCV 2017,
arXiv:1707.08347.
"""

import random

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

LEAST, MOST = 0.004, 0.1
"""Standard deviations between which every image draws its own, evenly in their logarithm."""


def with_noise(image: Tensor) -> tuple[Tensor, Tensor]:
    """Images with noise added: white, or of a coarser grain as denoisers leave it.

    Args:
        image: (N,3,H,W) in [0, 1].

    Returns:
        (N,3,H,W) in [0, 1], and the standard deviation (N,) of each image's noise.
    """
    share = torch.rand(len(image), device=image.device)
    deviation = LEAST * (MOST / LEAST) ** share
    noise = torch.randn_like(image)
    if random.random() < 0.5:
        grain = random.uniform(0.4, 1.2)
        noise = gaussian_blur2d(noise, (7, 7), (grain, grain))
        noise = noise / noise.std()
    return (image + deviation[:, None, None, None] * noise).clamp(0, 1), deviation


def noise_loss(score: Tensor, noisy_score: Tensor, deviation: Tensor) -> Tensor:
    """How far scores in [0, 1] are from falling by two per cent for every hundredth of noise; all arguments (N,)."""
    return (noisy_score - (1 - 2 * deviation) * score).clamp_min(0).mean()
