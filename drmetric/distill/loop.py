"""What the systems share: the start, mixed batches, validation, optimiser, and the student that comes of it."""

import copy
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from drmetric.config import check_ranges, section
from drmetric.data.rated import read_opinions
from drmetric.distill.datasets.rated import Groups, RatedBatch, RatedCrops, WholeImages, mixed, ungrouped
from drmetric.distill.datasets.reading import loader
from drmetric.distill.features import KeptFeatures, RatedFeatures, Scores
from drmetric.distill.norms import add_batch_norms, add_weight_norms, fold_batch_norms, fold_weight_norms
from drmetric.distill.recipe import (
    FrozenTraining,
    OpinionDataConfig,
    OpinionRecipe,
    Recipe,
    another_network,
    weights_of,
)
from drmetric.errors import ConfigError, optional
from drmetric.networks.backbones import load_backbone
from drmetric.statistics import srcc

lightning = optional("lightning", "train", "training")
utilities = optional("lightning.pytorch.utilities", "train", "training")


KEPT = "kept"
"""Of a checkpoint's hyperparameters, what weights to start from say of the network and training leaves as it is."""


class Distillation(lightning.LightningModule):  # type: ignore[misc, name-defined]
    """Trains a network by a recipe.

    Subclasses have `loaders`, the steps of training and of validation, and in `monitor` the figure that is to rise.
    """

    monitor: str
    recipe: Any
    network: Any

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__()
        self.save_hyperparameters({"recipe": recipe.as_dict()})
        self.recipe = recipe
        self.network = network
        self._validated: list[tuple[Tensor, ...]] = []

    def add_norms(self) -> None:
        """Give the network, whose start is in place, the norms that the recipe trains with."""
        if self.recipe.train.weight_norm:
            add_weight_norms(self.network)
        if self.recipe.train.batch_norm:
            add_batch_norms(self.network)
        self.network.to(memory_format=torch.channels_last)

    def loaders(self) -> tuple[Any, Any]:
        """Training and validation data."""
        raise NotImplementedError

    def validated(self) -> list[Tensor]:
        """The columns of what the validation steps of all devices kept in `_validated`, which is emptied."""
        columns = [torch.cat(column).float() for column in zip(*self._validated, strict=True)]
        self._validated.clear()
        if self.trainer.world_size == 1:
            return columns
        count = len(self.trainer.val_dataloaders.dataset)
        return [dealt_back(self.all_gather(column), count) for column in columns]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimiser trains, each group at its rate."""
        return [{"params": list(self.network.parameters())}]

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


def dealt_back(gathered: Tensor, count: int) -> Tensor:
    """(count,) values in the order of their items, of (devices, N): items are dealt in turn, some twice to fill up."""
    return gathered.transpose(0, 1).flatten()[:count]


class OpinionDistillation(Distillation):
    """Trains a network by a recipe, with a teacher if it names one, and validates it by its SRCC with one set's scores.

    Subclasses have `losses`, and `prediction` or a validation of their own.

    Args:
        recipe: how to train.
        network: as made from the recipe's [network]; it has a `backbone` and its `config`.
    """

    monitor = "val/srcc"

    def __init__(self, recipe: OpinionRecipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        train = recipe.train
        check_ranges(train, "[train]", frozen_stages=(0, len(self.network.backbone.stages)))
        if train.initial_weights:
            load_backbone(self.network.config.backbone, self.network.backbone, backbone_state(train.initial_weights))
        if train.backbone_from:
            self._start_backbone(train.backbone_from)
        if train.start_from:
            self._start_from(train.start_from)
        for stage in self.network.backbone.stages[: train.frozen_stages]:
            stage.requires_grad_(False)
        self._teacher = [self._load_teacher(train.teacher_weights)] if train.teacher_weights else []
        self.add_norms()

    def _start_from(self, weights: str) -> None:
        """Fill the network, but for its uncertainty, which is of the images that the weights were validated on."""
        described, state = weights_of("start_from", self.recipe.metric, weights)
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            raise another_network(self.network.config, described, weights) from error
        self.network.uncertainty.zero_()

    def _start_backbone(self, weights: str) -> None:
        _, state = weights_of("backbone_from", "nriqa-mobile", weights)
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
        described, state = weights_of("teacher_weights", self.recipe.metric, weights)
        try:
            config = section(type(self.network.config), described, f"teacher_weights = {weights!r}")
            network: nn.Module = type(self.network)(config)
            network.load_state_dict(state)
        except (ConfigError, RuntimeError) as error:
            raise ConfigError(
                f"teacher_weights = {weights!r} holds another network: {described}", 'teacher_weights = ""'
            ) from error
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

    def teachers(self, settings: OpinionDataConfig) -> list[Any]:
        """The teacher on the device of the network; empty without one, or where it does not teach a set."""
        return [network.to(self.device) for network in self._teacher if settings.distillation]

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

    def prediction(self, rated: RatedBatch) -> tuple[Tensor, Tensor]:
        """Scores (N,) of a batch to validate on, and (N,) what their standard errors follow."""
        raise NotImplementedError

    def validation_step(self, batch: RatedBatch, batch_index: int) -> None:
        self._validated.append((batch.score, *self.prediction(batch)))

    def on_validation_epoch_end(self) -> None:
        columns = self.validated()
        if not self.trainer.sanity_checking:
            self.validate(*columns)

    def validate(self, target: Tensor, score: Tensor, spread: Tensor) -> None:
        """Log how scores (N,) and targets of the validation set agree; calibrate the uncertainty by their distance."""
        self.log("val/srcc", rank_correlation(score, target), prog_bar=True)
        self.log("val/plcc", 1 - correlation_loss(score, target), prog_bar=True)
        if is_finite(score) and is_finite(spread):
            error = score - target
            self.network.uncertainty.copy_(fitted_uncertainty(spread, error))
            self.log("val/srcc of spread with error", rank_correlation(spread, error.abs()), prog_bar=True)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trained parameters of the backbone, and all others at a rate of their own."""
        train, backbone = self.recipe.train, self.network.backbone
        known = {id(parameter) for parameter in backbone.parameters()}
        new = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
        return [{"params": trained}, {"params": new, "lr": train.rate * train.new_layers_rate}]


def _equal(one: nn.Module, other: nn.Module) -> bool:
    """In the 16 bits of weights files."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key].half(), theirs[key].half()) for key in ours)


def backbone_state(file: Path) -> dict[str, Tensor]:
    """What the file of `backbone_weights` holds; raises `ConfigError` where it cannot be read."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"[train] backbone_weights: {file} cannot be read: {error}",
            'backbone_weights = ""  # random weights, or the path of a safetensors file',
        ) from error


def rated_loaders(recipe: OpinionRecipe, network: nn.Module) -> tuple[Any, DataLoader[RatedBatch]]:
    """Batches by the name of their set, an epoch being one of the greatest set; and the images to validate on.

    Args:
        recipe: what to read.
        network: whose frozen backbone makes the features that are kept, if the recipe keeps any.
    """
    train = recipe.train
    loaders = {settings.kind: _training_loader(recipe, settings, network) for settings in recipe.data}
    validating = next(settings for settings in recipe.data if settings.validate)
    rated = read_opinions(validating.kind, validating.folder, "validation")
    validation = WholeImages(rated, recipe.references(rated), validating.patch or train.patch)
    return utilities.CombinedLoader(loaders, "max_size_cycle"), loader(validation, 1, train.workers)


def _training_loader(recipe: OpinionRecipe, settings: OpinionDataConfig, network: nn.Module) -> DataLoader[RatedBatch]:
    train, patch = recipe.train, settings.patch or recipe.train.patch
    rated = read_opinions(settings.kind, settings.folder, "train")
    references = recipe.references(rated)
    items: RatedFeatures | RatedCrops
    if settings.judge:
        weights_of("judge", "nriqa-mobile", settings.judge)
    if isinstance(train, FrozenTraining) and train.features:
        keep = partial(KeptFeatures, train.features_folder, patch=patch, views=train.views, workers=train.workers)
        items = RatedFeatures(
            rated,
            keep(network),
            pristine=train.needs_pristine,
            references=references,
            change=recipe.change,
            judged=keep(Scores(settings.judge)) if settings.judge else None,
            share=settings.judged,
        )
        workers = 0
    else:
        items = RatedCrops(
            rated,
            patch,
            pristine=train.needs_pristine,
            references=references,
            grey_share=train.grey_share,
            keep=train.keep_images,
        )
        workers = train.workers
    if settings.group == 1:
        return loader(items, settings.batch, workers, shuffle=True)
    groups = Groups(items, settings.group, settings.batch)
    return loader(groups, settings.batch // settings.group, workers, shuffle=True, collate=ungrouped)


def order_losses(score: Tensor, target: Tensor, settings: OpinionDataConfig) -> dict[str, Tensor]:
    """The weighted losses of (N,) scores by their order alone: over the batch, and inside the groups if there are."""
    losses = {"correlation": settings.correlation * correlation_loss(score, target)}
    if settings.within:
        losses["within"] = settings.within * correlation_loss(score, target, settings.group)
    return losses


def correlation_loss(score: Tensor, target: Tensor, group: int = 0) -> Tensor:
    """One minus Pearson's correlation of (N,) scores with (N,) targets, whatever their scales; 0..2.

    With groups of so many, of the distances from the group's mean.
    """
    grouped = (values.reshape(-1, group or len(values)) for values in (score, target))
    score, target = ((values - values.mean(1, keepdim=True)).flatten() for values in grouped)
    return 1 - F.cosine_similarity(score, target, dim=0, eps=1e-6)


def fitted_uncertainty(spread: Tensor, error: Tensor) -> Tensor:
    """(2,): a and b, at least 0, so that a^2 + b^2 spread^2 is the mean square of the error; by least squares."""
    inputs = torch.stack([torch.ones_like(spread), spread.square()], 1)
    variance, slope = torch.linalg.lstsq(inputs, error.square()[:, None]).solution[:, 0]
    if slope < 0:
        variance, slope = error.square().mean(), slope.new_zeros(())
    elif variance < 0:
        variance, slope = variance.new_zeros(()), error.square().sum() / spread.square().sum()
    return torch.stack([variance, slope]).sqrt()


def is_finite(scores: Tensor) -> bool:
    """Whether all scores are numbers: where training has gone astray they are not."""
    return bool(scores.isfinite().all())


def rank_correlation(score: Tensor, target: Tensor) -> float:
    """Spearman's correlation of (N,) scores with (N,) targets; NaN where a score is not finite."""
    return srcc(score.cpu(), target.cpu()) if is_finite(score) else math.nan
