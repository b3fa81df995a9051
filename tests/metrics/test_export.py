"""The ONNX file scores like the metric it was made from."""

import pytest
import torch
from torch.torch_version import TorchVersion

from drmetric import DRIQA, NRIQA

pytest.importorskip("onnxscript", reason="the onnx extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
pytestmark = pytest.mark.skipif(TorchVersion(torch.__version__) < "2.6", reason="torch exports this from 2.6 on")


def test_exported_driqa_gives_the_same_score(tmp_path):
    metric = DRIQA()
    example = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 32)
    torch.onnx.export(metric, example, dynamo=True, verbose=False).save(tmp_path / "driqa.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "driqa.onnx")
    others = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 32)
    inputs = {node.name: image.numpy() for node, image in zip(session.get_inputs(), others, strict=True)}
    (exported,) = session.run(None, inputs)

    assert torch.from_numpy(exported) == pytest.approx(metric(*others), abs=1e-4)


def test_exported_nriqa_gives_the_same_score(tmp_path):
    metric, example = NRIQA(), torch.rand(1, 3, 96, 128)
    torch.onnx.export(metric, (example,), dynamo=True, verbose=False).save(tmp_path / "nriqa.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "nriqa.onnx")
    other = torch.rand(1, 3, 96, 128)
    (exported,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})

    assert torch.from_numpy(exported) == pytest.approx(metric(other), abs=1e-4)
