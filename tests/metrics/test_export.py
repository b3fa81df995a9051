"""An ONNX file scores as the metric that it was made from, at every size; what cannot is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from drmetric import DRIQA, NARIQA, NRIQA, create, example
from drmetric.errors import ExportError
from drmetric.metrics import export
from drmetric.metrics.base import Metric

pytest.importorskip("onnxscript", reason="the onnx extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
pytestmark = pytest.mark.skipif(TorchVersion(torch.__version__) < "2.6", reason="torch exports this from 2.6 on")

SIZES = ((1, 32, 32), (2, 47, 33), (1, 101, 190), (1, 340, 65))


def scored(path: Path, *images: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    inputs = dict(zip(names, (image.numpy() for image in images), strict=True))
    return [torch.from_numpy(each) for each in session.run(None, inputs)]


def images(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height)
    small = -(-height // 2), -(-width // 2)
    return torch.rand(count, 3, height, width, generator=generator), torch.rand(count, 3, *small, generator=generator)


@pytest.mark.slow
@pytest.mark.parametrize(
    "metric", [DRIQA(), DRIQA("driqa-patches-3"), NARIQA(), NRIQA()], ids=lambda metric: metric.weights_file.name
)
def test_scores_and_maps_are_those_of_the_metric_at_every_size(metric: Metric, tmp_path: Path) -> None:
    written = export.export_onnx(metric, tmp_path / "metric.onnx")
    assert written.largest_difference <= export.TOLERANCE
    assert written.outputs == ("score", "map")
    for size in SIZES:
        given = images(*size)[: len(written.inputs)]
        score, local = metric(*given, return_map=True)
        exported, exported_map = scored(written.path, *given)
        assert exported == pytest.approx(score, abs=1e-4)
        assert exported_map == pytest.approx(local, abs=1e-3)


@pytest.mark.slow
def test_eight_bits_are_smaller_and_score_nearly_alike(tmp_path: Path) -> None:
    metric = DRIQA("driqa-patches-3")
    eight = export.export_onnx(metric, str(tmp_path / "eight.onnx"), calibration=example.pairs()).path
    assert eight.stat().st_size < metric.weights_file.path.stat().st_size  # which has 16 bits a weight
    pair = example.pairs()[0]
    assert scored(eight, *pair)[0] == pytest.approx(metric(*pair), abs=0.1)


def test_what_no_graph_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="JPEG"):
        export.export_onnx(create("nriqa_akd"), tmp_path / "akd.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_graph_that_scores_otherwise_is_refused_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="the scores of the graph of psnr are up to"):
        export.export_onnx(create("psnr"), tmp_path / "psnr.onnx")
    assert not list(tmp_path.iterdir())
