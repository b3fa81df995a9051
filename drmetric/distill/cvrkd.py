"""Training of CVRKD-IQA: the score's loss, and distillation of the difference features (arXiv:2202.13123).

The teacher compares an image with its pristine original, the student with images of other contents. Where an image has
no pristine original, the teacher is silent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric.config import check_ranges
from drmetric.data.rated import RatedImage
from drmetric.distill.datasets.rated import RatedBatch, references_of
from drmetric.distill.loop import OpinionDistillation, order_losses
from drmetric.distill.recipe import AT_LEAST_0, SHARE, FrozenRecipe, FrozenTraining, OpinionDataConfig
from drmetric.errors import ConfigError
from drmetric.networks.cvrkd import CVRKD, CVRKDConfig, summary


@dataclass(frozen=True)
class CVRKDTraining(FrozenTraining):
    """How to train NARIQA and its teacher; the student's references are images of other contents.

    Attributes:
        distillation: weight of the distance from the teacher's difference features.
        references: folder of high-quality images, ``$VARIABLES`` expanded: the student's references where a set has no
            pristine images of its own.
        bank_share: of the student's steps, those in which the mean of a batch's references serves all its images, as
            the bank does in `drmetric.NARIQA`.
    """

    distillation: float = 1.0
    references: str = ""
    bank_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "[train]", distillation=AT_LEAST_0, bank_share=SHARE)


@dataclass(frozen=True)
class CVRKDRecipe(FrozenRecipe):
    """metric = "nariqa"."""

    train: CVRKDTraining
    network: CVRKDConfig = field(default_factory=CVRKDConfig)

    def module(self) -> "CVRKDDistillation":
        return CVRKDDistillation(self)

    def references(self, rated: Sequence[RatedImage]) -> dict[str, Path] | None:
        return None if self.train.full_reference else references_of(rated, self.train.references)


def score_loss(score: Tensor, target: Tensor) -> Tensor:
    """Mean distance between scores and targets, both (N,)."""
    return F.l1_loss(score, target)


def difference_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Sum over all blocks of the mean squared distance of the student's output from the teacher's.

    Args:
        student: outputs of equal shapes, as of `drmetric.networks.cvrkd.CVRKD.branches`.
        teacher: likewise; no gradients go there.

    Raises:
        ConfigError: mixers of unequal depth or shape.
    """
    ours, theirs = ([tuple(block.shape) for block in blocks] for blocks in (student, teacher))
    if ours != theirs:
        raise ConfigError(
            f"the teacher's mixer of differences yields {len(theirs)} blocks of {theirs[0]}, the student's {len(ours)} "
            f"of {ours[0]}; wanted the same",
            "give student and teacher the same difference_depth, mixer_width and tile",
        )
    pairs = zip(student, teacher, strict=True)
    return torch.stack([F.mse_loss(block, taught.detach()) for block, taught in pairs]).sum()


class CVRKDDistillation(OpinionDistillation):
    """Trains a `CVRKD`, teacher or student by its recipe, and validates it by its SRCC with one set's scores."""

    recipe: CVRKDRecipe
    network: CVRKD

    def __init__(self, recipe: CVRKDRecipe) -> None:
        super().__init__(recipe, CVRKD(recipe.network))
        self.network.bank.zero_()

    def losses(self, rated: RatedBatch, settings: OpinionDataConfig) -> dict[str, Tensor]:
        """The weighted losses on one set's part of a batch, by name; distillation where it has pristine images."""
        branches = self.network.compare(self._tokens(self.network, rated.image), self.reference_features_of(rated))
        score = branches.logits.mean((1, 2, 3)).sigmoid()
        losses = order_losses(score, rated.score, settings)
        if settings.regression:
            losses["regression"] = settings.regression * score_loss(score, rated.score)
        for teacher in self.teachers(settings) if rated.pristine.numel() else ():
            with torch.no_grad():
                image, pristine = (self._tokens(teacher, each) for each in (rated.image, rated.pristine))
                taught = teacher.compare(image, pristine).differences
            factor = settings.distillation * self.recipe.train.distillation
            losses["distillation"] = factor * difference_loss(branches.differences, taught)
        return losses

    def reference_features_of(self, rated: RatedBatch) -> Tensor:
        """Of the pristine images, aligned (teacher), or of other contents (student)."""
        if self.recipe.train.full_reference:
            return self._tokens(self.network, rated.needed_pristine())
        features = summary(self._tokens(self.network, rated.reference))
        shared = torch.rand(()) < self.recipe.train.bank_share
        return features.mean(0, keepdim=True) if shared else features

    def _tokens(self, network: CVRKD, images: Tensor) -> Tensor:
        return network.tokens_of(images) if self.keeps_features else network.tokens(images)

    def prediction(self, rated: RatedBatch) -> tuple[Tensor, Tensor]:
        network = self.network
        full_reference = self.recipe.train.full_reference
        features = (
            network.tokens(rated.needed_pristine()) if full_reference else network.reference_features(rated.reference)
        )
        logits = network.score(rated.image, features)
        score = logits.mean((1, 2, 3)).sigmoid()
        return score, score * (1 - score)


RECIPE = CVRKDRecipe
