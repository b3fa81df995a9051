"""Restoration consistency: known values, and what it is blind to on purpose."""

import math

import pytest
import torch
import torch.nn.functional as F
from kornia.color import rgb_to_lab

from drmetric.errors import InputError, NotApplicableError
from drmetric.images import resize, to_8_bit
from drmetric.metrics import consistency
from drmetric.metrics.registry import available, create, metric_class
from tests.contract import MetricContract, Pictures, noisy, photos

GUARDS = ("lr_psnr", "low_band_psnr", "colour_difference")


@pytest.fixture(scope="module")
def image():
    return photos(96)


class TestLowResolutionPSNR(MetricContract):
    """Its references are smaller than the images, where those of the contract are of one size."""

    @pytest.fixture
    def make(self):
        return lambda: create("lr_psnr")

    @pytest.fixture
    def pictures(self, image):
        return Pictures(image, noisy(image, 0.12), resize(image, (48, 48)))

    def test_gradients_are_finite(self, metric, pictures):
        for image in (pictures.good, pictures.spoilt, torch.zeros_like(pictures.good)):
            image = image.clone().requires_grad_()
            metric.loss(image, pictures.references).backward()
            assert image.grad.isfinite().all()

    def test_min_size_is_enough_and_enforced(self, metric):
        assert metric(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 1, 1)).tolist() == [100]
        with pytest.raises(InputError, match="1 x 2 pixels; wanted at least 2 x 2"):
            metric(torch.ones(1, 3, 1, 2), torch.ones(1, 3, 1, 1))


def test_lr_psnr_is_that_of_the_reduced_output(image):
    noise = 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    restored = (image + noise).clamp(0, 1)
    degraded = resize(image, (32, 32))
    error = (resize(restored, (32, 32)) - degraded).square().mean((1, 2, 3))
    torch.testing.assert_close(create("lr_psnr")(restored, degraded), -10 * error.log10())
    assert create("lr_psnr")(image, degraded).tolist() == [100.0] * 3


def test_lr_psnr_says_nothing_about_inputs_of_the_same_size(image):
    with pytest.raises(NotApplicableError, match=r"the input \(96 x 96 pixels\) is not smaller than the output"):
        create("lr_psnr")(image, image)


def test_low_band_does_not_mind_what_denoising_removes(image):
    noise = 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    noisy = (image + noise).clamp(0, 1)
    low_band, psnr = create("low_band_psnr"), -10 * (image - noisy).square().mean((1, 2, 3)).log10()
    assert (low_band(image, noisy) > psnr + 10).all()
    darker = 0.8 * image
    assert (low_band(darker, noisy) < low_band(image, noisy) - 5).all()


def test_low_band_of_a_constant_offset_by_hand():
    grey = torch.full((1, 3, 64, 64), 0.5)
    for restored in (grey, F.interpolate(grey, scale_factor=2)):
        assert create("low_band_psnr")(restored + 0.1, grey).item() == pytest.approx(20, abs=1e-3)


def test_colour_difference_is_delta_e_of_block_means():
    left, right = torch.tensor([0.2, 0.5, 0.7]), torch.tensor([0.3, 0.5, 0.6])
    image = left.view(1, 3, 1, 1).expand(1, 3, 64, 64)
    other = right.view(1, 3, 1, 1).expand(1, 3, 64, 64)
    lab = [rgb_to_lab(colour.view(1, 3, 1, 1)).flatten() for colour in (left, right)]
    expected = math.dist(*(each.tolist() for each in lab))
    assert create("colour_difference")(image, other).item() == pytest.approx(expected, rel=1e-4)


def test_colour_difference_sees_casts_and_not_texture(image):
    colour = create("colour_difference")
    checks = 0.1 * (torch.arange(96) % 2 * 2 - 1).float()
    textured = (0.5 * image + 0.25 + checks).clamp(0, 1)
    plain = 0.5 * image + 0.25
    cast = plain * torch.tensor([1.1, 1.0, 0.9]).view(1, 3, 1, 1)
    assert (colour(textured, plain) < 0.1).all()
    assert (colour(cast.clamp(0, 1), plain) > 2).all()


def test_edge_blocks_count_as_wide_as_they_are():
    image = torch.zeros(1, 3, 40, 40)
    other = image.clone()
    other[..., 32:] = 1
    means = F.avg_pool2d(other, 32, ceil_mode=True, count_include_pad=False)
    assert means[0, 0].tolist() == [[0, 1], [0, 1]]
    expected = rgb_to_lab(torch.ones(1, 3, 1, 1))[0, 0].item() / 2
    assert create("colour_difference")(image, other).item() == pytest.approx(expected, rel=1e-3)


def test_the_enlarged_input_is_the_most_consistent(image):
    degraded = resize(image, (48, 48))
    bicubic = resize(degraded, (96, 96))
    sharpened = (bicubic + 2 * (bicubic - F.avg_pool2d(bicubic, 5, 1, 2))).clamp(0, 1)
    for name in GUARDS:
        metric = create(name)
        better = metric(bicubic, degraded) - metric(sharpened, degraded)
        assert ((better if metric.higher_is_better else -better) > 0).all(), name


def test_options_are_checked():
    assert "sigma:2" in create("low_band_psnr", sigma=2).signature
    with pytest.raises(InputError, match="sigma is 0"):
        create("low_band_psnr", sigma=0)
    with pytest.raises(InputError, match="does not take these options"):
        create("lr_psnr", sigma=1)


def test_these_and_no_others_are_guards():
    assert tuple(name for name in available() if metric_class(name).guard) == GUARDS


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("factor", [1, 2, 3.3])
def test_tiles_give_the_figure_of_the_whole(monkeypatch, name, factor):
    image = F.interpolate(photos(288)[:2], (330, 451))
    degraded = resize(noisy(image, 0.1), (round(330 / factor), round(451 / factor)))
    metric = create(name)
    if name == "lr_psnr" and factor == 1:
        pytest.skip("of inputs that are smaller")
    expected = metric(image, degraded), metric(to_8_bit(image), to_8_bit(degraded))
    monkeypatch.setattr(consistency, "AT_ONCE", 10_000)
    monkeypatch.setattr(consistency, "TILE", 64)
    found = metric(image, degraded), metric(to_8_bit(image), to_8_bit(degraded))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
