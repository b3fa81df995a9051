"""Blocking: near 0 unless pixels are repeated or coded in blocks."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from drmetric.data.make.blocking import blocking
from drmetric.distortions.kadid.types import distort
from tests.contract import blurred, noisy, photos

PRISTINE = photos(96)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_nearest_neighbours_block_and_bicubic_does_not(scale: int) -> None:
    small = F.avg_pool2d(PRISTINE, scale)
    nearest, bicubic = (F.interpolate(small, scale_factor=scale, mode=mode) for mode in ("nearest", "bicubic"))
    assert blocking(nearest, PRISTINE).min() > 0.5
    assert blocking(bicubic.clamp(0, 1), PRISTINE).max() < 0.1


def test_noise_blur_and_sharpening_hardly_block() -> None:
    assert blocking(PRISTINE, PRISTINE).tolist() == [0, 0, 0]
    sharp = distort(PRISTINE, "high_sharpen", 3, seed=0)
    for image in (noisy(PRISTINE, 0.05), blurred(PRISTINE), sharp):
        assert blocking(image, PRISTINE).max() < 0.1


def test_coarser_jpeg_blocks_more() -> None:
    values = [blocking(distort(PRISTINE, "jpeg", level, seed=0), PRISTINE).mean() for level in (1, 4, 5)]
    assert all(b > a for a, b in pairwise(values))


def test_flat_images_do_not_divide_by_zero() -> None:
    flat = torch.full((1, 3, 32, 32), 0.5)
    assert blocking(flat, flat).tolist() == [0]
    assert torch.isfinite(blocking(flat, photos(32)[:1])).all()


def test_grey_images_have_the_values_of_their_colour_twins() -> None:
    grey = PRISTINE.mean(1, keepdim=True)
    small = F.interpolate(F.avg_pool2d(grey, 2), scale_factor=2, mode="nearest")
    wide = blocking(small.expand(-1, 3, -1, -1), grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(blocking(small, grey), wide, atol=1e-4, rtol=1e-4)
