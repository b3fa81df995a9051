"""AKD-IQA: quality of an image from how it differs from itself, distorted once more.

AKD-IQA, IEEE Transactions on Broadcasting 2025, doi:10.1109/TBC.2025.3549985.

Teacher and student are one network of different depth. The teacher's reference is the pristine image; the
student's is its own input after `drmetric.distortions.redistort`. At four levels of a backbone, an MLP-Mixer reads the
difference of the two images' features and another one the image's; the differences then attend to the image.

Differences from the paper: images of any size keep their resolution and are scored tile by tile, and crops are
scored one by one, so that neither their number nor their order matters (the paper folds ten crops into the channels,
``folded_crops=10``).
"""

import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.errors import ConfigError
from drmetric.networks.backbones import Backbone, create_backbone
from drmetric.networks.levels import GRID, LevelsNetwork, check_levels, tile_tokens
from drmetric.networks.mixer import Mixer

__all__ = ["AKDIQA", "PAPER_STUDENT", "PAPER_TEACHER", "AKDIQAConfig", "Branches", "CrossAttention"]


@dataclass(frozen=True)
class AKDIQAConfig:
    """Shape of the network; the defaults are the light student, `PAPER_STUDENT` and `PAPER_TEACHER` the paper's.

    Attributes:
        backbone: a name of `drmetric.networks.backbones.create_backbone`.
        taps: the stages whose outputs are the levels, in order; the first is 0.
        taps_after_merging: Swin only: a stage ends with the patch merging that leads to the next one.
        frozen_backbone: the backbone is not trained and stays in evaluation mode.
        width: channels of a level, and of the mixers, which the levels share.
        difference_depth: blocks of the mixer of differences.
        image_depth: blocks of the image's mixer.
        heads: of the cross-attention.
        folded_crops: crops of an image that are folded into the channels; 1 scores each on its own.
        tile: side in pixels to which an image is cut, about; smaller images are one tile.
    """

    backbone: str = "mobilenetv2"
    taps: tuple[int, ...] = (1, 2, 3, 4)
    taps_after_merging: bool = False
    frozen_backbone: bool = False
    width: int = 64
    difference_depth: int = 6
    image_depth: int = 3
    heads: int = 8
    folded_crops: int = 1
    tile: int = 224

    def __post_init__(self) -> None:
        check_levels(self, "difference_depth", "image_depth", "heads", "folded_crops")
        inputs = len(self.taps) * self.width
        if inputs % self.heads:
            raise ConfigError(
                f"[network]: heads is {self.heads}; wanted a divisor of {inputs}, the width of all levels",
                f"heads = {math.gcd(self.heads, inputs)}",
            )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


PAPER_STUDENT = AKDIQAConfig(
    backbone="timm:swin_tiny_patch4_window7_224",
    taps=(0, 1, 2, 3),
    taps_after_merging=True,
    frozen_backbone=True,
    difference_depth=18,
    image_depth=9,
    folded_crops=10,
)
PAPER_TEACHER = replace(PAPER_STUDENT, difference_depth=36, image_depth=18)


class Branches(NamedTuple):
    """What `AKDIQA.branches` yields.

    Attributes:
        logits: (N,P,h,w), as of `AKDIQA.forward`.
        differences: per level, per block of the mixer of differences, its output (N*P*h*w, 49, width).
    """

    logits: Tensor
    differences: list[list[Tensor]]


class CrossAttention(nn.Module):
    """Multi-head attention of a query (B,T,C) to a context (B,T',C), without a projection after it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        projected = self.query(query), self.key(context), self.value(context)
        attended = F.scaled_dot_product_attention(
            *(tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tokens in projected)
        )
        return attended.transpose(1, 2).flatten(2)


class AKDIQA(LevelsNetwork):
    """The network; teacher and student differ in their config and in the reference that they are given."""

    config: AKDIQAConfig

    def __init__(self, config: AKDIQAConfig | None = None) -> None:
        config = config or AKDIQAConfig()
        backbone = create_backbone(config.backbone, max(config.taps) + 1)
        if config.taps_after_merging:
            _merge_patches_early(backbone)
        super().__init__(config, backbone)
        inputs, tokens = config.folded_crops * config.width, GRID**2
        self.difference_mixer = Mixer(inputs, config.width, tokens, config.difference_depth)
        self.image_mixer = Mixer(inputs, config.width, tokens, config.image_depth)
        concatenated = len(config.taps) * config.width
        self.attention = CrossAttention(concatenated, config.heads)
        self.score_head = nn.Linear(concatenated, 1)
        self.train()

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """Local scores before calibration, whose mean over all axes but the first is the image's.

        Args:
            image: (N,3,H,W) in [0, 1], or P crops of each image, (N,P,3,H,W).
            reference: of the same shape, the pristine image (teacher) or the image distorted again (student).

        Returns:
            (N,P,h,w) logits of h x w tiles; P is 1 for whole images, and is divided by `folded_crops`.
        """
        return self.branches(image, reference).logits

    def branches(self, image: Tensor, reference: Tensor) -> Branches:
        """As `forward`, with the features that are distilled."""
        branches = self.compare(self.pooled(image), self.pooled(reference))
        return branches._replace(logits=branches.logits.reshape(len(image), -1, *branches.logits.shape[-2:]))

    def compare(self, image: Tensor, reference: Tensor) -> Branches:
        """As `branches`, for `pooled` images."""
        rows, columns = (side // GRID for side in image.shape[-2:])
        image_tokens, reference_tokens = self._tokens(image), self._tokens(reference)
        difference, blocks = self.difference_mixer(reference_tokens - image_tokens)
        content, _ = self.image_mixer(image_tokens)
        attended = self.attention(_concatenated(difference), _concatenated(content))
        logits = self.score_head(attended.mean(1)).reshape(-1, 1, rows, columns)
        return Branches(logits, [list(level) for level in zip(*blocks, strict=True)])

    def _tokens(self, pooled: Tensor) -> Tensor:
        """(N*P,C,7h,7w) to (levels, tiles of all images and crops, 49, folded crops x width)."""
        levels = torch.stack(self.levels(pooled))
        by_crop = torch.unflatten(levels, 1, (-1, self.config.folded_crops))
        return tile_tokens(by_crop.flatten(2, 3)).flatten(1, 3)


def _concatenated(levels: Tensor) -> Tensor:
    """(L,B,T,C) to (B,T,L*C)."""
    return levels.permute(1, 2, 0, 3).flatten(2)


def _merge_patches_early(backbone: Backbone) -> None:
    """Move the patch merging with which timm's Swin starts a stage to the end of the stage before it."""
    for index, (stage, following) in enumerate(pairwise(backbone.stages)):
        assert isinstance(stage, nn.Sequential)
        (layer,) = (layer for layer in following.children() if hasattr(layer, "downsample"))
        stage.insert(len(stage) - 1, layer.downsample)  # type: ignore[arg-type]
        layer.downsample = nn.Identity()
        backbone.channels[index] = backbone.channels[index + 1]
        backbone.strides[index] = backbone.strides[index + 1]
