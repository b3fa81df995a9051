"""The chain that makes AKD-IQA's references: far worse than its input, the same for every batch, differentiable."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage import data

from drmetric.distortions import redistort as chain
from drmetric.distortions.kadid.types import KADID10K, distort
from drmetric.distortions.redistort import redistort
from tests.contract import photos


def psnr(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return -10 * (image - reference).square().mean((1, 2, 3)).log10()


def test_settings_are_the_papers() -> None:
    assert (chain.BLUR_SIGMA, chain.MOTION_LENGTH, chain.JPEG_QUALITY) == (2, 24, 24)
    assert (chain.NOISE_VARIANCE, chain.IMPULSE_DENSITY, chain.SCALE, chain.NEAREST_SCALE) == (0.05, 0.02, 8, 5)
    assert max(KADID10K[21].levels) == chain.PIXELATE_STRENGTH


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (288, 100), (512, 512)])
def test_shape_and_range_are_kept(height: int, width: int) -> None:
    pixels = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None, :, :height, :width] / 255
    before = pixels.clone()
    worse = redistort(pixels)
    assert worse.shape == pixels.shape
    assert worse.dtype == torch.float32
    assert worse.min() >= 0
    assert worse.max() <= 1
    assert torch.equal(pixels, before), "the input was changed"


def test_quality_falls_below_that_of_common_degradations() -> None:
    images = photos(288)
    worse = psnr(redistort(images), images)
    assert (worse < 23).all()
    assert (worse > 10).all(), "the scene is still to be recognised"
    for name in ("gaussian_blur", "jpeg", "white_noise", "pixelate"):
        assert (worse < psnr(distort(images, name, 3, seed=0, stretch=False), images)).all(), name


def test_a_degraded_input_still_gets_worse() -> None:
    images = photos(288)
    degraded = distort(images, "gaussian_blur", 4, seed=0, stretch=False)
    assert (psnr(redistort(degraded), images) < psnr(degraded, images) - 2).all()


def test_detail_is_gone_and_colour_stays() -> None:
    images = photos(288)
    worse = redistort(images)
    torch.testing.assert_close(worse.mean((2, 3)), images.mean((2, 3)), atol=0.06, rtol=0)
    coarse = F.avg_pool2d(images, 16)
    assert (worse.diff(dim=-1) == 0).float().mean() > 0.6, "squares of one colour"
    assert np.corrcoef(F.avg_pool2d(worse, 16).flatten(), coarse.flatten())[0, 1] > 0.8


def test_seed_decides_and_the_global_random_state_is_not_used() -> None:
    images = photos(64)
    first = redistort(images, seed=1)
    before = torch.get_rng_state()
    assert torch.equal(first, redistort(images, seed=1))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, redistort(images, seed=2))


def test_an_image_is_the_same_in_every_batch() -> None:
    images = photos(96)
    together = redistort(images)
    assert torch.equal(together[1:2], redistort(images[1:2]))
    assert torch.equal(together.flip(0), redistort(images.flip(0)))


def test_all_images_of_one_size_get_the_same_noise() -> None:
    one, other = redistort(torch.full((2, 3, 64, 64), 0.5))
    assert torch.equal(one, other)
    assert one.std() > 0.01


def test_half_precision_is_computed_in_float32() -> None:
    images = photos(64).half()
    assert torch.equal(redistort(images), redistort(images.float()).half())


def test_motion_spreads_a_point_along_its_row() -> None:
    point = torch.zeros(1, 3, 9, 63)
    point[..., 4, 31] = 1
    streak = chain._moved(point)
    assert streak.sum() == pytest.approx(3, abs=1e-5)
    assert (streak[0, 0] > 0).any(1).tolist() == [row == 4 for row in range(9)]
    assert (streak[0, 0, 4] > 1e-6).sum().item() == pytest.approx(chain.MOTION_LENGTH, abs=1)


def test_jpeg_has_the_codecs_pixels_and_the_gradient_of_the_identity(tmp_path) -> None:
    image = photos(64)[:1].requires_grad_()
    compressed = chain._compressed(image)
    pixels = (image[0].detach() * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=24, subsampling="4:2:0")
    expected = np.asarray(Image.open(tmp_path / "a.jpg")) / 255
    np.testing.assert_allclose(compressed[0].detach().permute(1, 2, 0).numpy(), expected, atol=1e-6)
    weights = torch.rand_like(image)
    (compressed * weights).sum().backward()
    assert torch.equal(image.grad, weights)


def test_gradients_are_finite_and_reach_the_whole_image() -> None:
    images = photos(96).requires_grad_()
    (redistort(images) * torch.rand(3, 3, 96, 96)).sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad != 0).float().mean() > 0.99


def test_gradients_tell_the_way_to_a_brighter_result() -> None:
    image = photos(96)[:1].requires_grad_()
    before = redistort(image).mean()
    before.backward()
    with torch.no_grad():
        brighter = redistort((image + 0.1 * image.grad / image.grad.abs().max()).clamp(0, 1)).mean()
    assert brighter > before + 0.01


def test_impulses_stop_gradients_where_they_hit() -> None:
    image = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    hit = chain.synthetic_noise.impulse_noise(image, torch.Generator().manual_seed(0), 0.2)
    hit.sum().backward()
    assert torch.equal(image.grad, (hit == 0.5).float())
    assert 0.1 < (image.grad == 0).float().mean() < 0.3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_devices_agree() -> None:
    images = photos(96)
    there = redistort(images.cuda())
    assert there.is_cuda
    # a coefficient of JPEG on the edge between two steps may fall to either side
    assert psnr(there.cpu(), redistort(images)).min() > 50
