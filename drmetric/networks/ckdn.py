"""CKDN: quality of a restored image given the degraded image it was made from.

Zheng, Yang, Fu, Zha, Luo, "Learning Conditional Knowledge Distillation for Degraded-Reference Image Quality
Assessment", ICCV 2021, arXiv:2108.07948.

Two embeddings with separate weights, one for restored images (quality-sensitive) and one for references
(degradation-tolerant), are subtracted at stride 4; a score head reads the residual. Teacher and student are one
network: the teacher's reference is the pristine image, the student's is the degraded one, and training draws
the two references' embeddings together.

Differences from the released model: the stem keeps its norm and activation, images keep their resolution, and
the head scores every position and averages the scores, so that the map's mean is the score (the paper averages
features first; ``pool="features"`` does that).
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.config import check_ranges
from drmetric.errors import ConfigError
from drmetric.networks.backbones import DROPOUT, MOST_STAGES, Backbone, create_backbone

__all__ = ["CKDN", "PAPER", "UNCALIBRATED", "WIDENED", "Branches", "CKDNConfig", "Embedding", "QualityHead"]


UNCALIBRATED = (1.0, 0.0)
"""Slope and offset of scores as training has them."""


@dataclass(frozen=True)
class CKDNConfig:
    """Shape of the network; the defaults are the fast one, `PAPER` is the paper's.

    Attributes:
        backbone: a name of `drmetric.networks.backbones.create_backbone`.
        embedding_stages: stages in each embedding.
        head_stages: stages in each head, five at most with those of an embedding.
        hidden: widths of the head's MLP.
        dropout: in the head's MLP, while training.
        pool: what is averaged over the positions, the local "scores" or the "features" before the MLP.
        shared_embedding: one embedding for restored images and references (an ablation of the paper).
        blind: the reference is not looked at (an ablation of the paper).
        beside: the head sees the restored image's embedding beside the residual (not in the paper); for the backbones
            "mobilenetv2" and "patches".
        colours: each embedding ends in the image's own colours, averaged to its stride, so that the residual holds what
            a cast, a tone curve or a moved edge changes (not in the paper); for the backbones that `beside` is for.
        multi_scale: the MLP sees what every stage of the head yields, averaged to the stride of the last one (not in
            the paper).
        calibration: slope, above 0, and offset of the logit that becomes the score: what the numbers mean on a scale on
            which pristine photographs come near 1. Training does without.
    """

    backbone: str = "patches"
    embedding_stages: int = 2
    head_stages: int = 2
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.0
    pool: Literal["scores", "features"] = "scores"
    shared_embedding: bool = False
    blind: bool = False
    beside: bool = False
    colours: bool = False
    multi_scale: bool = False
    calibration: tuple[float, ...] = UNCALIBRATED

    def __post_init__(self) -> None:
        stages = (1, MOST_STAGES - 1)
        check_ranges(
            self, "[network]", embedding_stages=stages, head_stages=stages, hidden=(1, math.inf), dropout=DROPOUT
        )
        if self.embedding_stages + self.head_stages > MOST_STAGES:
            raise ConfigError(
                f"[network]: embedding_stages is {self.embedding_stages}, head_stages is {self.head_stages}; wanted "
                f"{MOST_STAGES} stages together at most",
                f"head_stages = {MOST_STAGES - self.embedding_stages}",
            )
        if len(self.calibration) != 2 or self.calibration[0] <= 0:
            raise ConfigError(
                f"calibration is {list(self.calibration)}; wanted a slope above 0 and an offset",
                "calibration = [1.0, 0.0]",
            )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


PAPER = CKDNConfig(
    backbone="timm:resnet50", embedding_stages=2, head_stages=1, hidden=(2048, 2048), dropout=0.5, pool="features"
)


WIDENED = ("mobilenetv2", "patches")
"""Backbones each of whose stages begins with one convolution of all that it is given."""


COLOUR_GAIN = 8.0
"""Of the colours in an embedding, so that a cast that is just seen weighs like a feature."""


class Branches(NamedTuple):
    """What one training step of `CKDN.branches` yields; scores are (N,) logits, embeddings (N,C,h,w).

    `relative` is None without a relative head.
    """

    student_a: Tensor
    student_b: Tensor
    teacher_a: Tensor
    teacher_b: Tensor
    relative: Tensor | None
    degraded: Tensor
    pristine: Tensor


class Embedding(nn.Module):
    """The first stages of a backbone: (N,3,H,W) in [0, 1] to (N,C,h,w), at a quarter or an eighth of the size.

    With `colours` three more channels hold the image itself, averaged.
    """

    def __init__(self, backbone: Backbone, *, blind: bool = False, colours: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.blind = blind
        self.colours = colours

    def forward(self, image: Tensor) -> Tensor:
        features = self.backbone.normalise(image)
        for stage in self.backbone.stages:
            features = stage(features)
        if self.colours:
            averaged = F.avg_pool2d(image, self.backbone.strides[-1], ceil_mode=True, count_include_pad=False)
            colours = (COLOUR_GAIN * (averaged - 0.5)).contiguous(memory_format=torch.channels_last)
            features = torch.cat([features, colours], 1)
        return torch.zeros_like(features) if self.blind else features


class QualityHead(nn.Module):
    """The following stages and an MLP: a residual (N,C,h,w) to local scores (N,1,h',w')."""

    def __init__(self, backbone: Backbone, config: CKDNConfig) -> None:
        super().__init__()
        first = config.embedding_stages
        self.stages = nn.Sequential(*list(backbone.stages)[first:])
        if config.beside or config.colours:
            each = backbone.channels[first - 1] + (3 if config.colours else 0)
            _widen(self.stages, each * (2 if config.beside else 1))
        strides = backbone.strides[first:]
        self.kernels = [strides[-1] // stride for stride in strides] if config.multi_scale else []
        channels = sum(backbone.channels[first:]) if config.multi_scale else backbone.channels[-1]
        self.pool_features = config.pool == "features"
        layers: list[nn.Module] = []
        for width in config.hidden:
            layers += [nn.Conv2d(channels, width, 1), nn.ReLU(inplace=True), nn.Dropout(config.dropout)]
            channels = width
        self.mlp = nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))

    def forward(self, residual: Tensor) -> Tensor:
        features = self._scales(residual) if self.kernels else self.stages(residual)
        if self.pool_features:
            features = features.mean((-2, -1), keepdim=True)
        scores: Tensor = self.mlp(features)
        return scores

    def _scales(self, features: Tensor) -> Tensor:
        averaged = []
        for stage, kernel in zip(self.stages, self.kernels, strict=True):
            features = stage(features)
            averaged.append(F.avg_pool2d(features, kernel, ceil_mode=True))
        return torch.cat(averaged, 1)


def _widen(stages: nn.Module, inputs: int) -> None:
    """Give the first convolution this many inputs, of which the further ones count for nothing at first."""
    first = next(module for module in stages.modules() if isinstance(module, nn.Conv2d))
    further = first.weight.new_zeros(first.out_channels, inputs - first.in_channels, *first.kernel_size)
    first.weight = nn.Parameter(torch.cat([first.weight.detach(), further], 1))
    first.in_channels = inputs


class CKDN(nn.Module):
    """The degraded-reference network; its embeddings start equal.

    Args:
        config: its shape.
        relative: add the relative head, which only training uses.

    Raises:
        ConfigError: `beside` or `colours` with a backbone that cannot have it.
    """

    def __init__(self, config: CKDNConfig | None = None, *, relative: bool = False) -> None:
        super().__init__()
        self.config = config = config or CKDNConfig()
        if (config.beside or config.colours) and config.backbone not in WIDENED:
            fix = "beside = false" if config.beside else "colours = false"
            raise ConfigError(f"the head of backbone {config.backbone!r} cannot be widened", fix)
        self.restored_embedding = self._embedding()
        self.reference_embedding = (
            self.restored_embedding if config.shared_embedding else self._embedding(blind=config.blind)
        )
        self.reference_embedding.load_state_dict(self.restored_embedding.state_dict())
        self.score_head, self.stride = self._head(config)
        self.relative_head = self._head(replace(config, beside=False))[0] if relative else None

    @property
    def reach(self) -> int | None:
        """Of the embedding and the head together, as of `Backbone`."""
        return self._reach

    def _embedding(self, *, blind: bool = False) -> Embedding:
        backbone = create_backbone(self.config.backbone, self.config.embedding_stages)
        return Embedding(backbone, blind=blind, colours=self.config.colours)

    def _head(self, config: CKDNConfig) -> tuple[QualityHead, int]:
        backbone = create_backbone(config.backbone, config.embedding_stages + config.head_stages)
        self._reach = backbone.reach
        return QualityHead(backbone, config), backbone.strides[-1]

    def forward(self, restored: Tensor, reference: Tensor) -> Tensor:
        """Local scores before calibration.

        Args:
            restored: (N,3,H,W) in [0, 1].
            reference: (N,3,H,W) in [0, 1], the degraded image (student) or the pristine one (teacher).

        Returns:
            (N,1,h,w) logits with h = ceil(H / stride); (N,1,1,1) where the config pools features.
        """
        return self.score(restored, self.reference_embedding(reference))

    def score(self, restored: Tensor, reference_features: Tensor) -> Tensor:
        """As `forward`, for a reference that `reference_embedding` has already seen."""
        return self.score_features(self.restored_embedding(restored), reference_features)

    def score_features(self, restored: Tensor, reference: Tensor) -> Tensor:
        """As `forward`, of two embeddings (N,C,h,w)."""
        seen = restored.float() - reference.float()
        if self.config.beside:
            seen = torch.cat([seen, restored.float()], 1)
        scores: Tensor = self.score_head(seen)
        return scores

    def branches(self, a: Tensor, b: Tensor, degraded: Tensor, pristine: Tensor) -> Branches:
        """Both branches on two restored images `a` and `b` of each content, for training.

        All images are (N,3,H,W) in [0, 1].
        """
        count = len(a)
        restored = self.restored_embedding(torch.cat([a, b]))
        references = self.reference_embedding(torch.cat([degraded, pristine]))
        degraded_features, pristine_features = references.split(count)
        first, second = restored.split(count)
        both = torch.cat([degraded_features, degraded_features, pristine_features, pristine_features])
        scores = self.score_features(torch.cat([restored, restored]), both)
        student_a, student_b, teacher_a, teacher_b = scores.mean((1, 2, 3)).view(4, count).unbind()
        relative = self.relative_head(first - second).mean((1, 2, 3)) if self.relative_head else None
        return Branches(student_a, student_b, teacher_a, teacher_b, relative, degraded_features, pristine_features)
