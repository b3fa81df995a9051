"""Over-sharpening and softening: zero unless details are stronger or weaker than the pristine ones."""

import math
from itertools import pairwise

import pytest
import torch

from drmetric.data.make.sharpness import LEAST_GAIN, sharpening, softening
from drmetric.distortions.kadid.types import distort
from tests.contract import blurred, noisy, photos


def test_pristine_blurred_and_noisy_images_are_not_over_sharpened() -> None:
    pristine = photos(128)
    assert sharpening(pristine, pristine).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert sharpening(blurred(pristine), pristine).max() < 0.1
    assert sharpening(noisy(pristine, 0.05), pristine).max() < 0.05


def test_doubled_details_are_the_logarithm_of_two() -> None:
    pristine = 0.35 + 0.3 * photos(128)
    coarse = blurred(pristine, 41)
    assert sharpening(coarse + 2 * (pristine - coarse), pristine).tolist() == pytest.approx([math.log(2)] * 3, abs=0.02)


def test_pristine_sharpened_and_noisy_images_are_not_softened() -> None:
    pristine = photos(128)
    assert softening(pristine, pristine).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert softening(distort(pristine, "high_sharpen", 1, seed=0), pristine).max() < 0.1
    assert softening(noisy(0.2 + 0.6 * pristine, 0.05), 0.2 + 0.6 * pristine).max() < 0.05


def test_halved_details_soften_by_the_logarithm_of_two() -> None:
    pristine = photos(128)
    coarse = blurred(pristine, 41)
    softened = softening(coarse + 0.5 * (pristine - coarse), pristine)
    assert softened.tolist() == pytest.approx([math.log(2)] * 3, abs=0.05)


def test_more_blur_softens_more_up_to_a_bound() -> None:
    pristine = photos(128)
    values = [softening(distort(pristine, "gaussian_blur", level, seed=0), pristine) for level in (1, 2, 3)]
    assert all((b > a).all() for a, b in pairwise(values))
    assert softening(torch.full_like(pristine, 0.5), pristine).tolist() == pytest.approx([-math.log(LEAST_GAIN)] * 3)


def test_more_sharpening_measures_more_also_after_a_blur() -> None:
    pristine = photos(128)
    soft = blurred(pristine)
    for image in (pristine, soft):
        values = [sharpening(image, pristine)]
        values += [sharpening(distort(image, "high_sharpen", level, seed=0), pristine) for level in (1, 3, 5)]
        assert all((b > a).all() for a, b in pairwise(values))


def test_grey_images_have_the_values_of_their_colour_twins() -> None:
    grey = photos(64).mean(1, keepdim=True)
    sharp = (1.5 * grey).clamp(0, 1)
    wide = sharpening(sharp.expand(-1, 3, -1, -1), grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(sharpening(sharp, grey), wide, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        softening(grey, sharp), softening(grey.expand(-1, 3, -1, -1), sharp.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4
    )
