"""The game of self-play: what restorers that train against a score make of it, each image with its own label.

In every round one small restorer takes a step on fidelity + weight (1 - score). Rated, against the truth, is what came
of it: outputs, blends of output, truth and interpolation, images that were never restorations
(`drmetric.distortions.unfaithful`), by themselves or beside what they were before, and some of these once more after
projected gradient ascent on the score. A change that raises the score and not the label is thus an error to be mended;
one that does help is learned as such, which an attack whose label stays (`drmetric.distill.augment.attacked`) forbids.
"""

import itertools
import random
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric.config import check_ranges, expand
from drmetric.data.make.labels import Fusion, bundled_fusion
from drmetric.data.make.photographs import without
from drmetric.distill.augment import ascended, check_bounds
from drmetric.distill.players import Character, Player, Restorer, Score, draw_character, draw_steps
from drmetric.distill.recipe import AT_LEAST_0, AT_LEAST_1, SHARE
from drmetric.distortions.degrade import check_families, degrade, sample_degradation
from drmetric.distortions.unfaithful import UNFAITHFUL, Unfaithful, make_unfaithful
from drmetric.errors import ConfigError
from drmetric.images import (
    from_random_origin,
    list_images,
    random_view,
    read_image,
    resize,
    rounded_to_8_bit,
    to_8_bit,
)

LEAST_SIDE = 32
"""Of an image that a player looks at, in pixels."""


@dataclass(frozen=True)
class GameConfig:
    """How to play.

    Attributes:
        photographs: folders of clean photographs, ``$VARIABLES`` expanded.
        exclude: names of files in these folders that are left out, such as photographs of a test set; one that is not
            there is an error.
        label: fusion file (`drmetric.data.make.labels.Fusion`) that labels the images; the bundled one if empty.
        contents: photographs a round.
        images: rated images of each, before changes and attacks.
        changes: of these images, how many are rated once more after they were made unfaithful.
        attacks: of all these, how many are rated once more after an attack.
        patch: side of the crops in pixels; divides by 12.
        players: restorers that train at one time, each in its turn.
        player_steps: of the one whose turn it is in a round; more let it find out faster what pays.
        origins: an image's score is looked at by a player from an origin drawn anew in each step, its row and column
            below this; 1 is always at the first pixel.
        views: players also look at images mirrored, turned and resized, as `drmetric.DRIQALoss` does.
        life: the most rounds of its own after which a player gives way to a new one; each draws its own.
        pretraining: the most steps on fidelity alone before; each draws its own, short ones as likely as long ones.
        weights: of one minus the score in players' losses; each draws one.
        without_truth: share of the players whose fidelity is consistency with the input alone.
        memory: earlier states of players that are kept and drawn again.
        attack_steps: the most steps of an attack.
        attack_psnr: bounds of its PSNR in dB.
        unfaithful_share: share of the images that are made unfaithful first.
        spoiled_share: share of the others that are blurred, compressed or made noisy first.
        families: weights of the degradation families.
    """

    photographs: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    label: str = ""
    contents: int = 6
    images: int = 3
    changes: int = 0
    attacks: int = 2
    patch: int = 96
    players: int = 4
    player_steps: int = 1
    origins: int = 1
    views: bool = False
    life: int = 480
    pretraining: int = 40
    weights: tuple[float, ...] = (0.03, 0.1, 0.3)
    without_truth: float = 0.15
    memory: int = 40
    attack_steps: int = 4
    attack_psnr: tuple[float, ...] = (34.0, 42.0)
    unfaithful_share: float = 0.2
    spoiled_share: float = 0.2
    families: dict[str, float] = field(
        default_factory=lambda: {
            "super_resolution": 5.0,
            "blind_super_resolution": 2.0,
            "noise": 1.5,
            "blur": 1.5,
            "jpeg": 1.0,
        }
    )

    def __post_init__(self) -> None:
        counts = ("contents", "images", "players", "player_steps", "life", "memory", "attack_steps")
        shares = ("without_truth", "unfaithful_share", "spoiled_share")
        check_ranges(self, "[self_play]", **dict.fromkeys(counts, AT_LEAST_1), **dict.fromkeys(shares, SHARE))
        check_ranges(self, "[self_play]", patch=(36, 16384), pretraining=AT_LEAST_0, weights=AT_LEAST_0)
        check_ranges(self, "[self_play]", changes=(0, self.images), attacks=(0, self.images + self.changes))
        check_ranges(self, "[self_play]", origins=(1, LEAST_SIDE if self.views else self.patch))
        check_bounds(self.attack_psnr, "[self_play]")
        check_families(self.families, "[self_play]")
        if not self.weights:
            raise ConfigError("[self_play] weights is empty; wanted those of which players draw one", "weights = [0.1]")
        if self.patch % 12:
            raise ConfigError(f"[self_play] patch is {self.patch}; wanted a multiple of 12", "patch = 96")


class Rated(NamedTuple):
    """What a round yields.

    Attributes:
        restored: (K M,3,H,W) in [0, 1]; M images of each of K contents, one content after the other; of these
            the changed ones and then the attacked ones come last.
        degraded: (K,3,H,W), what they were made from, enlarged.
        label: (K M,) in [0, 1].
        origin: (K,C+A), which of the M images each of the C changes and A attacks began with.
        place: (K,C,H,W) in [0, 1], how much of a pixel was changed.
    """

    restored: Tensor
    degraded: Tensor
    label: Tensor
    origin: Tensor
    place: Tensor


class Game:
    """The players and their photographs.

    A resumed training starts with new players and no memory of earlier ones.

    Args:
        config: see there.
        seed: of all draws.

    Raises:
        ConfigError: too few photographs, or one to exclude that is not there.
    """

    def __init__(self, config: GameConfig, seed: int) -> None:
        self.config = config
        self._rng = random.Random(seed)
        self._photographs = read_photographs(config)
        self._fusion = Fusion.read(expand(config.label)) if config.label else bundled_fusion()
        self._players: list[Player] = []
        self._memory: list[tuple[Character, Restorer]] = []
        self._turn = 0

    def round(self, score: Score) -> Rated:
        """Let the next player take its steps and rate what came of them."""
        player = self._next_player()
        for _ in range(self.config.player_steps):
            truth = self._truths()
            degraded = self._degraded(truth, player.character)
            output = player.step(degraded, truth, self._seen_by_players(score))
        if self._memory and self._rng.random() < 0.25:
            character, network = self._rng.choice(self._memory)
            degraded = self._degraded(truth, character)
            with torch.no_grad():
                output = network(degraded).clamp(0, 1)
        size = (truth.shape[-2], truth.shape[-1])
        enlarged, nearest = resize(degraded, size), F.interpolate(degraded, size)
        sources = zip(truth, enlarged, nearest, output, truth.roll(1, 0), strict=True)
        images = torch.stack([self._images(*each) for each in sources])
        changed_from = self._choices(images, self.config.changes)
        changed, place = self._changed(_chosen(images, changed_from), truth.roll(1, 0))
        images = torch.cat([images, changed], 1)
        attacked_from = self._choices(images, self.config.attacks)
        restored = torch.cat([images, self._attacked(_chosen(images, attacked_from), enlarged, score)], 1)
        count = restored.shape[1]
        restored = restored.flatten(0, 1)
        label = self._fusion.label_of(restored, truth.repeat_interleave(count, 0))
        return Rated(restored, enlarged, label, torch.cat([changed_from, attacked_from], 1), place)

    def _seen_by_players(self, score: Score) -> Score:
        if self.config.views:
            return lambda restored, degraded: score(*random_view([restored, degraded], self.config.origins, LEAST_SIDE))
        if self.config.origins == 1:
            return score
        return lambda restored, degraded: score(*from_random_origin([restored, degraded], self.config.origins))

    def _choices(self, images: Tensor, count: int) -> Tensor:
        """(K,count) different numbers of the M images (K,M,3,H,W) of each content."""
        numbers = [self._rng.sample(range(images.shape[1]), count) for _ in images]
        return torch.tensor(numbers, dtype=torch.long).view(len(images), count)

    def _next_player(self) -> Player:
        """The one whose turn it is; a new one where there is none yet or it has had its rounds."""
        self._turn = (self._turn + 1) % self.config.players
        if len(self._players) <= self._turn:
            self._players.append(self._born())
            self._turn = len(self._players) - 1
        player = self._players[self._turn]
        rounds = player.age // self.config.player_steps
        if rounds and rounds % (player.character.life // 3) == 0:
            self._remember(player)
        if rounds >= player.character.life:
            player = self._players[self._turn] = self._born()
        return player

    def _remember(self, player: Player) -> None:
        if len(self._memory) >= self.config.memory:
            self._memory.pop(self._rng.randrange(len(self._memory)))
        self._memory.append((player.character, player.frozen()))

    def _born(self) -> Player:
        config = self.config
        drawn = draw_character(self._rng, config.families, config.weights, config.life, config.without_truth)
        player = Player(drawn)
        for _ in range(round(config.pretraining * 10 ** -self._rng.random())):
            truth = self._truths()
            player.step(self._degraded(truth, player.character), truth, None)
        return player

    def _truths(self) -> Tensor:
        """(K,3,H,W) crops."""
        side, crops = self.config.patch, []
        for image in self._rng.sample(self._photographs, self.config.contents):
            top, left = (self._rng.randint(0, length - side) for length in image.shape[-2:])
            crop = image[:, top : top + side, left : left + side] / 255
            if self._rng.random() < 0.5:
                crop = crop.flip(-1)
            crops.append(torch.rot90(crop, self._rng.randrange(4), (-2, -1)))
        return torch.stack(crops)

    def _degraded(self, truth: Tensor, character: Character) -> Tensor:
        degraded = degrade(truth, draw_steps(character, self._rng), self._rng.getrandbits(31))
        return rounded_to_8_bit(degraded)

    def _images(self, truth: Tensor, enlarged: Tensor, nearest: Tensor, output: Tensor, other: Tensor) -> Tensor:
        """(M,3,H,W): the output itself, and what else may come of one input, of which some are made unfaithful."""
        images = [output]
        while len(images) < self.config.images:
            image = self._drawn(truth, enlarged, nearest, output)
            if self._rng.random() < self.config.unfaithful_share:
                image = self._unfaithful(image[None], other[None])[0][0]
            elif self._rng.random() < self.config.spoiled_share:
                steps = sample_degradation(self._rng.choice(("blur", "noise", "jpeg")), self._rng)
                image = degrade(image[None], steps, self._rng.getrandbits(31))[0]
            images.append(image)
        return torch.stack(images)

    def _drawn(self, truth: Tensor, enlarged: Tensor, nearest: Tensor, output: Tensor) -> Tensor:
        """One of the images, a mixture of them, or one whose distance from the enlarged input is overdone."""
        kind = self._rng.random()
        if kind < 0.3:
            return self._rng.choice((truth, enlarged, nearest, output))
        if kind < 0.4:
            image = self._rng.choice((truth, output))
            return (enlarged + self._rng.uniform(1, 4) * (image - enlarged)).clamp(0, 1)
        images = (truth, enlarged, output)
        shares = [self._rng.expovariate(1) ** 2 for _ in images]
        return torch.stack([share / sum(shares) * image for share, image in zip(shares, images, strict=True)]).sum(0)

    def _unfaithful(self, image: Tensor, other: Tensor) -> Unfaithful:
        generator = torch.Generator().manual_seed(self._rng.getrandbits(31))
        name, strength = self._rng.choice(list(UNFAITHFUL)), self._rng.uniform(0.05, 1)
        return make_unfaithful(image, name, strength, generator, other)

    def _changed(self, images: Tensor, other: Tensor) -> Unfaithful:
        """(K,C,3,H,W) images of (K,3,H,W) other photographs, made unfaithful, and the weight of it (K,C,H,W)."""
        changed, place = torch.empty_like(images), torch.empty_like(images[:, :, 0])
        for content, image in itertools.product(*map(range, images.shape[:2])):
            one, weight = self._unfaithful(images[content, image][None], other[content][None])
            changed[content, image], place[content, image] = one[0], weight[0, 0]
        return changed, place

    def _attacked(self, restored: Tensor, degraded: Tensor, score: Score) -> Tensor:
        """(K,A,3,H,W) images of (K,3,H,W) degraded ones, attacked."""
        contents, attacks = restored.shape[:2]
        if not attacks:
            return restored
        psnr = torch.tensor([self._rng.uniform(*self.config.attack_psnr) for _ in range(contents * attacks)])
        steps = self._rng.randint(1, self.config.attack_steps)
        beside = degraded.repeat_interleave(attacks, 0)
        return ascended(restored.flatten(0, 1), lambda images: score(images, beside), psnr, steps).view_as(restored)


def _chosen(images: Tensor, numbers: Tensor) -> Tensor:
    """Of the M images (K,M,3,H,W) of each content those with these numbers (K,C)."""
    return images[torch.arange(len(images))[:, None], numbers]


def read_photographs(config: GameConfig) -> list[Tensor]:
    """(3,H,W) bytes of all photographs that are as large as a patch.

    Raises:
        ConfigError: there are too few, or one to exclude is not there.
    """
    files = [file for folder in config.photographs for file in list_images(expand(folder))]
    files = without(files, config.exclude, "[self_play]")
    images = [to_8_bit(read_image(file, alpha="white")) for file in files]
    large = [image for image in images if min(image.shape[-2:]) >= config.patch]
    if len(large) < config.contents:
        raise ConfigError(
            f"[self_play] has {len(large)} photographs of {config.patch} pixels or more; wanted {config.contents}",
            'photographs = ["$DRMETRIC_DATA/cid22-training"]',
        )
    return large
