"""The calibration's fit."""

import pytest
import torch

from benchmarks.calibrate import fit


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
