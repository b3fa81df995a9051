"""Conditional knowledge distillation of the degraded-reference network (CKDN, ICCV 2021, arXiv:2108.07948).

The losses are plain functions; `CKDNDistillation` combines them as the paper does: first the relative loss
alone, then student, teacher and distillation losses together, with a ranking and a noise loss if wanted.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from drmetric.config import check_ranges
from drmetric.distill.augment import attacked, noise_loss, with_noise
from drmetric.distill.datasets.reading import loader
from drmetric.distill.datasets.triplets import (
    TrainingPairs,
    TripletBatch,
    ValidationImages,
    ValidationItem,
    triplets_of,
)
from drmetric.distill.loop import KEPT, Distillation, backbone_state, is_finite
from drmetric.distill.recipe import (
    AT_LEAST_0,
    AT_LEAST_1,
    SHARE,
    DataConfig,
    Recipe,
    Training,
    another_network,
    data_sets,
    weights_of,
)
from drmetric.errors import ConfigError
from drmetric.networks.backbones import create_backbone, load_backbone
from drmetric.networks.ckdn import CKDN, UNCALIBRATED, Branches, CKDNConfig, Embedding, QualityHead
from drmetric.statistics import mean_within, srcc


@dataclass(frozen=True)
class CKDNTraining(Training):
    """How to train DRIQA.

    Attributes:
        batch: pairs of restored images a step and device.
        relative_steps: of the steps, the first ones, on the relative loss alone; then the rate warms up anew.
        student, teacher, relative, distillation, ranking: weights of the losses after the relative steps.
        ranking_range: Elo points between the scores 0 and 1 in the ranking loss; more than 1000 make it care about the
            order of images of nearly one quality.
        reduced_share: share of the pairs whose degraded image is made up to half as large first.
        noise: weight of the loss that makes the student's score fall where noise is added to a restored image.
        attack: largest change of a value by which one restored image of each pair is attacked (its label stays); 0 for
            none. 0.01 is a PSNR of 40 dB.
    """

    batch: int = 16
    relative_steps: int = 0
    student: float = 1.0
    teacher: float = 1.0
    relative: float = 0.0
    distillation: float = 1.0
    ranking: float = 0.0
    ranking_range: float = 1000.0
    reduced_share: float = 0.0
    noise: float = 0.0
    attack: float = 0.0

    LOSSES: ClassVar[tuple[str, ...]] = ("student", "teacher", "relative", "distillation", "ranking", "noise")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "[train]", **dict.fromkeys(self.LOSSES, AT_LEAST_0), relative_steps=(0, self.steps))
        check_ranges(self, "[train]", batch=AT_LEAST_1, ranking_range=AT_LEAST_1, reduced_share=SHARE, attack=SHARE)

    @property
    def has_relative_loss(self) -> bool:
        """Whether the relative loss counts at any step."""
        return self.relative > 0 or self.relative_steps > 0

    def loss_weights(self, step: int) -> dict[str, float]:
        """Weights of the losses at an optimiser step."""
        if step < self.relative_steps:
            return {name: float(name == "relative") for name in self.LOSSES}
        return {name: getattr(self, name) for name in self.LOSSES}


@dataclass(frozen=True)
class CKDNRecipe(Recipe):
    """metric = "driqa"; its data are a table, ``[data]``, or an array of them, ``[[data]]``, which count as one set."""

    data: tuple[DataConfig, ...]
    train: CKDNTraining
    network: CKDNConfig = field(default_factory=CKDNConfig)

    def rate_factor(self, step: int) -> float:
        """As of any recipe; where the relative steps end it warms up anew, for losses that have not trained yet."""
        relative, warmup = self.train.relative_steps, self.train.warmup_steps
        factor = super().rate_factor(step)
        if 0 < relative <= step < relative + warmup:
            return factor * (step - relative + 1) / warmup
        return factor

    @classmethod
    def _section(cls, name: str, table: Any, where: str) -> Any:
        if name != "data":
            return super()._section(name, table, where)
        return data_sets(DataConfig, [table] if isinstance(table, dict) else table, where, "corpus")

    def module(self) -> "CKDNDistillation":
        return CKDNDistillation(self)


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


class CKDNDistillation(Distillation):
    """Trains a `CKDN` by a recipe and validates student and teacher by their mean SRCC within contents."""

    monitor = "val/student_srcc"

    recipe: CKDNRecipe
    network: CKDN

    def __init__(self, recipe: CKDNRecipe) -> None:
        super().__init__(recipe, CKDN(recipe.network, relative=recipe.train.has_relative_loss))
        if recipe.train.initial_weights:
            initialise_backbones(self.network, backbone_state(recipe.train.initial_weights))
        if recipe.train.start_from:
            calibration = start_from(self.network, recipe.metric, recipe.train.start_from)
            if recipe.network.calibration == UNCALIBRATED:
                self.save_hyperparameters({KEPT: {"calibration": calibration}})
        self.add_norms()

    def loaders(self) -> tuple[DataLoader[TripletBatch], DataLoader[ValidationItem]]:
        """Training and validation data."""
        data, train = self.recipe.data, self.recipe.train
        pairs = TrainingPairs(
            triplets_of(data, "train"), train.patch, train.grey_share, train.keep_images, train.reduced_share
        )
        images = ValidationImages(triplets_of(data, "validation"))
        return loader(pairs, train.batch, train.workers, shuffle=True), loader(images, 1, train.workers)

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
        student, teacher, target, content = self.validated()
        self.log("val/student_srcc", mean_srcc(student, target, content), prog_bar=True)
        self.log("val/teacher_srcc", mean_srcc(teacher, target, content), prog_bar=True)

    def student(self) -> CKDN:
        """The network that scores with a degraded reference: norms folded in, without the relative head."""
        trained = CKDN(self.recipe.network, relative=self.network.relative_head is not None)
        trained.load_state_dict(super().student().state_dict())
        trained.relative_head = None
        return trained


def mean_srcc(score: Tensor, target: Tensor, content: Tensor) -> float:
    """Mean over contents of Spearman's correlation within the content; all arguments are (N,).

    NaN where a score is not finite.

    Raises:
        ConfigError: no content has two images of unequal targets.
    """
    if not is_finite(score):
        return math.nan
    within = mean_within(srcc, score.cpu(), target.cpu(), content.tolist())
    if not within.n_used:
        raise ConfigError(
            "no validation content has two restored images of unequal scores",
            "add restorations to the validation split",
        )
    return within.mean


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
    """The state, with zeros for inputs of a convolution that only its namesake in `own` has: those of `beside`, and
    three of `colours` after each embedding."""

    def wide(value: Tensor, like: Tensor) -> Tensor:
        if not value.dim() == like.dim() == 4 or value.shape[1] == like.shape[1]:
            return value
        further = like.shape[1] - value.shape[1]
        if further == 6:  # weights that look beside the residual, too
            return torch.cat([F.pad(half, (0, 0, 0, 0, 0, 3)) for half in value.chunk(2, 1)], 1)
        return F.pad(value, (0, 0, 0, 0, 0, further)) if further in (3, value.shape[1], value.shape[1] + 6) else value

    return {key: wide(value, own.get(key, value)) for key, value in state.items()}


def start_from(network: CKDN, metric: str, weights: str) -> tuple[float, ...]:
    """Fill the network, except its relative head, from trained weights.

    Of weights whose head has fewer stages all but the head's MLP is taken; what a head sees beside the residual counts
    for nothing at first where the weights had no such head.

    Returns:
        The calibration that the weights which come of it have: that of these, or none where the MLP is a new one.

    Raises:
        ConfigError: weights of another network.
        WeightsError: there are none of that name.
    """
    config, state = weights_of("start_from", metric, weights)
    own = network.state_dict()
    missing = {key for key in own if key.startswith("relative_head.")}
    calibration = tuple(config.get("calibration", UNCALIBRATED))
    if config["head_stages"] < network.config.head_stages:
        calibration = UNCALIBRATED
        state = {key: value for key, value in state.items() if not key.startswith("score_head.mlp.")}
        deeper = tuple(f"score_head.stages.{i}." for i in range(config["head_stages"], network.config.head_stages))
        missing |= {key for key in own if key.startswith(("score_head.mlp.", *deeper))}
    try:
        network.load_state_dict(widened(state, own) | {key: own[key] for key in missing})
    except RuntimeError as error:
        raise another_network(network.config, config, weights) from error
    return calibration


RECIPE = CKDNRecipe
