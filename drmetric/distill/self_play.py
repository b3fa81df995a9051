"""Self-play, a further stage of DRIQA's training: the score that restorers cannot game.

The student continues from trained weights. At every step it learns the label of what a round of the
`Game` against it yields, so that nothing which raises the score alone pays twice, and, to stay a judge, of pairs of
ordinary restorations.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from drmetric.distill.ckdn import CKDNDistillation, CKDNRecipe, ranking_loss, regression_loss
from drmetric.distill.datasets.triplets import TripletBatch, ValidationItem
from drmetric.distill.game import Game, GameConfig, Rated


@dataclass(frozen=True)
class SelfPlayConfig(GameConfig):
    """How to play, and what it counts.

    Attributes:
        weight: of the loss on the images of a round beside those of [train].
    """

    weight: float = 1.0


@dataclass(frozen=True)
class SelfPlayRecipe(CKDNRecipe):
    """metric = "driqa" with a table ``[self_play]``; of the losses of [train], "student" and "ranking" count."""

    self_play: SelfPlayConfig = field(default_factory=SelfPlayConfig)

    def module(self) -> "SelfPlayDistillation":
        return SelfPlayDistillation(self)


class SelfPlayDistillation(CKDNDistillation):
    """Trains the student on pairs and, beside them, on what restorers that train against it make of it.

    A resumed training starts with new players.
    """

    recipe: SelfPlayRecipe

    def loaders(self) -> tuple[DataLoader[TripletBatch], DataLoader[ValidationItem]]:
        """Training and validation data; the players' photographs are read here too."""
        self.game = Game(self.recipe.self_play, self.recipe.train.seed)
        return super().loaders()

    def training_step(self, batch: TripletBatch, batch_index: int) -> Tensor:
        rated = Rated(*(part.to(self.device) for part in self.game.round(self._played_score)))
        losses = self.play_losses(batch, rated)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, prog_bar=True)
        weights = self.recipe.train.loss_weights(self.global_step) | {"self_play": self.recipe.self_play.weight}
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()

    def play_losses(self, pairs: TripletBatch, rated: Rated) -> dict[str, Tensor]:
        """Those of the student on pairs, and the squared errors of rated images and of their differences."""
        a, b = self._student(torch.stack([pairs.a, pairs.b], 1), pairs.degraded).unbind(1)
        label = rated.label.view(len(rated.degraded), -1)
        score = self._student(rated.restored.view(*label.shape, *rated.restored.shape[1:]), rated.degraded)
        return {
            "student": regression_loss(torch.stack([a, b]), torch.stack([pairs.score_a, pairs.score_b])),
            "ranking": ranking_loss(a, b, pairs.score_a, pairs.score_b, self.recipe.train.ranking_range),
            "self_play": regression_loss(score, label) + difference_loss(score, label),
        }

    def _student(self, restored: Tensor, degraded: Tensor) -> Tensor:
        """(K,M) scores of M restorations (K,M,3,H,W) of each of K degraded images (K,3,H,W)."""
        contents, images = restored.shape[:2]
        reference = self.network.reference_embedding(degraded).repeat_interleave(images, 0)
        return self.network.score(restored.flatten(0, 1), reference).mean((1, 2, 3)).sigmoid().view(contents, images)

    def _played_score(self, restored: Tensor, degraded: Tensor) -> Tensor:
        """As players see it, on the CPU."""
        return self._score(restored.to(self.device), degraded.to(self.device)).sigmoid().cpu()


def difference_loss(score: Tensor, label: Tensor) -> Tensor:
    """Mean squared error of the differences of scores within contents; both (K,M), M images of each of K contents."""
    error = score - label
    differences: Tensor = error[:, :, None] - error[:, None, :]
    contents, images = score.shape
    return differences.square().sum() / (contents * images * max(1, images - 1))


RECIPE = SelfPlayRecipe
