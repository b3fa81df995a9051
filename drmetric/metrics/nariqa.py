"""NARIQA: the quality of an image, judged beside high-quality images of any content.

After CVRKD-IQA (Yin et al., AAAI 2022, arXiv:2202.13123); the network is `drmetric.networks.cvrkd`, the training
`drmetric.distill.cvrkd`, the weights' data and figures are on their card in weights/.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from drmetric.checkpoints import WeightsFile, read_weights, write_weights
from drmetric.errors import InputError
from drmetric.images import Whole, as_floats, check_image, check_same_device, without_autocast
from drmetric.metrics.base import Check, Mode, Reduction
from drmetric.metrics.opinions import OpinionMetric
from drmetric.metrics.tiled import TILES_AT_ONCE
from drmetric.networks.cvrkd import CVRKD, CVRKDConfig, summary

__all__ = ["NARIQA", "References", "write_bank"]


References = Tensor | Sequence[Tensor]
"""(M,3,h,w) images, or a list of such tensors, each of its own size."""


class NARIQA(OpinionMetric):
    """Quality in [0, 1] beside non-aligned references, higher is better.

    References are high-quality images of any content, number and size. All of them serve every image of the batch,
    and neither their order nor the batch changes a score. Without any, the bank that comes with the weights serves:
    the features of a set of photographs.

    Images and references are read at their own resolution. Above 1792 x 1792 pixels the backbone runs on overlapping
    tiles, which bounds its memory; the overlap is its reach, so that the result is the same to about 1e-6.

    Args:
        weights: "default", a bundled name, or the path of a file from `drmetric train` or `write_bank`.
        references: "default" for the bank, or images as in `set_references`.
        tile: side of a tile in pixels without its overlap of 256 on every side; an image that has no more pixels than
            a tile with its overlap is looked at whole.
        trainable: see `LearnedMetric`; the features of the bank and of set references do not follow the network.

    Raises:
        WeightsError: weights that are unknown, changed or of another metric.
        InputError: something that is not an image, or a tile that is too small.

    Examples:
        >>> from drmetric import example
        >>> image = example.image("restored/coffee_sharp")
        >>> metric = NARIQA()
        >>> metric(image)                                              # beside the bundled bank
        tensor([0.6909])
        >>> metric(image, example.image("restored/chelsea_sharp"))     # beside your own images
        tensor([0.7015])
        >>> metric(image, return_uncertainty=True)
        (tensor([0.6909]), tensor([0.1091]))
    """

    name: ClassVar[str] = "nariqa"
    mode: ClassVar[Mode] = "nar"
    min_size: ClassVar[int] = 32
    reference_name: ClassVar[str] = "references"
    network: CVRKD

    def __init__(
        self,
        weights: str | Path = "default",
        references: References | Literal["default"] = "default",
        *,
        tile: int = 1280,
        trainable: bool = False,
    ) -> None:
        super().__init__(weights, trainable=trainable)
        backbone = self.network.backbone
        self._set_tile(tile, max(backbone.strides), backbone.reach)
        self._has_bank = bool(self.network.bank.any())
        self._references_name = "bank"
        if not isinstance(references, str) or references != "default":
            self.set_references(references)

    def _build(self, file: WeightsFile) -> CVRKD:
        return self._load(file, CVRKDConfig, CVRKD)

    def _settings(self) -> dict[str, str]:
        return {"input": "rgb01", "tile": f"{self.tile}+{self.overlap}", "references": self._references_name}

    def signature_beside(self, reference: str) -> str:
        """`signature` with that kind of references in place of those that are kept."""
        return self.signature.replace(f"|references:{self._references_name}|", f"|references:{reference}|")

    def forward(
        self,
        image: Tensor,
        references: References | None = None,
        *,
        return_map: bool = False,
        return_uncertainty: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            image: (N,3,H,W) or (N,1,H,W), floats in [0, 1] or uint8, RGB.
            references: for this call alone, as in `set_references`; the signature does not know of them.
            return_map: also return local scores.
            return_uncertainty: also return how far each score may be from the opinion it predicts.

        Returns:
            (N,) float32 scores; with `return_map` also (N,1,7h,7w) maps of logits, of images of h x w tiles of about
            224 pixels: the score is the sigmoid of their mean; with `return_uncertainty` also (N,) standard errors in
            units of the score, as they were calibrated on held-out photographs from where the score lies.

        Raises:
            InputError: a wrong type, shape or range; no references, and no bank in the weights; both maps and
                uncertainties asked for, or weights without calibrated uncertainty.
        """
        return super().forward(image, references, return_map=return_map, return_uncertainty=return_uncertainty)

    def _checked(  # type: ignore[override]
        self,
        image: Tensor,
        references: References | None,
        check: Check | None = None,
        check_reference: Check | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The image, and the mean features of the references that came or were set; None stands for the bank."""
        check, check_reference = check or self._check, check_reference or self._check
        image = check(image, "image", self.min_size)
        self._settle(image.device)
        features = self._reference
        if references is not None:
            images = self._checked_images(references, check_reference)
            check_same_device(image, images[0], "image", self.reference_name)
            features = self._mean_features(images)
        if features is None and not self._has_bank:
            raise InputError(
                f"{self.name} needs references beside the image: {self.weights_file.name} holds no bank of them",
                "metric(image, references)  # or metric.set_references(references) once",
            )
        if features is not None:
            check_same_device(image, features, "image", self.reference_name)
        return image, features

    def loss(
        self,
        image: Tensor,
        references: References | None = None,
        *,
        reduction: Reduction = "mean",
        weight: float = 1.0,
        input_range: tuple[float, float] = (0.0, 1.0),
        random_view: bool = False,
    ) -> Tensor:
        """As `Metric.loss`, with references as in `forward`."""
        return super().loss(
            image,
            references,  # type: ignore[arg-type]
            reduction=reduction,
            weight=weight,
            input_range=input_range,
            random_view=random_view,
        )

    def set_references(self, references: References | None) -> Self:
        """Keep the features of references, so that ``metric(image)`` takes these; None goes back to the bank.

        Args:
            references: (M,3,h,w) or (M,1,h,w), or a list of such tensors, on the device of the images that follow.

        Raises:
            InputError: a reference of a wrong type, shape, size or range.
        """
        if references is None:
            self._keep(None)
            return self
        images = [image.detach() for image in self._checked_images(references)]
        self._settle(images[0].device)
        name = f"{len(images)}@{_digest(images)[:12]}"
        with torch.inference_mode(False), torch.no_grad():
            self._keep(self._mean_features(images))
        self._references_name = name
        return self

    def _keep(self, reference: Tensor | None) -> None:
        super()._keep(reference)
        if reference is None:
            self._references_name = "bank"

    def set_reference(self, reference: References | None) -> Self:
        """The same as `set_references`."""
        return self.set_references(reference)

    def _checked_images(self, references: References, check: Check = check_image) -> list[Tensor]:
        """Each reference as (1,3,h,w)."""
        if not isinstance(references, list | tuple):
            checked = [check(references, self.reference_name, self.min_size)]  # type: ignore[arg-type]
        elif references and all(isinstance(each, Tensor) and each.ndim == 4 for each in references):
            checked = [check(each, f"references[{i}]", self.min_size) for i, each in enumerate(references)]
        else:
            raise InputError(
                f"references is a {type(references).__name__} of {len(references)} items; wanted tensors (M, 3, h, w)",
                "references = torch.stack(references)  # or [each.unsqueeze(0) for each in references]"
                if references
                else "references = None  # the bank of the weights",
            )
        return [image[None] for batch in checked for image in batch]

    def _mean_features(self, images: Iterable[Tensor]) -> Tensor:
        """(1,1,1,1,49,C): reference features averaged over (1,3,h,w) images."""
        features = []
        for image in images:
            with without_autocast(image.device):
                features.append(summary(self._tokens(image)))
        return torch.cat(features).mean(0, keepdim=True)

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        return self._score_with_map(image, reference)[0]

    def _score_with_map(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        features = self.network.bank if reference is None else reference
        with without_autocast(image.device):
            tokens = self._tokens(image)
            rows = max(1, TILES_AT_ONCE // tokens.shape[3])
            local = torch.cat([self.network.compare(part, features).logits for part in torch.split(tokens, rows, 2)], 2)
        return torch.sigmoid(local.mean((1, 2, 3))), local

    def _tokens(self, image: Tensor) -> Tensor:
        if not self._is_tiled(image):
            return self.network.tokens(as_floats(image))
        return self.network.tokens_of(self._pooled_in_tiles(Whole(image)))


def _digest(images: list[Tensor]) -> str:
    """SHA-256 of images, whatever their order."""
    digests = sorted(hashlib.sha256(image.cpu().numpy().tobytes()).hexdigest() for image in images)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def write_bank(weights: str | Path, references: Iterable[tuple[str, Tensor]], path: Path) -> str:
    """Write weights again, with the mean features of references as their bank.

    Args:
        weights: of `NARIQA`, with a bank or without.
        references: name and image (1,3,h,w) of each; the names are noted in the file.
        path: of the new file.

    Returns:
        Its SHA-256.

    Raises:
        InputError: something that is not an image; no references.
        WeightsError: weights of another metric.
    """
    metric, names, features = NARIQA(weights), [], []
    for name, image in references:
        names.append(name)
        with torch.no_grad():
            features.append(metric._mean_features([check_image(image, name, metric.min_size)]))
    if not features:
        raise InputError("write_bank got no references; wanted at least one image", "references = [(name, image)]")
    bank = torch.cat(features).mean(0, keepdim=True)
    config, state = read_weights(metric.weights_file, metric.name)
    return write_weights(path, metric.name, config, {**state, "bank": bank}, {"bank": json.dumps(names)})
