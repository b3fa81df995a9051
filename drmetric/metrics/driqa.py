"""DRIQA: the quality of a restored image, judged with the degraded image it was made from.

After CKDN (Zheng et al., ICCV 2021, arXiv:2108.07948); the network is `drmetric.networks.ckdn`, the training
`drmetric.distill.ckdn`, the weights' data and figures are on their card in weights/.
"""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from drmetric.checkpoints import WeightsFile
from drmetric.images import (
    Whole,
    as_floats,
    check_scale,
    random_view,
    resize,
    resized,
    run_tiled,
    without_autocast,
)
from drmetric.images.scale import size_of
from drmetric.metrics.base import Mode, Reduction
from drmetric.metrics.tiled import TiledMetric
from drmetric.networks.ckdn import CKDN, CKDNConfig

__all__ = ["DRIQA"]


class DRIQA(TiledMetric):
    """Degraded-reference quality in [0, 1], higher is better.

    The degraded image is of the restored one's size, or smaller by a common scale (super-resolution; see
    `drmetric.images.scale`); it is brought to the restored image's size by `drmetric.images.resize`. Images are scored
    at their own resolution. Above 1792 x 1792 pixels the network runs on overlapping tiles, which bounds its memory;
    the overlap is its reach, so that the result is the same to about 1e-6.

    Args:
        weights: "default", a bundled name, or the path of a file from `drmetric train`.
        tile: see `NARIQA`; weights whose network averages features before it scores look at images whole.
        trainable: see `LearnedMetric`.

    Raises:
        WeightsError: weights that are unknown, changed or of another metric.
        InputError: a tile that is too small; when it scores, a degraded image that is larger than the restored one or
            that no common scale explains, such as a turned one.

    Examples:
        >>> from drmetric import example
        >>> restored, degraded = example.image("restored/coffee_sharp"), example.image("degraded/coffee")
        >>> metric = DRIQA()
        >>> metric(restored, degraded)
        tensor([0.9556])
        >>> metric.loss(restored, degraded)
        tensor(0.0444)
    """

    name: ClassVar[str] = "driqa"
    mode: ClassVar[Mode] = "dr"
    min_size: ClassVar[int] = 32
    reference_name: ClassVar[str] = "degraded"
    network: CKDN

    def __init__(self, weights: str | Path = "default", *, tile: int = 1280, trainable: bool = False) -> None:
        super().__init__(weights, trainable=trainable)
        self._set_tile(tile, self.network.stride, self.network.reach)
        self._reference_features: tuple[Tensor, tuple[int, int], Tensor] | None = None

    def forward(
        self, restored: Tensor, degraded: Tensor | None = None, *, return_map: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            restored: (N,3,H,W) or (N,1,H,W), floats in [0, 1] or uint8, RGB.
            degraded: (N,3,h,w), or one image for all N; not needed after `set_reference`.
            return_map: also return local scores.

        Returns:
            (N,) float32 scores in [0, 1]; with `return_map` also (N,1,h,w) maps of logits: the score is the sigmoid of
            their mean, calibrated.

        Raises:
            InputError: a wrong type, shape or range, or no degraded image.
        """
        return super().forward(restored, degraded, return_map=return_map)

    def loss(
        self,
        restored: Tensor,
        degraded: Tensor | None = None,
        *,
        reduction: Reduction = "mean",
        weight: float = 1.0,
        input_range: tuple[float, float] = (0.0, 1.0),
        random_view: bool = False,
    ) -> Tensor:
        """As `Metric.loss`: `weight` times 1 minus the score, with gradients for `restored` (and `degraded`)."""
        return super().loss(
            restored,
            degraded,
            reduction=reduction,
            weight=weight,
            input_range=input_range,
            random_view=random_view,
        )

    def _viewed(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Both, of one size, in one view."""
        assert reference is not None
        check_scale(image, reference)
        enlarged = resize(reference, (image.shape[-2], image.shape[-1]))
        first, second = random_view([image, enlarged], self.reach, self.min_size)
        return first, second

    def _build(self, file: WeightsFile) -> CKDN:
        return self._load(file, CKDNConfig, CKDN)

    def _settings(self) -> dict[str, str]:
        settings = {"input": "rgb01", "resize": "bicubic-aa", "tile": f"{self.tile}+{self.overlap}"}
        slope, offset = self.network.config.calibration
        return settings if (slope, offset) == (1, 0) else {**settings, "calibration": f"{slope:g}{offset:+g}"}

    def _keep(self, reference: Tensor | None) -> None:
        """Keep the degraded image and, from the first score on, its features."""
        self._reference_features = None
        super()._keep(reference)

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        return self._score_with_map(image, reference)[0]

    def _score_with_map(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        assert reference is not None
        check_scale(image, reference)
        with without_autocast(image.device):
            local = self._local_scores(image, reference)
        slope, offset = self.network.config.calibration
        return torch.sigmoid(slope * local.mean((1, 2, 3)) + offset), local

    def _local_scores(self, image: Tensor, reference: Tensor) -> Tensor:
        size = size_of(image)
        if not self.network.score_head.pool_features and self._is_tiled(image):
            sources, strides = [Whole(image), resized(reference, size)], [self.network.stride]
            (tiled,) = run_tiled(lambda *parts: [self.network(*parts)], sources, self.tile, self.overlap, strides)
            return tiled
        image = as_floats(image)
        if reference is self._reference and not self.trainable:
            return self.network.score(image, self._features_of(reference, size))
        whole: Tensor = self.network(image, resize(as_floats(reference), size))
        return whole

    def _features_of(self, reference: Tensor, size: tuple[int, int]) -> Tensor:
        """The features of the set reference, computed once; other threads may set or use another meanwhile."""
        kept = self._reference_features
        if kept is None or kept[0] is not reference or kept[1] != size:
            with torch.inference_mode(False), torch.no_grad():
                kept = (reference, size, self.network.reference_embedding(resize(reference, size)))
            self._reference_features = kept
        return kept[2]
