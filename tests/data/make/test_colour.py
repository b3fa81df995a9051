"""Miscolouring: 0 for changes of lightness, more for more colour, and for the same colour in fewer places."""

from itertools import pairwise

import pytest
import torch

from drmetric.data.make.colour import miscolouring, power_mean
from drmetric.distortions.kadid.types import distort
from tests.contract import photos

PRISTINE = 0.2 + 0.6 * photos(96)


def test_lightness_alone_is_no_colour() -> None:
    assert miscolouring(PRISTINE, PRISTINE).tolist() == [0, 0, 0]
    assert miscolouring(PRISTINE + 0.1, PRISTINE).max() < 1e-6


@pytest.mark.parametrize("kind", ["color_saturation_lab", "color_diffusion", "color_shift"])
def test_more_of_a_colour_fault_is_more(kind: str) -> None:
    pristine = photos(96)
    values = [miscolouring(distort(pristine, kind, level, seed=0), pristine).mean() for level in (1, 2, 4)]
    assert all(b > a for a, b in pairwise(values))


def test_a_cast_is_its_distance_in_chroma() -> None:
    cast = PRISTINE + torch.tensor([0.1, 0, 0])[:, None, None]
    assert miscolouring(cast, PRISTINE).tolist() == pytest.approx([0.1 * (0.169**2 + 0.5**2) ** 0.5] * 3, abs=1e-3)


def test_a_block_counts_more_than_its_area() -> None:
    block, whole = PRISTINE.clone(), PRISTINE + torch.tensor([0.1, 0, 0])[:, None, None]
    block[..., :24, :24] = whole[..., :24, :24]
    share = miscolouring(block, PRISTINE) / miscolouring(whole, PRISTINE)
    assert share.tolist() == pytest.approx([(1 / 16) ** (1 / 8)] * 3, abs=0.01)


def test_power_means_lie_between_mean_and_maximum() -> None:
    values = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(power_mean(values, 1), values.mean((1, 2, 3)))
    assert (power_mean(values, 8) > values.mean((1, 2, 3))).all()
    assert (power_mean(values, 8) < values.amax((1, 2, 3))).all()
