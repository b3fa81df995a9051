"""NRIQA: the quality of an image alone.

"mobile" is after MobileIQA (Chen et al., ECCV Workshops 2024, arXiv:2409.01212), "akd" after AKD-IQA (IEEE
Transactions on Broadcasting 2025, doi:10.1109/TBC.2025.3549985). The networks are `drmetric.networks.mobileiqa` and
`drmetric.networks.akdiqa`, their training is in `drmetric.distill`, the weights' data and figures are on their cards in
weights/.
"""

from pathlib import Path
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from drmetric.checkpoints import WeightsFile, manifest
from drmetric.distortions.redistort import redistort
from drmetric.errors import InputError
from drmetric.images import Whole, as_floats, plain_defaults, pool_tiled, without_autocast
from drmetric.metrics.base import Mode
from drmetric.metrics.opinions import OpinionMetric
from drmetric.metrics.redistorted import Redistorted
from drmetric.metrics.tiled import TILES_AT_ONCE
from drmetric.networks.akdiqa import AKDIQA, AKDIQAConfig
from drmetric.networks.levels import GRID
from drmetric.networks.mobileiqa import Judgement, MobileIQA, MobileIQAConfig

__all__ = ["AKDNRIQA", "NRIQA", "System"]


System = Literal["mobile", "akd"]


class NRIQA(OpinionMetric):
    """No-reference quality in [0, 1], higher is better: a mean human opinion of the image as it is predicted.

    "mobile" judges the whole image at its own resolution and aspect ratio. "akd" compares the image with itself,
    distorted once more by a fixed chain (`drmetric.distortions.redistort`), on cells of about 224 pixels.

    Above 1792 x 1792 pixels the backbone runs on overlapping tiles, which bounds its memory; the overlap is its reach,
    so that the result is the same to about 1e-6.

    Args:
        system: "mobile" or "akd".
        weights: "default", a bundled name, or the path of a file from `drmetric train`.
        tile: see `NARIQA`.
        trainable: see `LearnedMetric`.

    Raises:
        WeightsError: weights that are unknown, changed or of another metric.
        InputError: an unknown system, or a tile that is too small; when it scores, an image of more pixels than a tile
            with its overlap, where a backbone of timm may look at it as a whole.

    Examples:
        >>> from drmetric import example
        >>> NRIQA()(example.image("restored/coffee_sharp"), return_uncertainty=True)
        (tensor([0.6914]), tensor([0.0947]))
        >>> NRIQA("akd")(example.image("restored/coffee_sharp"), return_uncertainty=True)
        (tensor([0.7155]), tensor([0.0989]))
    """

    name: ClassVar[str] = "nriqa"
    mode: ClassVar[Mode] = "nr"
    min_size: ClassVar[int] = 32
    network: MobileIQA | AKDIQA

    def __init__(
        self,
        system: System = "mobile",
        weights: str | Path = "default",
        *,
        tile: int = 1280,
        trainable: bool = False,
    ) -> None:
        if system not in get_args(System):
            is_weights = system in manifest()["nriqa-mobile"]["weights"] or str(system).endswith(".safetensors")
            fix = f'NRIQA(weights="{system}")' if is_weights else 'NRIQA("mobile")  # or "akd"'
            raise InputError(f"unknown system {system!r}", fix)
        self.system = system
        super().__init__(weights, trainable=trainable)
        backbone = self.network.backbone
        self._set_tile(tile, max(backbone.strides), backbone.reach)

    @property
    def weights_name(self) -> str:
        """What the manifest and the weights files call the metric."""
        return f"nriqa-{self.system}"

    def _build(self, file: WeightsFile) -> MobileIQA | AKDIQA:
        if self.system == "akd":
            return self._load(file, AKDIQAConfig, AKDIQA)
        return self._load(file, MobileIQAConfig, MobileIQA)

    def _settings(self) -> dict[str, str]:
        return {"system": self.system, "input": "rgb01, whole", "tile": f"{self.tile}+{self.overlap}"}

    def forward(
        self,
        image: Tensor,
        reference: Tensor | None = None,
        *,
        return_map: bool = False,
        return_uncertainty: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            image: (N,3,H,W) or (N,1,H,W), floats in [0, 1] or uint8, RGB.
            reference: None; there is none.
            return_map: also return local scores.
            return_uncertainty: also return how far each score may be from the opinion it predicts.

        Returns:
            (N,) float32 scores; with `return_map` also (N,1,h,w) maps of logits: the score is the sigmoid of their
            mean; with `return_uncertainty` also (N,) standard errors in units of the score, as they were calibrated on
            held-out photographs: from the spread of the opinions of "mobile", from where the score lies of "akd".

        Raises:
            InputError: a wrong type, shape or range, a reference, both maps and uncertainties asked for, or weights
                without calibrated uncertainty.
        """
        return super().forward(image, reference, return_map=return_map, return_uncertainty=return_uncertainty)

    def _score_and_spread(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        if not isinstance(self.network, MobileIQA):
            return super()._score_and_spread(image, reference)
        with without_autocast(image.device):
            judged = self._judgement(self.network, image)
        return judged.scores.mean((1, 2, 3)).sigmoid(), judged.opinion_scores.mean((2, 3)).sigmoid().std(1)

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        return self._score_with_map(image, reference)[0]

    def _score_with_map(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        with without_autocast(image.device):
            local = (
                self._judgement(self.network, image).scores
                if isinstance(self.network, MobileIQA)
                else self._differences(self.network, image)
            )
        return torch.sigmoid(local.mean((1, 2, 3))), local

    def _judgement(self, network: MobileIQA, image: Tensor) -> Judgement:
        if not self._is_tiled(image):
            judged: Judgement = network(as_floats(image))
            return judged
        source, strides = Whole(image), network.backbone.strides
        cells = network.grid(*source.size)
        averages = pool_tiled(network.expanded, [source], self.tile, self.overlap, strides, cells)
        return network.judge(network.projected(averages))

    def _differences(self, network: AKDIQA, image: Tensor) -> Tensor:
        if not self._is_tiled(image):
            image = as_floats(image)
            with plain_defaults():
                distorted = redistort(image)
            local: Tensor = network(image, distorted)
            return local
        with plain_defaults():
            distorted_windows = Redistorted(Whole(image))
        seen, reference = self._pooled_in_tiles(Whole(image)), self._pooled_in_tiles(distorted_windows)
        rows = GRID * max(1, TILES_AT_ONCE * GRID // seen.shape[-1])
        parts = zip(torch.split(seen, rows, -2), torch.split(reference, rows, -2), strict=True)
        return torch.cat([network.compare(*part).logits for part in parts], -2)


class AKDNRIQA(NRIQA):
    """``NRIQA("akd")`` under a name of its own, for commands and boards.

    Args:
        weights, tile, trainable: see `NRIQA`.
    """

    name: ClassVar[str] = "nriqa_akd"

    def __init__(self, weights: str | Path = "default", *, tile: int = 1280, trainable: bool = False) -> None:
        super().__init__("akd", weights, tile=tile, trainable=trainable)
