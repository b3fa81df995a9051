"""The calibration's fit."""

import pytest
import torch

from benchmarks.calibrate import fit, fit_label


@pytest.mark.parametrize("slope", [1.0, 2.0])
@pytest.mark.parametrize("wanted", [0.8, 0.92])
def test_pristine_images_get_the_wanted_mean(wanted: float, slope: float) -> None:
    pristine = torch.randn(200, generator=torch.Generator().manual_seed(0)) + 1.5
    offset = fit(pristine, slope, wanted)
    assert (slope * pristine + offset).sigmoid().mean() == pytest.approx(wanted, abs=1e-4)


def test_a_label_that_is_a_calibrated_score_gives_its_calibration() -> None:
    logit = torch.randn(200, generator=torch.Generator().manual_seed(0))
    assert fit_label(logit, (1.7 * logit - 0.4).sigmoid()) == pytest.approx((1.7, -0.4), abs=1e-2)
