"""Conditional knowledge distillation of the degraded-reference network (CKDN, ICCV 2021, arXiv:2108.07948).

The losses are plain functions; `CKDNDistillation` combines them as the paper does: first the relative loss
alone, then student, teacher and distillation losses together, with a ranking and a noise loss if wanted.
"""

import copy
import math
from collections import defaultdict
from functools import partial
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.functional import spearman_corrcoef

from drmetric.checkpoints import find_weights, read_weights
from drmetric.distill.attack import attacked
from drmetric.distill.noise import noise_loss, with_noise
from drmetric.distill.norms import add_batch_norms, add_weight_norms, fold_batch_norms, fold_weight_norms
from drmetric.distill.recipe import CKDNRecipe
from drmetric.distill.triplets import TripletBatch, ValidationItem, triplet_loaders
from drmetric.errors import ConfigError
from drmetric.networks.backbones import create_backbone, load_backbone
from drmetric.networks.ckdn import CKDN, Branches, Embedding, QualityHead

ELO_RANGE = 1000.0
"""Elo points between the scores 0 and 1: PIPAL's scores are (Elo - 900) / 1000."""


def regression_loss(score: Tensor, target: Tensor) -> Tensor:
    """d1 (student) and d2 (teacher): mean of (score - target)^2, both (N,) in [0, 1]."""
    return F.mse_loss(score, target)


def win_expectation(target_a: Tensor, target_b: Tensor, elo_range: float = ELO_RANGE) -> Tensor:
    """Elo's expectation that a beats b, 1 / (1 + 10^((Elo_b - Elo_a) / 400)); above one half where a is better."""
    return 1 / (1 + 10 ** ((target_b - target_a) * elo_range / 400))


def relative_loss(preference: Tensor, target_a: Tensor, target_b: Tensor) -> Tensor:
    """d3: half the mean squared distance of the preference for a over b, (N,) in [0, 1], from its expectation."""
    return 0.5 * F.mse_loss(preference, win_expectation(target_a, target_b))


def ranking_loss(
    score_a: Tensor, score_b: Tensor, target_a: Tensor, target_b: Tensor, elo_range: float = ELO_RANGE
) -> Tensor:
    """Cross entropy between the win expectations of two scores and of their targets, all (N,) in [0, 1].

    The more Elo points between the scores 0 and 1, the more the order of images of nearly one quality counts.
    """
    logit = (score_a - score_b) * (elo_range * math.log(10) / 400)
    return F.binary_cross_entropy_with_logits(logit, win_expectation(target_a, target_b, elo_range))


def distillation_loss(degraded: Tensor, pristine: Tensor, factor: float = 30.0) -> Tensor:
    """d4: `factor` times the mean squared distance between the reference embeddings, gradients into both."""
    return factor * F.mse_loss(degraded, pristine)


class CKDNDistillation(lightning.LightningModule):  # type: ignore[misc]
    """Trains a `CKDN` by a recipe and validates student and teacher by their mean SRCC within contents."""

    monitor = "val/student_srcc"

    def __init__(self, recipe: CKDNRecipe) -> None:
        super().__init__()
        self.save_hyperparameters({"recipe": recipe.as_dict()})
        self.recipe = recipe
        self.network = CKDN(recipe.network, relative=recipe.train.has_relative_loss)
        if recipe.train.initial_weights:
            initialise_backbones(self.network, load_file(recipe.train.initial_weights))
        if recipe.train.start_from:
            start_from(self.network, recipe.metric, recipe.train.start_from)
        if recipe.train.weight_norm:
            add_weight_norms(self.network)
        if recipe.train.batch_norm:
            add_batch_norms(self.network)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._validated: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def loaders(self) -> tuple[DataLoader[TripletBatch], DataLoader[ValidationItem]]:
        """Training and validation data."""
        return triplet_loaders(self.recipe)

    def losses(self, branches: Branches, score_a: Tensor, score_b: Tensor) -> dict[str, Tensor]:
        """The losses by name.

        The ranking loss is the mean over those of student and teacher that are trained; with neither it is absent, as
        the relative loss is without its head.
        """
        train = self.recipe.train
        students = branches.student_a.sigmoid(), branches.student_b.sigmoid()
        teachers = branches.teacher_a.sigmoid(), branches.teacher_b.sigmoid()
        targets = score_a, score_b
        losses = {
            "student": regression_loss(torch.cat(students), torch.cat(targets)),
            "teacher": regression_loss(torch.cat(teachers), torch.cat(targets)),
            "distillation": distillation_loss(branches.degraded, branches.pristine),
        }
        trained = [scores for scores, weight in ((students, train.student), (teachers, train.teacher)) if weight]
        if trained:
            losses["ranking"] = torch.stack(
                [ranking_loss(*scores, *targets, train.ranking_range) for scores in trained]
            ).mean()
        if branches.relative is not None:
            losses["relative"] = relative_loss(branches.relative.sigmoid(), *targets)
        return losses

    def training_step(self, batch: TripletBatch, batch_index: int) -> Tensor:
        largest = self.recipe.train.attack
        if largest:
            batch = batch._replace(a=attacked(batch.a, partial(self._score, degraded=batch.degraded), largest))
        branches = self.network.branches(*batch[:4])
        losses = self.losses(branches, batch.score_a, batch.score_b)
        if self.recipe.train.noise:
            losses["noise"] = self._noise_loss(batch.a, branches)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, prog_bar=True)
        weights = self.recipe.train.loss_weights(self.global_step)
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()

    def _noise_loss(self, restored: Tensor, branches: Branches) -> Tensor:
        noisy, deviation = with_noise(restored)
        score = self.network.score_features(self.network.restored_embedding(noisy), branches.degraded).mean((1, 2, 3))
        return noise_loss(branches.student_a.sigmoid(), score.sigmoid(), deviation)

    def _score(self, restored: Tensor, degraded: Tensor) -> Tensor:
        with torch.no_grad():
            reference = self.network.reference_embedding(degraded)
        return self.network.score(restored, reference).mean((1, 2, 3))

    def validation_step(self, batch: ValidationItem, batch_index: int) -> None:
        restored = self.network.restored_embedding(batch.restored)
        student, teacher = (
            self.network.score_features(restored, self.network.reference_embedding(reference)).mean((1, 2, 3))
            for reference in (batch.degraded, batch.pristine)
        )
        self._validated.append((student, teacher, batch.score, batch.content))

    def on_validation_epoch_end(self) -> None:
        student, teacher, target, content = (torch.cat(column).float() for column in zip(*self._validated, strict=True))
        self._validated.clear()
        self.log("val/student_srcc", mean_srcc(student, target, content), prog_bar=True, sync_dist=True)
        self.log("val/teacher_srcc", mean_srcc(teacher, target, content), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimiser = self.recipe.optimiser(self.network.parameters())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self.recipe.rate_factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def student(self) -> CKDN:
        """The network that scores with a degraded reference: norms folded in, without the relative head."""
        trained = CKDN(self.recipe.network, relative=self.network.relative_head is not None)
        network = copy.deepcopy(self.network).eval()
        fold_batch_norms(network)
        fold_weight_norms(network)
        trained.load_state_dict(network.state_dict())
        trained.relative_head = None
        return trained


def mean_srcc(score: Tensor, target: Tensor, content: Tensor) -> Tensor:
    """Mean over contents of Spearman's correlation within the content; all arguments are (N,)."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, key in enumerate(content.tolist()):
        groups[int(key)].append(index)
    rated = [i for i in groups.values() if len(i) > 1]
    if not rated:
        raise ConfigError("no validation content has two restored images", "add restorations to the validation split")
    return torch.stack([spearman_corrcoef(score[i], target[i]) for i in rated]).mean()


def initialise_backbones(network: CKDN, state: dict[str, Tensor]) -> None:
    """Fill every stage of the network's backbones from published weights."""
    config = network.config
    for module in network.modules():
        if isinstance(module, Embedding):
            load_backbone(config.backbone, module.backbone, state)
        elif isinstance(module, QualityHead):
            whole = create_backbone(config.backbone, config.embedding_stages + config.head_stages)
            load_backbone(config.backbone, whole, state)
            stages = nn.Sequential(*whole.stages[config.embedding_stages :]).state_dict()
            module.stages.load_state_dict(widened(stages, module.stages.state_dict()))


def widened(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state, with zeros for inputs of a convolution that only its namesake in `own` has."""

    def wide(value: Tensor, like: Tensor) -> Tensor:
        if value.dim() == like.dim() == 4 and like.shape[1] == 2 * value.shape[1]:
            return torch.cat([value, torch.zeros_like(value)], 1)
        return value

    return {key: wide(value, own.get(key, value)) for key, value in state.items()}


def start_from(network: CKDN, metric: str, weights: str) -> None:
    """Fill the network, save its relative head, from weights that were trained before.

    Of weights whose head has fewer stages all but the head's MLP is taken; what a head sees beside the residual counts
    for nothing at first where the weights had no such head.

    Raises:
        ConfigError: weights of another network.
        WeightsError: there are none of that name.
    """
    config, state = read_weights(find_weights(metric, weights), metric)
    own = network.state_dict()
    missing = {key for key in own if key.startswith("relative_head.")}
    if config["head_stages"] < network.config.head_stages:
        state = {key: value for key, value in state.items() if not key.startswith("score_head.mlp.")}
        deeper = tuple(f"score_head.stages.{i}." for i in range(config["head_stages"], network.config.head_stages))
        missing |= {key for key in own if key.startswith(("score_head.mlp.", *deeper))}
    try:
        network.load_state_dict(widened(state, own) | {key: own[key] for key in missing})
    except RuntimeError as error:
        raise ConfigError(f"start_from = {weights!r} holds another network: {config}", "[network]  # alike") from error
