"""`drmetric.distortions.redistort` of an image that is too large to be floats as a whole, window by window.

What the chain does at full size is done in bands of rows, up to the reductions to an eighth of the size, which are
kept; what follows is interpolation. The noise is that of the whole image: PyTorch's generator on the CPU fills normal
draws 16 at a time, so that they can be drawn in pieces from places that are multiples of 16.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric.distortions.kadid.spatial import pixelate
from drmetric.distortions.redistort import NEAREST_SCALE, PIXELATE_STRENGTH, SCALE, blurred, noised
from drmetric.images.windows import Source, weights_of_resize

__all__ = ["Redistorted", "rows_of_draws"]

BLOCK = 16
"""Rows of a block of JPEG with halved colours, and draws of a piece."""
BAND = 2**21
"""Pixels of a band, about."""
_SKIP = 2**22

Draw = Callable[..., Tensor]
"""`torch.randn` or `torch.rand`."""


class Redistorted:
    """The windows of a distorted image, a `drmetric.images.Source`.

    Args:
        image: to be distorted.
        seed: of all noise, as of `redistort`.
    """

    def __init__(self, image: Source, seed: int = 0) -> None:
        self.size = height, width = image.size
        small = height // SCALE, width // SCALE
        reduced = _Reduction(image.size, small, "bicubic")
        for top, band in _noisy_bands(image, torch.Generator().manual_seed(seed)):
            reduced.add(top, band)
        once = reduced.result().clamp(0, 1)
        again = _Reduction(image.size, small, "bilinear")
        for top, bottom in _bands(height, width):
            first, weights = weights_of_resize(small[0], height, top, bottom, antialias=False)
            band = weights.to(once) @ once[..., first : first + weights.shape[1], :]
            again.add(top, F.interpolate(band, size=(bottom - top, width), mode="bicubic").clamp(0, 1))
        self._small = again.result()

    def window(self, rows: slice, columns: slice) -> Tensor:
        """(N,3,h,w) in [0, 1]."""
        (height, width), small = self.size, self._small
        top, down = _enlarged(small.shape[-2], height, rows)
        left, across = _enlarged(small.shape[-1], width, columns)
        seen = small[..., top : top + down.shape[1], left : left + across.shape[1]]
        return (down.to(small) @ seen @ across.to(small).T).clamp(0, 1)


class _Reduction:
    """An image resized to a smaller size, of bands of its rows."""

    def __init__(self, size: tuple[int, int], small: tuple[int, int], mode: str) -> None:
        self._height, self._small, self._mode = size[0], small, mode
        self._total: Tensor | None = None

    def add(self, top: int, band: Tensor) -> None:
        (height, width), count = self._small, band.shape[-2]
        if self._total is None:
            self._total = band.new_zeros(*band.shape[:2], height, width)
        narrow = F.interpolate(band, size=(count, width), mode=self._mode, antialias=True)
        scale = self._height / height
        start, stop = max(0, math.floor(top / scale) - 3), min(height, math.ceil((top + count) / scale) + 3)
        first, weights = weights_of_resize(self._height, height, start, stop, self._mode)
        low, high = max(top, first), min(top + count, first + weights.shape[1])
        share = weights[:, low - first : high - first].to(band) @ narrow[..., low - top : high - top, :]
        self._total[..., start:stop, :] += share

    def result(self) -> Tensor:
        assert self._total is not None
        return self._total


def _bands(height: int, width: int) -> list[tuple[int, int]]:
    """First and last row, exclusive, of bands whose ends are whole blocks, but for that of the image."""
    rows = BLOCK * max(1, BAND // (width * BLOCK))
    starts = [start for start in range(0, height, rows) if start == 0 or height - start >= BLOCK]
    return list(zip(starts, [*starts[1:], height], strict=True))


def _noisy_bands(image: Source, generator: torch.Generator) -> Iterator[tuple[int, Tensor]]:
    """First row and pixels of each band of the image after the noise."""
    height, width = image.size
    bands = _bands(height, width)
    counts = [bottom - top for top, bottom in bands]
    normals = rows_of_draws(torch.randn, generator, counts, width)
    uniforms = rows_of_draws(torch.rand, generator, counts, width)
    for (top, bottom), normal, uniform in zip(bands, normals, uniforms, strict=True):
        above, below = max(0, top - 2 * BLOCK), min(height, bottom + 2 * BLOCK)
        seen = torch.cat([blurred(each) for each in torch.split(image.window(slice(above, below), slice(0, width)), 1)])
        yield top, noised(seen[..., top - above : bottom - above, :], normal, uniform)


def rows_of_draws(draw: Draw, generator: torch.Generator, counts: list[int], width: int) -> Iterator[Tensor]:
    """What ``draw((1, 3, sum(counts), width), generator=generator)`` is, rows by rows: (1,3,count,width) of each count.

    Args:
        draw: `torch.randn` or `torch.rand`.
        generator: on the CPU; it is left as it would be after the one call.
        counts: rows of each part; the last one holds at least 16 draws.
        width: in pixels.
    """
    plane = sum(counts) * width
    channels = []
    for channel in range(3):
        start = channel * plane // BLOCK * BLOCK
        own = torch.Generator()
        own.set_state(generator.get_state())
        _skip(own, start)
        kept = channel * plane - start
        channels.append(_Draws(draw, own, 3 * plane - start))
        channels[-1].take(kept)
    _skip(generator, 3 * plane + (BLOCK if draw is torch.randn and 3 * plane % BLOCK else 0))
    return (torch.stack([each.take(count * width).view(count, width) for each in channels])[None] for count in counts)


class _Draws:
    """The next `left` draws of a generator, in order."""

    def __init__(self, draw: Draw, generator: torch.Generator, left: int) -> None:
        self._draw, self._generator, self._left = draw, generator, left
        self._over = torch.empty(0)

    def take(self, count: int) -> Tensor:
        wanted = count - len(self._over)
        drawn = min(self._left, -(-wanted // BLOCK) * BLOCK)
        self._left -= drawn
        both = torch.cat([self._over, self._draw(drawn, generator=self._generator)])
        self._over = both[count:].clone()
        return both[:count]


def _skip(generator: torch.Generator, count: int) -> None:
    for start in range(0, count, _SKIP):
        torch.rand(min(_SKIP, count - start), generator=generator)


def _enlarged(small: int, length: int, window: slice) -> tuple[int, Tensor]:
    """As `weights_of_resize`, for all of the chain that follows the reductions."""
    seen = _seen(length)[window]
    low, high = int(seen.min()), int(seen.max()) + 1
    first, weights = weights_of_resize(small, length, low, high, "bilinear", antialias=False)
    return first, weights[seen - low]


@lru_cache(maxsize=4)
def _seen(length: int) -> Tensor:
    """Of each position along a side the one that the nearest neighbours of the chain take its value from."""
    places = torch.arange(length, dtype=torch.float32, device="cpu")[None, None]
    shrunk = F.interpolate(places, size=length // NEAREST_SCALE, mode="nearest-exact")
    back = F.interpolate(shrunk, size=length, mode="nearest-exact")
    pixelated = pixelate(back[..., None].expand(-1, -1, -1, 8), torch.Generator(), PIXELATE_STRENGTH)
    return pixelated[0, 0, :, 0].long()
