"""Training of the no-reference network from human opinions, alone or with a teacher (MobileIQA, arXiv:2409.01212).

Several sets may be mixed. Their scales need not agree: a set can be fitted by the distance from its scores, by the
correlation with them within a batch, or by both.
"""

import random
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric.config import check_ranges
from drmetric.distill.augment import ascended, check_bounds
from drmetric.distill.datasets.rated import RatedBatch
from drmetric.distill.loop import OpinionDistillation, order_losses
from drmetric.distill.recipe import AT_LEAST_0, OpinionDataConfig, OpinionRecipe, OpinionTraining
from drmetric.networks.mobileiqa import Judgement, MobileIQA, MobileIQAConfig


@dataclass(frozen=True)
class MobileIQATraining(OpinionTraining):
    """How to train NRIQA("mobile").

    Attributes:
        opinions: weight of the loss of each opinion's own score.
        opinion_distillation, local_distillation: weights of the mean squared distances from the teacher's opinions
            and local features.
        score_distillation: weight of the distance from the teacher's score.
        local_order: weight of a ranking loss on images of which one half is the pristine image, where a set has it: the
            local scores of that half are to be the higher ones.
        attack_steps: the most steps of an attack that raises the score of every fourth image while its label stays; 0
            for none.
        attack_psnr: bounds of its PSNR in dB.
    """

    opinions: float = 0.3
    opinion_distillation: float = 1.0
    local_distillation: float = 1.0
    score_distillation: float = 1.0
    local_order: float = 0.0
    attack_steps: int = 0
    attack_psnr: tuple[float, ...] = (34.0, 44.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        distances = ("opinion_distillation", "local_distillation", "score_distillation")
        counted = (*distances, "opinions", "local_order", "attack_steps")
        check_ranges(self, "[train]", **dict.fromkeys(counted, AT_LEAST_0))
        check_bounds(self.attack_psnr, "[train]")

    @property
    def needs_pristine(self) -> bool:
        """Whether anything looks at pristine images."""
        return self.local_order > 0


@dataclass(frozen=True)
class MobileIQARecipe(OpinionRecipe):
    """metric = "nriqa-mobile"."""

    train: MobileIQATraining
    network: MobileIQAConfig = field(default_factory=MobileIQAConfig)

    def module(self) -> "MobileIQADistillation":
        return MobileIQADistillation(self)


def opinion_loss(opinion_scores: Tensor, target: Tensor) -> Tensor:
    """Quantile loss of (N,K) opinions' scores with (N,) targets: opinion k of K aims at quantile (k + 1/2) / K.

    The first opinion is a pessimist, the last an optimist, so their spread says how little an image settles (Koenker,
    Bassett, "Regression Quantiles", Econometrica 1978).
    """
    count = opinion_scores.shape[1]
    quantiles = (torch.arange(count, device=target.device) + 0.5) / count
    below = target[:, None] - opinion_scores
    return 2 * torch.maximum(quantiles * below, (quantiles - 1) * below).mean()


def opinion_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of opinions, or of local features, over the teacher's mean square."""
    return F.mse_loss(student, teacher) / teacher.square().mean().clamp_min(1e-8)


def half_replaced(image: Tensor, other: Tensor, *, left: bool) -> Tensor:
    """(N,3,H,W) images whose left or right half is that of others."""
    middle = image.shape[-1] // 2
    parts = (other, image) if left else (image, other)
    return torch.cat([parts[0][..., :middle], parts[1][..., middle:]], -1)


def local_order_loss(scores: Tensor, *, left: bool) -> Tensor:
    """How far the local logits (N,1,h,w) are from being higher in one half: mean of log(1 + exp(others - that half)).

    The column in the middle of an odd number is left out.
    """
    columns = scores.shape[-1] // 2
    first, last = scores[..., :columns].mean((1, 2, 3)), scores[..., -columns:].mean((1, 2, 3))
    return F.softplus(last - first if left else first - last).mean()


class MobileIQADistillation(OpinionDistillation):
    """Trains a `MobileIQA` by a recipe and validates it by its SRCC with the opinions on one set.

    A teacher whose backbone has fewer stages guides the local features of as many first ones of the student.
    """

    recipe: MobileIQARecipe
    network: MobileIQA

    def __init__(self, recipe: MobileIQARecipe) -> None:
        super().__init__(recipe, MobileIQA(recipe.network))

    def losses(self, rated: RatedBatch, settings: OpinionDataConfig) -> dict[str, Tensor]:
        """The weighted losses on one set's part of a batch, by name."""
        train = self.recipe.train
        if train.attack_steps:
            rated = rated._replace(image=self._attacked(rated.image))
        judged = self.network(rated.image)
        score, opinions = probabilities(judged)
        losses = order_losses(score, rated.score, settings)
        if settings.regression:
            losses["regression"] = settings.regression * F.l1_loss(score, rated.score)
            losses["opinions"] = settings.regression * train.opinions * opinion_loss(opinions, rated.score)
        if train.local_order and rated.pristine.numel():
            left = bool(torch.rand(()) < 0.5)
            halves = self.network(half_replaced(rated.image, rated.pristine, left=left))
            losses["local order"] = train.local_order * local_order_loss(halves.scores, left=left)
        for teacher in self.teachers(settings):
            with torch.no_grad():
                taught = teacher(rated.image)
            shared = min(judged.local.shape[1], taught.local.shape[1])
            distances = {
                "opinion": train.opinion_distillation * opinion_distillation_loss(judged.opinions, taught.opinions),
                "local": train.local_distillation
                * opinion_distillation_loss(judged.local[:, :shared], taught.local[:, :shared]),
                "score": train.score_distillation * F.l1_loss(score, probabilities(taught)[0]),
            }
            losses |= {f"{name} distillation": settings.distillation * value for name, value in distances.items()}
        return losses

    def _attacked(self, images: Tensor) -> Tensor:
        """The images, every fourth attacked."""
        train, images = self.recipe.train, images.clone()
        psnr = torch.empty(len(images[::4])).uniform_(*train.attack_psnr)
        steps = random.randint(1, train.attack_steps)
        images[::4] = ascended(images[::4], lambda image: probabilities(self.network(image))[0], psnr, steps)
        return images

    def prediction(self, rated: RatedBatch) -> tuple[Tensor, Tensor]:
        score, opinions = probabilities(self.network(rated.image))
        return score, opinions.std(1)


def probabilities(judged: Judgement) -> tuple[Tensor, Tensor]:
    """Scores (N,) and opinions' scores (N,K), in [0, 1]."""
    return judged.scores.mean((1, 2, 3)).sigmoid(), judged.opinion_scores.mean((2, 3)).sigmoid()


RECIPE = MobileIQARecipe
