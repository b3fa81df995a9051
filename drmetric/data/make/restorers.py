"""Interpolation and classical restorers: cheap, real, and with well-known faults (ringing, stairs, smear).

A restorer takes the degraded image, already enlarged to the size of the pristine one, as (H,W,3) float32 in
[0, 1], and a random state from which it draws its strength; it returns the parameters it drew and the result.
scikit-image does the work; its docstrings name the papers.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from drmetric.distortions.degrade import anisotropic_kernel, jpeg
from drmetric.errors import optional

Picture = NDArray[np.float32]
Restored = tuple[dict[str, Any], Picture]

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def picture_of(image: Tensor) -> Picture:
    """(1,3,H,W) as (H,W,3)."""
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def tensor_of(picture: Picture) -> Tensor:
    """(H,W,3) as (1,3,H,W), clamped to [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32)).permute(2, 0, 1)[None].clamp(0, 1)


def enlarge(degraded: Picture, size: tuple[int, int], method: str = "bicubic") -> Picture:
    """Interpolate (h,w,3) to `size` = (H, W) by a name in `INTERPOLATIONS`; unchanged where the size fits."""
    if degraded.shape[:2] == size:
        return degraded
    channels = [
        Image.fromarray(np.ascontiguousarray(degraded[..., c])).resize(size[::-1], INTERPOLATIONS[method])
        for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1).clip(0, 1)


def _skimage(module: str) -> Any:
    return optional(f"skimage.{module}", "bench", "a classical restorer")


def total_variation(image: Picture, rng: random.Random) -> Restored:
    parameters = {"weight": round(rng.uniform(0.02, 0.3), 3), "max_num_iter": 50}
    return parameters, _skimage("restoration").denoise_tv_chambolle(image, **parameters, channel_axis=2)


def non_local_means(image: Picture, rng: random.Random) -> Restored:
    restoration = _skimage("restoration")
    sigma = float(np.mean(restoration.estimate_sigma(image, channel_axis=2)))
    parameters = {"h": round(max(sigma, 0.01) * rng.uniform(0.5, 1.8), 4), "patch_size": 5, "patch_distance": 5}
    return parameters, restoration.denoise_nl_means(image, **parameters, fast_mode=True, channel_axis=2)


def wavelet(image: Picture, rng: random.Random) -> Restored:
    parameters = {
        "method": rng.choice(["BayesShrink", "VisuShrink"]),
        "mode": rng.choice(["soft", "hard"]),
        "convert2ycbcr": True,
    }
    denoised = _skimage("restoration").denoise_wavelet(image, **parameters, rescale_sigma=True, channel_axis=2)
    return parameters, denoised


def bilateral(image: Picture, rng: random.Random) -> Restored:
    parameters = {
        "win_size": 7,
        "sigma_color": round(rng.uniform(0.03, 0.25), 3),
        "sigma_spatial": round(rng.uniform(1.0, 3.0), 2),
    }
    return parameters, _skimage("restoration").denoise_bilateral(image, **parameters, channel_axis=2)


def unsharp(image: Picture, rng: random.Random) -> Restored:
    # channel_axis=2, not -1: scikit-image 0.26's unsharp_mask leaves most of the result unset for -1
    parameters = {"radius": round(rng.uniform(0.7, 3.0), 2), "amount": round(rng.uniform(0.4, 6.0), 2)}
    return parameters, _skimage("filters").unsharp_mask(image, **parameters, channel_axis=2)


def _guessed_kernel(rng: random.Random) -> tuple[dict[str, Any], Picture]:
    sigma = round(rng.uniform(0.7, 2.2), 2)
    return {"kernel_sigma": sigma}, anisotropic_kernel(sigma, sigma, 0.0).numpy()


def _padded_deconvolution(image: Picture, kernel: Picture, deconvolve: Callable[[Picture], Picture]) -> Picture:
    """Deconvolve a channel at a time with a reflected border, so that no ringing starts at the edges."""
    border = 2 * kernel.shape[0]
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), mode="reflect")
    channels = [deconvolve(padded[..., c]) for c in range(3)]
    return np.stack(channels, axis=-1)[border:-border, border:-border]


def richardson_lucy(image: Picture, rng: random.Random) -> Restored:
    parameters, kernel = _guessed_kernel(rng)
    iterations = rng.choice([4, 8, 15, 25])
    run = _skimage("restoration").richardson_lucy
    restored = _padded_deconvolution(image, kernel, lambda c: run(c, kernel, num_iter=iterations, filter_epsilon=1e-6))
    return {**parameters, "iterations": iterations}, restored


def wiener(image: Picture, rng: random.Random) -> Restored:
    parameters, kernel = _guessed_kernel(rng)
    balance = round(10 ** rng.uniform(-3.0, -0.3), 5)
    run = _skimage("restoration").wiener
    restored = _padded_deconvolution(image, kernel, lambda channel: run(channel, kernel, balance))
    return {**parameters, "balance": balance}, restored


DENOISERS: dict[str, Callable[[Picture, random.Random], Restored]] = {
    f.__name__: f for f in (total_variation, non_local_means, wavelet, bilateral)
}
SHARPENERS: dict[str, Callable[[Picture, random.Random], Restored]] = {
    f.__name__: f for f in (unsharp, richardson_lucy, wiener)
}


def denoised_then_sharpened(image: Picture, rng: random.Random) -> Restored:
    first, second = rng.choice(list(DENOISERS)), rng.choice(list(SHARPENERS))
    denoiser, smooth = DENOISERS[first](image, rng)
    sharpener, sharp = SHARPENERS[second](np.asarray(smooth, dtype=np.float32).clip(0, 1), rng)
    return {"denoiser": {"name": first, **denoiser}, "sharpener": {"name": second, **sharpener}}, sharp


RESTORERS = {**DENOISERS, **SHARPENERS, denoised_then_sharpened.__name__: denoised_then_sharpened}


def oversharpened(image: Picture, rng: random.Random) -> Restored:
    parameters = {"radius": round(rng.uniform(0.7, 3.0), 2), "amount": round(rng.uniform(1.5, 8.0), 2)}
    return parameters, _skimage("filters").unsharp_mask(image, **parameters, channel_axis=2)


def oversmoothed(image: Picture, rng: random.Random) -> Restored:
    parameters = {"sigma": round(rng.uniform(0.7, 3.0), 2)}
    return parameters, _skimage("filters").gaussian(image, **parameters, channel_axis=2)


def noisy(image: Picture, rng: random.Random) -> Restored:
    parameters = {"sigma": round(rng.uniform(0.02, 0.12), 4)}
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(image.shape, dtype=np.float32)
    return parameters, image + parameters["sigma"] * noise


def compressed(image: Picture, rng: random.Random) -> Restored:
    parameters = {"quality": rng.randint(5, 50)}
    return parameters, picture_of(jpeg(tensor_of(image), torch.Generator(), **parameters))


SPOILERS = {f.__name__: f for f in (oversharpened, oversmoothed, noisy, compressed)}
"""What turns a restoration into a worse one: for training, so that sharpness alone is not taken for quality."""
