"""What CVRKD-IQA and AKD-IQA look at: levels of a backbone on the grid of the tokens of an image's tiles."""

import math
from typing import Any, Self

import torch
from torch import Tensor, nn

from drmetric.config import check_ranges
from drmetric.errors import ConfigError
from drmetric.networks.backbones import MOST_STAGES, Backbone
from drmetric.networks.pooling import average_to

__all__ = ["GRID", "LevelsNetwork", "check_levels", "tile_tokens"]

GRID = 7
"""Tokens along a side of a tile."""


def check_levels(config: Any, *sizes: str) -> None:
    """Raise `ConfigError` where the `taps`, `width`, `tile` or further sizes of a `LevelsNetwork` are impossible."""
    ranges = dict.fromkeys((*sizes, "width"), (1, math.inf))
    check_ranges(config, "[network]", **ranges, taps=(0, MOST_STAGES - 1), tile=(32, 16384))
    if not config.taps:
        raise ConfigError("[network]: taps is empty; wanted the stages whose outputs are the levels", "taps = [1, 2]")


def tile_tokens(maps: Tensor) -> Tensor:
    """(...,C,7h,7w) maps to the tokens of their h x w tiles, (...,h,w,49,C)."""
    split = torch.unflatten(torch.unflatten(maps, -1, (-1, GRID)), -3, (-1, GRID))
    channels_last = split.movedim(-5, -1)
    by_tile = channels_last.transpose(-4, -3)
    return by_tile.flatten(-3, -2)


class LevelsNetwork(nn.Module):
    """A backbone, and a 1x1 convolution that brings each of its levels to one width.

    Args:
        config: with `taps`, the stages whose outputs are the levels; their `width`; `tile`, the side in pixels of a
            tile, about; and `frozen_backbone`, for a backbone that is not trained and stays in evaluation mode.
        backbone: of as many stages as the taps need.

    Attributes:
        uncertainty: (2,), a and b: a score s has the standard error root of a^2 + b^2 (s - s^2)^2, in which b is that
            of the score's logit; zeros where it was never calibrated.
    """

    uncertainty: Tensor

    def __init__(self, config: Any, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone.requires_grad_(not config.frozen_backbone)
        self.reductions = nn.ModuleList(nn.Conv2d(backbone.channels[tap], config.width, 1) for tap in config.taps)
        self.register_buffer("uncertainty", torch.zeros(2))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}uncertainty", torch.zeros(2))  # weights of releases before 0.7.0 have none
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.config.frozen_backbone:
            self.backbone.eval()
        return self

    @property
    def decisive(self) -> list[Any]:
        """What decides `pooled` beside the backbone's weights."""
        return [self.config.backbone, self.config.taps, self.config.tile]

    def pooled(self, image: Tensor) -> Tensor:
        """(N,3,H,W) in [0, 1], or crops (N,P,3,H,W), to (N*P,C,7h,7w): all levels on the grid of h x w tiles."""
        pixels = image.reshape(-1, *image.shape[-3:])
        return self.pool(self.taps(pixels), self.grid(image.shape[-2], image.shape[-1]))

    def taps(self, image: Tensor) -> list[Tensor]:
        """What the stages of the levels make of (N,3,H,W) images in [0, 1]."""
        features = self.backbone.features(image)
        return [features[tap] for tap in self.config.taps]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tiles of an image of that size."""
        return max(1, round(height / self.config.tile)), max(1, round(width / self.config.tile))

    def pool(self, taps: list[Tensor], grid: tuple[int, int]) -> Tensor:
        """As `pooled`, for the `taps` of images with that `grid` of tiles."""
        rows, columns = grid
        return torch.cat([average_to(tap, (GRID * rows, GRID * columns)) for tap in taps], 1)

    def levels(self, pooled: Tensor) -> list[Tensor]:
        """`pooled` images, level by level, each (N,width,7h,7w).

        The 1x1 convolutions come after the pooling: both are linear, so the order makes no difference.
        """
        by_level = torch.split(pooled, [self.backbone.channels[tap] for tap in self.config.taps], 1)
        return [reduction(level) for reduction, level in zip(self.reductions, by_level, strict=True)]
