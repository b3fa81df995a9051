"""pyiqa makes the metrics by name, as scores, as losses, from paths and from its command line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from drmetric import DRIQA, NARIQA, NRIQA, example
from tests.adapters.restorers import WEIGHTS, Upscaler, pairs

pytestmark = pytest.mark.slow  # pyiqa imports transformers
pyiqa = pytest.importorskip("pyiqa", reason="pyiqa is not installed", exc_type=ImportError)

import drmetric.adapters.pyiqa as adapter  # noqa: E402

TRUTH, DEGRADED = pairs(2)
RESTORED = torch.nn.functional.interpolate(DEGRADED, scale_factor=2, mode="bilinear")


def made(name: str, **options: object) -> torch.nn.Module:
    return pyiqa.create_metric(name, device=torch.device("cpu"), **options)


def test_scores_are_those_of_drmetric() -> None:
    torch.testing.assert_close(made("driqa")(RESTORED, DEGRADED), DRIQA()(RESTORED, DEGRADED))
    torch.testing.assert_close(made("nariqa")(RESTORED), NARIQA()(RESTORED))
    torch.testing.assert_close(made("nriqa")(RESTORED), NRIQA()(RESTORED))
    assert set(adapter.NAMES) <= set(pyiqa.list_models())
    assert not made("driqa").lower_better


def test_options_reach_the_metric_and_registering_again_is_nothing() -> None:
    adapter.register()
    torch.testing.assert_close(made("driqa", weights=WEIGHTS)(RESTORED, DEGRADED), DRIQA(WEIGHTS)(RESTORED, DEGRADED))


def test_paths(tmp_path: Path) -> None:
    example.copy(tmp_path)
    files = tmp_path / "restored/coffee_sharp.png", tmp_path / "degraded/coffee.png"
    score = made("driqa")(*map(str, files))
    expected = DRIQA()(example.image("restored/coffee_sharp"), example.image("degraded/coffee"))
    torch.testing.assert_close(score, expected, atol=1e-5, rtol=0)


def test_trains_a_restorer_that_overshoots() -> None:
    network, quality = Upscaler(), made("driqa", weights=WEIGHTS, as_loss=True)
    restored = network(DEGRADED) * 1.5 - 0.2
    loss = 1 - quality(restored, DEGRADED)
    loss.backward()
    assert 0 < loss < 1
    assert network.layer.weight.grad.isfinite().all()
    assert network.layer.weight.grad.abs().sum() > 0


def test_command_line(tmp_path: Path) -> None:
    example.copy(tmp_path)
    command = (sys.executable, "-m", "drmetric.adapters.pyiqa", "driqa", "-t", "restored/coffee_sharp.png")
    done = subprocess.run(
        [*command, "-r", "degraded/coffee.png", "--device", "cpu"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    score = DRIQA()(example.image("restored/coffee_sharp"), example.image("degraded/coffee")).item()
    printed = re.search(r"0\.\d+", done.stdout.rpartition("mean")[2])
    assert printed, done.stdout + done.stderr
    assert float(printed[0]) == pytest.approx(score, abs=1e-5)
