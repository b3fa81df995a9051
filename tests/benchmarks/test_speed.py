"""What is timed under "onnx:" is the file that `drmetric export` writes, at every size."""

import pytest
import torch

pytest.importorskip("onnxscript", reason="the onnx extra is not installed")
from benchmarks import speed
from drmetric import create


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_the_exported_metric_is_timed_with_its_reference(size: tuple[int, int]) -> None:
    image, reference = speed._images(size)
    expected = create("colour_difference")(image, reference)
    torch.testing.assert_close(speed._run("onnx:colour_difference")(image, reference), expected, atol=1e-4, rtol=1e-4)


def test_times_are_of_the_score_and_of_its_gradient() -> None:
    run = speed._run("psnr")
    assert speed._milliseconds(run, (64, 64), backward=False) > 0
    assert speed._milliseconds(run, (64, 64), backward=True) > 0
