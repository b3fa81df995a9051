"""Blocks and stairs against the pristine image: a feature of labels that full-reference metrics lack.

LPIPS prefers an enlargement by nearest neighbour to a bicubic one; people do not (KADID-10k's "pixelate" falls from
3.9 to 1.5). Where pixels are repeated, every edge is one isolated jump between two flat runs; a camera spreads it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric.images import luma

FAINT = 0.002
"""A jump of luma that is nothing: it keeps flat images from dividing by zero."""


def blocking(image: Tensor, pristine: Tensor) -> Tensor:
    """How much more of an image's gradient is in isolated jumps than of the pristine one's.

    A jump counts as isolated by how far it exceeds both its neighbours together, and is averaged over three pixels
    along the edge, so that noise, whose jumps are isolated too, but not aligned, hardly counts.

    Args:
        image, pristine: (N,3,H,W) or (N,1,H,W) in [0, 1], of one size of at least 32 x 32.

    Returns:
        (N,): 0 for the pristine image, about 0.7 for a photograph enlarged by nearest neighbour, at most 1.
    """
    return (_isolated_share(luma(image)) - _isolated_share(luma(pristine))).clamp_min(0)


def _isolated_share(image: Tensor) -> Tensor:
    isolated, all_jumps = torch.zeros_like(image[:, 0, 0, 0]), torch.zeros_like(image[:, 0, 0, 0])
    for along_rows in (image, image.transpose(-1, -2)):
        jumps = F.avg_pool2d(along_rows.diff(dim=-1), (3, 1), stride=1).abs()
        centre = jumps[..., 1:-1]
        isolated = isolated + (centre - jumps[..., :-2] - jumps[..., 2:]).clamp_min(0).mean((1, 2, 3))
        all_jumps = all_jumps + centre.mean((1, 2, 3))
    return isolated / (all_jumps + 2 * FAINT)
