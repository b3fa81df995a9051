"""Wrong colours against the pristine image: a feature of labels that full-reference metrics see too little of.

LPIPS hardly minds a change of colour; people do (KADID-10k's "color saturation" falls from 4.6 to 1.5, "color
diffusion" from 4.5 to 1.4). Changes of lightness alone are left to the other terms: people forgive most of them
(the strongest of KADID-10k's "mean shift" has 3.9), and a term of their own got no weight.
"""

import torch.nn.functional as F
from torch import Tensor

from drmetric.images import luma

POWER = 8
"""The wrongest places count most, more than the area they cover."""


def miscolouring(image: Tensor, pristine: Tensor) -> Tensor:
    """Difference in the two chroma components of BT.601, over 2 x 2 pixels, as a power mean over the image.

    Args:
        image, pristine: (N,3,H,W) in [0, 1], of one size of at least 32 x 32.

    Returns:
        (N,): 0 for the pristine image; about 0.1 for a strong cast.
    """
    difference = F.avg_pool2d(image - pristine, 2)
    red, _, blue = difference.unbind(1)
    lightness = luma(difference).squeeze(1)
    chroma = (0.564 * (blue - lightness)).hypot(0.713 * (red - lightness))
    return power_mean(chroma, POWER)


def power_mean(values: Tensor, power: float) -> Tensor:
    """(N,) of (N, ...) values of at least 0: the mean of their powers, to the reciprocal power."""
    return values.flatten(1).clamp_min(0).pow(power).mean(1).pow(1 / power)
