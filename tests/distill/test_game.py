"""The game: what a round yields, that each image has its own label, attacks, and how players learn."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from drmetric.distill.game import Game, GameConfig, read_photographs
from drmetric.distill.players import Character, Player, Restorer, draw_character, draw_steps
from drmetric.distortions.degrade import degrade
from drmetric.errors import ConfigError
from drmetric.images import save_image
from tests.contract import photos

FAMILIES = GameConfig().families


def brightness(restored: Tensor, degraded: Tensor) -> Tensor:
    """A score that any restorer can game."""
    return restored.mean((1, 2, 3))


def character(**changes: object) -> Character:
    kind = {"family": "super_resolution", "scale": 3, "shape": "residual", "channels": 8, "depth": 1}
    return Character(**{**kind, "fidelity": "l1", "weight": 0.3, "life": 9, **changes})  # type: ignore[arg-type]


@pytest.fixture
def config(tmp_path: Path) -> GameConfig:
    """Two photographs and a label that needs no package."""
    for index, image in enumerate(photos(96)):
        save_image(image, tmp_path / f"{index}.png")
    fusion = {"terms": {"softening": {"weight": 1.0, "power": 1.0}}, "elo_per_point": 250}
    (tmp_path / "fusion.json").write_text(json.dumps(fusion))
    return GameConfig(
        photographs=(str(tmp_path),),
        label=str(tmp_path / "fusion.json"),
        contents=2,
        images=3,
        patch=48,
        players=2,
        life=3,
        pretraining=1,
    )


def test_a_round_yields_rated_images_of_every_content(config: GameConfig) -> None:
    rated = Game(config, seed=0).round(brightness)
    assert rated.restored.shape == (10, 3, 48, 48)
    assert rated.degraded.shape == (2, 3, 48, 48)
    assert rated.label.shape == (10,)
    assert rated.origin.shape == (2, 2)
    assert all(len(set(row)) == 2 and set(row) <= {0, 1, 2} for row in rated.origin.tolist())
    assert not rated.restored.requires_grad
    for part in rated[:3]:
        assert part.min() >= 0
        assert part.max() <= 1


def test_equal_seeds_draw_the_same_rounds(config: GameConfig) -> None:
    first, second = (Game(config, seed=3) for _ in range(2))
    torch.manual_seed(0)
    expected = first.round(brightness)
    torch.manual_seed(0)
    assert torch.equal(second.round(brightness).restored, expected.restored)


def test_attacked_images_are_near_those_they_began_with_and_have_higher_scores(config: GameConfig) -> None:
    rated = Game(config, seed=0).round(brightness)
    images = rated.restored.unflatten(0, (2, 5))
    attacked, first = images[:, 3:], images[torch.arange(2)[:, None], rated.origin]
    assert ((attacked - first).square().mean((2, 3, 4)) <= 10 ** -(34 / 10) * 1.01).all()
    assert (attacked.mean((2, 3, 4)) > first.mean((2, 3, 4))).all()


def test_a_game_without_attacks_rates_the_images_alone(config: GameConfig) -> None:
    rated = Game(replace(config, attacks=0), seed=0).round(brightness)
    assert rated.restored.shape == (6, 3, 48, 48)
    assert rated.origin.shape == (2, 0)
    assert rated.place.shape == (2, 0, 48, 48)


def test_changed_images_differ_from_those_they_began_with_where_it_is_said(config: GameConfig) -> None:
    game = Game(replace(config, changes=2, attacks=1), seed=0)
    for _ in range(4):
        rated = game.round(brightness)
        images = rated.restored.unflatten(0, (2, 6))
        assert rated.origin.shape == (2, 3)
        first = images[torch.arange(2)[:, None], rated.origin[:, :2]]
        difference = (images[:, 3:5] - first).abs().amax(2)
        assert difference.max() > 0.01
        assert not difference[rated.place == 0].any()


def test_players_may_look_from_an_origin_that_is_drawn_anew(config: GameConfig) -> None:
    seen = []

    def score(restored: Tensor, degraded: Tensor) -> Tensor:
        seen.append(degraded.detach())
        return brightness(restored, degraded)

    for origins, different in ((1, False), (32, True)):
        seen.clear()
        truth = photos(48)
        looked_at = Game(replace(config, origins=origins), seed=0)._seen_by_players(score)
        for _ in range(4):
            looked_at(truth, truth)
        assert any(not torch.equal(each, truth) for each in seen) == different


def test_labels_are_measured_after_attacks_and_changes(config: GameConfig) -> None:
    game = Game(config, seed=0)
    assert len({round(label, 4) for _ in range(3) for label in game.round(brightness).label.tolist()}) > 9


@pytest.mark.parametrize("player_steps", [1, 2])
def test_players_give_way_after_their_life_and_are_remembered(config: GameConfig, player_steps: int) -> None:
    config = replace(config, player_steps=player_steps)
    game = Game(config, seed=0)
    for _ in range(2 * config.life):
        game.round(brightness)
    first = list(game._players)
    assert [player.age for player in first] == [config.life * player_steps] * 2
    for _ in range(2):
        game.round(brightness)
    assert not set(map(id, first)) & set(map(id, game._players))
    assert len(game._memory) > 2


def test_photographs_smaller_than_the_patch_and_odd_patches_are_refused(config: GameConfig) -> None:
    table = {**config.__dict__}
    with pytest.raises(ConfigError, match="photographs of 120 pixels"):
        Game(GameConfig(**{**table, "patch": 120}), seed=0)
    with pytest.raises(ConfigError, match="multiple of 12"):
        Game(GameConfig(**{**table, "patch": 100}), seed=0)


def test_excluded_photographs_are_not_played_with(config: GameConfig) -> None:
    left = read_photographs(replace(config, exclude=("0.png",), contents=1))
    assert len(left) == len(read_photographs(config)) - 1
    assert not any(torch.equal(image, read_photographs(config)[0]) for image in left)
    with pytest.raises(ConfigError, match=r"\[self_play\] has no photograph '7\.png' to exclude"):
        Game(replace(config, exclude=("7.png",)), seed=0)


@pytest.mark.parametrize("shape", ["residual", "transposed"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_new_restorer_enlarges_and_changes_nothing(shape: str, scale: int) -> None:
    small = photos(48)
    restored = Restorer(character(scale=scale, shape=shape))(small)
    assert restored.shape[-2:] == (48 * scale, 48 * scale)
    if scale == 1:
        assert torch.allclose(restored, small)


def test_a_player_learns_to_please_the_score() -> None:
    torch.manual_seed(0)
    truth = photos(48)
    player = Player(character(weight=3.0))
    degraded = degrade(truth, [{"op": "downscale", "scale": 3}], 0)
    outputs = [player.step(degraded, truth, brightness) for _ in range(12)]
    assert player.age == 12
    assert outputs[-1].mean() > outputs[0].mean() + 0.01


def test_a_player_alone_with_consistency_never_looks_at_the_truth_once_it_plays() -> None:
    truth = photos(48)
    degraded = degrade(truth, [{"op": "downscale", "scale": 3}], 0)
    outputs = []
    for shown in (truth, truth.flip(-1)):
        torch.manual_seed(0)
        player = Player(character(fidelity="consistency"))
        for _ in range(3):
            output = player.step(degraded, shown, brightness)
        outputs.append(output)
    assert torch.equal(*outputs)


@pytest.mark.parametrize("without_truth", [0.0, 1.0])
def test_a_share_of_the_players_trains_without_truth(without_truth: float) -> None:
    rng = random.Random(0)
    drawn = {draw_character(rng, FAMILIES, (0.1,), 80, without_truth).fidelity for _ in range(30)}
    assert drawn == ({"consistency"} if without_truth else {"l1", "l2"})


def test_degradations_are_of_the_characters_family_and_scale() -> None:
    rng = random.Random(0)
    for _ in range(30):
        drawn = draw_character(rng, FAMILIES, (0.1,), 80, 0.5)
        assert 10 <= drawn.life <= 80
        scales = {step["scale"] for step in draw_steps(drawn, rng) if "scale" in step}
        assert scales == ({drawn.scale} if "super_resolution" in drawn.family else set())
