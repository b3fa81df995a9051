"""Parts of images that are too large to be floats as a whole: bytes become floats, and sizes change, window by window.

A source is an image of which windows are cut. Each window is what the same rows and columns of the whole would be, a
resized one to about 1e-6.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from drmetric.images.checks import as_doubles, as_floats
from drmetric.images.contexts import plain_defaults
from drmetric.images.geometry import Tile, tiles
from drmetric.images.memory import return_freed_memory
from drmetric.networks.pooling import average_of_part

__all__ = ["AT_ONCE", "Source", "Whole", "mean_tiled", "pool_tiled", "resized", "run_tiled", "weights_of_resize"]

AT_ONCE = 2048 * 2048
"""Pixels that are floats as a whole in any case; what is larger is looked at in tiles."""


class Source(Protocol):
    """An image (N,C,H,W) of which windows are cut."""

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""

    def window(self, rows: slice, columns: slice) -> Tensor:
        """(N,C,h,w) floats in [0, 1]."""


@dataclass(frozen=True)
class Whole:
    """Windows of an image (N,C,H,W), floats in [0, 1] or uint8, as it is."""

    image: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[-2], self.image.shape[-1]

    def window(self, rows: slice, columns: slice) -> Tensor:
        return as_floats(self.image[..., rows, columns])


@dataclass(frozen=True)
class _Resized:
    """Windows of what `drmetric.images.resize` makes of an image."""

    image: Tensor
    size: tuple[int, int]

    def window(self, rows: slice, columns: slice) -> Tensor:
        (height, width), device = self.image.shape[-2:], self.image.device
        top, down = weights_of_resize(height, self.size[0], rows.start, rows.stop)
        left, across = weights_of_resize(width, self.size[1], columns.start, columns.stop)
        seen = self.image[..., top : top + down.shape[1], left : left + across.shape[1]]
        return (down.to(device) @ as_floats(seen) @ across.to(device).T).clamp(0, 1)


def resized(image: Tensor, size: tuple[int, int]) -> Source:
    """The windows of an image (N,C,H,W), floats in [0, 1] or uint8, brought to a size."""
    source = Whole(image)
    return source if source.size == size else _Resized(image, size)


@lru_cache(maxsize=4)
def weights_of_resize(
    length: int, size: int, start: int, stop: int, mode: str = "bicubic", antialias: bool = True
) -> tuple[int, Tensor]:
    """What the positions from `start` to `stop` of a side that is resized take from the positions of the side.

    Args:
        length: of the side.
        size: that it is brought to.
        start, stop: the window.
        mode, antialias: as of `torch.nn.functional.interpolate`.

    Returns:
        The first position that counts, and (stop - start, k) weights of it and those that follow, on the CPU.
    """
    scale = length / size
    reach = 2 * max(scale, 1) + 2
    first = max(0, math.floor(start * scale - reach))
    last = min(length, math.ceil(stop * scale + reach))
    with torch.inference_mode(False), plain_defaults():
        impulses = torch.zeros(1, 1, length, last - first)
        impulses[..., first:last, :].diagonal(dim1=-2, dim2=-1).fill_(1)
        responses = functional.interpolate(impulses, size=(size, last - first), mode=mode, antialias=antialias)
        return first, responses[0, 0, start:stop].clone()


def _tile_maps(
    network: Callable[..., Sequence[Tensor]], sources: Sequence[Source], size: int, overlap: int, strides: Sequence[int]
) -> Iterator[tuple[Tile, list[Tensor]]]:
    """The cores of the maps that a network makes of each tile."""
    for tile in tiles(*sources[0].size, size, overlap, max(strides)):
        outer = slice(tile.outer_top, tile.outer_bottom), slice(tile.outer_left, tile.outer_right)
        maps = network(*(source.window(*outer) for source in sources))
        yield tile, [_core(each, tile, stride) for each, stride in zip(maps, strides, strict=True)]
        del maps
        return_freed_memory()


def run_tiled(
    network: Callable[..., Sequence[Tensor]], sources: Sequence[Source], size: int, overlap: int, strides: Sequence[int]
) -> list[Tensor]:
    """What a convolutional network makes of whole images, computed a tile at a time to bound its memory.

    Args:
        network: takes as many images as there are, all (N,C,h,w), and returns a map (N,C',h/s,w/s), sides rounded
            up, for every stride s.
        sources: images of one size.
        size: of the tiles' cores, as of `tiles`.
        overlap: as of `tiles`; from the reach of the network on, the result is that of the whole images.
        strides: of the maps; each divides the largest.

    Returns:
        The maps of the whole images.
    """
    rows: dict[int, list[list[Tensor]]] = {}
    for tile, maps in _tile_maps(network, sources, size, overlap, strides):
        rows.setdefault(tile.top, []).append([each.clone() for each in maps])
    strips = [[torch.cat(level, dim=-1) for level in zip(*row, strict=True)] for row in rows.values()]
    return [torch.cat(level, dim=-2) for level in zip(*strips, strict=True)]


def pool_tiled(
    network: Callable[..., Sequence[Tensor]],
    sources: Sequence[Source],
    size: int,
    overlap: int,
    strides: Sequence[int],
    cells: tuple[int, int],
) -> list[Tensor]:
    """As `run_tiled`, for maps that are averaged to a grid of cells: their sums grow tile by tile.

    Returns:
        `drmetric.networks.pooling.average_to` of the maps of the whole images, each (N,C',*cells).
    """
    height, width = sources[0].size
    pooled: list[Tensor] = []
    for tile, maps in _tile_maps(network, sources, size, overlap, strides):
        if not pooled:
            pooled = [each.new_zeros(*each.shape[:2], *cells) for each in maps]
        for total, part, stride in zip(pooled, maps, strides, strict=True):
            whole = -(-height // stride), -(-width // stride)
            (rows, columns), share = average_of_part(part, (tile.top // stride, tile.left // stride), whole, cells)
            total[..., rows, columns] += share
    return pooled


def mean_tiled(network: Callable[..., Tensor], sources: Sequence[Source], size: int, overlap: int) -> Tensor:
    """(N,) means over (N,C,H,W) that a function makes of whole images, computed a tile at a time.

    Args:
        network: takes as many images as there are, all (N,C,h,w), and returns a map of that size.
        sources, size, overlap: as of `run_tiled`.
    """
    sums, count = [], 0
    for _, (part,) in _tile_maps(lambda *images: [network(*images)], sources, size, overlap, [1]):
        sums.append(as_doubles(part).sum((1, 2, 3)))
        count += part[0].numel()
    return (torch.stack(sums).sum(0) / count).float().to(part.device)


def _core(local: Tensor, tile: Tile, stride: int) -> Tensor:
    """The part of a tile's map that belongs to its core."""
    top, left = (tile.top - tile.outer_top) // stride, (tile.left - tile.outer_left) // stride
    height, width = -(-(tile.bottom - tile.top) // stride), -(-(tile.right - tile.left) // stride)
    return local[..., top : top + height, left : left + width]
