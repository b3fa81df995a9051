"""Self-play, a further stage of DRIQA's training: the score that restorers cannot game.

The student continues from trained weights. At every step it learns the label of what a round of the
`Game` against it yields, so that nothing which raises the score alone pays twice, and, to stay a judge, of pairs of
ordinary restorations.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from drmetric.config import check_ranges
from drmetric.distill.ckdn import CKDNDistillation, CKDNRecipe, ranking_loss, regression_loss
from drmetric.distill.datasets.triplets import TripletBatch, ValidationItem
from drmetric.distill.game import Game, GameConfig, Rated
from drmetric.distill.recipe import AT_LEAST_0, SHARE, weights_of
from drmetric.errors import ConfigError, optional
from drmetric.metrics.driqa import DRIQA

rank = optional("lightning.pytorch.utilities.rank_zero", "train", "training")

LARGEST_FALL = -4.0
"""Of the logit of a local score, that a change is to bring about."""


@dataclass(frozen=True)
class SelfPlayConfig(GameConfig):
    """How to play, and what it counts.

    Attributes:
        weight: of the loss on the images of a round beside those of [train].
        steadiness: of the squared error of what a change or an attack changes in the score, beside that loss.
        ordering: of the ranking loss between what was changed or attacked and what it was before, beside that loss.
        placing: of the error of where a change is seen in the map, beside that loss.
        judges: weights of DRIQA that are good judges already, on the scale of the label.
        judge_share: of the mean of their scores in what is learned of ordinary restorations; the rest is the label.
        judge_maps: of the error from the mean of their maps on ordinary restorations, beside the losses of [train]; the
            judges' maps have to be as fine as the student's.
    """

    weight: float = 1.0
    steadiness: float = 1.0
    ordering: float = 0.0
    placing: float = 0.0
    judges: tuple[str, ...] = ()
    judge_share: float = 0.5
    judge_maps: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = ("weight", "steadiness", "ordering", "placing", "judge_maps")
        check_ranges(self, "[self_play]", **dict.fromkeys(weights, AT_LEAST_0), judge_share=SHARE)
        if self.judge_maps and not self.judges:
            raise ConfigError(f"judge_maps is {self.judge_maps}, but there are no judges", "judge_maps = 0.0")


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
    def _judges(self) -> list[DRIQA]:
        """Kept out of the module tree."""
        return [DRIQA(weights).to(self.device) for weights in self.recipe.self_play.judges]

    def loaders(self) -> tuple[DataLoader[TripletBatch], DataLoader[ValidationItem]]:
        """Training and validation data; the players' photographs are read here too. Each device has its own rounds."""
        for judge in self.recipe.self_play.judges:
            weights_of("judges", self.recipe.metric, judge, in_list=True)
        self.game = Game(self.recipe.self_play, torch.initial_seed() + rank.rank_zero_only.rank)
        return super().loaders()

    def training_step(self, batch: TripletBatch, batch_index: int) -> Tensor:
        rated = Rated(*(part.to(self.device) for part in self.game.round(self._played_score)))
        losses = self.play_losses(batch, rated)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, prog_bar=True)
        config = self.recipe.self_play
        weights = self.recipe.train.loss_weights(self.global_step)
        weights |= {"self_play": config.weight, "judge_maps": config.judge_maps}
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()

    def play_losses(self, pairs: TripletBatch, rated: Rated) -> dict[str, Tensor]:
        """Those of the student on pairs, and the errors of rated images, of their differences, and of what changes and
        attacks did to them."""
        config = self.recipe.self_play
        restored = torch.stack([pairs.a, pairs.b], 1)
        seen = self._student(restored, pairs.degraded)
        wanted, maps = self._judged(restored, pairs.degraded, torch.stack([pairs.score_a, pairs.score_b], 1))
        label = rated.label.view(len(rated.degraded), -1)
        local = self._student(rated.restored.view(*label.shape, *rated.restored.shape[1:]), rated.degraded)
        score = scores(local)
        play = regression_loss(score, label) + difference_loss(score, label)
        play = play + config.steadiness * change_loss(score, label, rated.origin)
        play = play + config.ordering * order_loss(score, label, rated.origin, self.recipe.train.ranking_range)
        play = play + config.placing * place_loss(local, label, rated.origin, rated.place)
        (a, b), (first, second) = scores(seen).unbind(1), wanted.unbind(1)
        losses = {
            "student": regression_loss(scores(seen), wanted),
            "ranking": ranking_loss(a, b, first, second, self.recipe.train.ranking_range),
            "self_play": play,
        }
        if maps is not None and config.judge_maps:
            losses["judge_maps"] = F.smooth_l1_loss(seen, _of_one_size(maps, seen))
        return losses

    def _judged(self, restored: Tensor, degraded: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is to be learned of ordinary restorations (K,M,3,H,W): scores (K,M), and the logits of the judges' local
        ones (K,M,h,w)."""
        if not self._judges:
            return label, None
        share, repeated = self.recipe.self_play.judge_share, degraded.repeat_interleave(restored.shape[1], 0)
        with torch.no_grad():
            judged = [judge(restored.flatten(0, 1), repeated, return_map=True) for judge in self._judges]
        local = [_calibrated(part, judge) for (_, part), judge in zip(judged, self._judges, strict=True)]
        judged_score = torch.stack([score for score, _ in judged]).mean(0).view_as(label)
        maps = torch.stack(local).mean(0).view(*label.shape, *local[0].shape[-2:])
        return share * judged_score + (1 - share) * label, maps

    def _student(self, restored: Tensor, degraded: Tensor) -> Tensor:
        """(K,M,h,w) logits of the local scores of M restorations (K,M,3,H,W) of each of K degraded images (K,3,H,W)."""
        reference = self.network.reference_embedding(degraded).repeat_interleave(restored.shape[1], 0)
        local = self.network.score(restored.flatten(0, 1), reference)
        return local.view(*restored.shape[:2], *local.shape[-2:])

    def _played_score(self, restored: Tensor, degraded: Tensor) -> Tensor:
        """As players see it, on the CPU."""
        return self._score(restored.to(self.device), degraded.to(self.device)).sigmoid().cpu()


def _calibrated(local: Tensor, judge: DRIQA) -> Tensor:
    """The logits of local scores on the judge's scale."""
    slope, offset = judge.network.config.calibration
    return slope * local + offset


def _of_one_size(maps: Tensor, seen: Tensor) -> Tensor:
    if maps.shape != seen.shape:
        fine, own = tuple(maps.shape[2:]), tuple(seen.shape[2:])
        raise ConfigError(f"the judges' maps are {fine}, the student's {own}", "judge_maps = 0.0")
    return maps


def difference_loss(score: Tensor, label: Tensor) -> Tensor:
    """Mean squared error of the differences of scores within contents; both (K,M), M images of each of K contents."""
    error = score - label
    differences: Tensor = error[:, :, None] - error[:, None, :]
    contents, images = score.shape
    return differences.square().sum() / (contents * images * max(1, images - 1))


def change_loss(score: Tensor, label: Tensor, origin: Tensor) -> Tensor:
    """Mean squared error of what changes and attacks do to scores; (K,M) scores and labels, and for the last C images
    which of the images each of them began with, (K,C)."""
    if not origin.shape[1]:
        return score.new_zeros(())
    error = score - label
    return (error[:, -origin.shape[1] :] - error.gather(1, origin)).square().mean()


def order_loss(score: Tensor, label: Tensor, origin: Tensor, elo_range: float) -> Tensor:
    """`drmetric.distill.ckdn.ranking_loss` between what was changed or attacked and what it was before; arguments of
    `change_loss`. Small changes count more than in a squared error."""
    if not origin.shape[1]:
        return score.new_zeros(())
    changes = origin.shape[1]
    return ranking_loss(
        score[:, -changes:], score.gather(1, origin), label[:, -changes:], label.gather(1, origin), elo_range
    )


def place_loss(local: Tensor, label: Tensor, origin: Tensor, place: Tensor) -> Tensor:
    """Smooth error of what changes do to local scores, which is to be nothing but where they lie.

    There it is to be what, averaged over the map, takes the score as far down as the change takes the label, and never
    up.

    Args:
        local: (K,M,h,w) logits of the local scores of M images of each of K contents.
        label: (K,M) in [0, 1].
        origin: (K,C+A), which of the M images each of the last C + A of them began with.
        place: (K,C,H,W) in [0, 1], how much of a pixel the first C of these changed.
    """
    changes = place.shape[1]
    if not changes:
        return local.new_zeros(())
    first = local.shape[1] - origin.shape[1]
    numbers = origin[:, :changes]
    logit = label.clamp(0.02, 0.98).logit()
    fall = (logit[:, first : first + changes] - logit.gather(1, numbers)).clamp(max=0)
    share = F.adaptive_avg_pool2d(place, (local.shape[-2], local.shape[-1]))
    wanted = (fall[..., None, None] * share / share.mean((2, 3), keepdim=True).clamp_min(1e-3)).clamp_min(LARGEST_FALL)
    before = local[torch.arange(len(local))[:, None], numbers]
    return F.smooth_l1_loss(local[:, first : first + changes] - before, wanted)


def scores(local: Tensor) -> Tensor:
    """(K,M) scores from the logits of local ones, (K,M,h,w)."""
    return local.mean((2, 3)).sigmoid()


RECIPE = SelfPlayRecipe
