"""The stage of self-play: its losses and its recipe; a run of it is in test_trainer.py."""

import pytest
import torch

pytest.importorskip("lightning")
from drmetric.distill.ckdn import CKDNRecipe
from drmetric.distill.datasets.triplets import TripletBatch
from drmetric.distill.game import Rated
from drmetric.distill.recipe import recipe_from
from drmetric.distill.self_play import SelfPlayRecipe, change_loss, difference_loss, order_loss, place_loss, scores
from drmetric.errors import ConfigError
from drmetric.metrics.driqa import DRIQA


def test_differences_within_contents_count_and_those_between_contents_do_not() -> None:
    label = torch.tensor([[0.2, 0.4], [0.6, 0.8]])
    assert difference_loss(label + torch.tensor([[0.1, 0.1], [-0.3, -0.3]]), label) == pytest.approx(0, abs=1e-12)
    assert difference_loss(label + torch.tensor([[0.1, -0.1], [0, 0]]), label) == pytest.approx(0.02)


def test_what_a_change_does_to_a_score_is_to_be_what_it_changes_in_the_label() -> None:
    label, origin = torch.tensor([[0.5, 0.8, 0.4, 0.7]]), torch.tensor([[1, 0]])
    assert change_loss(label + 0.1, label, origin) == pytest.approx(0, abs=1e-12)
    assert change_loss(label + torch.tensor([[0, 0, 0.2, 0]]), label, origin) == pytest.approx(0.02)
    assert change_loss(label, label, origin[:, :0]) == 0


def test_a_small_change_on_the_wrong_side_counts_more_in_the_order_than_in_the_error() -> None:
    label, origin = torch.tensor([[0.5, 0.8, 0.48]]), torch.tensor([[0]])
    wrong = label + torch.tensor([[0, 0, 0.04]])
    assert change_loss(wrong, label, origin) == pytest.approx(0.0016)
    assert order_loss(wrong, label, origin, 3000.0) - order_loss(label, label, origin, 3000.0) > 0.03
    assert order_loss(label, label, origin[:, :0], 3000.0) == 0


def test_a_change_is_to_be_seen_where_it_lies_and_as_strongly_as_the_label_has_it() -> None:
    local, label = torch.zeros(1, 3, 2, 2), torch.tensor([[0.5, 0.5, torch.tensor(-0.3).sigmoid()]])
    origin, place = torch.tensor([[1]]), torch.zeros(1, 1, 8, 8)
    place[..., :4, :4] = 1
    seen = local.clone()
    seen[:, 2, 0, 0] = -1.2  # a quarter of the map, so four times the fall of the label
    elsewhere = seen.flip(-1)
    assert place_loss(seen, label, origin, place) == pytest.approx(0, abs=1e-9)
    assert place_loss(local, label, origin, place) > 0.1
    assert place_loss(elsewhere, label, origin, place) > place_loss(local, label, origin, place)
    assert scores(seen)[0, 2] == pytest.approx(float(label[0, 2]))
    assert place_loss(local, label.flip(-1), origin * 0, place) == 0, "a change never pays"
    assert place_loss(local, label, origin, place[:, :0]) == 0


def test_ordinary_restorations_are_learned_from_the_label_and_from_judges() -> None:
    table = {"metric": "driqa", "data": {"kind": "corpus", "root": "nowhere"}, "train": {"steps": 10}}
    table |= {
        "network": {"head_stages": 1},
        "self_play": {"judges": ["driqa-patches-3", "driqa-mobilenetv2-12"], "judge_share": 0.25},
    }
    module = recipe_from(table).module()
    restored, degraded, label = torch.rand(2, 3, 48, 48), torch.rand(2, 3, 48, 48), torch.tensor([0.1, 0.9])
    judged = (DRIQA("driqa-patches-3")(restored, degraded) + DRIQA("driqa-mobilenetv2-12")(restored, degraded)) / 2
    score, _ = module._judged(restored[:, None], degraded, label[:, None])
    torch.testing.assert_close(score[:, 0], 0.25 * judged + 0.75 * label)
    assert not any("judge" in key for key in module.state_dict())


def test_maps_of_judges_are_learned_on_their_own_scale() -> None:
    table = {"metric": "driqa", "data": {"kind": "corpus", "root": "nowhere"}, "train": {"steps": 10}}
    table |= {
        "network": {"head_stages": 2},
        "self_play": {"judges": ["driqa-mobilenetv2-12"], "judge_share": 1.0, "judge_maps": 0.5},
    }
    module = recipe_from(table).module()
    images, degraded, labels = torch.rand(2, 2, 3, 64, 64), torch.rand(2, 3, 64, 64), torch.rand(2, 2)
    scored, maps = module._judged(images, degraded, labels)
    slope, offset = DRIQA().network.config.calibration
    _, local = DRIQA()(images[:, 1], degraded, return_map=True)
    torch.testing.assert_close(maps[:, 1], slope * local[:, 0] + offset)
    torch.testing.assert_close(scores(maps), scored)
    pairs = TripletBatch(images[:, 0], images[:, 1], degraded, degraded, labels[:, 0], labels[:, 1])
    none = torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0, 64, 64)
    losses = module.play_losses(pairs, Rated(images.flatten(0, 1), degraded, labels.flatten(), *none))
    assert losses["judge_maps"] > 0
    module._student = lambda *_: maps
    assert module.play_losses(pairs, Rated(images.flatten(0, 1), degraded, labels.flatten(), *none))["judge_maps"] == 0
    module._student = lambda *_: maps[..., :1]
    with pytest.raises(ConfigError, match="judge_maps"):
        module.play_losses(pairs, Rated(images.flatten(0, 1), degraded, labels.flatten(), *none))
    with pytest.raises(ConfigError, match="no judges"):
        recipe_from(table | {"self_play": {"judge_maps": 0.5}})


def test_losses_are_zero_where_the_student_says_the_labels() -> None:
    torch.manual_seed(0)
    table = {"metric": "driqa", "data": {"kind": "corpus", "root": "nowhere"}, "train": {"steps": 10}}
    table |= {"network": {"head_stages": 1}, "self_play": {}}
    module = recipe_from(table).module()
    images, degraded = torch.rand(2, 3, 3, 48, 48), torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        said = scores(module._student(images, degraded))
        expected = [
            module.network(image[None], one[None]).mean().sigmoid()
            for image, one in zip(images[:, 1], degraded, strict=True)
        ]
        assert said[:, 1].tolist() == pytest.approx([float(value) for value in expected], abs=1e-5)
        pairs = TripletBatch(images[:, 0], images[:, 1], degraded, degraded, said[:, 0], said[:, 1])
        origin, place = torch.zeros(2, 1, dtype=torch.long), torch.zeros(2, 0, 48, 48)
        losses = module.play_losses(pairs, Rated(images.flatten(0, 1), degraded, said.flatten(), origin, place))
        off = module.play_losses(pairs, Rated(images.flatten(0, 1), degraded, said.flatten().flip(0), origin, place))
    assert losses["student"] == pytest.approx(0, abs=1e-9)
    assert losses["self_play"] == pytest.approx(0, abs=1e-9)
    assert off["self_play"] > 0


def test_a_recipe_with_a_table_for_self_play_is_one_of_self_play() -> None:
    table = {
        "metric": "driqa",
        "data": {"kind": "corpus", "root": "nowhere"},
        "network": {"backbone": "mobilenetv2", "head_stages": 1},
        "train": {"steps": 10},
    }
    assert type(recipe_from(table)) is CKDNRecipe
    recipe = recipe_from({**table, "self_play": {"photographs": ["a"], "images": 4}})
    assert isinstance(recipe, SelfPlayRecipe)
    assert recipe.self_play.images == 4
    assert recipe_from(recipe.as_dict()) == recipe
    with pytest.raises(ConfigError, match="self_play"):
        recipe_from({**table, "self_play": {"opponents": 3}})
