"""What training from human opinions shares, whatever the system: start, mixed batches, validation, optimiser."""

import copy
from typing import Any

import lightning
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

from drmetric.checkpoints import find_weights, read_weights
from drmetric.config import section
from drmetric.distill.loading import RatedBatch, mixed, parameter_groups
from drmetric.distill.norms import add_batch_norms, add_weight_norms, fold_batch_norms, fold_weight_norms
from drmetric.distill.rated import rated_loaders
from drmetric.distill.recipe import OpinionDataConfig, OpinionRecipe
from drmetric.errors import ConfigError
from drmetric.networks.backbones import load_backbone


class OpinionDistillation(lightning.LightningModule):  # type: ignore[misc]
    """Trains a network by a recipe, with a teacher if it names one, and validates it by its SRCC with one set's scores.

    Subclasses have `losses`, and `prediction` or a validation of their own.

    Args:
        recipe: how to train.
        network: as made from the recipe's [network]; it has a `backbone` and its `config`.
    """

    monitor = "val/srcc"
    recipe: Any
    network: Any

    def __init__(self, recipe: OpinionRecipe, network: nn.Module) -> None:
        super().__init__()
        self.save_hyperparameters({"recipe": recipe.as_dict()})
        self.recipe = recipe
        self.network = network
        train = recipe.train
        if train.initial_weights:
            load_backbone(self.network.config.backbone, self.network.backbone, load_file(train.initial_weights))
        if train.backbone_from:
            self._start_backbone(train.backbone_from)
        if train.start_from:
            self.network.load_state_dict(self._weights(self.recipe.metric, train.start_from)[1])
        for stage in self.network.backbone.stages[: train.frozen_stages]:
            stage.requires_grad_(False)
        self._teacher = [self._load_teacher(train.teacher_weights)] if train.teacher_weights else []
        if train.weight_norm:
            add_weight_norms(self.network)
        if train.batch_norm:
            add_batch_norms(self.network)
        self.network.to(memory_format=torch.channels_last)
        self._validated: list[tuple[Tensor, ...]] = []

    def _weights(self, metric: str, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return read_weights(find_weights(metric, name), metric)

    def _start_backbone(self, weights: str) -> None:
        _, state = self._weights("nriqa-mobile", weights)
        prefix = "backbone."
        ours = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        try:
            self.network.backbone.load_state_dict(ours)
        except RuntimeError as error:
            raise ConfigError(
                f"backbone_from = {weights!r} has another backbone than {self.network.config.backbone!r}",
                'backbone = "mobilenetv2"  # in [network]',
            ) from error

    def _load_teacher(self, weights: str) -> nn.Module:
        """A frozen network of the same class, kept out of the module tree."""
        described, state = self._weights(self.recipe.metric, weights)
        try:
            config = section(type(self.network.config), described, f"teacher_weights = {weights!r}")
            network: nn.Module = type(self.network)(config)
            network.load_state_dict(state)
        except (ConfigError, RuntimeError) as error:
            raise ConfigError(f"teacher_weights = {weights!r} holds another network: {described}") from error
        if self.keeps_features and not _equal(network.get_submodule("backbone"), self.network.backbone):
            raise ConfigError(
                f"teacher_weights = {weights!r} has another backbone than the one whose features are kept",
                'features = ""  # in [train]',
            )
        return network.eval().requires_grad_(False)

    @property
    def keeps_features(self) -> bool:
        """Whether batches hold features of the backbone in place of images."""
        return bool(getattr(self.recipe.train, "features", ""))

    def loaders(self) -> tuple[Any, Any]:
        """Training and validation data."""
        return rated_loaders(self.recipe, self.network)

    def teachers(self) -> list[Any]:
        """The teacher on the device of the network; empty without one."""
        return [network.to(self.device) for network in self._teacher]

    def losses(self, rated: RatedBatch, settings: OpinionDataConfig) -> dict[str, Tensor]:
        """The weighted losses on one set's part of a batch, by name."""
        raise NotImplementedError

    def training_step(self, batch: dict[str, RatedBatch], batch_index: int) -> Tensor:
        total = torch.zeros((), device=self.device)
        for settings in self.recipe.data:
            rated = batch[settings.kind]
            if self.recipe.train.mixup:
                rated = mixed(rated, self.recipe.train.mixup)
            losses = self.losses(rated, settings)
            self.log_dict({f"train/{settings.kind} {name}": value for name, value in losses.items()})
            total = total + torch.stack(list(losses.values())).sum()
        return total

    def prediction(self, rated: RatedBatch) -> tuple[Tensor, ...]:
        """Scores (N,) of a batch to validate on, and whatever else `validate` needs."""
        raise NotImplementedError

    def validation_step(self, batch: RatedBatch, batch_index: int) -> None:
        self._validated.append((batch.score, *self.prediction(batch)))

    def on_validation_epoch_end(self) -> None:
        columns = [torch.cat(column).float() for column in zip(*self._validated, strict=True)]
        self._validated.clear()
        self.validate(*columns)

    def validate(self, target: Tensor, score: Tensor, *others: Tensor) -> None:
        """Log how (N,) scores and targets of the whole validation set agree; `others` as of `prediction`."""
        self.log("val/srcc", spearman_corrcoef(score, target), prog_bar=True)
        self.log("val/plcc", pearson_corrcoef(score, target), prog_bar=True)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimiser trains, each group at its rate."""
        return parameter_groups(self.network, self.recipe.train.rate, self.recipe.train.new_layers_rate)

    def configure_optimizers(self) -> Any:
        optimiser = self.recipe.optimiser(self.parameter_groups())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self.recipe.rate_factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def student(self) -> nn.Module:
        """The network with its norms folded in."""
        network: nn.Module = copy.deepcopy(self.network).eval()
        fold_batch_norms(network)
        fold_weight_norms(network)
        return network


def _equal(one: nn.Module, other: nn.Module) -> bool:
    """In the 16 bits of weights files."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key].half(), theirs[key].half()) for key in ours)
