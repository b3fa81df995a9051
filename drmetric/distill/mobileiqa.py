"""Training of the no-reference network from human opinions, alone or with a teacher (MobileIQA, arXiv:2409.01212).

Several sets may be mixed. Their scales need not agree: a set can be fitted by the distance from its scores, by the
correlation with them within a batch, or by both.
"""

import copy
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

from drmetric.distill.loading import RatedBatch, correlation_loss, parameter_groups
from drmetric.distill.normalisation import add_batch_norms, add_weight_norms, fold_batch_norms, fold_weight_norms
from drmetric.distill.recipe import MobileIQARecipe, OpinionDataConfig
from drmetric.errors import ConfigError
from drmetric.networks.backbones import load_torchvision_mobilenetv2
from drmetric.networks.mobileiqa import Judgement, MobileIQA, MobileIQAConfig
from drmetric.weights import find_weights, read_weights


def opinion_loss(opinion_scores: Tensor, target: Tensor, unseen_by: Tensor) -> Tensor:
    """Mean distance of (N,K) opinions' scores from (N,) targets, without the one opinion each image is hidden from.

    Every opinion so learns from its own part of the images, and their spread says how little the images settle.
    """
    seen = torch.arange(opinion_scores.shape[1], device=unseen_by.device) != unseen_by[:, None]
    return (opinion_scores - target[:, None]).abs()[seen].mean()


def opinion_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of opinions, or of local features, over the teacher's mean square."""
    return F.mse_loss(student, teacher) / teacher.square().mean().clamp_min(1e-8)


def fitted_uncertainty(spread: Tensor, error: Tensor) -> Tensor:
    """(2,): a and b, at least 0, so that a^2 + b^2 spread^2 is the mean square of the error; by least squares."""
    inputs = torch.stack([torch.ones_like(spread), spread.square()], 1)
    variance, slope = torch.linalg.lstsq(inputs, error.square()[:, None]).solution[:, 0]
    if slope < 0:
        variance, slope = error.square().mean(), torch.zeros(())
    elif variance < 0:
        variance, slope = torch.zeros(()), (error.square().sum() / spread.square().sum())
    return torch.stack([variance, slope]).sqrt()


class MobileIQADistillation(lightning.LightningModule):  # type: ignore[misc]
    """Trains a `MobileIQA` by a recipe and validates it by its SRCC with the opinions on one set."""

    monitor = "val/srcc"

    def __init__(self, recipe: MobileIQARecipe) -> None:
        super().__init__()
        self.save_hyperparameters({"recipe": recipe.as_dict()})
        self.recipe = recipe
        train = recipe.train
        self.network = MobileIQA(recipe.network)
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
        self._teacher = [teacher(train.teacher_weights)] if train.teacher_weights else []
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []

    def training_step(self, batch: dict[str, RatedBatch], batch_index: int) -> Tensor:
        total = torch.zeros((), device=self.device)
        for settings in self.recipe.data:
            rated = batch[settings.kind]
            losses = self.losses(self.network(rated.image), rated, settings)
            self.log_dict({f"train/{settings.kind} {name}": value for name, value in losses.items()})
            total = total + torch.stack(list(losses.values())).sum()
        return total

    def losses(self, judged: Judgement, rated: RatedBatch, settings: OpinionDataConfig) -> dict[str, Tensor]:
        """The weighted losses on one set's part of a batch, by name."""
        train = self.recipe.train
        score, opinions = probabilities(judged)
        losses = {"correlation": settings.correlation * correlation_loss(score, rated.score)}
        if settings.regression:
            losses["regression"] = settings.regression * F.l1_loss(score, rated.score)
            losses["opinions"] = (
                settings.regression * train.opinions * opinion_loss(opinions, rated.score, rated.unseen_by)
            )
        for network in self._teacher:
            with torch.no_grad():
                taught = network.to(self.device)(rated.image)
            losses["opinion distillation"] = train.opinion_distillation * opinion_distillation_loss(
                judged.opinions, taught.opinions
            )
            losses["local distillation"] = train.local_distillation * opinion_distillation_loss(
                judged.local, taught.local
            )
            losses["score distillation"] = train.score_distillation * F.l1_loss(score, probabilities(taught)[0])
        return losses

    def validation_step(self, batch: RatedBatch, batch_index: int) -> None:
        score, opinions = probabilities(self.network(batch.image))
        self._validated.append((score, opinions, batch.score))

    def on_validation_epoch_end(self) -> None:
        score, opinions, target = (torch.cat(column).float() for column in zip(*self._validated, strict=True))
        self._validated.clear()
        spread, error = opinions.std(1), score - target
        self.network.uncertainty.copy_(fitted_uncertainty(spread, error))
        self.log("val/srcc", spearman_corrcoef(score, target), prog_bar=True)
        self.log("val/plcc", pearson_corrcoef(score, target), prog_bar=True)
        self.log("val/srcc of spread with error", spearman_corrcoef(spread, error.abs()), prog_bar=True)

    def configure_optimizers(self) -> Any:
        train = self.recipe.train
        optimiser = self.recipe.optimiser(parameter_groups(self.network, train.rate, train.new_layers_rate))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self.recipe.rate_factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def student(self) -> MobileIQA:
        """The network with its norms folded in."""
        trained = MobileIQA(self.recipe.network)
        network = copy.deepcopy(self.network).eval()
        fold_batch_norms(network)
        fold_weight_norms(network)
        trained.load_state_dict(network.state_dict())
        return trained


def probabilities(judged: Judgement) -> tuple[Tensor, Tensor]:
    """Scores (N,) and opinions' scores (N,K), in [0, 1]."""
    return judged.scores.mean((1, 2, 3)).sigmoid(), judged.opinion_scores.mean((2, 3)).sigmoid()


def teacher(weights: str) -> nn.Module:
    """A frozen network from its weights; raises `WeightsError` or `ConfigError` where there is none."""
    config, state = _weights(weights)
    try:
        network = MobileIQA(MobileIQAConfig(**config))
        network.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise ConfigError(f"teacher_weights = {weights!r} holds another network: {config}") from error
    return network.eval().requires_grad_(False)


def _weights(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return read_weights(find_weights("nriqa-mobile", name), "nriqa-mobile")
