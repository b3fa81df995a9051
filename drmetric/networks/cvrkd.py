"""CVRKD-IQA: quality of an image from how it differs from high-quality images of any content.

Yin, Wang, Yuan, Han, Ji, Sun, Wang, "Content-Variant Reference Image Quality Assessment via Knowledge Distillation",
AAAI 2022, arXiv:2202.13123.

Teacher and student are one network. At four levels of a backbone, features of a reference and of the image are pooled
to 7 x 7 tokens; an MLP-Mixer reads their difference and another one the image's tokens. The teacher's reference is the
pristine image, tile by tile; the student's are images of other contents, summed up once for all tiles.

Differences from the paper: images of any size keep their resolution and are compared tile by tile, and patches are
compared one by one, so that neither their number nor their order matters (the paper folds ten random patches into the
channels, ``folded_patches=10``). As the content of a reference differs anyway, the student sees the mean over all its
tiles, and over all references: one set of 49 tokens, small enough to keep. The head scores every token and averages
the scores; where it is affine, as the paper's, this is the score of the mean token.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from drmetric.networks.backbones import create_backbone
from drmetric.networks.levels import GRID, LevelsNetwork, check_levels, tile_tokens
from drmetric.networks.mixer import Mixer

__all__ = ["CVRKD", "PAPER", "Branches", "CVRKDConfig", "summary"]


@dataclass(frozen=True)
class CVRKDConfig:
    """Shape of the network, teacher or student; the defaults are the light one, `PAPER` is the paper's.

    Attributes:
        backbone: a name of `drmetric.networks.backbones.create_backbone`.
        taps: the stages whose outputs are the levels, in order; the first is 0.
        frozen_backbone: the backbone is not trained and stays in evaluation mode.
        width: channels of a level.
        mixer_width: channels inside the mixers.
        difference_depth: blocks of the mixer of differences.
        image_depth: blocks of the image's mixer.
        affine_head: no activation in the head.
        folded_patches: patches of an image that are folded into the channels; 1 compares each on its own.
        tile: side in pixels to which an image is cut, about; smaller images are one tile.
        blind: the reference is not looked at (an ablation).
    """

    backbone: str = "mobilenetv2"
    taps: tuple[int, ...] = (1, 2, 3, 4)
    frozen_backbone: bool = False
    width: int = 64
    mixer_width: int = 128
    difference_depth: int = 6
    image_depth: int = 3
    affine_head: bool = False
    folded_patches: int = 1
    tile: int = 224
    blind: bool = False

    def __post_init__(self) -> None:
        check_levels(self, "mixer_width", "difference_depth", "image_depth", "folded_patches")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


PAPER = CVRKDConfig(
    backbone="timm:resnet50",
    frozen_backbone=True,
    mixer_width=256,
    difference_depth=18,
    image_depth=9,
    affine_head=True,
    folded_patches=10,
)


class Branches(NamedTuple):
    """What `CVRKD.branches` yields.

    Attributes:
        logits: (N,P,7h,7w), as of `CVRKD.forward`.
        differences: output of every block of the mixer of differences, each (N,P,h,w,49,mixer_width).
    """

    logits: Tensor
    differences: list[Tensor]


class CVRKD(LevelsNetwork):
    """The network; teacher and student differ in the reference features that they are given.

    Tokens are (N,P,h,w,49,C): N images, P patches of each, h x w tiles, C channels of all levels. Reference features
    are tokens too: `tokens` of an aligned image, or (N,1,1,1,49,C) of `reference_features`, which may be averaged over
    many images.

    Attributes:
        bank: (1,1,1,1,49,C), reference features that come with the weights; zeros where there are none.
    """

    config: CVRKDConfig
    bank: Tensor

    def __init__(self, config: CVRKDConfig | None = None) -> None:
        config = config or CVRKDConfig()
        super().__init__(config, create_backbone(config.backbone, max(config.taps) + 1))
        inputs, width = len(config.taps) * config.folded_patches * config.width, config.mixer_width
        self.difference_mixer = Mixer(inputs, width, GRID**2, config.difference_depth)
        self.image_mixer = Mixer(inputs, width, GRID**2, config.image_depth)
        activation = nn.Identity() if config.affine_head else nn.GELU()
        self.score_head = nn.Sequential(nn.Linear(2 * width, width), activation, nn.Linear(width, 1))
        self.register_buffer("bank", torch.zeros(1, 1, 1, 1, GRID**2, inputs))
        self.train()

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """Local scores before calibration, whose mean over all axes but the first is the image's.

        Args:
            image: (N,3,H,W) in [0, 1], or P patches of each image, (N,P,3,H,W).
            reference: of any content and size, likewise; a reference for each image, or one for all.

        Returns:
            (N,P,7h,7w) logits of the tokens of h x w tiles; P is 1 for whole images, and is divided by
            `folded_patches`.
        """
        return self.score(image, self.reference_features(reference))

    def reference_features(self, reference: Tensor) -> Tensor:
        """(N,1,1,1,49,C): tokens of (N,3,H,W) or (N,P,3,H,W) references, averaged over tiles and patches."""
        return summary(self.tokens(reference))

    def score(self, image: Tensor, features: Tensor) -> Tensor:
        """As `forward`, for reference features of each image, or of one reference for all."""
        return self.branches(image, features).logits

    def branches(self, image: Tensor, features: Tensor) -> Branches:
        """As `score`, with the features that are distilled."""
        return self.compare(self.tokens(image), features)

    def compare(self, tokens: Tensor, features: Tensor) -> Branches:
        """As `branches`, for an image's tokens."""
        if self.config.blind:
            features = torch.zeros_like(features)
        difference, blocks = self.difference_mixer(features - tokens)
        content, _ = self.image_mixer(tokens)
        local = self.score_head(torch.cat([difference, content], -1))[..., 0].unflatten(-1, (GRID, GRID))
        return Branches(local.transpose(3, 4).flatten(4).flatten(2, 3), blocks)

    def tokens(self, image: Tensor) -> Tensor:
        """Tokens of (N,3,H,W) images in [0, 1], or of patches (N,P,3,H,W)."""
        tokens = self.tokens_of(self.pooled(image))
        return tokens.reshape(image.shape[0], -1, *tokens.shape[2:])

    def tokens_of(self, pooled: Tensor) -> Tensor:
        """(N,1,h,w,49,C): tokens of `pooled` images, or of groups of folded patches."""
        levels = torch.stack(self.levels(pooled), 1)
        by_patch = torch.unflatten(levels, 0, (-1, self.config.folded_patches))
        by_level = by_patch.transpose(1, 2)
        return tile_tokens(by_level.flatten(1, 3)).unsqueeze(1)


def summary(tokens: Tensor) -> Tensor:
    """(N,1,1,1,49,C): the mean of tokens (N,P,h,w,49,C) over patches and tiles."""
    return tokens.mean((1, 2, 3), keepdim=True)
