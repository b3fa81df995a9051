"""The calibration's fit."""

from pathlib import Path

import pytest
import torch

from benchmarks.calibrate import fit, fit_label, logits
from drmetric import DRIQA
from drmetric.checkpoints import find_weights, read_weights, write_weights
from tests.contract import noisy, photos


@pytest.mark.parametrize("slope", [1.0, 2.0])
@pytest.mark.parametrize("wanted", [0.8, 0.92])
def test_pristine_images_get_the_wanted_mean(wanted: float, slope: float) -> None:
    pristine = torch.randn(200, generator=torch.Generator().manual_seed(0)) + 1.5
    offset = fit(pristine, slope, wanted)
    assert (slope * pristine + offset).sigmoid().mean() == pytest.approx(wanted, abs=1e-4)


def test_a_label_that_is_a_calibrated_score_gives_its_calibration() -> None:
    logit = torch.randn(200, generator=torch.Generator().manual_seed(0))
    assert fit_label(logit, (1.7 * logit - 0.4).sigmoid()) == pytest.approx((1.7, -0.4), abs=1e-2)


def test_weights_that_are_calibrated_are_calibrated_anew(tmp_path: Path) -> None:
    config, state = read_weights(find_weights("driqa", "default"), "driqa")
    write_weights(tmp_path / "raw.safetensors", "driqa", {**config, "calibration": [1.0, 0.0]}, state)
    image = photos(64)[:1]
    degraded = noisy(image, 0.1)
    raw, calibrated = (logits(DRIQA(file), image, degraded) for file in (tmp_path / "raw.safetensors", "default"))
    assert config["calibration"] != [1.0, 0.0]
    torch.testing.assert_close(raw, calibrated, atol=1e-3, rtol=1e-3)
