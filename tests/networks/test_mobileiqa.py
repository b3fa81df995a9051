"""MobileIQA: shapes, the paper's counts, views that respect their axes, and losses against hand-made cases."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from drmetric.networks.mobileiqa import (
    MAL,
    PAPER_STUDENT,
    PAPER_TEACHER,
    FullViews,
    GatedAttention,
    LowViews,
    MobileIQA,
    MobileIQAConfig,
    grid_size,
)
from tests.contract import lively, photos

SMALL = MobileIQAConfig(width=16, local_hidden=16, tokens=36, attention_width=8)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("config", "millions"), [(PAPER_STUDENT, 81.5), (PAPER_TEACHER, 96.7)])
def test_faithful_networks_have_the_published_number_of_parameters(config: MobileIQAConfig, millions: float) -> None:
    pytest.importorskip("timm")
    assert count(MobileIQA(config)) / 1e6 == pytest.approx(millions, abs=0.05)


def test_shipped_network_has_less_than_ten_million_parameters() -> None:
    assert count(MobileIQA()) < 10e6


@pytest.mark.parametrize(("size", "grid"), [((512, 512), (10, 10)), ((1080, 1920), (8, 14)), ((1231, 1907), (8, 12))])
def test_grid_keeps_the_aspect_ratio(size: tuple[int, int], grid: tuple[int, int]) -> None:
    rows, columns = grid_size(*size, 100)
    assert (rows, columns) == grid
    assert columns / rows == pytest.approx(size[1] / size[0], rel=0.15)


def test_judgement_has_a_score_a_score_of_each_opinion_and_their_features() -> None:
    network = lively(MobileIQA(SMALL)).eval()
    with torch.no_grad():
        judged = network(photos(128)[:, :, :96])
    rows, columns = grid_size(96, 128, 36)
    assert judged.scores.shape == (3, 1, rows, columns)
    assert judged.opinion_scores.shape == (3, 3, rows, columns)
    assert judged.opinions.shape == (3, 3, 16, rows, columns)
    assert judged.local.shape == (3, 5, 16, rows, columns)
    assert judged.opinion_scores.mean((2, 3)).std(1).min() > 0


def test_gate_starts_closed() -> None:
    features = torch.rand(2, 8, 12)
    assert torch.equal(GatedAttention(8, 4)(features), features)


@pytest.mark.parametrize("views", [LowViews, FullViews])
def test_views_do_not_depend_on_the_order_of_positions(views: type[nn.Module]) -> None:
    """No position is special to attention; the full views alone have weights for each."""
    config = replace(SMALL, tokens=9)
    maps, order = torch.rand(2, 3, 16, 9), torch.randperm(9)
    network = views(3, config)
    with torch.no_grad():
        seen, shuffled = network(maps), network(maps[..., order])
    assert seen.shape == maps.shape
    assert torch.allclose(seen[..., order], shuffled, atol=1e-5) == (views is LowViews)


def test_full_views_keep_maps_and_channels_apart_unless_scrambled() -> None:
    """With values passed through and attention uniform, a channel's view is the mean over channels of its own map."""
    config = replace(SMALL, tokens=9, full_attention=True)
    maps = torch.rand(1, 3, 16, 9)
    results = []
    for scrambled in (False, True):
        network = FullViews(3, replace(config, scrambled=scrambled))
        for attention in (network.spatial, network.channel):
            for layer in (attention.query, attention.key):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            nn.init.eye_(attention.value.weight)
            nn.init.zeros_(attention.value.bias)
        with torch.no_grad():
            results.append(network(maps))
    expected = (maps.mean(2, keepdim=True) + maps.mean(3, keepdim=True)) / 2
    torch.testing.assert_close(results[0], expected.expand_as(maps))
    assert not torch.allclose(results[1], results[0])


def test_opinion_is_one_map() -> None:
    assert MAL(3, SMALL)(torch.rand(2, 3, 16, 20)).shape == (2, 16, 20)


def test_opinions_settle_on_quantiles() -> None:
    pytest.importorskip("lightning")
    from drmetric.distill.mobileiqa import opinion_loss

    targets = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    opinions = torch.full((3,), 0.5, requires_grad=True)
    optimiser = torch.optim.Adam([opinions], lr=0.01)
    for _ in range(300):
        optimiser.zero_grad()
        opinion_loss(opinions.expand(2000, 3), targets).backward()
        optimiser.step()
    torch.testing.assert_close(opinions.detach(), torch.tensor([1 / 6, 1 / 2, 5 / 6]), atol=0.03, rtol=0)


def test_losses_and_calibration_by_hand() -> None:
    pytest.importorskip("lightning")
    from drmetric.distill.loop import correlation_loss, fitted_uncertainty
    from drmetric.distill.mobileiqa import opinion_distillation_loss, opinion_loss

    target = torch.tensor([0.1, 0.4, 0.2, 0.9])
    assert correlation_loss(3 * target - 5, target).item() == pytest.approx(0, abs=1e-5)
    assert correlation_loss(-target, target).item() == pytest.approx(2, abs=1e-5)
    shifted = target + torch.tensor([7.0, 7.0, -3.0, -3.0])
    assert correlation_loss(shifted, target, group=2).item() == pytest.approx(0, abs=1e-5)
    assert correlation_loss(shifted, target).item() > 1
    opinions = torch.tensor([[0.5, 0.9], [0.1, 0.4]])
    hand = 2 * (0.75 * 0.4 + 0.25 * 0.8 + 0.25 * 0.3 + 0.75 * 0.0) / 4
    assert opinion_loss(opinions, target[:2]).item() == pytest.approx(hand)
    features = torch.randn(2, 3, 4, 5, 5)
    assert opinion_distillation_loss(torch.zeros_like(features), features).item() == pytest.approx(1)

    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(20_000, generator=generator) * 0.2
    error = (0.05**2 + (1.5 * spread) ** 2).sqrt() * torch.randn(20_000, generator=generator)
    assert fitted_uncertainty(spread, error).tolist() == pytest.approx([0.05, 1.5], abs=0.05)
    flat = fitted_uncertainty(spread, 0.2 - spread)
    assert flat[1] == 0
    assert flat[0].item() == pytest.approx((0.2 - spread).square().mean().sqrt().item(), abs=1e-4)
