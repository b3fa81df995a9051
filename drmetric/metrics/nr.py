"""NRIQA: the quality of an image alone.

"mobile" is after MobileIQA (Chen et al., ECCV Workshops 2024, arXiv:2409.01212); the network is
`drmetric.networks.mobileiqa`, the training `drmetric.distill.mobileiqa`, the weights' data and figures are on their
card in weights/.
"""

from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from drmetric.errors import InputError
from drmetric.images import without_autocast
from drmetric.metrics.base import LearnedMetric, Mode
from drmetric.networks.mobileiqa import Judgement, MobileIQA, MobileIQAConfig
from drmetric.weights import WeightsFile

System = Literal["mobile"]


class NRIQA(LearnedMetric):
    """No-reference quality in [0, 1], higher is better: a mean human opinion of the image as it is predicted.

    >>> metric = NRIQA()                                            # doctest: +SKIP
    >>> scores = metric(image)                                      # (N,) # doctest: +SKIP
    >>> scores, error = metric(image, return_uncertainty=True)      # (N,), (N,) # doctest: +SKIP

    The whole image is judged at its own resolution and aspect ratio.

    Args:
        system: "mobile".
        weights: "default", a bundled name, or the path of a file from `drmetric train`.
        trainable: see `LearnedMetric`.

    Raises:
        WeightsError: weights that are unknown, changed or of another metric.
        InputError: an unknown system.
    """

    name: ClassVar[str] = "nriqa"
    mode: ClassVar[Mode] = "nr"
    min_size: ClassVar[int] = 32
    network: MobileIQA

    def __init__(self, system: System = "mobile", weights: str | Path = "default", *, trainable: bool = False) -> None:
        if system != "mobile":
            raise InputError(f"unknown system {system!r}", 'NRIQA("mobile")')
        self.system = system
        super().__init__(weights, trainable=trainable)

    @property
    def weights_name(self) -> str:
        """What the manifest and the weights files call the metric."""
        return f"{self.name}-{self.system}"

    def _build(self, file: WeightsFile) -> MobileIQA:
        return self._load(file, MobileIQAConfig, MobileIQA)

    def _settings(self) -> dict[str, str]:
        return {"system": self.system, "input": "rgb01, whole"}

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
            (N,) float32 scores; with `return_map` also (N,1,h,w) maps whose mean is the score before calibration;
            with `return_uncertainty` also (N,) standard errors in units of the score, from the spread of the
            network's opinions as it was calibrated on held-out images.

        Raises:
            InputError: a wrong type, shape or range, a reference, or both maps and uncertainties asked for.
        """
        if not return_uncertainty:
            return super().forward(image, reference, return_map=return_map)
        if return_map:
            raise InputError("return_map and return_uncertainty do not go together", "metric(image, return_map=True)")
        image, _ = self._checked(image, reference)
        judged = self._judge(image)
        spread = judged.opinion_scores.mean((2, 3)).sigmoid().std(1)
        floor, slope = self.network.uncertainty
        return judged.scores.mean((1, 2, 3)).sigmoid(), (floor**2 + (slope * spread) ** 2).sqrt()

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        return self._score_with_map(image, reference)[0]

    def _score_with_map(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        local = self._judge(image).scores
        return torch.sigmoid(local.mean((1, 2, 3))), local

    def _judge(self, image: Tensor) -> Judgement:
        with without_autocast(image.device):
            judged: Judgement = self.network(image)
        return judged
