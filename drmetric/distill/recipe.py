"""Recipes: what to train, on what, for how long, as a TOML file; see benchmarks/recipes."""

import dataclasses
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from drmetric.config import read_toml, section
from drmetric.errors import ConfigError
from drmetric.networks.ckdn import CKDNConfig

LOSSES = ("student", "teacher", "relative", "distillation", "ranking")


@dataclass(frozen=True)
class DataConfig:
    """A data set: `kind` is a key of `drmetric.data.readers.READERS`; ``$VARIABLES`` in `root` are expanded."""

    kind: str
    root: str

    @property
    def folder(self) -> Path:
        return Path(os.path.expandvars(self.root)).expanduser()


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        steps: optimiser steps in all.
        relative_steps: of these, the first ones, on the relative loss alone.
        warmup_steps: steps over which the rate rises; then it falls as a half cosine to a hundredth.
        batch: pairs of restored images a step and device.
        patch: side of the training crop, in pixels.
        optimiser: "adamw" or "sgd" (Nesterov momentum .9).
        rate, weight_decay: of the optimiser.
        batch_norm: train with a batch norm behind every convolution, folded into it at the end; for networks that
            start from random weights and have no norms.
        weight_norm: train the convolutions' directions and lengths apart (folded norms leave lengths uneven).
        student, teacher, relative, distillation, ranking: weights of the losses after the relative steps.
        grey_share: share of the training crops that lose their colour.
        keep_images: hold every decoded image in memory (8 bits a value), for corpora that fit there.
        backbone_weights: safetensors file of torchvision's MobileNetV2 features, ``$VARIABLES`` expanded; empty for
            random weights.
        start_from: weights of the same network to start from, as `drmetric.weights.find_weights` finds them.
        validate_every: steps between validations.
        workers: data-loading processes.
        seed: of everything.
    """

    steps: int
    relative_steps: int = 0
    warmup_steps: int = 200
    batch: int = 16
    patch: int = 256
    optimiser: Literal["adamw", "sgd"] = "adamw"
    rate: float = 1e-4
    weight_decay: float = 1e-4
    weight_norm: bool = False
    batch_norm: bool = False
    student: float = 1.0
    teacher: float = 1.0
    relative: float = 0.0
    distillation: float = 1.0
    ranking: float = 0.0
    grey_share: float = 0.0
    keep_images: bool = False
    backbone_weights: str = ""
    start_from: str = ""
    validate_every: int = 500
    workers: int = 2
    seed: int = 0

    @property
    def initial_weights(self) -> Path | None:
        """The file of `backbone_weights`, if any."""
        return Path(os.path.expandvars(self.backbone_weights)).expanduser() if self.backbone_weights else None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "patch", "rate", "validate_every"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"[train] {name} is {getattr(self, name)}; wanted more than 0")
        if self.weight_norm and self.batch_norm:
            raise ConfigError("[train] has weight_norm and batch_norm; wanted one of them", "weight_norm = false")


@dataclass(frozen=True)
class Recipe:
    """A whole training run."""

    metric: str
    data: DataConfig
    train: TrainConfig
    network: CKDNConfig = field(default_factory=CKDNConfig)

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read and check a TOML recipe; raises `ConfigError` on missing, unknown or impossible entries."""
        return cls.from_dict(read_toml(path), str(path))

    @classmethod
    def from_dict(cls, table: dict[str, Any], where: str = "recipe") -> "Recipe":
        """Build from nested dictionaries, as `read` gets them from TOML and checkpoints keep them."""
        if table.get("metric") != "driqa":
            raise ConfigError(f"{where}: cannot train metric {table.get('metric')!r}", 'metric = "driqa"')
        for name in table:
            if name not in ("metric", "data", "train", "network"):
                raise ConfigError(f"{where}: unknown section {name!r}", "sections: [data], [train], [network]")
        return cls(
            metric="driqa",
            data=section(DataConfig, table.get("data", {}), f"{where}, [data]"),
            train=section(TrainConfig, table.get("train", {}), f"{where}, [train]"),
            network=section(CKDNConfig, table.get("network", {}), f"{where}, [network]"),
        )

    def as_dict(self) -> dict[str, Any]:
        """Nested dictionaries; `from_dict` reads them back."""
        return dataclasses.asdict(self)

    def loss_weights(self, step: int) -> dict[str, float]:
        """Weights of the losses at an optimiser step."""
        train = self.train
        if step < train.relative_steps:
            return {name: float(name == "relative") for name in LOSSES}
        return {name: getattr(train, name) for name in LOSSES}

    def rate_factor(self, step: int) -> float:
        """Factor of the learning rate at an optimiser step: linear warm-up, then a half cosine to 0.01."""
        if step < self.train.warmup_steps:
            return (step + 1) / self.train.warmup_steps
        share = (step - self.train.warmup_steps) / max(1, self.train.steps - self.train.warmup_steps)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def optimiser(self, network: nn.Module) -> torch.optim.Optimizer:
        """The optimiser over all parameters of `network`."""
        train = self.train
        if train.optimiser == "sgd":
            return torch.optim.SGD(
                network.parameters(), train.rate, momentum=0.9, weight_decay=train.weight_decay, nesterov=True
            )
        return torch.optim.AdamW(network.parameters(), train.rate, weight_decay=train.weight_decay)
