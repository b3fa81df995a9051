"""What is timed under "onnx:" is the file that `drmetric export` writes, at every size."""

import math
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("onnxscript", reason="the onnx extra is not installed")
from benchmarks import speed
from drmetric import create
from drmetric.networks import fused


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_the_exported_metric_is_timed_with_its_reference(size: tuple[int, int]) -> None:
    image, reference = speed._images(size)
    expected = create("colour_difference")(image, reference)
    torch.testing.assert_close(speed._run("onnx:colour_difference")(image, reference), expected, atol=1e-4, rtol=1e-4)


def test_times_are_of_the_score_and_of_its_gradient() -> None:
    run = speed._run("psnr")
    assert speed._milliseconds(run, (64, 64), backward=False) > 0
    assert speed._milliseconds(run, (64, 64), backward=True) > 0


def test_fused_convolutions_are_counted_as_what_they_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    run = speed._run("driqa")
    counted = speed._gmacs(run, (64, 64), "cpu")
    monkeypatch.setattr(fused, "_HAS_KERNELS", False)
    assert counted == pytest.approx(speed._gmacs(run, (64, 64), "cpu"))
    assert counted > 0.01


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux gives it")
def test_memory_is_of_a_process_of_its_own() -> None:
    score, both = speed._peaks("psnr", "512", "cpu", scores_only=True)
    assert score > 2, "two images of 3 MiB"
    assert math.isnan(both)


@pytest.mark.parametrize("peaks", [(10.0, 20.0), (math.nan, math.nan)])
def test_a_process_that_measured_no_memory_fails_the_run(
    peaks: tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_peaks", lambda *_: peaks)
    output = tmp_path / "speed.csv"
    arguments = ["--metrics", "psnr", "--sizes", "256", "--repeats", "1", "--memory", "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["speed", *arguments])
    if math.isnan(peaks[0]):
        with pytest.raises(SystemExit, match="1"):
            speed.main()
    else:
        speed.main()
    assert "psnr" in output.read_text(), "what was measured is written in any case"
