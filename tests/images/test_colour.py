"""Luma is that of the standard, at the full range and at the studio range."""

import numpy as np
import pytest
import torch
from skimage import color

from drmetric.images import luma, studio_luma
from tests.images.pictures import BATCH, PHOTO


def test_luma_weighs_the_channels_and_grey_is_its_own() -> None:
    expected = torch.from_numpy(PHOTO.astype(np.float64) @ [0.299, 0.587, 0.114]).float() / 255
    torch.testing.assert_close(luma(BATCH)[0, 0], expected)
    assert torch.equal(luma(BATCH[:, :1]), BATCH[:, :1])
    assert luma(BATCH[0]).shape == (1, 64, 96)


def test_studio_luma_is_scikit_images() -> None:
    expected = torch.from_numpy(color.rgb2ycbcr(PHOTO)[..., 0]).float() / 255
    torch.testing.assert_close(studio_luma(BATCH)[0, 0], expected)
    assert 255 * studio_luma(torch.ones(1, 3, 1, 1)).item() == pytest.approx(235)
