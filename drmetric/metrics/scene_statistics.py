"""Natural scene statistics, which BRISQUE and NIQE read: normalised coefficients and the curves fitted to them.

Mittal, Moorthy, Bovik: No-reference image quality assessment in the spatial domain, IEEE Transactions on Image
Processing 21(12), 2012.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["asymmetric_fit", "coefficient_fits", "normalised_coefficients", "product_mean"]


def normalised_coefficients(grey: Tensor, padding: str = "replicate") -> tuple[Tensor, Tensor]:
    """Mean-subtracted, contrast-normalised coefficients and the local deviation, both (N,1,H,W).

    Gaussian window of 7 taps, sigma 7/6; C = 1 on the 0..255 scale. `padding`: see `torch.nn.functional.pad`.
    """
    taps = torch.exp(-(torch.arange(-3, 4, dtype=grey.dtype, device=grey.device) ** 2) / (2 * (7 / 6) ** 2))
    taps = taps / taps.sum()

    def blur(x: Tensor) -> Tensor:
        x = F.pad(x, (3, 3, 3, 3), mode=padding)
        return F.conv2d(F.conv2d(x, taps.view(1, 1, 1, 7)), taps.view(1, 1, 7, 1))

    mean = blur(grey)
    deviation = (blur(grey**2) - mean**2).abs().sqrt()
    return (grey - mean) / (deviation + 1), deviation


def _ratio(shape: Tensor) -> Tensor:
    return torch.exp(2 * torch.lgamma(2 / shape) - torch.lgamma(1 / shape) - torch.lgamma(3 / shape))


def asymmetric_fit(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Moment-matching fit of an asymmetric generalised Gaussian to the last dimension of x.

    Returns the shape (in .2..10) and the left and right deviation; a side without values has deviation 0
    (Lasmar, Stitou, Berthoumieu: Multiscale skewed heavy tailed model for texture analysis, ICIP 2009).
    """
    tiny = torch.finfo(x.dtype).eps
    square = x**2
    left = ((square * (x < 0)).sum(-1) / (x < 0).sum(-1).clamp_min(1)).sqrt()
    right = ((square * (x > 0)).sum(-1) / (x > 0).sum(-1).clamp_min(1)).sqrt()
    skew = (left + tiny) / (right + tiny)
    moments = x.abs().mean(-1) ** 2 / (square.mean(-1) + tiny)
    wanted = moments * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    grid = torch.linspace(0.2, 10, 9801, dtype=x.dtype, device=x.device)
    table = _ratio(grid)
    above = torch.searchsorted(table, wanted.contiguous()).clamp(1, len(grid) - 1)
    part = (wanted - table[above - 1]) / (table[above] - table[above - 1])
    return torch.lerp(grid[above - 1], grid[above], part.clamp(0, 1)), left, right


def coefficient_fits(coefficients: Tensor, wrap: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right deviation, each (P,5), of coefficients (P,h,w) and their products with a neighbour.

    Neighbours: right, below, below right and below left. `wrap`: those of the last row and column are in the first.
    """
    c = coefficients
    if wrap:
        products = [c * c.roll(shift, dims=(1, 2)) for shift in ((0, 1), (1, 0), (1, 1), (1, -1))]
    else:
        diagonals = [c[:, :-1, :-1] * c[:, 1:, 1:], c[:, :-1, 1:] * c[:, 1:, :-1]]
        products = [c[:, :, :-1] * c[:, :, 1:], c[:, :-1] * c[:, 1:], *diagonals]
    fits = [asymmetric_fit(each.flatten(1)) for each in (c, *products)]
    shape, left, right = (torch.stack(column, dim=1) for column in zip(*fits, strict=True))
    return shape, left, right


def product_mean(shape: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Mean of an asymmetric generalised Gaussian of this shape and these deviations."""
    log_gain = torch.lgamma(2 / shape) - 0.5 * (torch.lgamma(1 / shape) + torch.lgamma(3 / shape))
    return (right - left) * torch.exp(log_gain)
