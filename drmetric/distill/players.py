"""Small restorers that train against a score: the opponents in self-play.

A `Player` is born with everything drawn at random: what it undoes, its network, its fidelity loss and how much the
score counts beside it. It learns fidelity alone at first, as users pre-train, then fidelity + weight (1 - score).
"""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.distortions.degrade import Step, sample_degradation
from drmetric.images import pull_home, resize

Score = Callable[[Tensor, Tensor], Tensor]
"""From restored (N,3,H,W) and degraded (N,3,H,W) images in [0, 1] to scores (N,) in [0, 1]."""
Shape = Literal["residual", "transposed"]
Fidelity = Literal["l1", "l2", "consistency"]

RATE = 1e-3


@dataclass(frozen=True)
class Character:
    """What a player is.

    Attributes:
        family: of degradations (`drmetric.distortions.degrade.FAMILIES`) that it undoes.
        scale: how many times larger its output is; 1 where the family does not reduce.
        shape: of its network.
        channels, depth: width and number of blocks of its network.
        fidelity: "l1" or "l2" distance from the truth, or "consistency" with the input, which asks for no truth.
        weight: of one minus the score.
        life: rounds of the game after which it gives way to another player.
    """

    family: str
    scale: int
    shape: Shape
    channels: int
    depth: int
    fidelity: Fidelity
    weight: float
    life: int


def draw_character(
    rng: random.Random, families: dict[str, float], weights: Sequence[float], longest_life: int, without_truth: float
) -> Character:
    """Any character whose family is one of these, drawn by their weights, `without_truth` of them with consistency
    alone; short lives are as likely as long ones."""
    family = rng.choices(list(families), weights=list(families.values()))[0]
    reduces = family in ("super_resolution", "blind_super_resolution")
    scale = rng.choice((2, 3, 4, 4)) if reduces else 1
    distances: tuple[Fidelity, ...] = ("l1", "l1", "l2")
    return Character(
        family=family,
        scale=scale,
        shape=rng.choice(("residual", "residual", "transposed")),
        channels=rng.choice((16, 24, 32, 48)),
        depth=rng.randint(2, 6),
        fidelity="consistency" if rng.random() < without_truth else rng.choice(distances),
        weight=rng.choice(list(weights)),
        life=max(3, round(longest_life * 8 ** -rng.random())),
    )


def draw_steps(character: Character, rng: random.Random) -> list[Step]:
    """A degradation of the character's family, at its scale."""
    steps = sample_degradation(character.family, rng)
    return [{**step, "scale": character.scale} if "scale" in step else step for step in steps]


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, 1, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = self.layers(features)
        return features + changed


class Restorer(nn.Module):
    """Residual blocks on the small grid and pixel shuffle ("residual"), or a transposed convolution, which leaves the
    chequers of its kind ("transposed"); the enlarged input is added at the end."""

    def __init__(self, character: Character) -> None:
        super().__init__()
        self.scale = character.scale
        fold = 2 if character.scale == 1 else 1
        channels, unfold = character.channels, fold * character.scale
        self.head = nn.Sequential(nn.PixelUnshuffle(fold), nn.Conv2d(3 * fold**2, channels, 3, 1, 1))
        self.body = nn.Sequential(*(_Block(channels) for _ in range(character.depth)))
        if character.shape == "residual":
            self.tail = nn.Sequential(nn.Conv2d(channels, 3 * unfold**2, 3, 1, 1), nn.PixelShuffle(unfold))
        else:
            self.tail = nn.Sequential(
                nn.ConvTranspose2d(channels, 12, 2 * unfold, unfold, (unfold + 1) // 2, output_padding=unfold % 2),
                nn.ReLU(inplace=True),
                nn.Conv2d(12, 3, 3, 1, 1),
            )
        last = self.tail[0] if character.shape == "residual" else self.tail[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, degraded: Tensor) -> Tensor:
        """(N,3,h,w) in [0, 1], sides even at scale 1, to (N,3,scale h,scale w), not clamped."""
        features = self.head(degraded)
        size = (degraded.shape[-2] * self.scale, degraded.shape[-1] * self.scale)
        restored: Tensor = resize(degraded, size) + self.tail(features + self.body(features))
        return restored


class Player:
    """A restorer with its optimiser.

    Attributes:
        character: see there.
        age: steps taken with the score.
    """

    def __init__(self, character: Character) -> None:
        self.character = character
        self.age = 0
        self.network = Restorer(character)
        self._optimiser = torch.optim.Adam(self.network.parameters(), RATE)

    def step(self, degraded: Tensor, truth: Tensor, score: Score | None) -> Tensor:
        """Take one step; without a score on fidelity alone. Returns the outputs before it, (N,3,H,W) in [0, 1]."""
        restored: Tensor = self.network(degraded)
        consistent = self.character.fidelity == "consistency" and score is not None
        loss = consistency(restored, degraded) if consistent else self._distance(restored, truth)
        if score is not None:
            enlarged = resize(degraded, (restored.shape[-2], restored.shape[-1]))
            loss = loss + self.character.weight * (1 - score(pull_home(restored), enlarged)).mean()
            self.age += 1
        parameters = list(self.network.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self._optimiser.step()
        return restored.detach().clamp(0, 1)

    def _distance(self, restored: Tensor, truth: Tensor) -> Tensor:
        return 5 * F.mse_loss(restored, truth) if self.character.fidelity == "l2" else F.l1_loss(restored, truth)

    def frozen(self) -> Restorer:
        """The network as it is now."""
        network = copy.deepcopy(self.network)
        network.requires_grad_(False)
        return network


def consistency(restored: Tensor, degraded: Tensor) -> Tensor:
    """L1 distance of the restored image, reduced again, from the smaller degraded one; where both have one size, of
    both reduced by four."""
    if restored.shape == degraded.shape:
        return F.l1_loss(F.avg_pool2d(restored, 4), F.avg_pool2d(degraded, 4))
    return F.l1_loss(resize(restored, (degraded.shape[-2], degraded.shape[-1])), degraded)
