"""The uncertainty that is calibrated on rated photographs."""

import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")
from benchmarks import calibrate_uncertainty
from benchmarks.ship_weights import notes_of
from drmetric import NARIQA
from drmetric.checkpoints import write_weights
from drmetric.data.rated import read_opinions
from drmetric.images import read_image
from drmetric.metrics.nariqa import write_bank
from drmetric.networks.cvrkd import CVRKD, CVRKDConfig
from tests.contract import photos, vivid
from tests.rated_set import write_biq2021

CONFIG = CVRKDConfig(width=8, mixer_width=16, difference_depth=2, image_depth=1, tile=64)


def test_weights_learn_how_far_they_are_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_biq2021(tmp_path / "biq2021")
    write_weights(tmp_path / "bare.safetensors", "nariqa", CONFIG.as_dict(), vivid(CVRKD(CONFIG)).state_dict())
    banked = tmp_path / "banked.safetensors"
    write_bank(tmp_path / "bare.safetensors", [("astronaut", photos(96)[:1])], banked)

    output = tmp_path / "calibrated.safetensors"
    arguments = ["nariqa", str(banked), "biq2021", str(root), str(output)]
    monkeypatch.setattr(sys, "argv", ["calibrate_uncertainty", *arguments])
    calibrate_uncertainty.main()

    assert notes_of(output) == notes_of(banked)
    metric = NARIQA(output)
    rated = read_opinions("biq2021", root, "validation")
    with torch.no_grad():
        judged = [metric(read_image(each.image)[None], return_uncertainty=True) for each in rated]
    squares = [(float(score) - each.score) ** 2 for (score, _), each in zip(judged, rated, strict=True)]
    expected = [float(error) ** 2 for _, error in judged]
    assert sum(expected) == pytest.approx(sum(squares), rel=0.05)
    torch.testing.assert_close(metric(photos(64)), NARIQA(banked)(photos(64)))
