"""Averages over the cells of a grid."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["average_of_part", "average_to"]


def average_to(features: Tensor, size: tuple[int, int]) -> Tensor:
    """(N,C,H,W) to (N,C,*size), as `torch.nn.functional.adaptive_avg_pool2d`, whose cells may overlap by a row.

    Where sizes are symbols, as in an export for all sizes, it is two products with matrices; that function would be
    specialised to sides that its grid divides, or does not divide.
    """
    if not any(isinstance(side, torch.SymInt) for side in size):
        return F.adaptive_avg_pool2d(features, size)
    rows, columns = (_shares(length, count) for length, count in zip(features.shape[-2:], size, strict=True))
    by_column = features @ columns.T
    averaged: Tensor = (by_column.transpose(-1, -2) @ rows.T).transpose(-1, -2)
    return averaged


def average_of_part(
    part: Tensor, origin: tuple[int, int], whole: tuple[int, int], cells: tuple[int, int]
) -> tuple[tuple[slice, slice], Tensor]:
    """What a part of a map adds to `average_to` of the whole map.

    Args:
        part: (N,C,h,w).
        origin: its first row and column in the whole map.
        whole: height and width of the whole map.
        cells: rows and columns of the grid.

    Returns:
        Where in the grid it adds, and what: (N,C,*) of that place.
    """
    places, shares = [], []
    for start, length, count, extent in zip(origin, part.shape[-2:], cells, whole, strict=True):
        first, end = start * count // extent, -(-(start + length) * count // extent)
        places.append(slice(first, end))
        shares.append(_shares(extent, count)[first:end, start : start + length].to(part))
    rows, columns = places
    return (rows, columns), shares[0] @ part @ shares[1].T


def _shares(length: int, count: int) -> Tensor:
    """(count, length): what every position along a side counts in every cell."""
    positions, cells = torch.arange(length)[None], torch.arange(count)[:, None]
    first, end = cells * length // count, ((cells + 1) * length + count - 1) // count
    inside = (positions >= first) & (positions < end)
    return inside.float() / (end - first).float()
