"""MobileIQA: no-reference quality from several opinions, light enough for a phone.

Chen, Qin, Fu, Gao, Ma, "MobileIQA: Exploiting Mobile-level Diverse Opinion Network For No-Reference Image Quality
Assessment Using Knowledge Distillation", ECCV Workshops 2024, arXiv:2409.01212.

A local block brings every stage of a backbone to one width and one grid. Three modules of multi-view attention
learning (MAL) look at these maps, each from the view of positions and from that of channels, and each yields an
opinion; a fusion MAL and a small head make the score of them. Teacher and student are one class with other
backbones, so opinions and local features can be distilled.

`PAPER_STUDENT` and `PAPER_TEACHER` are the released shapes, in which 95 % of the weights are attention over tokens
of 2,420 dimensions. `MobileIQAConfig()` is ours: views that attend in a low dimension and take any grid, so that a
grid keeps the aspect ratio of its image.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.config import check_ranges
from drmetric.networks.backbones import DROPOUT, MOST_STAGES, create_backbone
from drmetric.networks.pooling import average_to

__all__ = [
    "MAL",
    "PAPER_STUDENT",
    "PAPER_TEACHER",
    "ChannelAttention",
    "FullViews",
    "GatedAttention",
    "Judgement",
    "LocalBlock",
    "LowViews",
    "MobileIQA",
    "MobileIQAConfig",
    "ScoreHead",
    "TokenAttention",
    "attended",
    "grid_size",
]


@dataclass(frozen=True)
class MobileIQAConfig:
    """Shape of the network; the defaults are the shipped student's.

    Attributes:
        backbone: a name of `drmetric.networks.backbones.create_backbone`; all of its stages are used, five at most.
        width: channels of local features and opinions.
        local_hidden: channels inside a local block; without `full_attention` at most twice those of its stage.
        tokens: cells of the grid, which has the aspect ratio of the image.
        opinions: MALs side by side.
        attention_width: dimensions of queries and keys in the views.
        full_attention: the paper's views, on a square grid: every linear map as wide as its tokens.
        scrambled: with `full_attention`, order the views' axes as the released code does, channels of neighbouring
            maps mixed in one token and results laid out transposed; for released weights alone.
        dropout: before the score head, while training.
    """

    backbone: str = "mobilenetv2"
    width: int = 64
    local_hidden: int = 128
    tokens: int = 100
    opinions: int = 3
    attention_width: int = 64
    full_attention: bool = False
    scrambled: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("local_hidden", "tokens", "opinions", "attention_width"), (1, math.inf))
        check_ranges(self, "[network]", **sizes, width=(2, math.inf), dropout=DROPOUT)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


PAPER_STUDENT = MobileIQAConfig(
    backbone="timm:mobilenetv3_large_100",
    width=256,
    local_hidden=512,
    tokens=22 * 22,
    attention_width=32,
    full_attention=True,
)
PAPER_TEACHER = MobileIQAConfig(**{**PAPER_STUDENT.as_dict(), "backbone": "timm:mobilevitv2_200"})


class Judgement(NamedTuple):
    """What the network thinks of N images.

    Attributes:
        scores: (N,1,h,w) local logits of the fused opinion; their mean is the score's logit.
        opinion_scores: (N,K,h,w) local logits of each of K opinions.
        opinions: (N,K,C,h,w) features of the opinions.
        local: (N,M,C,h,w) local features of the backbone's M stages.
    """

    scores: Tensor
    opinion_scores: Tensor
    opinions: Tensor
    local: Tensor


def grid_size(height: int, width: int, cells: int) -> tuple[int, int]:
    """Rows and columns of a grid of about `cells` cells that are about square in an image of that size.

    >>> grid_size(512, 512, 100), grid_size(1080, 1920, 100)
    ((10, 10), (8, 14))
    """
    rows = max(1, round(math.sqrt(cells * height / width)))
    return rows, max(1, round(rows * width / height))


class LocalBlock(nn.Module):
    """A stage's features (N,c,H,W) to (N,C,h,w) on a grid of the given size."""

    def __init__(self, channels: int, hidden: int, width: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.project = nn.Conv2d(hidden, width, 1)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        projected: Tensor = self.project(average_to(self.expanded(features), size))
        return projected

    def expanded(self, features: Tensor) -> Tensor:
        """What is averaged over the cells of the grid."""
        return F.gelu(self.expand(features))


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Single-head attention of tokens (N,T,D), with the axis of heads that exporters want."""
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]


class GatedAttention(nn.Module):
    """Attention between the positions of one map (N,C,P), added through a learned gate that starts closed."""

    def __init__(self, width: int, attention_width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, attention_width)
        self.key = nn.Linear(width, attention_width)
        self.value = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        tokens = features.transpose(1, 2)
        seen = attended(self.query(tokens), self.key(tokens), self.value(tokens))
        return features + self.gate * seen.transpose(1, 2)


class TokenAttention(nn.Module):
    """Single-head attention between tokens (N,T,D); queries and keys are as wide as the tokens unless told less."""

    def __init__(self, width: int, attention_width: int | None = None) -> None:
        super().__init__()
        self.query = nn.Linear(width, attention_width or width)
        self.key = nn.Linear(width, attention_width or width)
        self.value = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return attended(self.query(tokens), self.key(tokens), self.value(tokens))


class ChannelAttention(nn.Module):
    """Attention between the channels of (N,C,L) maps, whatever L: cross-covariance (XCiT, NeurIPS 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.temperature = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        tokens = features.transpose(1, 2)
        query, key = (F.normalize(layer(tokens), dim=1) for layer in (self.query, self.key))
        attention = (query.transpose(1, 2) @ key * self.temperature).softmax(-1)
        seen: Tensor = attention @ self.value(tokens).transpose(1, 2)
        return seen


class LowViews(nn.Module):
    """Views of (N,M,C,P) maps by positions and by channels, averaged, for any number of positions P."""

    def __init__(self, maps: int, config: MobileIQAConfig) -> None:
        super().__init__()
        self.positions = TokenAttention(maps * config.width, config.attention_width)
        self.channels = ChannelAttention(config.width)

    def forward(self, maps: Tensor) -> Tensor:
        by_position: Tensor = self.positions(maps.flatten(1, 2).transpose(1, 2))
        by_channel: Tensor = self.channels(maps.transpose(1, 2).flatten(2))
        views = by_position.transpose(1, 2).reshape(maps.shape)
        # Not a view: torch.compile takes the strides of its gradient for others than they are.
        return (views + torch.stack(by_channel.chunk(maps.shape[1], dim=2), dim=1)) / 2


class FullViews(nn.Module):
    """The paper's views of (N,M,C,P) maps: tokens of M x P dimensions, and tokens of M x C dimensions."""

    def __init__(self, maps: int, config: MobileIQAConfig) -> None:
        super().__init__()
        self.spatial = TokenAttention(maps * config.tokens)
        self.channel = TokenAttention(maps * config.width)
        self.scrambled = config.scrambled

    def forward(self, maps: Tensor) -> Tensor:
        batch, count, width, places = maps.shape
        by_channel = self.channel(maps.flatten(1, 2).transpose(1, 2))
        if self.scrambled:
            spatial = self.spatial(maps.flatten(1, 2).reshape(batch, width, count * places)).view(maps.shape)
            channel = by_channel.reshape(maps.shape)
        else:
            spatial = self.spatial(maps.transpose(1, 2).flatten(2)).view(batch, width, count, places).transpose(1, 2)
            channel = by_channel.transpose(1, 2).reshape(maps.shape)
        mean: Tensor = (spatial + channel) / 2
        return mean


class MAL(nn.Module):
    """Multi-view attention learning: (N,M,C,P) maps to one opinion (N,C,P)."""

    def __init__(self, maps: int, config: MobileIQAConfig) -> None:
        super().__init__()
        self.own = nn.ModuleList(GatedAttention(config.width, config.attention_width) for _ in range(maps))
        self.views = (FullViews if config.full_attention else LowViews)(maps, config)

    def forward(self, maps: Tensor) -> Tensor:
        attended = torch.stack([own(each) for own, each in zip(self.own, maps.unbind(1), strict=True)], 1)
        views: Tensor = self.views(attended)
        return views.mean(1) if isinstance(self.views, FullViews) else (attended + views).mean(1)


class ScoreHead(nn.Module):
    """An opinion (N,C,h,w) to local logits (N,1,h,w)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout2d(dropout),
            nn.Conv2d(width, width // 2, 1),
            nn.GELU(),
            nn.Conv2d(width // 2, width // 2, 3, 1, 1, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(width // 2, 1, 1),
        )

    def forward(self, opinion: Tensor) -> Tensor:
        logits: Tensor = self.layers(opinion)
        return logits


class MobileIQA(nn.Module):
    """The no-reference network, teacher or student by its config.

    Attributes:
        uncertainty: (2,), a and b: a score's standard error is the root of a^2 + b^2 times the variance of the
            opinions' scores. Zeros where it was never calibrated.
    """

    uncertainty: Tensor

    def __init__(self, config: MobileIQAConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MobileIQAConfig()
        self.backbone = create_backbone(config.backbone, MOST_STAGES, cut=False)
        channels = self.backbone.channels
        self.local_blocks = nn.ModuleList(
            LocalBlock(
                each, config.local_hidden if config.full_attention else min(config.local_hidden, 2 * each), config.width
            )
            for each in channels
        )
        self.opinions = nn.ModuleList(MAL(len(channels), config) for _ in range(config.opinions))
        self.fusion = MAL(config.opinions, config)
        self.head = ScoreHead(config.width, config.dropout)
        self.register_buffer("uncertainty", torch.zeros(2))

    def forward(self, image: Tensor) -> Judgement:
        """Judge (N,3,H,W) images in [0, 1], whole, at their own resolution and aspect ratio."""
        return self.judge(self.local_features(image))

    def judge(self, local: Tensor) -> Judgement:
        """As `forward`, for `local_features`."""
        batch, _, width, rows, columns = local.shape
        maps = local.flatten(-2)
        opinions = torch.stack([opinion(maps) for opinion in self.opinions], 1)
        fused = self.fusion(opinions).view(batch, width, rows, columns)
        opinions = opinions.view(batch, -1, width, rows, columns)
        opinion_scores = torch.cat([self.head(opinion) for opinion in opinions.unbind(1)], 1)
        return Judgement(self.head(fused), opinion_scores, opinions, local)

    def local_features(self, image: Tensor) -> Tensor:
        """(N,M,C,h,w): every stage of the backbone at one width on one grid."""
        size = self.grid(image.shape[-2], image.shape[-1])
        taps = self.backbone.features(image)
        return torch.stack([block(tap, size) for block, tap in zip(self.local_blocks, taps, strict=True)], 1)

    def expanded(self, image: Tensor) -> list[Tensor]:
        """What the local blocks average, at the strides of the backbone."""
        taps = self.backbone.features(image)
        return [block.expanded(tap) for block, tap in zip(self._blocks, taps, strict=True)]

    def projected(self, averages: Sequence[Tensor]) -> Tensor:
        """`local_features` of what `expanded` yields, averaged over the cells of the grid."""
        return torch.stack([block.project(each) for block, each in zip(self._blocks, averages, strict=True)], 1)

    @property
    def _blocks(self) -> list[LocalBlock]:
        return [block for block in self.local_blocks if isinstance(block, LocalBlock)]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns on which an image of that size is judged."""
        if self.config.full_attention:
            side = math.isqrt(self.config.tokens)
            return side, side
        return grid_size(height, width, self.config.tokens)
