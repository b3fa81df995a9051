import copy
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import color, data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from drmetric.errors import InputError, MissingDependencyError, WeightsError
from drmetric.metrics import baselines
from drmetric.metrics.baselines import BACKBONES, LPIPS, PSNR, SSIM, find_backbone
from drmetric.metrics.registry import create

BACKBONE = Path(
    os.environ.get("DRMETRIC_LPIPS_BACKBONE")
    or Path(__file__).parents[3] / "shared/data/backbones/squeezenet1_1_fp16.safetensors"
)
needs_backbone = pytest.mark.skipif(
    not BACKBONE.is_file(), reason="no SqueezeNet 1.1: set DRMETRIC_LPIPS_BACKBONE to its .safetensors file"
)
PIQ = ["ms_ssim", "vif", "fsim", "gmsd", "haarpsi", "mdsi"]
HIGHER = {"psnr", "ssim", "ms_ssim", "vif", "fsim", "haarpsi"}


def to_tensor(*pictures):
    return torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures])


def noisy(picture, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return (picture + noise).round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[:192, 100:324]


@pytest.fixture(scope="module")
def pair(photo):
    return to_tensor(noisy(photo, 15), noisy(photo, 5)), to_tensor(photo, photo)


PROTOCOLS = [("rgb", 0), ("rgb", 4), ("y", 0), ("y", 4)]


def under_protocol(picture, channel, shave):
    """What scikit-image compares: floats of 0..255, three channels or the luma of ITU-R BT.601."""
    inner = picture[shave : picture.shape[0] - shave, shave : picture.shape[1] - shave]
    return inner.astype(np.float64) if channel == "rgb" else color.rgb2ycbcr(inner)[..., :1]


@pytest.mark.parametrize(("channel", "shave"), PROTOCOLS)
def test_psnr_is_scikit_images_under_every_protocol(photo, pair, channel, shave):
    clean = under_protocol(photo, channel, shave)
    expected = [
        peak_signal_noise_ratio(clean, under_protocol(noisy(photo, sigma), channel, shave), data_range=255)
        for sigma in (15, 5)
    ]
    scores = create("psnr", channel=channel, shave=shave)(*pair)
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float32), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("channel", "shave"), PROTOCOLS)
def test_ssim_is_scikit_images_under_every_protocol(photo, pair, channel, shave):
    expected = [
        structural_similarity(
            under_protocol(photo, channel, shave),
            under_protocol(noisy(photo, sigma), channel, shave),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=2,
            data_range=255,
        )
        for sigma in (15, 5)
    ]
    scores = create("ssim", channel=channel, shave=shave)(*pair)
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float32), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [PSNR, SSIM])
def test_protocols_differ_in_score_and_signature(kind, pair):
    metrics = [kind(channel=channel, shave=shave) for channel, shave in PROTOCOLS]
    assert kind().signature == metrics[0].signature
    assert "channel:y|shave:4" in metrics[3].signature
    assert len({metric.signature for metric in metrics}) == len({metric(*pair)[0].item() for metric in metrics}) == 4


def test_what_is_shaved_does_not_count(pair):
    images, references = pair[0].clone(), pair[1]
    images[..., :4, :] = 0
    images[..., -4:] = 255
    for kind in (PSNR, SSIM):
        assert torch.equal(kind(shave=4)(images, references), kind(shave=4)(*pair))


def test_min_size_counts_what_is_shaved(pair):
    small = pair[0][..., :18, :18]
    assert SSIM().min_size == 11
    assert SSIM(shave=3)(small[..., :17, :17], small[..., :17, :17]).tolist() == pytest.approx([1, 1])
    with pytest.raises(InputError, match="18 x 18 pixels; wanted at least 19 x 19"):
        SSIM(shave=4)(small, small)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"channel": "Y"}, "unknown channel 'Y'; known: rgb, y"),
        ({"shave": -1}, "shave is -1"),
        ({"shave": 1.5}, r"shave is 1\.5"),
        ({"shave": True}, "shave is True"),
    ],
)
def test_unknown_protocols_are_refused(options, problem):
    with pytest.raises(InputError, match=problem):
        create("psnr", **options)


def test_psnr_of_identical_images_is_100(pair):
    assert PSNR()(pair[1], pair[1]).tolist() == [100, 100]


@pytest.mark.parametrize("name", ["psnr", "ssim", *PIQ])
def test_contract_of_full_reference_metrics(name, pair):
    metric = create(name)
    images, references = pair
    scores = metric(images, references)
    assert scores.shape == (2,)
    assert scores.dtype == torch.float32
    assert metric.higher_is_better == (name in HIGHER)
    assert (scores[1] > scores[0]) == metric.higher_is_better
    torch.testing.assert_close(metric(images[:1], references[:1]), scores[:1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(metric(images, references[:1]), scores, atol=1e-5, rtol=1e-5)
    low, high = metric.score_range
    assert all(low <= score <= high for score in scores)
    assert name in metric.signature
    assert not metric.state_dict()


@pytest.mark.parametrize("name", ["psnr", "ssim", *PIQ])
def test_gradients_are_finite_even_at_the_reference(name, pair):
    for image in (pair[0], pair[1]):
        image = (image[:1].float() / 255).requires_grad_()
        create(name).loss(image, pair[1][:1]).backward()
        assert image.grad.isfinite().all()


def test_piq_takes_what_lies_a_little_outside_the_range(pair):
    image = pair[0][:1].float() / 255 + 5e-4
    assert create("gmsd")(image, pair[1][:1]).isfinite().all()


@pytest.mark.parametrize("name", ["psnr", "ssim", "gmsd"])
def test_a_smaller_reference_is_brought_to_the_size_of_the_image(name, pair):
    small = torch.nn.functional.interpolate(
        pair[1].float() / 255, scale_factor=0.5, mode="bicubic", antialias=True
    ).clamp(0, 1)
    upscaled = torch.nn.functional.interpolate(small, size=pair[1].shape[-2:], mode="bicubic", antialias=True).clamp(
        0, 1
    )
    metric = create(name)
    torch.testing.assert_close(metric(pair[0], small), metric(pair[0], upscaled))


def test_missing_package_names_the_extra(monkeypatch):
    def broken(package):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(baselines, "import_module", broken)
    with pytest.raises(MissingDependencyError, match=r"pip install 'drmetric\[bench\]'"):
        create("fsim")


@pytest.fixture
def no_backbone(monkeypatch, tmp_path):
    monkeypatch.delenv("DRMETRIC_LPIPS_BACKBONE", raising=False)
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


def test_backbone_is_looked_for_in_the_stated_order(no_backbone, monkeypatch):
    with pytest.raises(WeightsError, match="squeezenet1_1") as caught:
        find_backbone("squeeze")
    assert "torchvision.models" in caught.value.fix
    places = [
        no_backbone / "hub/checkpoints/squeezenet1_1-b8a52dc0.pth",
        no_backbone / "home/squeezenet1_1_fp16.safetensors",
        no_backbone / "from_environment.safetensors",
        no_backbone / "given.safetensors",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    assert find_backbone("squeeze", places[3]) == places[3]
    assert find_backbone("squeeze") == places[1]
    places[1].unlink()
    assert find_backbone("squeeze") == places[0]
    monkeypatch.setenv("DRMETRIC_LPIPS_BACKBONE", str(places[2]))
    assert find_backbone("squeeze") == places[2]


def test_a_given_backbone_that_is_missing_is_not_replaced(no_backbone):
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        find_backbone("squeeze", "nowhere.safetensors")


def test_a_file_of_another_network_is_refused(tmp_path):
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not hold torchvision's squeezenet1_1"):
        LPIPS(backbone=tmp_path / "other.safetensors")


def test_unknown_net_is_named():
    with pytest.raises(InputError, match="squeeze, alex, vgg"):
        LPIPS("resnet")


@pytest.mark.parametrize("net", ["squeeze", "alex"])
def test_lpips_loads_torchvisions_files(net, tmp_path):
    from torchvision import models

    network = getattr(models, BACKBONES[net])(weights=None)
    torch.save(network.state_dict(), tmp_path / "backbone.pth")
    metric = LPIPS(net, backbone=tmp_path / "backbone.pth")
    first = dict(metric.network.net.named_parameters())["slice1.0.weight"]
    assert torch.equal(first, network.features[0].weight)
    assert f"net:{net}" in metric.signature


@pytest.fixture(scope="module")
def squeeze():
    return LPIPS(backbone=BACKBONE)


@needs_backbone
def test_lpips_squeeze_has_the_published_values(squeeze):
    # the example in torchmetrics' documentation of LPIPS
    generator = torch.Generator().manual_seed(42)
    first, second = (torch.rand(2, 3, 100, 100, generator=generator) for _ in range(2))
    torch.testing.assert_close(squeeze(first, second), torch.tensor([0.1024, 0.0938]), atol=1e-4, rtol=0)


@needs_backbone
def test_lpips_is_frozen_silent_and_leaves_the_random_state_alone(capsys, recwarn):
    before = torch.get_rng_state()
    metric = LPIPS(backbone=BACKBONE).train()
    assert torch.equal(torch.get_rng_state(), before)
    assert not list(metric.parameters())
    assert not metric.state_dict()
    assert not any(module.training for module in metric.network.modules())
    assert not recwarn.list
    assert capsys.readouterr().out == ""


@needs_backbone
def test_lpips_orders_noise_and_has_gradients(squeeze, pair):
    assert squeeze(*pair)[0] > squeeze(*pair)[1] > 0
    assert squeeze(pair[1], pair[1]).tolist() == [0, 0]
    image = (pair[0].float() / 255).requires_grad_()
    squeeze.loss(image, pair[1]).backward()
    assert image.grad.isfinite().all()
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["psnr", "ssim", "gmsd"])
def test_metrics_are_copied_and_pickled(name, pair):
    metric = create(name)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert torch.equal(twin(*pair), metric(*pair))
