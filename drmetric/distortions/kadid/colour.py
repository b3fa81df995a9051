"""KADID-10k's distortions of colour and tone: diffusion, shift, saturation, quantisation, curves, sharpening.

Every function takes one image (1,3,H,W) in [0, 1], a random state and the parameter that the levels set, and
returns a new image of the same shape. See `drmetric.distortions.kadid.types` for the levels and the paper.
CIELAB is that of sRGB under D65; MATLAB's white point differs in the last digits.
"""

import kornia.color
import kornia.filters
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from drmetric.distortions.degrade import from_pillow, to_pillow
from drmetric.distortions.kadid.spatial import smoothed

__all__ = [
    "brighten",
    "color_diffusion",
    "color_quantization",
    "color_saturation_hsv",
    "color_saturation_lab",
    "color_shift",
    "contrast_change",
    "darken",
    "high_sharpen",
    "mean_shift",
    "otsu_thresholds",
    "quantization",
    "stretched",
]


def stretched(image: Tensor) -> Tensor:
    """Map the least value of the whole tensor to 0 and the greatest to 1, linearly; a constant stays as it is."""
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else image


def color_diffusion(image: Tensor, generator: torch.Generator, amount: float) -> Tensor:
    """Type 4: blur a and b of CIELAB with a standard deviation of 1.5 `amount` + 2 pixels, times `amount`."""
    lab = kornia.color.rgb_to_lab(image)
    return _from_lab(lab[:, :1], amount * smoothed(lab[:, 1:], 1.5 * amount + 2))


def color_shift(image: Tensor, generator: torch.Generator, amount: float) -> Tensor:
    """Type 5: near edges, replace green by green from about `amount` pixels away, in a random direction.

    The direction lies between right and down; the image's border is repeated. Not known of KADID: the gradient
    operator (Sobel here) and the border.
    """
    u = torch.rand(2, generator=generator)
    right, down = (amount * u / u.norm()).round().int().tolist()
    height, width = image.shape[-2:]
    red, green, blue = image[:, :1], image[:, 1:2], image[:, 2:]
    moved = F.pad(green, (right, 0, down, 0), mode="replicate")[..., :height, :width]
    edges = _edge_mask(image)
    return torch.cat([red, edges * moved + (1 - edges) * green, blue], dim=1)


def _edge_mask(image: Tensor) -> Tensor:
    """(1,1,H,W) in [0, 1]: the smoothed gradient of the luma, without its lowest tenth and its outer percentiles."""
    gradient = kornia.filters.sobel(kornia.color.rgb_to_grayscale(image))
    mask = stretched(stretched(smoothed(gradient, 4.0)).clamp(min=0.1))
    low, high = np.percentile(mask.cpu().numpy(), [1, 99])
    return stretched(mask.clamp(float(low), float(high)))


def color_quantization(image: Tensor, generator: torch.Generator, count: float) -> Tensor:
    """Type 6: a palette of `count` colours and error diffusion (Floyd-Steinberg).

    KADID takes MATLAB's minimum-variance palette; here Pillow's median cut, refined by k-means, which seeks the
    same minimum.
    """
    picture = to_pillow(image)
    palette = picture.quantize(int(count), method=Image.Quantize.MEDIANCUT, kmeans=1)
    dithered = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return from_pillow(dithered.convert("RGB")).to(image)


def color_saturation_hsv(image: Tensor, generator: torch.Generator, factor: float) -> Tensor:
    """Type 7: multiply S of HSV by `factor`. A negative one leans to the complement and may leave [0, 1].

    Not clipped here, but left to the stretch; whether MATLAB's conversion clips is not known.
    """
    scale = image.new_tensor([1, factor, 1])[:, None, None]
    rgb: Tensor = kornia.color.hsv_to_rgb(scale * kornia.color.rgb_to_hsv(image))
    return rgb


def color_saturation_lab(image: Tensor, generator: torch.Generator, factor: float) -> Tensor:
    """Type 8: multiply a and b of CIELAB by `factor`."""
    lab = kornia.color.rgb_to_lab(image)
    return _from_lab(lab[:, :1], factor * lab[:, 1:])


def brighten(image: Tensor, generator: torch.Generator, amount: float) -> Tensor:
    """Type 16: two parts the curve t + 2 `amount` t (1 - t) on R, G, B, and one part the same on L of CIELAB."""
    lab = kornia.color.rgb_to_lab(image)
    by_lightness = _from_lab(100 * _bent(lab[:, :1] / 100, amount), lab[:, 1:])
    return (2 * _bent(image, amount) + by_lightness) / 3


def darken(image: Tensor, generator: torch.Generator, amount: float) -> Tensor:
    """Type 17: the curve t - 2 `amount` t (1 - t) on R, G, B."""
    return _bent(image, -amount)


def mean_shift(image: Tensor, generator: torch.Generator, shift: float) -> Tensor:
    """Type 18: add `shift` and clip; where the result is stretched again, only what was clipped stays changed."""
    return (image + shift).clamp(0, 1)


def quantization(image: Tensor, generator: torch.Generator, count: float) -> Tensor:
    """Type 22: `count` thresholds by Otsu's criterion over all samples; each becomes the threshold above it, or 0, 1.

    MATLAB looks for the thresholds with a simplex search, which may stop short of the optimum found here.
    """
    samples = (image * 255).round().long().cpu()
    histogram = torch.bincount(samples.flatten(), minlength=256).numpy()
    thresholds = otsu_thresholds(histogram, int(count))
    values = np.concatenate([[0.0], thresholds[1:] / 255, [1.0]])
    lookup = values[np.searchsorted(thresholds, np.arange(256))]
    return torch.from_numpy(lookup)[samples].to(image)


def otsu_thresholds(histogram: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The `count` thresholds that maximise the variance between classes (Otsu, 1979), by dynamic programming.

    Args:
        histogram: occupancy of more than `count` bins.
        count: thresholds wanted; a threshold is the last bin of its lower class.

    Returns:
        Increasing bin numbers; of equally good sets the one with the lowest bins.
    """
    bins = len(histogram)
    samples = np.concatenate([[0], histogram.cumsum()])
    moments = np.concatenate([[0], (histogram * np.arange(bins)).cumsum()]).astype(np.float64)
    n, moment = samples - samples[:, None], moments - moments[:, None]
    # spread[a, b]: what the class of the bins a to b - 1 adds to the variance between classes
    spread = np.where(np.triu(np.ones_like(n), 1) > 0, moment**2 / np.maximum(n, 1), -np.inf)
    best, starts = spread[0], []
    for _ in range(count):
        options = best[:, None] + spread
        starts.append(options.argmax(0))
        best = options.max(0)
    end, thresholds = bins, []
    for start in reversed(starts):
        end = int(start[end])
        thresholds.append(end - 1)
    return np.array(thresholds[::-1])


def contrast_change(image: Tensor, generator: torch.Generator, amount: float) -> Tensor:
    """Type 25: the cubic curve through (0, 0), (0.3, 0.25 - `amount`/4), (0.5, 0.5), (0.7, 0.75 + `amount`/4), (1, 1).

    The not-a-knot spline through these five points is one cubic, odd about (0.5, 0.5); the identity is at -0.2.
    """
    cubic = -(0.05 + amount / 4) / 0.042
    t = image - 0.5
    return (0.5 + (1 - cubic / 4) * t + cubic * t**3).clamp(0, 1)


def _bent(t: Tensor, amount: float) -> Tensor:
    """The parabola through (0, 0), (0.5, 0.5 + `amount` / 2), (1, 1), clipped to [0, 1]."""
    return (t + 2 * amount * t * (1 - t)).clamp(0, 1)


def high_sharpen(image: Tensor, generator: torch.Generator, amount: float) -> Tensor:
    """Type 24: unsharp mask of `amount` and standard deviation 3 pixels on L of CIELAB, clipped as RGB, not as L."""
    lab = kornia.color.rgb_to_lab(image)
    lightness = lab[:, :1]
    return _from_lab(lightness + amount * (lightness - smoothed(lightness, 3.0)), lab[:, 1:])


def _from_lab(lightness: Tensor, ab: Tensor) -> Tensor:
    """sRGB of CIELAB, clipped to [0, 1].

    kornia's own `lab_to_rgb` keeps Z from falling below 0, which turns the strong reds of types 4 and 8 to magenta
    and the black rims of type 24 to blue; MATLAB's follows the definition to colours that do not exist.
    """
    fy = (lightness + 16) / 116
    f = torch.cat([fy + ab[:, :1] / 500, fy, fy - ab[:, 1:] / 200], dim=1)
    xyz = torch.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2)
    white = xyz.new_tensor([0.95047, 1, 1.08883])[:, None, None]
    rgb: Tensor = kornia.color.linear_rgb_to_rgb(kornia.color.xyz_to_rgb(xyz * white))
    return rgb.clamp(0, 1)
