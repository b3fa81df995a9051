"""Changes of training images: how large attacks and noise are, what they do, and what the loss of noise asks for."""

import pytest
import torch

from tests.contract import photos

pytest.importorskip("lightning")
from drmetric import DRIQA
from drmetric.distill.augment import LEAST_NOISE, MOST_NOISE, ascended, attacked, noise_loss, with_noise


def test_an_attack_raises_the_score_by_a_change_of_the_given_size_at_most() -> None:
    torch.manual_seed(0)
    metric, image = DRIQA(), photos(96)
    metric.set_reference(image)
    changed = attacked(image, lambda images: metric(images), 0.01)
    assert not changed.requires_grad
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert 0 < (changed - image).abs().max() <= 0.0101
    noise = (image + 0.01 * torch.randn_like(image).sign()).clamp(0, 1)
    assert (metric(changed) > metric(noise)).all()


def test_every_image_draws_its_own_size() -> None:
    torch.manual_seed(0)
    image = torch.full((64, 3, 8, 8), 0.5)
    sizes = (attacked(image, lambda images: images.mean((1, 2, 3)), 0.1) - image).abs().amax((1, 2, 3))
    assert sizes.min() < 0.02
    assert sizes.max() > 0.08


def test_an_ascent_raises_the_score_within_its_psnr() -> None:
    image, wanted = 0.25 + 0.5 * photos(64), torch.tensor([34.0, 38.0, 42.0])
    changed = ascended(image, lambda images: images.mean((1, 2, 3)), wanted, 3)
    psnr = -10 * (changed - image).square().mean((1, 2, 3)).log10()
    assert (psnr >= wanted - 0.01).all()
    assert (psnr <= wanted + 3).all()
    assert (changed.mean((1, 2, 3)) > image.mean((1, 2, 3))).all()


def test_noise_has_the_deviation_that_is_told() -> None:
    torch.manual_seed(0)
    image = torch.full((16, 3, 96, 96), 0.5)
    for _ in range(4):
        noisy, deviation = with_noise(image)
        torch.testing.assert_close((noisy - image).std((1, 2, 3)), deviation, rtol=0.1, atol=0)
        assert deviation.min() >= LEAST_NOISE
        assert deviation.max() <= MOST_NOISE
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
