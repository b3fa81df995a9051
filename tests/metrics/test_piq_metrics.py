"""What drmetric adds to piq's metrics: scores an image, finite gradients, tolerance of small overshoots."""

import pytest
import torch

from drmetric import errors
from drmetric.errors import MissingDependencyError
from drmetric.metrics.registry import create
from tests.contract import noisy, photos

piq = pytest.importorskip("piq", reason="piq is not installed: pip install 'drmetric[bench]'", exc_type=ImportError)

FUNCTIONS = {
    "ms_ssim": "multi_scale_ssim",
    "vif": "vif_p",
    "fsim": "fsim",
    "gmsd": "gmsd",
    "haarpsi": "haarpsi",
    "mdsi": "mdsi",
}


@pytest.fixture(scope="module")
def pair():
    return noisy(photos(192), 0.06), photos(192)


@pytest.mark.parametrize(("name", "function"), FUNCTIONS.items())
def test_the_score_is_piqs_of_each_image(name, function, pair):
    each = torch.stack([getattr(piq, function)(x[None], y[None]) for x, y in zip(*pair, strict=True)])
    torch.testing.assert_close(create(name)(*pair), each)


def test_what_lies_a_little_outside_the_range_is_clamped(pair):
    assert create("gmsd")(pair[0] + 5e-4, pair[1]).isfinite().all()


def test_a_package_that_another_torchvision_breaks_names_that(monkeypatch):
    def broken(package):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(errors, "import_module", broken)
    with pytest.raises(MissingDependencyError, match=r"fsim needs the package piq.*torchvision::nms") as caught:
        create("fsim")
    assert caught.value.fix.startswith("pip install --force-reinstall torch torchvision")


def test_a_package_that_is_not_there_names_the_extra(monkeypatch):
    def absent(package):
        raise ModuleNotFoundError("No module named 'piq'")

    monkeypatch.setattr(errors, "import_module", absent)
    with pytest.raises(MissingDependencyError, match="fsim needs the package piq") as caught:
        create("fsim")
    assert caught.value.fix == "pip install 'drmetric[bench]'"


@pytest.mark.parametrize(
    ("name", "best"),
    {"psnr": 100, "ssim": 1, "ms_ssim": 1, "vif": 1, "fsim": 1, "gmsd": 0, "haarpsi": 1, "mdsi": 0}.items(),
)
def test_equal_and_constant_images_have_finite_scores_and_gradients(name, best):
    metric = create(name)
    photo = photos(192)[:1]
    black, white = torch.zeros_like(photo), torch.ones_like(photo)
    for image, reference in ((photo, photo), (black, black), (white, white), (black, white), (black, photo)):
        leaf = image.clone().requires_grad_()
        assert metric(image, reference).isfinite().all()
        (gradient,) = torch.autograd.grad(metric.loss(leaf, reference), leaf)
        assert gradient.isfinite().all()
        if image is reference:
            assert metric(image, reference).item() == pytest.approx(best, abs=1e-3)
