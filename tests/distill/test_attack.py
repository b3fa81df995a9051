"""Attacks that training uses: how large they are, what they do, and that a step of training sees them."""

import pytest
import torch

from tests.contract import photos

pytest.importorskip("lightning")
from drmetric import DRIQA
from drmetric.distill.attack import attacked


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
