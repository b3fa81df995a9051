"""Attacks to train against, so that a score is not raised by changes that nobody sees."""

from collections.abc import Callable

import torch
from torch import Tensor


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
