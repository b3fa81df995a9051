"""Over-sharpening: zero unless details are stronger than the pristine ones, whatever else is wrong."""

import math
from itertools import pairwise

import pytest
import torch
from contract import blurred, noisy, photos

from drmetric.data.sharpening import sharpening
from drmetric.distortions.synthetic import distort


def test_pristine_blurred_and_noisy_images_are_not_over_sharpened() -> None:
    pristine = photos(128)
    assert sharpening(pristine, pristine).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert sharpening(blurred(pristine), pristine).max() < 0.1
    assert sharpening(noisy(pristine, 0.05), pristine).max() < 0.05


def test_doubled_details_are_the_logarithm_of_two() -> None:
    pristine = 0.35 + 0.3 * photos(128)
    coarse = blurred(pristine, 41)
    assert sharpening(coarse + 2 * (pristine - coarse), pristine).tolist() == pytest.approx([math.log(2)] * 3, abs=0.02)


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
