"""Metrics that predict the mean opinion of people, and say how far they may be off."""

from pathlib import Path
from typing import Any

from torch import Tensor

from drmetric.errors import InputError
from drmetric.metrics.tiled import TiledMetric
from drmetric.networks.levels import LevelsNetwork
from drmetric.networks.mobileiqa import MobileIQA

__all__ = ["OpinionMetric"]


class OpinionMetric(TiledMetric):
    """A metric in tiles whose weights hold how far its scores were from opinions on images that were kept apart.

    Attributes:
        is_calibrated: whether the weights hold it; those that were never validated, or are older, do not.
    """

    network: LevelsNetwork | MobileIQA

    def __init__(self, weights: str | Path = "default", *, trainable: bool = False) -> None:
        super().__init__(weights, trainable=trainable)
        self.is_calibrated = bool(self.network.uncertainty.any())

    def forward(
        self,
        image: Tensor,
        reference: Any = None,
        *,
        return_map: bool = False,
        return_uncertainty: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """As `Metric.forward`; with `return_uncertainty` also (N,) standard errors in units of the score.

        Raises:
            InputError: also for both maps and uncertainties, or where the weights hold no calibrated uncertainty.
        """
        if not return_uncertainty:
            return super().forward(image, reference, return_map=return_map)
        if return_map:
            raise InputError("return_map and return_uncertainty do not go together", "metric(image, return_map=True)")
        if not self.is_calibrated:
            raise InputError(
                f"{self.weights_file.name} holds no calibrated uncertainty: never validated, or older than 0.7.0",
                "metric(image)  # or take weights that were trained again",
            )
        score, spread = self.score_and_spread(image, reference)
        floor, slope = self.network.uncertainty
        return score, (floor**2 + (slope * spread) ** 2).sqrt()

    def score_and_spread(self, image: Tensor, reference: Any = None) -> tuple[Tensor, Tensor]:
        """Scores (N,), and (N,) what their standard errors are calibrated from; raises as `forward`."""
        return self._score_and_spread(*self._checked(image, reference))

    def _score_and_spread(self, image: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        """Here the spread is how far an error of the logit moves each score."""
        score = self._score(image, reference)
        return score, score * (1 - score)
