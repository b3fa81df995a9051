"""DRIQA: the quality of a restored image, judged with the degraded image it was made from.

After CKDN (Zheng et al., ICCV 2021, arXiv:2108.07948); the network is `drmetric.networks.ckdn`, the training
`drmetric.distill.ckdn`, the weights' data and figures are on their card in weights/.
"""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from drmetric.checkpoints import WeightsFile
from drmetric.errors import InputError
from drmetric.images import resize, tiles, without_autocast
from drmetric.metrics.base import Mode
from drmetric.metrics.learned import LearnedMetric
from drmetric.networks.ckdn import CKDN, CKDNConfig


class DRIQA(LearnedMetric):
    """Degraded-reference quality in [0, 1], higher is better.

    The degraded image may be smaller than the restored one (super-resolution) or of the same size; it is brought
    to the restored image's size by `drmetric.images.resize`. Images are scored at their own resolution. Above
    `tile` x `tile` pixels the network runs on overlapping tiles, which bounds its memory; the overlap makes the
    result the same to about 1e-5.

    Args:
        weights: "default", a bundled name, or the path of a file from `drmetric train`.
        tile: side of a tile in pixels.
        trainable: see `LearnedMetric`.

    Raises:
        WeightsError: weights that are unknown, changed or of another metric.
        InputError: a tile that is too small.

    Examples:
        >>> from drmetric import example
        >>> restored, degraded = example.image("restored/coffee_sharp"), example.image("degraded/coffee")
        >>> metric = DRIQA()
        >>> metric(restored, degraded)
        tensor([0.5479])
        >>> metric.loss(restored, degraded)
        tensor(0.4521)
    """

    name: ClassVar[str] = "driqa"
    mode: ClassVar[Mode] = "dr"
    min_size: ClassVar[int] = 32
    reference_name: ClassVar[str] = "degraded"
    network: CKDN

    _OVERLAP: ClassVar[int] = 128

    def __init__(self, weights: str | Path = "default", *, tile: int = 1536, trainable: bool = False) -> None:
        if tile < 4 * self._OVERLAP:
            raise InputError(f"tile is {tile} pixels, at least {4 * self._OVERLAP} are needed", "DRIQA(tile=1536)")
        super().__init__(weights, trainable=trainable)
        if tile % self.network.stride:
            raise InputError(
                f"tile is {tile} pixels, no multiple of the network's stride {self.network.stride}", "DRIQA(tile=1536)"
            )
        self.tile = tile
        self._reference_features: tuple[tuple[int, int], Tensor] | None = None

    def _build(self, file: WeightsFile) -> CKDN:
        return self._load(file, CKDNConfig, CKDN)

    def _settings(self) -> dict[str, str]:
        settings = {"input": "rgb01", "resize": "bicubic-aa", "tile": f"{self.tile}+{self._OVERLAP}"}
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
        with without_autocast(image.device):
            local = self._local_scores(image, reference)
        slope, offset = self.network.config.calibration
        return torch.sigmoid(slope * local.mean((1, 2, 3)) + offset), local

    def _local_scores(self, image: Tensor, reference: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if height * width > self.tile**2 and not self.network.score_head.pool_features:
            return self._tiled(image, resize(reference, (height, width)))
        if reference is self._reference and not self.trainable:
            return self.network.score(image, self._cached_features((height, width)))
        local: Tensor = self.network(image, resize(reference, (height, width)))
        return local

    def _cached_features(self, size: tuple[int, int]) -> Tensor:
        if self._reference_features is None or self._reference_features[0] != size:
            assert self._reference is not None
            with torch.no_grad():
                features = self.network.reference_embedding(resize(self._reference, size))
            self._reference_features = (size, features)
        return self._reference_features[1]

    def _tiled(self, image: Tensor, reference: Tensor) -> Tensor:
        """Local scores of the whole image, made a tile at a time."""
        height, width = image.shape[-2:]
        stride = self.network.stride
        rows: dict[int, list[Tensor]] = {}
        for t in tiles(height, width, self.tile, self._OVERLAP, stride):
            outer = (..., slice(t.outer_top, t.outer_bottom), slice(t.outer_left, t.outer_right))
            local = self.network(image[outer], reference[outer])
            top, left = (t.top - t.outer_top) // stride, (t.left - t.outer_left) // stride
            core = (-(-(t.bottom - t.top) // stride), -(-(t.right - t.left) // stride))
            rows.setdefault(t.top, []).append(local[..., top : top + core[0], left : left + core[1]])
        return torch.cat([torch.cat(row, dim=-1) for row in rows.values()], dim=-2)
