"""Over-sharpening and softening against the pristine image: features of labels that full-reference metrics lack.

LPIPS and its like forgive an image that is sharper than the pristine one; people do not (KADID-10k's "high sharpen"
falls from 3.6 to 1.3). And structural ones count what a sharp restoration gets wrong as much as what a soft one
leaves out, while people, asked about super-resolution, mind the latter more.
"""

import itertools
import math
from functools import cache

import torch
from torch import Tensor

from drmetric.images import luma

SIGMAS = (0.8, 1.6, 3.2, 6.4)
LEAST_GAIN = 0.05


def sharpening(image: Tensor, pristine: Tensor) -> Tensor:
    """How much more contrast an image has than the pristine one, in the octave where that is most.

    Args:
        image, pristine: (N,3,H,W) or (N,1,H,W) in [0, 1], of one size of at least 32 x 32.

    Returns:
        (N,): the natural logarithm of the greatest gain, at least 0; 0 for the pristine image, 0.69 for its
        details doubled.
    """
    return _gains(image, pristine).amax(0).clamp_min(1).log()


def softening(image: Tensor, pristine: Tensor) -> Tensor:
    """How much of the pristine image's contrast an image lacks, in the octave where that is most.

    Args:
        image, pristine: (N,3,H,W) or (N,1,H,W) in [0, 1], of one size of at least 32 x 32.

    Returns:
        (N,): minus the natural logarithm of the least gain, 0 to 3; 0 for the pristine image, 0.69 for its finest
        details at half their contrast.
    """
    return -_gains(image, pristine).amin(0).clamp(LEAST_GAIN, 1).log()


def _gains(image: Tensor, pristine: Tensor) -> Tensor:
    """(octave, N): slopes of the image's octaves of luma (differences of Gaussians) regressed on the pristine ones'.

    Noise and other texture than the pristine image's add nothing to a slope.
    """
    gains = []
    for band, pristine_band in zip(_octaves(image), _octaves(pristine), strict=True):
        energy = pristine_band.square().mean((1, 2, 3)).clamp_min(1e-8)
        gains.append((band * pristine_band).mean((1, 2, 3)) / energy)
    return torch.stack(gains)


def _octaves(image: Tensor) -> list[Tensor]:
    finest = luma(image)
    smoothed = [finest, *(_blurred(finest, sigma) for sigma in SIGMAS)]
    return [fine - coarse for fine, coarse in itertools.pairwise(smoothed)]


def _blurred(image: Tensor, sigma: float) -> Tensor:
    rows, columns = (gaussian_matrix(side, sigma).to(image) for side in image.shape[-2:])
    return rows @ image @ columns.T


@cache
def gaussian_matrix(side: int, sigma: float) -> Tensor:
    """(side, side): a Gaussian filter of three standard deviations along one side, mirrored at its ends.

    As a product of matrices it is several times as fast on a CPU as a convolution of one channel.
    """
    reach = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    period = 2 * (side - 1)
    places = (torch.arange(side)[:, None] + torch.arange(-reach, reach + 1)) % period
    places = torch.where(places < side, places, period - places)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (taps / taps.sum()).expand(side, -1)).float()
