"""Metrics on weights: the network is found, checked, loaded, frozen, and kept out of the user's model."""

import copy
import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from drmetric import __version__
from drmetric.checkpoints import WeightsFile, find_weights, read_weights
from drmetric.config import section
from drmetric.errors import ConfigError, InputError, WeightsError
from drmetric.images import plain_defaults
from drmetric.metrics.base import Metric, device_after

__all__ = ["LearnedMetric"]

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)


class LearnedMetric(Metric):
    """A metric on bundled weights.

    The network is frozen, always in evaluation mode and float32, and kept out of the module tree: a model that
    holds the metric gets no parameters and no state from it, while `.to(device)` still moves it. With
    ``trainable=True`` it is an ordinary submodule with parameters.

    It may be made anywhere: under another default type or device, in `torch.inference_mode`, under
    ``torch.device("meta")``, within accelerate's `init_empty_weights`. What empties a model's weights
    (`Module.to_empty`) leaves those of a frozen network as they are.

    Args:
        weights: "default", a bundled name, or a path; see `drmetric.checkpoints.find_weights`.
        trainable: register the network with trainable parameters.
    """

    def __init__(self, weights: str | Path = "default", *, trainable: bool = False) -> None:
        super().__init__()
        self.weights_file: WeightsFile = find_weights(self.weights_name, weights)
        self.trainable = trainable
        self._copies: dict[torch.device, nn.Module] = {}
        if trainable:
            self.network = self._made()
        else:
            object.__setattr__(self, "network", self._made())
        self._as_made = _hash_of(self.network) if trainable else ""

    @property
    def weights_name(self) -> str:
        """What the manifest and the weights files call the metric."""
        return self.name

    @abstractmethod
    def _build(self, file: WeightsFile) -> nn.Module:
        """The network with its weights loaded."""

    def _made(self) -> nn.Module:
        """The network, ready for use on the CPU, whatever the context in which it is made."""
        with torch.inference_mode(False), plain_defaults():
            network = self._build(self.weights_file).eval().requires_grad_(self.trainable)
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if any(tensor.is_meta for tensor in chain(network.parameters(), network.buffers())):
            raise WeightsError(
                f"{self.name} was made where new modules lose their weights to the meta device",
                f"metric = {type(self).__name__}()  # before or after init_empty_weights(), not within",
            )
        return network

    def _load(self, file: WeightsFile, config: type[Config], network: Callable[[Config], Network]) -> Network:
        """The network that a weights file describes, with its state; raises `WeightsError` where they do not fit."""
        described, state = read_weights(file, self.weights_name)
        try:
            loaded = network(section(config, described, file.path.name))
            _fill(loaded, state)
        except (ConfigError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            why = error.problem if isinstance(error, ConfigError) else error
            raise WeightsError(
                f"{file.path} does not fit the network it describes: {why}", "pip install --upgrade drmetric"
            ) from error
        return loaded

    def _settings(self) -> dict[str, str]:
        """Choices beside version and weights that can change the score; part of the signature."""
        return {}

    @property
    def signature(self) -> str:
        """``driqa|weights:name@hash|...|drmetric:version``: equal signatures mean comparable scores.

        Of a metric that was trained on the hash is that of its values as they are now.
        """
        now = _hash_of(self.network) if self.trainable else self._as_made
        pinned = self.weights_file.sha256 if now == self._as_made else now
        weights = f"{self.weights_file.name}@{pinned[:12]}"
        parts = {"weights": weights, **self._settings(), "drmetric": __version__}
        return "|".join([self.name, *(f"{key}:{value}" for key, value in parts.items())])

    def train(self, mode: bool = True) -> Self:
        """Keep the network in evaluation mode: training mode does not change a score."""
        super().train(mode)
        self.network.eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As all metrics. The frozen network follows to another device, and keeps its type and its values."""
        super()._apply(fn, recurse)
        if not self.trainable:
            here, there = _device(self.network), device_after(fn, _device(self.network))
            came_back = here.type == "meta" != there.type
            with torch.inference_mode(False):
                object.__setattr__(self, "network", (self._made() if came_back else self.network).to(there))
            self._copies = {}
        return self

    def _settle(self, device: torch.device) -> None:
        """Meet images on a device: a replica of `DataParallel`, which shares the network, takes a copy there.

        Raises:
            InputError: the network is on another device.
        """
        here = _device(self.network)
        if here == device or self.trainable:
            return
        if not getattr(self, "_is_replica", False):
            raise InputError(
                f"the images are on {device}, {self.name} on {here}; wanted one device", f'metric.to("{device}")'
            )
        if device not in self._copies:
            with torch.inference_mode(False):
                self._copies[device] = copy.deepcopy(self.network).to(device)
        object.__setattr__(self, "network", self._copies[device])
        if self._reference is not None:
            self._keep(self._reference.to(device))

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: not the copies on other devices."""
        return {**self.__dict__, "_copies": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.signature})"


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state, also into parameters that a context has moved to the meta device as they were made."""
    for key, made in network.state_dict().items():
        if key in state and made.is_floating_point() != state[key].is_floating_point():
            raise TypeError(f"whole numbers in place of floats, or the reverse, for {key}")
        if made.is_meta:
            path, _, name = key.rpartition(".")
            module = network.get_submodule(path)
            room = torch.empty_like(made, device="cpu")
            if name in module._parameters:
                module._parameters[name] = nn.Parameter(room)
            else:
                module._buffers[name] = room
    network.load_state_dict(state)


def _hash_of(network: nn.Module) -> str:
    """SHA-256 of its values."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
