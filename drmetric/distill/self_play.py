"""Self-play, a further stage of DRIQA's training: the score that restorers cannot game.

The student continues from trained weights. At every step it learns the label of what a round of the
`Game` against it yields, so that nothing which raises the score alone pays twice, and, to stay a judge, of pairs of
ordinary restorations.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from drmetric.distill.ckdn import CKDNDistillation, CKDNRecipe, ranking_loss, regression_loss
from drmetric.distill.datasets.triplets import TripletBatch, ValidationItem
from drmetric.distill.game import Game, GameConfig, Rated
from drmetric.metrics.driqa import DRIQA


@dataclass(frozen=True)
class SelfPlayConfig(GameConfig):
    """How to play, and what it counts.

    Attributes:
        weight: of the loss on the images of a round beside those of [train].
        steadiness: of the squared error of what an attack changes in the score, beside that loss.
        judge: weights of DRIQA that are a good judge already; none if empty.
        judge_share: of its scores in what is learned of ordinary restorations; the rest is the label.
    """

    weight: float = 1.0
    steadiness: float = 1.0
    judge: str = ""
    judge_share: float = 0.5


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

    @cached_property
    def _judge(self) -> list[DRIQA]:
        """The judge, kept out of the module tree; empty without one."""
        return [DRIQA(self.recipe.self_play.judge).to(self.device)] if self.recipe.self_play.judge else []

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
        """Those of the student on pairs, and the squared errors of rated images, of their differences and of what
        attacks changed."""
        a, b = self._student(torch.stack([pairs.a, pairs.b], 1), pairs.degraded).unbind(1)
        first, second = (
            self._judged(pairs.a, pairs.degraded, pairs.score_a),
            self._judged(pairs.b, pairs.degraded, pairs.score_b),
        )
        label = rated.label.view(len(rated.degraded), -1)
        score = self._student(rated.restored.view(*label.shape, *rated.restored.shape[1:]), rated.degraded)
        play = regression_loss(score, label) + difference_loss(score, label)
        return {
            "student": regression_loss(torch.stack([a, b]), torch.stack([first, second])),
            "ranking": ranking_loss(a, b, first, second, self.recipe.train.ranking_range),
            "self_play": play + self.recipe.self_play.steadiness * attack_loss(score, label, rated.origin),
        }

    def _judged(self, restored: Tensor, degraded: Tensor, label: Tensor) -> Tensor:
        """(N,) what is to be learned of ordinary restorations."""
        if not self._judge:
            return label
        share = self.recipe.self_play.judge_share
        with torch.no_grad():
            judged: Tensor = self._judge[0](restored, degraded)
        return share * judged + (1 - share) * label

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


def attack_loss(score: Tensor, label: Tensor, origin: Tensor) -> Tensor:
    """Mean squared error of what attacks change; (K,M) scores and labels, and for the last A images which of the first
    ones each began with, (K,A)."""
    if not origin.shape[1]:
        return score.new_zeros(())
    error = score - label
    return (error[:, -origin.shape[1] :] - error.gather(1, origin)).square().mean()


RECIPE = SelfPlayRecipe
