"""Metrics on weights: the network is found, checked, loaded, frozen, and kept out of the user's model."""

from abc import abstractmethod
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from drmetric.checkpoints import WeightsFile, find_weights, read_weights
from drmetric.config import section
from drmetric.errors import ConfigError, WeightsError
from drmetric.metrics.base import Metric, keeping_dtype

__all__ = ["LearnedMetric"]

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)


class LearnedMetric(Metric):
    """A metric on bundled weights.

    The network is frozen, always in evaluation mode and float32, and kept out of the module tree: a model that
    holds the metric gets no parameters and no state from it, while `.to(device)` still moves it. With
    ``trainable=True`` it is an ordinary submodule with parameters.

    Args:
        weights: "default", a bundled name, or a path; see `drmetric.checkpoints.find_weights`.
        trainable: register the network with trainable parameters.
    """

    def __init__(self, weights: str | Path = "default", *, trainable: bool = False) -> None:
        super().__init__()
        self.weights_file: WeightsFile = find_weights(self.weights_name, weights)
        self.trainable = trainable
        network = self._build(self.weights_file).eval().requires_grad_(trainable)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if trainable:
            self.network = network
        else:
            object.__setattr__(self, "network", network)

    @property
    def weights_name(self) -> str:
        """What the manifest and the weights files call the metric."""
        return self.name

    @abstractmethod
    def _build(self, file: WeightsFile) -> nn.Module:
        """The network with its weights loaded."""

    def _load(self, file: WeightsFile, config: type[Config], network: Callable[[Config], Network]) -> Network:
        """The network that a weights file describes, with its state; raises `WeightsError` where they do not fit."""
        described, state = read_weights(file, self.weights_name)
        try:
            loaded = network(section(config, described, file.path.name))
            loaded.load_state_dict(state)
        except (ConfigError, RuntimeError) as error:
            raise WeightsError(
                f"{file.path} does not fit the network it describes: {error}", "pip install --upgrade drmetric"
            ) from error
        return loaded

    def _settings(self) -> dict[str, str]:
        """Choices beside version and weights that can change the score; part of the signature."""
        return {}

    @property
    def signature(self) -> str:
        """``driqa|weights:name@hash|...|drmetric:version``: equal signatures mean comparable scores."""
        weights = f"{self.weights_file.name}@{self.weights_file.sha256[:12]}"
        parts = {"weights": weights, **self._settings(), "drmetric": version("drmetric")}
        return "|".join([self.name, *(f"{key}:{value}" for key, value in parts.items())])

    def train(self, mode: bool = True) -> Self:
        """Keep the network in evaluation mode: training mode does not change a score."""
        super().train(mode)
        self.network.eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As all metrics, with the frozen network."""
        super()._apply(fn, recurse)
        if not self.trainable:
            self.network._apply(keeping_dtype(fn))  # type: ignore[no-untyped-call]
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.signature})"
