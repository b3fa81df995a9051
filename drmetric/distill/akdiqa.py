"""Training of AKD-IQA: the score's loss, and inter-level distillation of the difference features.

AKD-IQA, IEEE Transactions on Broadcasting 2025, doi:10.1109/TBC.2025.3549985.

The paper learns a softmax of level weights beside the network. Free, it lowers the loss by moving all weight to the
level with the smallest distance; `LevelWeights` keeps a floor under each.
"""

import copy
from typing import Any, Literal

import lightning
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

from drmetric.distill.loading import RatedBatch, correlation_loss, parameter_groups
from drmetric.distill.normalisation import add_batch_norms, add_weight_norms, fold_batch_norms, fold_weight_norms
from drmetric.distill.recipe import AKDIQARecipe, OpinionDataConfig
from drmetric.distortions.redistort import redistort
from drmetric.errors import ConfigError
from drmetric.networks.akdiqa import AKDIQA, AKDIQAConfig
from drmetric.networks.backbones import load_torchvision_mobilenetv2
from drmetric.weights import find_weights, read_weights

Pairing = Literal["every_second", "last"]
"""Which blocks of a deeper teacher supervise the student's."""


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
            raise ConfigError(f"the floor of level weights is {floor}; wanted 0 to 1", "floor = 0.5")
        self.levels = levels
        self.floor = floor
        self.logits = nn.Parameter(torch.zeros(levels))

    def forward(self) -> Tensor:
        """(L,) weights."""
        return self.floor / self.levels + (1 - self.floor) * self.logits.softmax(0)


class AKDIQADistillation(lightning.LightningModule):  # type: ignore[misc]
    """Trains an `AKDIQA`, teacher or student by its recipe, and validates it by its SRCC with one set's scores."""

    monitor = "val/srcc"

    def __init__(self, recipe: AKDIQARecipe) -> None:
        super().__init__()
        self.save_hyperparameters({"recipe": recipe.as_dict()})
        self.recipe = recipe
        train = recipe.train
        self.network = AKDIQA(recipe.network)
        self.level_weights = LevelWeights(len(recipe.network.taps), train.level_floor)
        if train.initial_weights:
            load_torchvision_mobilenetv2(self.network.backbone, load_file(train.initial_weights))
        if train.start_from:
            self.network.load_state_dict(_weights(train.start_from)[1])
        for stage in self.network.backbone.stages[: train.frozen_stages]:
            stage.requires_grad_(False)
        if train.weight_norm:
            add_weight_norms(self.network)
        if train.batch_norm:
            add_batch_norms(self.network)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._teacher = [_teacher(train.teacher_weights)] if train.teacher_weights else []
        self._validated: list[tuple[Tensor, Tensor]] = []

    def reference(self, rated: RatedBatch, seed: int) -> Tensor:
        """What the images are compared with: the pristine ones (teacher), or themselves distorted again (student)."""
        if not self.recipe.train.full_reference:
            return redistort(rated.image, seed)
        if not rated.pristine.numel():
            raise ConfigError("a full-reference network needs pristine images", 'kind = "conditions"')
        return rated.pristine

    def training_step(self, batch: dict[str, RatedBatch], batch_index: int) -> Tensor:
        total = torch.zeros((), device=self.device)
        for settings in self.recipe.data:
            losses = self.losses(batch[settings.kind], settings)
            self.log_dict({f"train/{settings.kind} {name}": value for name, value in losses.items()})
            total = total + torch.stack(list(losses.values())).sum()
        return total

    def losses(self, rated: RatedBatch, settings: OpinionDataConfig) -> dict[str, Tensor]:
        """The weighted losses on one set's part of a batch, by name; distillation where it has pristine images."""
        train = self.recipe.train
        branches = self.network.branches(rated.image, self.reference(rated, self.global_step))
        score = branches.logits.mean((1, 2, 3)).sigmoid()
        losses = {"correlation": settings.correlation * correlation_loss(score, rated.score)}
        if settings.regression:
            losses["regression"] = settings.regression * score_loss(score, rated.score, beta=0.1)
        if rated.pristine.numel():
            for network in self._teacher:
                with torch.no_grad():
                    taught = network.to(self.device).branches(rated.image, rated.pristine).differences
                losses["distillation"] = inter_level_loss(
                    branches.differences, taught, self.level_weights(), train.distillation, train.pairing
                )
        return losses

    def validation_step(self, batch: RatedBatch, batch_index: int) -> None:
        logits = self.network(batch.image, self.reference(batch, seed=0))
        self._validated.append((logits.mean((1, 2, 3)).sigmoid(), batch.score))

    def on_validation_epoch_end(self) -> None:
        score, target = (torch.cat(column).float() for column in zip(*self._validated, strict=True))
        self._validated.clear()
        self.log("val/srcc", spearman_corrcoef(score, target), prog_bar=True)
        self.log("val/plcc", pearson_corrcoef(score, target), prog_bar=True)
        self.log_dict({f"level {i} weight": weight for i, weight in enumerate(self.level_weights())})

    def configure_optimizers(self) -> Any:
        train = self.recipe.train
        groups = parameter_groups(self.network, train.rate, train.new_layers_rate)
        groups.append({"params": list(self.level_weights.parameters()), "lr": train.rate * train.new_layers_rate})
        optimiser = self.recipe.optimiser(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self.recipe.rate_factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def student(self) -> AKDIQA:
        """The network with its norms folded in."""
        trained = AKDIQA(self.recipe.network)
        network = copy.deepcopy(self.network).eval()
        fold_batch_norms(network)
        fold_weight_norms(network)
        trained.load_state_dict(network.state_dict())
        return trained


def _teacher(weights: str) -> AKDIQA:
    config, state = _weights(weights)
    try:
        network = AKDIQA(AKDIQAConfig(**{**config, "taps": tuple(config["taps"])}))
        network.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ConfigError(f"teacher_weights = {weights!r} holds another network: {config}") from error
    return network.eval().requires_grad_(False)


def _weights(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return read_weights(find_weights("nriqa-akd", name), "nriqa-akd")
