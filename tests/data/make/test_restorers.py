"""Interpolation and classical restorers: real photographs, plain parameters, and the effect each is named for."""

import json
import random
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data, restoration

from drmetric.data.make.restorers import DENOISERS, INTERPOLATIONS, RESTORERS, SHARPENERS, enlarge
from drmetric.errors import MissingDependencyError

PHOTOS = {
    "astronaut": data.astronaut()[60:156, 170:266],
    "coffee": data.coffee()[150:246, 250:346],
    "chelsea": data.chelsea()[90:186, 150:246],
}


def photograph(name: str) -> np.ndarray:
    return PHOTOS[name].astype(np.float32) / 255


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((image.clip(0, 1).astype(np.float64) - truth) ** 2)))


def gradient_energy(image: np.ndarray) -> np.ndarray:
    """Sum of squared differences on a 4 x 4 grid of parts, the last row and column left out."""
    down, right = (np.diff(image.astype(np.float64), axis=axis)[:95, :95] ** 2 for axis in (0, 1))
    return (down + right).sum(-1)[:92, :92].reshape(4, 23, 4, 23).sum((1, 3))


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Cut at three standard deviations, whole pixels, as the kernel that deconvolution guesses."""
    radius = int(np.ceil(3 * sigma))
    blurred = ndimage.gaussian_filter(image, sigma, radius=radius, mode="mirror", axes=(0, 1))
    return blurred.astype(np.float32)


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("name", RESTORERS)
def test_restored_photographs_are_finite_and_reproducible(name: str, photo: str) -> None:
    image = photograph(photo)
    parameters, restored = RESTORERS[name](image, random.Random(5))
    again, same = RESTORERS[name](image, random.Random(5))
    assert restored.shape == (96, 96, 3)
    assert np.isfinite(restored).all()
    assert np.array_equal(image, photograph(photo)), "the input was changed"
    assert parameters == again
    assert np.array_equal(restored, same)
    assert json.loads(json.dumps(parameters)) == parameters
    assert psnr(restored, image) > 12, "not recognisable as the photograph"


@pytest.mark.parametrize("name", RESTORERS)
def test_strength_varies_with_the_random_state(name: str) -> None:
    image = photograph("coffee")[:32, :32]
    drawn = {json.dumps(RESTORERS[name](image, random.Random(seed))[0]) for seed in range(8)}
    assert len(drawn) >= 3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("name", DENOISERS)
def test_denoisers_bring_a_noisy_photograph_nearer_to_the_clean_one(name: str, photo: str, seed: int) -> None:
    clean = photograph(photo)
    noise = np.random.default_rng(seed).normal(0, 0.1, clean.shape)
    noisy = (clean + noise).clip(0, 1).astype(np.float32)
    _, restored = DENOISERS[name](noisy, random.Random(seed))
    assert psnr(restored, clean) > psnr(noisy, clean) + 1


def test_total_variation_is_the_reported_call_of_scikit_image() -> None:
    image = photograph("chelsea")
    parameters, restored = DENOISERS["total_variation"](image, random.Random(0))
    expected = restoration.denoise_tv_chambolle(image, parameters["weight"], channel_axis=-1)
    np.testing.assert_allclose(restored, expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("photo", PHOTOS)
def test_unsharp_raises_the_gradients_of_every_part(photo: str, seed: int) -> None:
    # scikit-image 0.26 leaves most of the result unset where it is called with channel_axis=-1.
    image = photograph(photo)
    _, sharp = SHARPENERS["unsharp"](image, random.Random(seed))
    assert (gradient_energy(sharp) > 1.1 * gradient_energy(image)).all()


@pytest.mark.parametrize("seed", range(4))
def test_unsharp_adds_the_difference_to_the_blurred_image(seed: int) -> None:
    image = photograph("astronaut")
    parameters, sharp = SHARPENERS["unsharp"](image, random.Random(seed))
    smooth = ndimage.gaussian_filter(image, parameters["radius"], mode="reflect", axes=(0, 1))
    expected = (image + parameters["amount"] * (image - smooth)).clip(0, 1)
    np.testing.assert_allclose(sharp, expected, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("photo", PHOTOS)
def test_richardson_lucy_undoes_a_blur_of_its_kernel(photo: str, seed: int) -> None:
    clean = photograph(photo)
    guessed, _ = SHARPENERS["richardson_lucy"](clean[:32, :32], random.Random(seed))
    blurred = gaussian_blur(clean, guessed["kernel_sigma"])
    parameters, restored = SHARPENERS["richardson_lucy"](blurred, random.Random(seed))
    assert parameters == guessed
    assert (gradient_energy(restored) > gradient_energy(blurred)).all()
    assert psnr(restored, clean) > psnr(blurred, clean) + 0.3
    edge = np.ones((96, 96), dtype=bool)
    edge[6:-6, 6:-6] = False
    assert psnr(restored[edge], clean[edge]) > psnr(blurred[edge], clean[edge]) - 0.1, "rings at the border"


@pytest.mark.parametrize("photo", PHOTOS)
def test_wiener_with_little_regularisation_undoes_a_blur_of_its_kernel(photo: str) -> None:
    clean = photograph(photo)
    parameters, _ = SHARPENERS["wiener"](clean[:32, :32], random.Random(4))
    assert parameters["balance"] < 0.01
    blurred = gaussian_blur(clean, parameters["kernel_sigma"])
    _, restored = SHARPENERS["wiener"](blurred, random.Random(4))
    assert psnr(restored, clean) > psnr(blurred, clean) + 2


@pytest.mark.parametrize("seed", range(6))
def test_denoised_then_sharpened_reports_both_halves_and_is_sharper_than_the_first(seed: int) -> None:
    clean = photograph("coffee")
    noisy = (clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)).clip(0, 1).astype(np.float32)
    parameters, _ = RESTORERS["denoised_then_sharpened"](noisy, random.Random(seed))
    assert set(parameters) == {"denoiser", "sharpener"}
    assert parameters["denoiser"]["name"] in {"total_variation", "non_local_means", "wavelet", "bilateral"}
    assert parameters["sharpener"]["name"] in {"unsharp", "richardson_lucy", "wiener"}


@pytest.mark.parametrize("size", [(96, 96), (70, 101)])
@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_enlarge_agrees_with_pillow_on_eight_bits(method: str, size: tuple[int, int]) -> None:
    small = 64 + PHOTOS["coffee"][::3, ::3] // 2  # no overshoot reaches black or white, where eight bits clip
    enlarged = enlarge(small.astype(np.float32) / 255, size, method)
    codes = np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling[method.upper()]))
    assert enlarged.shape == (*size, 3)
    assert enlarged.dtype == np.float32
    # Pillow rounds its coefficients and the result of each of its two passes to eight bits.
    np.testing.assert_allclose(enlarged, codes / 255, atol=0 if method == "nearest" else 1.6 / 255, rtol=1e-6)


def test_enlarge_keeps_an_image_of_the_right_size_and_clips_overshoot() -> None:
    image = photograph("astronaut")
    assert np.array_equal(enlarge(image, (96, 96)), image)
    step = np.zeros((8, 8, 3), np.float32)
    step[:, 4:] = 1
    bicubic = enlarge(step, (32, 32), "bicubic")
    assert bicubic.min() == 0
    assert bicubic.max() == 1


def test_without_scikit_image_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    with pytest.raises(MissingDependencyError, match=r"drmetric\[bench\]"):
        RESTORERS["bilateral"](photograph("coffee"), random.Random(0))
