"""Recipes: what to train, on what, for how long, as a TOML file; see weights/<name>/recipe.toml.

Here is what the recipes of all systems share; each system's own sections are in its module, see `SYSTEMS`.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Self, get_type_hints

import torch
from torch import Tensor, nn

from drmetric.checkpoints import find_weights, manifest, read_weights
from drmetric.config import as_toml, check_ranges, expand, read_toml, section
from drmetric.data.rated import RatedImage
from drmetric.errors import ConfigError, WeightsError, choose

SYSTEMS = {"driqa": "ckdn", "nriqa-mobile": "mobileiqa", "nriqa-akd": "akdiqa", "nariqa": "cvrkd"}
"""The module here of each metric that can be trained; its `RECIPE` is the class of its recipes."""
STAGES = {("driqa", "self_play"): "self_play"}
"""The module of a further stage, which a table of that name in the metric's recipe asks for."""


AT_LEAST_0, AT_LEAST_1, SHARE = (0, math.inf), (1, math.inf), (0, 1)
"""Ranges of entries."""
PATCH = (32, 16384)
"""Range of the sides of training crops, in pixels."""


def run_name(recipe: Path) -> str:
    """What a recipe trains: its own name, or that of its folder where it is weights/<name>/recipe.toml."""
    return recipe.resolve().parent.name if recipe.stem == "recipe" else recipe.stem


@dataclass(frozen=True)
class DataConfig:
    """A data set: `kind` is the name of its reader; ``$VARIABLES`` in `root` are expanded."""

    kind: str
    root: str

    @property
    def folder(self) -> Path:
        return expand(self.root)


@dataclass(frozen=True)
class OpinionDataConfig(DataConfig):
    """A set of rated images: `kind` is one of `drmetric.data.rated.rated_sets`.

    Attributes:
        batch: images a step and device.
        patch: side of the training crop, in pixels; 0 for that of [train].
        regression: weight of the distance from the scores; 0 where only their order means anything to the others.
        correlation: weight of one minus the correlation with the scores within a batch.
        group: images of one content, on one crop, that a batch holds together; 1 where contents do not matter.
        within: weight of one minus the correlation with the scores inside these groups.
        distillation: factor of the teacher's losses on this set; 0 where it is no teacher.
        judge: weights of NRIQA("mobile") whose scores of the crops are mixed into the opinions, where features are
            kept; empty for none.
        judged: share of the judge's score in the target.
        validate: choose the best state on this set's validation split.
    """

    batch: int = 16
    patch: int = 0
    regression: float = 1.0
    correlation: float = 0.5
    group: int = 1
    within: float = 0.0
    distillation: float = 1.0
    judge: str = ""
    judged: float = 0.5
    validate: bool = False

    def __post_init__(self) -> None:
        where = f"[[data]] {self.kind}"
        weights = ("regression", "correlation", "within", "distillation")
        check_ranges(
            self, where, batch=AT_LEAST_1, group=AT_LEAST_1, judged=SHARE, **dict.fromkeys(weights, AT_LEAST_0)
        )
        if self.patch:
            check_ranges(self, where, patch=PATCH)
        if self.batch % self.group:
            raise ConfigError(
                f"{where}: batch is {self.batch}, group is {self.group}; wanted whole groups",
                f"batch = {max(1, self.batch // self.group) * self.group}\ngroup = {self.group}",
            )
        if self.within and self.group == 1:
            raise ConfigError(f"{where}: within is {self.within}, but a group is one image", "group = 2")


@dataclass(frozen=True)
class Training:
    """How to train, whatever the system.

    Attributes:
        steps: optimiser steps in all.
        warmup_steps: steps over which the rate rises; then it falls as a half cosine to a hundredth.
        patch: side of the training crop, in pixels.
        optimiser: "adamw" or "sgd" (Nesterov momentum .9).
        rate, weight_decay: of the optimiser.
        batch_norm: train with a batch norm behind every convolution, folded into it at the end; for networks that
            start from random weights and have no norms.
        weight_norm: train the convolutions' directions and lengths apart (folded norms leave lengths uneven).
        grey_share: share of the training crops that lose their colour.
        keep_images: hold every decoded image in memory (8 bits a value), for corpora that fit there.
        backbone_weights: safetensors file of the backbone, ``$VARIABLES`` expanded: torchvision's MobileNetV2 features,
            or a pre-activation ResNet-50, see `drmetric.networks.backbones`; empty for random weights.
        start_from: weights of the same network to start from, as `drmetric.checkpoints.find_weights` finds them;
            DRIQA's may have fewer stages in their head. Without a table [network] the network is theirs.
        validate_every: steps between validations.
        devices: GPUs, or processes on a CPU, each of which takes a batch of its own at every step; 0 for all GPUs that
            are there, or for one process.
        workers: data-loading processes, for each device.
        seed: of everything.
    """

    steps: int
    warmup_steps: int = 200
    patch: int = 256
    optimiser: Literal["adamw", "sgd"] = "adamw"
    rate: float = 1e-4
    weight_decay: float = 1e-4
    weight_norm: bool = False
    batch_norm: bool = False
    grey_share: float = 0.0
    keep_images: bool = False
    backbone_weights: str = ""
    start_from: str = ""
    validate_every: int = 500
    devices: int = 0
    workers: int = 2
    seed: int = 0

    @property
    def initial_weights(self) -> Path | None:
        """The file of `backbone_weights`, if any."""
        return expand(self.backbone_weights) if self.backbone_weights else None

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("steps", "validate_every"), AT_LEAST_1)
        others = dict.fromkeys(("warmup_steps", "weight_decay", "devices"), AT_LEAST_0)
        check_ranges(self, "[train]", **counts, **others, patch=PATCH, rate=(1e-12, 10), grey_share=SHARE)
        check_ranges(self, "[train]", workers=(0, 256), seed=(0, 2**31 - 1))
        if self.weight_norm and self.batch_norm:
            raise ConfigError("[train] has weight_norm and batch_norm; wanted one of them", "weight_norm = false")


@dataclass(frozen=True)
class OpinionTraining(Training):
    """How to train from human opinions; the sets' own tables say how many images of each make a batch.

    Attributes:
        new_layers_rate: factor of the rate in all layers but the backbone's.
        frozen_stages: first stages of the backbone that are not trained.
        backbone_from: weights of NRIQA("mobile") whose backbone, which has learned to see quality, is the one to start
            from; empty for none.
        teacher_weights: of a teacher, as `drmetric.checkpoints.find_weights` finds them; empty for none.
        mixup: every image of a batch, or its features, is mixed with another one, scores too, in shares from
            Beta(mixup, mixup); 0 for none.
    """

    new_layers_rate: float = 5.0
    frozen_stages: int = 0
    backbone_from: str = ""
    teacher_weights: str = ""
    mixup: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "[train]", **dict.fromkeys(("new_layers_rate", "frozen_stages", "mixup"), AT_LEAST_0))

    @property
    def needs_pristine(self) -> bool:
        """Whether anything looks at pristine images."""
        return False


@dataclass(frozen=True)
class FrozenTraining(OpinionTraining):
    """How to train a network of which a full-reference twin is the teacher, and whose backbone may be frozen.

    Attributes:
        full_reference: train the teacher, whose reference is the pristine image; else the student.
        features: folder in which the features of a frozen backbone are kept, ``$VARIABLES`` expanded, so that it runs
            once instead of every epoch; a teacher must have the same backbone. Empty for none.
        views: crops of each image whose features are kept; every second one is mirrored.
    """

    full_reference: bool = False
    features: str = ""
    views: int = 2

    @property
    def features_folder(self) -> Path:
        return expand(self.features)

    @property
    def needs_pristine(self) -> bool:
        """Whether anything looks at pristine images."""
        return self.full_reference or bool(self.teacher_weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "[train]", views=AT_LEAST_1)
        if self.features and self.grey_share:
            raise ConfigError("[train] grey_share has no effect on features that are kept", "grey_share = 0.0")


@dataclass(frozen=True)
class Recipe:
    """A whole training run; each system has its own sections."""

    metric: str
    train: Training

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read and check a TOML recipe; raises `ConfigError` on missing, unknown or impossible entries."""
        return recipe_from(read_toml(path), str(path))

    @classmethod
    def from_dict(cls, table: dict[str, Any], where: str = "recipe") -> Self:
        """Build from nested dictionaries, as TOML and checkpoints keep them."""
        sections = {entry.name: entry for entry in dataclasses.fields(cls) if entry.name != "metric"}
        for name in table:
            if name not in {"metric", *sections}:
                known = ", ".join(f"[{each}]" for each in sections)
                raise ConfigError(f"{where}: unknown section {name!r}", f"known sections: {known}")
        values = {name: cls._section(name, table.get(name, {}), f"{where}, [{name}]") for name in sections}
        start = values["train"].start_from
        if start and "network" in sections and "network" not in table:
            described, _ = weights_of("start_from", table["metric"], start)
            values["network"] = cls._section("network", described, f"start_from = {start!r}")
        return cls(metric=table["metric"], **values)

    @classmethod
    def _section(cls, name: str, table: Any, where: str) -> Any:
        return section(get_type_hints(cls)[name], table, where)

    def as_dict(self) -> dict[str, Any]:
        """Nested dictionaries; `recipe_from` reads them back."""
        return dataclasses.asdict(self)

    def module(self) -> Any:
        """The Lightning module that trains by this recipe."""
        raise NotImplementedError

    def rate_factor(self, step: int) -> float:
        """Factor of the learning rate at an optimiser step: linear warm-up, then a half cosine to 0.01."""
        if step < self.train.warmup_steps:
            return (step + 1) / self.train.warmup_steps
        share = (step - self.train.warmup_steps) / max(1, self.train.steps - self.train.warmup_steps)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def optimiser(self, groups: Iterable[nn.Parameter] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser over parameters, or over groups of them with a rate of their own."""
        train = self.train
        if train.optimiser == "sgd":
            return torch.optim.SGD(groups, train.rate, momentum=0.9, weight_decay=train.weight_decay, nesterov=True)
        return torch.optim.AdamW(groups, train.rate, weight_decay=train.weight_decay)


def weights_of(
    entry: str, metric: str, weights: str, *, in_list: bool = False
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The network's shape and its state of the weights that an entry of a recipe, or one in its list, names.

    Raises:
        WeightsError: they cannot be read; the fix is a line of the recipe, or restores what ships or shipped.
    """
    try:
        return read_weights(find_weights(metric, weights), metric)
    except WeightsError as error:
        listed = manifest()[metric]
        if weights in listed["weights"] or weights in listed["retired"]:
            raise
        nearest, *others = get_close_matches(weights, listed["weights"], len(listed["weights"]), cutoff=0)
        value = as_toml([nearest] if in_list else nearest)
        raise WeightsError(
            f"{entry}: {error.problem}", f"{entry} = {value}  # or {' or '.join([*others, 'the path of your file'])}"
        ) from error


def another_network(network: Any, described: dict[str, Any], weights: str) -> ConfigError:
    """The error of a [network] that weights to start from do not fit, which are of a `described` one."""
    theirs = section(type(network), described, f"start_from = {weights!r}")
    names = [each.name for each in dataclasses.fields(network) if each.name != "calibration"]
    different = [name for name in names if getattr(theirs, name) != getattr(network, name)]
    return ConfigError(
        f"start_from = {weights!r} holds another network: it differs in {', '.join(different)}",
        "\n".join(f"{name} = {as_toml(getattr(theirs, name))}  # in [network]" for name in different),
    )


def data_sets(config: type[DataConfig], table: Any, where: str, example: str) -> tuple[Any, ...]:
    """An array of tables, ``[[data]]``, as one `config` each."""
    if not isinstance(table, list | tuple) or not table:
        raise ConfigError(f"{where}: wanted one table or more for each data set", f'[[data]]\nkind = "{example}"')
    return tuple(section(config, each, where) for each in table)


@dataclass(frozen=True)
class OpinionRecipe(Recipe):
    """A recipe whose data are an array of tables, ``[[data]]``, one of them with ``validate``."""

    train: OpinionTraining
    data: tuple[OpinionDataConfig, ...]

    @classmethod
    def _section(cls, name: str, table: Any, where: str) -> Any:
        if name != "data":
            return super()._section(name, table, where)
        sets = data_sets(OpinionDataConfig, table, where, "biq2021")
        if sum(each.validate for each in sets) != 1:
            raise ConfigError(f"{where}: wanted one set to validate on", "validate = true  # in one of them")
        kinds = [each.kind for each in sets]
        if len(set(kinds)) < len(kinds):
            raise ConfigError(
                f"{where}: a kind of set occurs twice in {', '.join(kinds)}", "one [[data]] for each kind"
            )
        return sets

    def __post_init__(self) -> None:
        if any(each.judge for each in self.data) and not getattr(self.train, "features", ""):
            raise ConfigError(
                "a [[data]] has a judge, whose scores are kept like features, but [train] keeps no features",
                'judge = ""',
            )
        if self.train.mixup and any(each.group > 1 for each in self.data):
            raise ConfigError("[train] mixup mixes contents, but a [[data]] has groups of one", "mixup = 0.0")

    def references(self, rated: Sequence[RatedImage]) -> dict[str, Path] | None:
        """The references by content, of other contents, that images are compared with; None for a network without."""
        return None

    @property
    def change(self) -> Callable[[Tensor, int], Tensor] | None:
        """What makes a reference of the image itself, from crops (1,3,h,w) and a seed; None for a network without."""
        return None


@dataclass(frozen=True)
class FrozenRecipe(OpinionRecipe):
    """An `OpinionRecipe` of a network of which a full-reference twin is the teacher; see `FrozenTraining`."""

    train: FrozenTraining
    network: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train.features and not self.network.frozen_backbone:
            raise ConfigError(
                f"[train] features = {self.train.features!r} keeps what a backbone sees, but this one is trained",
                "frozen_backbone = true  # in [network]",
            )


def recipe_from(table: dict[str, Any], where: str = "recipe") -> Recipe:
    """The recipe in nested dictionaries, of the class that its metric has.

    Raises:
        ConfigError: a metric that cannot be trained; sections or entries that are missing, unknown or impossible.
    """
    metric = table.get("metric")
    if not isinstance(metric, str) or metric not in SYSTEMS:
        raise ConfigError(f"{where}: cannot train metric {metric!r}", choose("metric", list(SYSTEMS)))
    stage = next((module for (of, name), module in STAGES.items() if of == metric and name in table), SYSTEMS[metric])
    kind: type[Recipe] = import_module(f"drmetric.distill.{stage}").RECIPE
    return kind.from_dict(table, where)
