"""DISTS on random weights of the right shapes: the published ones are not in a checkout."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from drmetric.errors import WeightsError
from drmetric.metrics.dists import CHANNELS, DISTS, LAYERS, find_dists_weights
from drmetric.metrics.registry import create
from tests.contract import noisy, photos
from tests.metrics.conftest import VGG16

POOLS = (4, 9, 16, 23, 30)

pytest.importorskip("piq", reason="DISTS needs piq: pip install 'drmetric[bench]'", exc_type=ImportError)


@pytest.fixture(scope="module")
def files(dists_files):
    return dists_files


@pytest.fixture(scope="module")
def metric(files):
    return create("dists", weights=files / "dists_weights.pt", backbone=files / "vgg16.safetensors")


@pytest.fixture(scope="module")
def pair():
    good = photos(64)
    return noisy(good, 0.1), good


def features_of(image, state):
    """The image and VGG16's five feature maps, with L2 pooling (Ding et al., section 3.1)."""
    hann = torch.outer(torch.hann_window(5, periodic=False)[1:-1], torch.hann_window(5, periodic=False)[1:-1])
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    x, kept = (image - mean) / deviation, [image]
    for number in range(31):
        if number in VGG16:
            x = F.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], padding=1)
        elif number in POOLS:
            window = (hann / hann.sum()).expand(x.shape[1], 1, 3, 3)
            x = (F.conv2d(x**2, window, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()
        else:
            x = x.relu()
        if str(number) in LAYERS:
            kept.append(x)
    return kept


def test_score_is_that_of_the_paper(metric, files, pair):
    state, heads = load_file(files / "vgg16.safetensors"), torch.load(files / "dists_weights.pt")
    total = sum(weights.sum() for weights in heads.values())
    alphas, betas = (torch.split(heads[name] / total, CHANNELS, dim=1) for name in ("alpha", "beta"))
    similarity = torch.zeros(3)
    for x, y, alpha, beta in zip(*(features_of(image, state) for image in pair), alphas, betas, strict=True):
        mx, my = (each.mean(dim=(2, 3), keepdim=True) for each in (x, y))
        vx, vy = (each.var(dim=(2, 3), keepdim=True, unbiased=False) for each in (x, y))
        covariance = ((x - mx) * (y - my)).mean(dim=(2, 3), keepdim=True)
        luminance = (2 * mx * my + 1e-6) / (mx**2 + my**2 + 1e-6)
        structure = (2 * covariance + 1e-6) / (vx + vy + 1e-6)
        similarity += (alpha * luminance + beta * structure).sum(dim=(1, 2, 3))
    torch.testing.assert_close(metric(*pair), 1 - similarity, atol=1e-5, rtol=1e-4)


def test_equal_images_are_at_no_distance_and_noise_adds_some(metric, pair):
    spoilt, good = pair
    torch.testing.assert_close(metric(good, good), torch.zeros(3), atol=1e-5, rtol=0)
    assert (metric(noisy(good, 0.3), good) > metric(spoilt, good)).all()
    assert (metric(spoilt, good) > 0.001).all()
    torch.testing.assert_close(metric(spoilt[:1], good[:1]), metric(spoilt, good)[:1], atol=1e-6, rtol=1e-4)


def test_is_frozen_and_copied_and_has_gradients_after_inference_mode(metric, pair):
    with torch.inference_mode():
        expected = metric(*pair).clone()
    image = pair[0].clone().requires_grad_()
    metric.loss(image, pair[1]).backward()
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0
    assert not list(metric.parameters())
    assert not metric.state_dict()
    size = len(pickle.dumps(metric))
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)).train()):
        torch.testing.assert_close(twin(*pair), expected)
    assert len(pickle.dumps(metric)) == size
    assert copy.deepcopy(metric).to("meta").network.model[4].kernel.is_meta


@pytest.mark.parametrize("size", [(32, 40), (257, 300)])
def test_small_and_large_images_have_scores(files, size):
    metric = DISTS(files / "dists_weights.pt", backbone=files / "vgg16.safetensors")
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    assert metric(image, image.flip(3)).isfinite().all()


def test_weights_need_not_sum_to_one_and_both_files_are_in_the_signature(files, tmp_path):
    heads = {name: 7 * value for name, value in torch.load(files / "dists_weights.pt").items()}
    save_file(heads, tmp_path / "weights.safetensors")
    image, other = photos(32)[:1], photos(32)[1:2]
    made = [
        DISTS(weights, backbone=files / "vgg16.safetensors")
        for weights in (files / "dists_weights.pt", tmp_path / "weights.safetensors")
    ]
    torch.testing.assert_close(made[0](image, other), made[1](image, other))
    assert made[0].signature != made[1].signature
    assert "weights:vgg16@" in made[0].signature
    assert "heads:dists_weights.pt@" in made[0].signature


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    for variable in ("LPIPS", "DISTS"):
        monkeypatch.delenv(f"DRMETRIC_{variable}_BACKBONE", raising=False)
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


def test_missing_weights_say_what_to_download(nowhere, files, monkeypatch):
    with pytest.raises(WeightsError, match="DISTS needs its weights alpha and beta") as caught:
        create("dists")
    assert caught.value.fix.endswith("releases/download/v0.4.1/dists_weights.pt")
    with pytest.raises(WeightsError, match=r"no absent\.pt"):
        create("dists", weights="absent.pt")
    with pytest.raises(WeightsError, match=r"DISTS with net='vgg' needs torchvision's vgg16") as caught:
        create("dists", weights=files / "dists_weights.pt")
    assert "vgg16(weights='DEFAULT')" in caught.value.fix
    monkeypatch.setenv("DRMETRIC_LPIPS_BACKBONE", str(files / "dists_weights.pt"))
    monkeypatch.setenv("DRMETRIC_DISTS_BACKBONE", str(files / "vgg16.safetensors"))
    assert create("dists", weights=files / "dists_weights.pt").weights_file.path == files / "vgg16.safetensors"


def test_weights_are_looked_for_in_the_stated_order(nowhere):
    places = [
        nowhere / "hub/checkpoints/dists_weights.pt",
        nowhere / "home/dists_weights.pt",
        nowhere / "home/dists_weights.safetensors",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert find_dists_weights() == place


def test_files_of_something_else_are_refused(files, tmp_path):
    save_file({"alpha": torch.ones(3), "beta": torch.ones(3)}, tmp_path / "other.safetensors")
    (tmp_path / "torn.pt").write_text("nothing of the kind")
    for name in ("other.safetensors", "torn.pt"):
        with pytest.raises(WeightsError, match=rf"{name} does not hold DISTS' alpha and beta, 1475 numbers each"):
            DISTS(tmp_path / name, backbone=files / "vgg16.safetensors")
    with pytest.raises(WeightsError, match="does not hold torchvision's vgg16"):
        DISTS(files / "dists_weights.pt", backbone=tmp_path / "other.safetensors")
