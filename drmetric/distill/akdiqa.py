"""Training of AKD-IQA: the score's loss, and inter-level distillation of the difference features.

AKD-IQA, IEEE Transactions on Broadcasting 2025, doi:10.1109/TBC.2025.3549985.

The paper learns a softmax of level weights beside the network. Free, it lowers the loss by moving all weight to the
level with the smallest distance; `LevelWeights` keeps a floor under each.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.config import check_ranges
from drmetric.distill.datasets.rated import RatedBatch
from drmetric.distill.loop import OpinionDistillation, order_losses
from drmetric.distill.recipe import AT_LEAST_0, SHARE, FrozenRecipe, FrozenTraining, OpinionDataConfig
from drmetric.distortions.redistort import redistort
from drmetric.errors import ConfigError
from drmetric.networks.akdiqa import AKDIQA, AKDIQAConfig, Branches

Pairing = Literal["every_second", "last"]
"""Which blocks of a deeper teacher supervise the student's."""


@dataclass(frozen=True)
class AKDIQATraining(FrozenTraining):
    """How to train NRIQA("akd") and its teacher.

    Attributes:
        distillation: factor of the distance from the teacher's difference features.
        pairing: which blocks of a deeper teacher supervise the student's.
        level_floor: of the learned weights of the levels: 0 leaves them free, 1 fixes them all equal.
    """

    distillation: float = 1.0
    pairing: Literal["every_second", "last"] = "every_second"
    level_floor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "[train]", distillation=AT_LEAST_0, level_floor=SHARE)


@dataclass(frozen=True)
class AKDIQARecipe(FrozenRecipe):
    """metric = "nriqa-akd"."""

    train: AKDIQATraining
    network: AKDIQAConfig = field(default_factory=AKDIQAConfig)

    def module(self) -> "AKDIQADistillation":
        return AKDIQADistillation(self)

    @property
    def change(self) -> Callable[[Tensor, int], Tensor] | None:
        return None if self.train.full_reference else redistort


def score_loss(score: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Smooth L1 between scores and targets, both (N,): quadratic up to a distance of `beta`, linear beyond."""
    return F.smooth_l1_loss(score, target, beta=beta)


def paired_blocks(teacher: int, student: int, pairing: Pairing) -> list[int]:
    """The teacher's block m(k) for each of the student's blocks k, counted from 0.

    "every_second" is the second, fourth, ... block of a teacher of twice the depth, and every n-th of one n times as
    deep; "last" is the teacher's last blocks.

    Raises:
        ConfigError: depths that cannot be paired.
    """
    if pairing == "last" and teacher >= student:
        return list(range(teacher - student, teacher))
    if pairing == "every_second" and teacher >= student and teacher % student == 0:
        step = teacher // student
        return list(range(step - 1, teacher, step))
    raise ConfigError(
        f"{teacher} teacher blocks cannot supervise {student} student blocks by pairing {pairing!r}",
        f"give the teacher {2 * student} blocks",
    )


def level_losses(student: list[list[Tensor]], teacher: list[list[Tensor]], pairing: Pairing = "every_second") -> Tensor:
    """Sum over the student's blocks of the mean squared distance from the teacher's, per level: (L,).

    Args:
        student: per level, per block, features (B,T,C), as of `drmetric.networks.akdiqa.AKDIQA.branches`.
        teacher: likewise, with at least as many blocks; no gradients go there.
        pairing: which of them.
    """
    pairs = paired_blocks(len(teacher[0]), len(student[0]), pairing)
    return torch.stack(
        [
            torch.stack([F.mse_loss(block, theirs[m].detach()) for block, m in zip(ours, pairs, strict=True)]).sum()
            for ours, theirs in zip(student, teacher, strict=True)
        ]
    )


def inter_level_loss(
    student: list[list[Tensor]],
    teacher: list[list[Tensor]],
    weights: Tensor,
    factor: float = 1.0,
    pairing: Pairing = "every_second",
) -> Tensor:
    """`factor` times the sum of `level_losses`, each times its weight of `weights` (L,)."""
    return factor * (weights * level_losses(student, teacher, pairing)).sum()


class LevelWeights(nn.Module):
    """Learned weights of the levels that sum to 1, none below `floor` / `levels`.

    Args:
        levels: how many.
        floor: 0 is the paper's free softmax, 1 gives fixed equal weights.
    """

    def __init__(self, levels: int = 4, floor: float = 0.5) -> None:
        super().__init__()
        if not 0 <= floor <= 1:
            raise ConfigError(f"the floor of level weights is {floor}; wanted 0 to 1", "floor=0.5")
        self.levels = levels
        self.floor = floor
        self.logits = nn.Parameter(torch.zeros(levels))

    def forward(self) -> Tensor:
        """(L,) weights."""
        return self.floor / self.levels + (1 - self.floor) * self.logits.softmax(0)


class AKDIQADistillation(OpinionDistillation):
    """Trains an `AKDIQA`, teacher or student by its recipe, and validates it by its SRCC with one set's scores."""

    recipe: AKDIQARecipe
    network: AKDIQA

    def __init__(self, recipe: AKDIQARecipe) -> None:
        super().__init__(recipe, AKDIQA(recipe.network))
        self.level_weights = LevelWeights(len(recipe.network.taps), recipe.train.level_floor)
        self.level_weights.requires_grad_(bool(self._teacher))

    def reference(self, rated: RatedBatch, seed: int) -> Tensor:
        """What images are compared with: the pristine ones (teacher), or themselves distorted again (student)."""
        if self.recipe.train.full_reference:
            return rated.needed_pristine()
        return rated.reference if self.keeps_features else redistort(rated.image, seed)

    def losses(self, rated: RatedBatch, settings: OpinionDataConfig) -> dict[str, Tensor]:
        """The weighted losses on one set's part of a batch, by name; distillation where it has pristine images."""
        train = self.recipe.train
        reference = self.reference(rated, self.global_step)
        branches = self._branches(self.network, rated.image, reference)
        score = branches.logits.mean((1, 2, 3)).sigmoid()
        losses = order_losses(score, rated.score, settings)
        if settings.regression:
            losses["regression"] = settings.regression * score_loss(score, rated.score, beta=0.1)
        for teacher in self.teachers(settings) if rated.pristine.numel() else ():
            with torch.no_grad():
                taught = self._branches(teacher, rated.image, rated.pristine).differences
            factor = settings.distillation * train.distillation
            losses["distillation"] = inter_level_loss(
                branches.differences, taught, self.level_weights(), factor, train.pairing
            )
        return losses

    def _branches(self, network: AKDIQA, image: Tensor, reference: Tensor) -> Branches:
        return network.compare(image, reference) if self.keeps_features else network.branches(image, reference)

    def prediction(self, rated: RatedBatch) -> tuple[Tensor, Tensor]:
        reference = rated.needed_pristine() if self.recipe.train.full_reference else redistort(rated.image)
        logits = self.network(rated.image, reference)
        score = logits.mean((1, 2, 3)).sigmoid()
        return score, score * (1 - score)

    def validate(self, target: Tensor, score: Tensor, spread: Tensor) -> None:
        """As of `OpinionDistillation`; logs the levels' weights, too."""
        super().validate(target, score, spread)
        self.log_dict({f"level {i} weight": weight for i, weight in enumerate(self.level_weights())})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The network's, and the levels' weights."""
        train = self.recipe.train
        levels = {"params": list(self.level_weights.parameters()), "lr": train.rate * train.new_layers_rate}
        return [*super().parameter_groups(), levels]


RECIPE = AKDIQARecipe
