"""Noise that training adds: how much of it, and what its loss asks for."""

import pytest
import torch

from tests.contract import photos

pytest.importorskip("lightning")
from drmetric.distill.noise import LEAST, MOST, noise_loss, with_noise


def test_noise_has_the_deviation_that_is_told() -> None:
    torch.manual_seed(0)
    image = torch.full((16, 3, 96, 96), 0.5)
    for _ in range(4):
        noisy, deviation = with_noise(image)
        torch.testing.assert_close((noisy - image).std((1, 2, 3)), deviation, rtol=0.1, atol=0)
        assert deviation.min() >= LEAST
        assert deviation.max() <= MOST
        assert deviation.max() > 3 * deviation.min()


def test_some_noise_is_white_and_some_is_coarser() -> None:
    torch.manual_seed(0)
    image = torch.full((4, 3, 64, 64), 0.5)

    def neighbours_agree(noise: torch.Tensor) -> bool:
        return float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()) > 0.05

    assert {neighbours_agree(with_noise(image)[0] - 0.5) for _ in range(20)} == {True, False}


def test_noisy_photographs_stay_in_range() -> None:
    noisy, _ = with_noise(photos(96))
    assert noisy.min() >= 0
    assert noisy.max() <= 1


def test_the_loss_is_zero_where_scores_fall_enough() -> None:
    score, deviation = torch.tensor([0.5, 0.5, 0.02]), torch.tensor([0.05, 0.05, 0.1])
    fallen = torch.tensor([0.4, 0.45, 0.016])
    assert noise_loss(score, fallen, deviation).item() == pytest.approx(0, abs=1e-7)
    assert noise_loss(score, score, deviation).item() == pytest.approx((0.05 + 0.05 + 0.004) / 3)
