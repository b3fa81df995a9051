"""Metrics that look at large images in tiles."""

from typing import ClassVar

import torch
from torch import Tensor

from drmetric.errors import InputError
from drmetric.images import Source, pool_tiled
from drmetric.images.scale import pixels, size_of
from drmetric.metrics.learned import LearnedMetric
from drmetric.networks.levels import GRID, LevelsNetwork

__all__ = ["TILES_AT_ONCE", "TiledMetric"]

TILES_AT_ONCE = 256
"""Cells of a network, about 224 pixels each, that are compared at once."""


_OVERLAP = 256
"""The least, for a reach of 245 pixels as MobileNetV2 has."""


class TiledMetric(LearnedMetric):
    """A learned metric that looks at large images in tiles, so that its network's memory does not grow with them.

    Attributes:
        tile: side of a tile in pixels without its overlap.
        overlap: pixels that a tile has beyond each side: the reach of its backbone.
    """

    reach: ClassVar[int] = 8
    takes_bytes: ClassVar[bool] = True
    tile: int
    overlap: int

    def _set_tile(self, tile: int, step: int, reach: int | None) -> None:
        """Take the side of a tile, for a network of that stride and reach.

        Raises:
            InputError: it is too small, or off the network's grid.
        """
        self.overlap = max(_OVERLAP, -(-(reach or 0) // step) * step)
        if not isinstance(tile, int) or tile < 2 * (self.overlap + step) or tile % step:
            raise InputError(
                f"tile is {tile!r} pixels; wanted a multiple of {step}, at least {2 * (self.overlap + step)}",
                f"{type(self).__name__}(tile=1280)",
            )
        self.tile = tile
        self._is_local = reach is not None

    def _is_tiled(self, image: Tensor) -> bool:
        """Whether an image is larger than one tile with its overlap.

        Raises:
            InputError: it is, and the backbone cannot be run on tiles.
        """
        height, width = size = size_of(image)
        most = self.tile + 2 * self.overlap
        if height * width <= most**2:
            return False
        if not self._is_local:
            enough = -(-max(size) // 512) * 512
            raise InputError(
                f"image is {pixels(size)}, more than {most} x {most}: {self.weights_file.name} has a backbone of timm, "
                "which may look at an image as a whole, so it is not run on tiles",
                f"tile={enough}  # looks at such images whole, in memory of their size",
            )
        return True

    def _pooled_in_tiles(self, image: Source) -> Tensor:
        """What `LevelsNetwork.pooled` makes of an image, by tiles."""
        network = self.network
        assert isinstance(network, LevelsNetwork)
        rows, columns = network.grid(*image.size)
        strides = [network.backbone.strides[tap] for tap in network.config.taps]
        cells = GRID * rows, GRID * columns
        return torch.cat(pool_tiled(network.taps, [image], self.tile, self.overlap, strides, cells), 1)
