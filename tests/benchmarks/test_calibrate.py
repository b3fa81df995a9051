"""The calibration's fit."""

import pytest
import torch

from benchmarks.calibrate import fit, fit_label


@pytest.mark.parametrize("wanted", [0.8, 0.92])
def test_pristine_images_get_the_wanted_mean_and_inputs_keep_theirs(wanted: float) -> None:
    generator = torch.Generator().manual_seed(0)
    pristine, enlarged = (torch.randn(200, generator=generator) + mean for mean in (1.5, -1.2))
    slope, offset = fit(pristine, enlarged, wanted)
    assert slope > 0
    assert (slope * pristine + offset).sigmoid().mean() == pytest.approx(wanted, abs=1e-4)
    assert (slope * enlarged + offset).sigmoid().mean() == pytest.approx(float(enlarged.sigmoid().mean()), abs=1e-4)


def test_scores_that_are_as_wanted_stay() -> None:
    pristine, enlarged = torch.tensor([1.0, 2.0]), torch.tensor([-1.0, -3.0])
    assert fit(pristine, enlarged, float(pristine.sigmoid().mean())) == pytest.approx((1, 0), abs=1e-4)


def test_a_label_that_is_a_calibrated_score_gives_its_calibration() -> None:
    logit = torch.randn(200, generator=torch.Generator().manual_seed(0))
    assert fit_label(logit, (1.7 * logit - 0.4).sigmoid()) == pytest.approx((1.7, -0.4), abs=1e-2)
