"""LPIPS on a random backbone; its published values on the real one."""

import os

import pytest
import torch

from drmetric.errors import InputError
from drmetric.metrics.imagenet import BACKBONES
from drmetric.metrics.lpips import LPIPS
from drmetric.metrics.registry import create
from tests.contract import noisy, photos

pytest.importorskip("lpips", reason="lpips is not installed: pip install 'drmetric[bench]'", exc_type=ImportError)
models = pytest.importorskip("torchvision.models", exc_type=ImportError)


@pytest.fixture(scope="module")
def pair():
    return noisy(photos(64), 0.1), photos(64)


@pytest.mark.skipif(
    "DRMETRIC_LPIPS_BACKBONE" not in os.environ,
    reason="published values need SqueezeNet 1.1: set DRMETRIC_LPIPS_BACKBONE to its .safetensors file",
)
def test_lpips_squeeze_has_the_published_values():
    # the example in torchmetrics' documentation of LPIPS
    generator = torch.Generator().manual_seed(42)
    first, second = (torch.rand(2, 3, 100, 100, generator=generator) for _ in range(2))
    torch.testing.assert_close(LPIPS()(first, second), torch.tensor([0.1024, 0.0938]), atol=1e-4, rtol=0)


def test_score_is_that_of_the_package_on_the_same_backbone(squeezenet, pair):
    import lpips

    theirs = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval()
    metric = LPIPS(backbone=squeezenet)
    theirs.net.load_state_dict(metric.network.get_submodule("net").state_dict())
    with torch.no_grad():
        expected = theirs(*(2 * image - 1 for image in pair)).flatten()
        torch.testing.assert_close(metric(*pair), expected)


def test_a_loss_never_looks_at_another_view_than_that_of_the_truth(squeezenet, pair):
    """Moved or turned alone, the image would no longer lie on its truth."""
    metric, image = LPIPS(backbone=squeezenet), pair[0].clone().requires_grad_()
    losses = {metric.loss(image, pair[1], random_view=viewed).item() for viewed in (True, False, True)}
    assert len(losses) == 1


def test_is_frozen_and_silent_and_leaves_the_random_state_alone(squeezenet, capsys, recwarn):
    before = torch.get_rng_state()
    metric = LPIPS(backbone=squeezenet).train()
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in metric.network.modules())
    assert not recwarn.list
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("net", ["squeeze", "alex"])
def test_torchvisions_files_are_loaded(net, tmp_path):
    network = getattr(models, BACKBONES[net])(weights=None)
    torch.save(network.state_dict(), tmp_path / "backbone.pth")
    metric = LPIPS(net, backbone=tmp_path / "backbone.pth")
    first = dict(metric.network.net.named_parameters())["slice1.0.weight"]
    assert torch.equal(first, network.features[0].weight)
    assert f"net:{net}" in metric.signature


def test_a_backbone_that_is_another_file_changes_the_signature(squeezenet, tmp_path):
    torch.save(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet1_1.pth")
    assert create("lpips", backbone=tmp_path / "squeezenet1_1.pth").signature != LPIPS(backbone=squeezenet).signature


def test_unknown_net_is_named():
    with pytest.raises(InputError, match="squeeze, alex, vgg"):
        LPIPS("resnet")
