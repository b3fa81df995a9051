"""``pyiqa:<name>``: with a stand-in for the package pyiqa, and with pyiqa itself where it is installed."""

import sys
from importlib.util import find_spec
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from drmetric.errors import InputError, MissingDependencyError, WeightsError
from drmetric.metrics.base import Metric
from drmetric.metrics.pyiqa_metric import pyiqa_class
from drmetric.metrics.registry import available, create, metric_class
from tests.contract import MetricContract, noisy, photos

CONFIGS = {
    "distance": {"metric_opts": {"type": "Distance"}, "metric_mode": "FR", "lower_better": True},
    "smoothness": {"metric_opts": {"type": "Smoothness"}, "metric_mode": "NR"},
    "pairs": {"metric_opts": {"type": "Pairs"}, "metric_mode": "NR"},
    "offline": {"metric_opts": {"type": "Offline"}, "metric_mode": "NR"},
    "unbuilt": {"metric_opts": {"type": "Unbuilt"}, "metric_mode": "NR"},
    "fid": {"metric_opts": {"type": "FID"}, "metric_mode": "NR", "lower_better": True},
}


class Distance(nn.Module):
    """Full-reference, (N,1) out, refuses what lies outside [0, 1] as pyiqa does."""

    def __init__(self, power=1):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 2.0))
        self.power = power

    def forward(self, image, reference):
        assert image.shape == reference.shape
        assert image.min() >= 0
        assert image.max() <= 1
        return (self.weight * (image - reference).abs() ** self.power).mean(dim=(2, 3)).mean(dim=1, keepdim=True)


class Smoothness(nn.Module):
    """No-reference, on random crops, as some of pyiqa's are; its batch is averaged into one number."""

    def forward(self, image):
        top, left = np.random.randint(0, 8), int(torch.randint(0, 8, ()))
        crop = image[..., top : top + 80, left : left + 80]
        return 1 - (crop[..., 1:] - crop[..., :-1]).abs().mean()


class Pairs(nn.Module):
    def forward(self, image):
        return torch.zeros(2, 2)


def create_metric(name, device, **options):
    print("Loading pretrained model")
    torch.rand(3)
    if name == "offline":
        raise URLError("no route to host")
    if name == "unbuilt":
        raise KeyError("No object named 'Unbuilt' found in 'arch' registry!")
    return {"distance": Distance, "smoothness": Smoothness, "pairs": Pairs}[name](**options).to(device)


@pytest.fixture
def stand_in(monkeypatch):
    pyiqa, configs = ModuleType("pyiqa"), ModuleType("pyiqa.default_model_configs")
    pyiqa.__version__, pyiqa.create_metric, configs.DEFAULT_CONFIGS = "0.0", create_metric, CONFIGS
    monkeypatch.setitem(sys.modules, "pyiqa", pyiqa)
    monkeypatch.setitem(sys.modules, "pyiqa.default_model_configs", configs)
    pyiqa_class.cache_clear()
    yield pyiqa
    pyiqa_class.cache_clear()


@pytest.mark.parametrize("name", ["pyiqa:distance", "pyiqa:smoothness"])
class TestStandIn(MetricContract):
    @pytest.fixture
    def make(self, name, stand_in):
        return lambda: create(name)

    def test_declares_what_it_is(self, metric, name):
        assert isinstance(metric, Metric)
        assert isinstance(metric, metric_class(name))
        assert metric.name == name
        assert (metric.mode, metric.higher_is_better) == {
            "pyiqa:distance": ("fr", False),
            "pyiqa:smoothness": ("nr", True),
        }[name]
        assert not metric.differentiable
        assert metric.licence == "PolyForm-Noncommercial-1.0.0"


def test_scores_are_pyiqas(stand_in):
    good = photos(96)
    spoilt = noisy(good, 0.1)
    expected = torch.cat([Distance()(spoilt[i : i + 1], good[i : i + 1]).flatten() for i in range(3)])
    torch.testing.assert_close(create("pyiqa:distance")(spoilt, good), expected)


def test_options_reach_pyiqa_and_the_signature(stand_in):
    plain, squared = create("pyiqa:distance"), create("pyiqa:distance", power=2)
    image, reference = photos(64)[:1], noisy(photos(64)[:1], 0.1)
    assert squared(image, reference) < plain(image, reference)
    assert plain.signature.startswith("pyiqa:distance|pyiqa:0.0|weights:")
    assert squared.signature.replace("|power:2", "") == plain.signature
    with pytest.raises(InputError, match=r"pyiqa:distance does not take these options: \{'sharpness': 1\}"):
        create("pyiqa:distance", sharpness=1)


def test_other_weights_or_files_have_another_signature(stand_in, monkeypatch, tmp_path):
    before = create("pyiqa:distance").signature
    monkeypatch.setattr(stand_in, "create_metric", lambda name, device, **_: Distance().requires_grad_(False).double())
    assert create("pyiqa:distance").signature != before
    signatures = set()
    for content in ("one", "two"):
        (tmp_path / "weights.pth").write_text(content)
        signatures.add(create("pyiqa:distance", model_path=str(tmp_path / "weights.pth")).signature)
    assert len(signatures) == 2
    assert all("model_path:weights.pth@" in signature for signature in signatures)


def test_is_silent_and_leaves_random_numbers_alone(stand_in, capsys):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    create("pyiqa:smoothness")(photos(96))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()
    assert capsys.readouterr().out == ""


def test_unknown_names_are_quoted_with_near_ones(stand_in):
    with pytest.raises(InputError, match=r"pyiqa 0\.0 has no metric 'distanc'; near: distance") as caught:
        create("pyiqa:distanc")
    assert "list_models" in caught.value.fix
    assert not any(name.startswith("pyiqa:") for name in available())


def test_metrics_of_sets_and_of_no_single_score_are_refused(stand_in):
    with pytest.raises(InputError, match="fid compares sets of images"):
        metric_class("pyiqa:fid")
    with pytest.raises(InputError, match="pairs gave 4 values for one image"):
        create("pyiqa:pairs")(photos(64))


def test_weights_that_cannot_be_downloaded_are_named(stand_in):
    with pytest.raises(
        WeightsError, match=r"offline could not download or read its weights.*no route to host"
    ) as caught:
        create("pyiqa:offline")
    assert "create_metric('offline')" in caught.value.fix
    with pytest.raises(MissingDependencyError, match="unbuilt needs something that is not installed"):
        create("pyiqa:unbuilt")


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    pyiqa_class.cache_clear()
    with pytest.raises(MissingDependencyError, match="package pyiqa") as caught:
        create("pyiqa:psnr")
    assert caught.value.fix == "pip install 'drmetric[pyiqa]'"


@pytest.mark.skipif(find_spec("pyiqa") is None, reason="pyiqa is not installed: pip install 'drmetric[pyiqa]'")
def test_pyiqa_itself_agrees_with_our_psnr_and_ssim():
    pyiqa_class.cache_clear()
    good = photos(96)
    spoilt = noisy(good, 0.05)
    theirs = create("pyiqa:psnr")
    assert (theirs.mode, theirs.higher_is_better) == ("fr", True)
    torch.testing.assert_close(theirs(spoilt, good), create("psnr")(spoilt, good), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        create("pyiqa:ssimc")(spoilt, good), create("ssim")(spoilt, good).float(), atol=2e-3, rtol=0
    )
    assert metric_class("pyiqa:lpips").higher_is_better is False
    with pytest.raises(InputError, match="near: musiq"):
        create("pyiqa:musik")
