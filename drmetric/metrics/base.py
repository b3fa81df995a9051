"""The contract every metric keeps: checked input, one score an image, a loss, a cached reference, a signature."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from drmetric import __version__
from drmetric.errors import InputError
from drmetric.images import (
    LossInputs,
    RangeWatch,
    check_batch,
    check_image,
    check_pixels,
    check_same_device,
    random_view,
    without_autocast,
)
from drmetric.metrics.alignment import Alignment, Crop

__all__ = ["INFINITY", "FullReference", "Metric", "Mode", "Reduction", "device_after", "keeping_dtype", "reduced"]

INFINITY = float("inf")
Mode = Literal["dr", "nar", "nr", "fr"]
Reduction = Literal["mean", "sum", "none"]


Check = Callable[[Tensor, str, int], Tensor]
"""From a tensor, its name in errors and the least side to (N,3,H,W) float32, or uint8 as of `check_pixels`."""


def device_after(fn: Callable[[Tensor], Tensor], device: torch.device) -> torch.device:
    """Where `fn`, of `Module._apply`, moves the tensors of a device."""
    return fn(torch.empty(0, device=device)).device


def keeping_dtype(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What `fn` does to a tensor, without a change of its type."""

    def keep_dtype(tensor: Tensor) -> Tensor:
        moved = fn(tensor)
        return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

    return keep_dtype


def reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    """(N,) losses as one number, or as they are; raises `InputError` for an unknown reduction."""
    reductions: dict[str, Callable[[Tensor], Tensor]] = {"mean": torch.mean, "sum": torch.sum, "none": torch.clone}
    if reduction not in reductions:
        raise InputError(f"unknown reduction {reduction!r}", 'reduction="mean"  # or "sum", "none"')
    return reductions[reduction](losses)


class Metric(nn.Module, ABC):
    """Base of all metrics; a subclass says how it scores and what pins its scores: `_score` and `signature`.

    Attributes:
        name: the name in the registry.
        mode: "dr" (degraded reference), "nar" (non-aligned), "nr" (none) or "fr" (full).
        higher_is_better: direction of the score.
        score_range: (lowest, highest) score, possibly infinite.
        differentiable: the score has gradients with respect to the image.
        min_size: smallest height and width, in pixels.
        licence: SPDX identifier, of the code and of the weights.
        reference_name: what the second argument is called, in errors.
        reach: of random views in a loss, in pixels (`drmetric.images.random_view`); 1 for no such views.
        takes_bytes: `_score` meets uint8 as it came, and makes floats of it where it looks; else it meets floats alone.
        guard: it guards the metrics of quality, of which it says nothing: its ranks count in no mean rank.
    """

    name: ClassVar[str]
    mode: ClassVar[Mode]
    higher_is_better: ClassVar[bool] = True
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    differentiable: ClassVar[bool] = True
    min_size: ClassVar[int] = 1
    licence: ClassVar[str] = "Apache-2.0"
    reference_name: ClassVar[str] = "reference"
    reach: ClassVar[int] = 1
    takes_bytes: ClassVar[bool] = False
    guard: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.training = False
        self._reference: Tensor | None = None
        self._watch = RangeWatch()

    @property
    def _check(self) -> Check:
        """Of the images of a score."""
        return check_pixels if self.takes_bytes else check_image

    @property
    def needs_reference(self) -> bool:
        """Whether a reference must be passed or set."""
        return self.mode in ("dr", "fr")

    @property
    @abstractmethod
    def signature(self) -> str:
        """Text that pins every choice which can change the score."""

    def signature_beside(self, reference: str) -> str:
        """`signature` where every image meets a reference of its own, of that kind, such as "degraded"."""
        return self.signature

    @abstractmethod
    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        """(N,) scores of checked (N,3,H,W) images, float32 or see `takes_bytes`; `reference` has N images or one."""

    def _score_with_map(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        given = "image, reference" if self.needs_reference else "image"
        raise InputError(f"{self.name} has no quality map", f"create({self.name!r})({given})  # without return_map")

    def forward(
        self, image: Tensor, reference: Tensor | None = None, *, return_map: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            image: (N,3,H,W) or (N,1,H,W), floats in [0, 1] or uint8, RGB.
            reference: (N,3,h,w) or one image for all N; not needed after `set_reference`.
            return_map: also return local scores.

        Returns:
            (N,) float32 scores; with `return_map` also (N,1,h,w) maps, on a scale that each metric names.

        Raises:
            InputError: a wrong type, shape or range, a missing reference, or a metric without maps.
        """
        image, reference = self._checked(image, reference)
        return self._score_with_map(image, reference) if return_map else self._score(image, reference)

    def _checked(
        self,
        image: Tensor,
        reference: Tensor | None,
        check: Check | None = None,
        check_reference: Check | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """What `_score` takes: the image, and the reference that came or was set."""
        check, check_reference = check or self._check, check_reference or self._check
        if self.mode == "nr" and reference is not None:
            raise InputError(
                f"{self.name} scores an image alone, but a reference came with it", f"create({self.name!r})(image)"
            )
        image = check(image, "image", self.min_size)
        self._settle(image.device)
        if reference is None:
            return image, self._kept_reference(image)
        reference = check_reference(reference, self.reference_name, 1)
        check_batch(image, reference, "image", self.reference_name)
        return image, reference

    def _viewed(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What a loss looks at; a reference of other content stays where it is."""
        (moved,) = random_view([image], self.reach, self.min_size)
        return moved, reference

    def _settle(self, device: torch.device) -> None:
        """Be ready for images on a device."""

    def _kept_reference(self, image: Tensor) -> Tensor | None:
        """The reference that was set, if it is one for this batch."""
        reference, name = self._reference, self.reference_name
        if reference is None and self.needs_reference:
            raise InputError(
                f"{self.name} needs a {name} image beside the image it scores",
                f"metric(image, {name})  # or metric.set_reference({name}) once",
            )
        if reference is not None:
            check_same_device(image, reference, "image", name)
            if len(reference) not in (1, len(image)):
                raise InputError(
                    f"image is a batch of {len(image)}, but the {name} that was set is of {len(reference)}",
                    f"metric(image, {name})  # that of this batch, as for a last batch that is smaller",
                )
        return reference

    def set_reference(self, reference: Tensor | None) -> Self:
        """Keep a reference, so that ``metric(image)`` needs none; None forgets it.

        Args:
            reference: (N,3,h,w) as in `forward`; it must be on the device of the images that follow.

        Raises:
            InputError: a metric that meets none, or a reference of a wrong type, shape or range.
        """
        if self.mode == "nr" and reference is not None:
            raise InputError(
                f"{self.name} scores an image alone, and has no use for a reference", f"create({self.name!r})(image)"
            )
        with torch.inference_mode(False):
            self._keep(None if reference is None else check_image(reference, self.reference_name).detach().clone())
        return self

    def _keep(self, reference: Tensor | None) -> None:
        self._reference = reference

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow `.to(device)` with the set reference; weights and scores stay float32 in a half-precision model."""
        super()._apply(keeping_dtype(fn), recurse)  # type: ignore[no-untyped-call]
        if self._reference is not None:
            here, there = self._reference.device, device_after(fn, self._reference.device)
            lost = here.type == "meta" != there.type
            self._keep(None if lost else self._reference.to(there))
        return self

    def loss(
        self,
        image: Tensor,
        reference: Tensor | None = None,
        *,
        reduction: Reduction = "mean",
        weight: float = 1.0,
        input_range: tuple[float, float] = (0.0, 1.0),
        random_view: bool = False,
    ) -> Tensor:
        """A training loss, lower is better: the distance of the score from its best value, times `weight`.

        Where the best score is infinite the loss is the negated score. An image may overshoot the range, as outputs
        of networks do: see `drmetric.images.pull_home`. On a GPU no step waits for the device: a mistake in a later
        batch than the first is raised a few calls on.

        A network can be pleased by patterns that are locked to its grid, or that work at one size alone. With
        `random_view`, where the image wants a gradient, our networks look at it mirrored, turned, resized and moved,
        as drawn anew in each call by torch's generator (`drmetric.images.random_view`): the loss then differs
        from that of the score, most on noisy images.

        Args:
            image: as in `forward`; values up to `drmetric.images.OVERSHOOT` outside the range are pulled back.
            reference: as in `forward`.
            reduction: "mean" or "sum" over the batch, or "none" for (N,).
            weight: factor.
            input_range: black and white of image and reference, such as (-1, 1).
            random_view: draw a view; of no effect on metrics that are not ours.

        Returns:
            A float32 scalar, or (N,); not finite where an image is not, under autocast and in half precision.

        Raises:
            InputError: as `forward`, but not for overshoot; an unknown reduction; a metric that is not differentiable.
        """
        if not self.differentiable:
            raise InputError(
                f"{self.name} has no gradient, so it cannot be a loss", 'create("driqa").loss(restored, degraded)'
            )
        inputs = LossInputs(self._watch, input_range)
        images = self._checked(image, reference, inputs.output, inputs.reference)
        # Networks may score what is not finite (on CPUs ReLU6 makes 0 or 6 of it), and GradScaler must see it.
        unfit = 0 * images[0].detach().sum((1, 2, 3))
        if random_view and self.reach > 1 and image.requires_grad and torch.is_grad_enabled():
            images = self._viewed(*images)
        score = self._score(*images) + unfit
        lowest, highest = self.score_range
        best = highest if self.higher_is_better else lowest
        distance = score if abs(best) == INFINITY else score - best
        return weight * reduced(-distance if self.higher_is_better else distance, reduction)


class FullReference(Metric):
    """A comparison with a pristine reference of the image's size, in float32 outside autocast.

    Args:
        crop, upscale: what to do where the sizes differ, see `Alignment`; by default that is an error.

    Attributes:
        settings: choices that can change the score, for the signature.
    """

    mode: ClassVar[Mode] = "fr"
    settings: ClassVar[str]

    def __init__(self, *, crop: Crop = "none", upscale: bool = False) -> None:
        super().__init__()
        self.alignment = Alignment(crop, upscale)

    @abstractmethod
    def _compare(self, image: Tensor, reference: Tensor) -> Tensor:
        """(N,) scores of two batches (N,3,H,W) of one size."""

    @property
    def signature(self) -> str:
        aligned = "".join(f"|{key}:{value}" for key, value in self.alignment.settings.items())
        return f"{self.name}|{self.settings}|input:rgb01{aligned}|drmetric:{__version__}"

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        assert reference is not None
        with without_autocast(image.device):
            return self._compare(*self.alignment(image, reference, self.min_size))
