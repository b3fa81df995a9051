"""Fits to samples of known shape, coefficients by their definition."""

import numpy as np
import pytest
import torch
from scipy import stats
from skimage import data

from drmetric.images import luma
from drmetric.metrics.scene_statistics import asymmetric_fit, normalised_coefficients


def to_tensor(picture):
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(("shape", "scale"), [(0.7, 1.0), (1.0, 0.3), (2.0, 2.0), (4.0, 1.0)])
def test_fit_recovers_a_generalised_gaussian(shape, scale):
    sample = stats.gennorm.rvs(shape, scale=scale, size=200_000, random_state=1)
    fitted, left, right = asymmetric_fit(torch.from_numpy(sample))
    assert fitted == pytest.approx(shape, rel=0.05)
    assert left == pytest.approx(sample.std(), rel=0.03)
    assert right == pytest.approx(sample.std(), rel=0.03)


def test_fit_sees_the_skew():
    sample = np.abs(np.random.default_rng(0).normal(size=200_000))
    sample[: 200_000 // 3] *= -0.5  # a half-normal of half the width carries half the mass of the other side
    shape, left, right = asymmetric_fit(torch.from_numpy(sample))
    assert shape == pytest.approx(2, rel=0.05)
    assert (left, right) == (pytest.approx(0.5, rel=0.02), pytest.approx(1, rel=0.02))


def test_fit_of_nothing_is_finite():
    assert all(value.isfinite() for value in asymmetric_fit(torch.zeros(10, dtype=torch.float64)))


def test_coefficients_by_the_definition():
    grey = 255 * luma(to_tensor(data.astronaut()[:32, :32]).double())
    coefficients, deviation = normalised_coefficients(grey)
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    part = grey[0, 0, 7:14, 17:24].numpy()
    mean = (window * part).sum()
    spread = np.sqrt((window * (part - mean) ** 2).sum())
    assert deviation[0, 0, 10, 20] == pytest.approx(spread, rel=1e-6)
    assert coefficients[0, 0, 10, 20] == pytest.approx((part[3, 3] - mean) / (spread + 1), rel=1e-6)
