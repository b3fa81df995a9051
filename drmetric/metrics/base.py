"""The contract every metric keeps: checked input, one score an image, a loss, a cached reference, a signature."""

from abc import abstractmethod
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

import torch
from torch import Tensor, nn

from drmetric.checkpoints import WeightsFile, find_weights, read_weights
from drmetric.config import section
from drmetric.errors import ConfigError, InputError, WeightsError
from drmetric.images import check_batch, check_image

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)
Mode = Literal["dr", "nar", "nr", "fr"]
Reduction = Literal["mean", "sum", "none"]


def _keeping_dtype(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What `fn` does to a tensor, save a change of its type."""

    def keep_dtype(tensor: Tensor) -> Tensor:
        moved = fn(tensor)
        return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

    return keep_dtype


class Metric(nn.Module):
    """Base of all metrics.

    Attributes:
        name: the name in the registry.
        mode: "dr" (degraded reference), "nar" (non-aligned), "nr" (none) or "fr" (full).
        higher_is_better: direction of the score.
        score_range: (lowest, highest) score, possibly infinite.
        differentiable: the score has gradients with respect to the image.
        min_size: smallest height and width, in pixels.
        licence: SPDX identifier, of the code and of the weights.
        reference_name: what the second argument is called, in errors.
    """

    name: ClassVar[str]
    mode: ClassVar[Mode]
    higher_is_better: ClassVar[bool] = True
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    differentiable: ClassVar[bool] = True
    min_size: ClassVar[int] = 1
    licence: ClassVar[str] = "Apache-2.0"
    reference_name: ClassVar[str] = "reference"

    def __init__(self) -> None:
        super().__init__()
        self.training = False
        self._reference: Tensor | None = None

    @property
    def needs_reference(self) -> bool:
        """Whether a reference must be passed or set."""
        return self.mode in ("dr", "fr")

    @property
    @abstractmethod
    def signature(self) -> str:
        """Text that pins every choice which can change the score."""

    @abstractmethod
    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        """(N,) scores of checked (N,3,H,W) float32 images; `reference` has N images or one."""

    def _score_with_map(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        raise InputError(f"{self.name} has no quality map", f"create({self.name!r})(image)  # without return_map")

    def forward(
        self, image: Tensor, reference: Tensor | None = None, *, return_map: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            image: (N,3,H,W) or (N,1,H,W), floats in [0, 1] or uint8, RGB.
            reference: (N,3,h,w) or one image for all N; not needed after `set_reference`.
            return_map: also return local scores.

        Returns:
            (N,) float32 scores; with `return_map` also (N,1,h,w) maps whose mean is the score before calibration.

        Raises:
            InputError: a wrong type, shape or range, a missing reference, or a metric without maps.
        """
        image, reference = self._checked(image, reference)
        return self._score_with_map(image, reference) if return_map else self._score(image, reference)

    def _checked(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.mode == "nr" and reference is not None:
            raise InputError(
                f"{self.name} scores an image alone, but a reference came with it", f"create({self.name!r})(image)"
            )
        image = check_image(image, "image", self.min_size)
        reference = self._reference if reference is None else self._checked_reference(reference)
        if reference is None and self.needs_reference:
            raise InputError(
                f"{self.name} needs a {self.reference_name} image beside the image it scores",
                f"metric(image, {self.reference_name})  # or metric.set_reference({self.reference_name}) once",
            )
        if reference is not None:
            check_batch(image, reference, "image", self.reference_name)
        return image, reference

    def _checked_reference(self, reference: Tensor) -> Tensor:
        return check_image(reference, self.reference_name)

    def set_reference(self, reference: Tensor | None) -> Self:
        """Keep a reference, so that ``metric(image)`` needs none; None forgets it.

        Args:
            reference: (N,3,h,w) as in `forward`; it must be on the device of the images that follow.
        """
        self._keep(None if reference is None else self._checked_reference(reference).detach().clone())
        return self

    def _keep(self, reference: Tensor | None) -> None:
        self._reference = reference

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow `.to(device)` with the set reference; weights and scores stay float32 in a half-precision model."""
        super()._apply(_keeping_dtype(fn), recurse)  # type: ignore[no-untyped-call]
        if self._reference is not None:
            self._keep(_keeping_dtype(fn)(self._reference))
        return self

    def loss(
        self,
        image: Tensor,
        reference: Tensor | None = None,
        *,
        reduction: Reduction = "mean",
        weight: float = 1.0,
    ) -> Tensor:
        """A training loss, lower is better: the distance of the score from its best value, times `weight`.

        Where the best score is infinite the loss is the negated score.

        Args:
            image: as in `forward`.
            reference: as in `forward`.
            reduction: "mean" or "sum" over the batch, or "none" for (N,).
            weight: factor.

        Raises:
            InputError: as `forward`; an unknown reduction; a metric that is not differentiable.
        """
        reductions: dict[str, Callable[[Tensor], Tensor]] = {
            "mean": torch.mean,
            "sum": torch.sum,
            "none": lambda values: values,
        }
        if reduction not in reductions:
            raise InputError(f"unknown reduction {reduction!r}", 'reduction="mean"  # or "sum", "none"')
        if not self.differentiable:
            raise InputError(f"{self.name} has no gradient, so it cannot be a loss", 'create("driqa").loss(...)')
        score = self.forward(image, reference)
        assert isinstance(score, Tensor)
        lowest, highest = self.score_range
        best = highest if self.higher_is_better else lowest
        distance = score if best in (float("inf"), float("-inf")) else score - best
        return weight * reductions[reduction](-distance if self.higher_is_better else distance)


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
            self.network._apply(_keeping_dtype(fn))  # type: ignore[no-untyped-call]
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.signature})"
