"""KADID-10k's distortions: each against its formula in numpy, scipy or scikit-image, or its defining trait."""

import io
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import cluster, interpolate, ndimage, stats
from skimage import color, data, filters
from torch import Tensor

from drmetric.distortions.kadid import spatial
from drmetric.distortions.kadid.colour import otsu_thresholds
from drmetric.distortions.kadid.types import KADID10K, distort, stretched
from drmetric.errors import InputError

BYTES = data.astronaut()[20:117, 170:271]
"""uint8 (97, 101, 3): sides that nothing divides."""
BYTES = ((BYTES - BYTES.min()) * (255 / np.ptp(BYTES))).round().astype(np.uint8)
PHOTO = torch.from_numpy(BYTES.astype(np.float32) / 255).permute(2, 0, 1)[None]
PIXELS = BYTES / 255
FLAT = torch.tensor([0.5, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 160, 160)

LEVELS = {
    "gaussian_blur": (0.1, 0.5, 1, 2, 5),
    "lens_blur": (1, 2, 4, 6, 8),
    "motion_blur": (1, 2, 4, 6, 10),
    "color_diffusion": (1, 3, 6, 8, 12),
    "color_shift": (1, 3, 6, 8, 12),
    "color_quantization": (64, 48, 32, 16, 8),
    "color_saturation_hsv": (0.4, 0.2, 0.1, 0, -0.4),
    "color_saturation_lab": (1, 2, 3, 6, 9),
    "jpeg2000": (16, 32, 45, 120, 400),
    "jpeg": (43, 36, 24, 7, 4),
    "white_noise": (0.001, 0.002, 0.003, 0.005, 0.01),
    "white_noise_ycbcr": (0.0001, 0.0005, 0.001, 0.002, 0.003),
    "impulse_noise": (0.001, 0.005, 0.01, 0.02, 0.03),
    "multiplicative_noise": (0.001, 0.005, 0.01, 0.02, 0.05),
    "denoise": (0.01, 0.03, 0.05, 0.1, 0.15),
    "brighten": (0.1, 0.2, 0.4, 0.7, 1.1),
    "darken": (0.05, 0.1, 0.2, 0.4, 0.8),
    "mean_shift": (0.15, 0.08, 0, -0.08, -0.15),
    "jitter": (0.05, 0.1, 0.2, 0.5, 1),
    "non_eccentricity_patch": (20, 40, 60, 80, 100),
    "pixelate": (0.01, 0.05, 0.1, 0.2, 0.5),
    "quantization": (20, 16, 13, 10, 7),
    "color_block": (2, 4, 6, 8, 10),
    "high_sharpen": (1, 2, 3, 6, 12),
    "contrast_change": (0.3, 0.15, 0, -0.4, -0.6),
}
RANDOM = {3, 5, 11, 12, 13, 14, 15, 19, 20, 23}
LEVEL = pytest.mark.parametrize("level", range(1, 6))


def made(image: Tensor, number: int, level: int, seed: int | Sequence[int] = 0, stretch: bool = False) -> Tensor:
    denoiser = (lambda gray: gray) if number == 15 else None
    return distort(image, number, level, seed, stretch=stretch, denoiser=denoiser)


def pixels(image: Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).double().numpy()


def value(number: int, level: int) -> float:
    return LEVELS[KADID10K[number].name][level - 1]


def impulse(side: int = 19) -> Tensor:
    image = torch.zeros(1, 3, side, side)
    image[..., side // 2, side // 2] = 1
    return image


def psnr(first: Tensor, second: Tensor) -> float:
    error = (first - second).square().mean().item()
    return -10 * math.log10(max(error, 1e-12))


def smooth(plane: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(plane, sigma, mode="nearest", radius=math.ceil(2 * sigma))


# ---------------------------------------------------------------- the table and the wrapper


def test_types_and_levels_are_those_of_the_table() -> None:
    assert {entry.name: entry.levels for entry in KADID10K.values()} == LEVELS
    assert list(KADID10K) == list(range(1, 26))


@pytest.mark.parametrize("number", KADID10K)
def test_every_level_keeps_shape_range_input_and_global_random_state(number: int) -> None:
    before, state = PHOTO.clone(), torch.get_rng_state()
    for level, stretch in itertools.product(range(1, 6), [False, True]):
        result = made(PHOTO, number, level, stretch=stretch)
        assert result.shape == PHOTO.shape
        assert result.dtype == torch.float32
        assert result.min() >= 0
        assert result.max() <= 1
        if stretch:
            assert (result.min(), result.max()) == (0, 1)
    assert torch.equal(PHOTO, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("number", KADID10K)
def test_result_depends_on_image_level_and_seed_alone(number: int) -> None:
    batch = torch.cat([PHOTO.flip(-1), PHOTO])
    for stretch in (False, True):
        alone = made(PHOTO, number, 4, seed=7, stretch=stretch)
        torch.manual_seed(99)
        assert torch.equal(made(batch, number, 4, seed=7, stretch=stretch)[1:], alone)
        assert torch.equal(made(batch, number, 4, seed=[3, 7], stretch=stretch)[1:], alone)
    others = [made(PHOTO, number, 4, seed=seed, stretch=True) for seed in (8, 9, 10)]
    assert all(torch.equal(other, alone) for other in others) == (number not in RANDOM)


@pytest.mark.parametrize("number", sorted(set(KADID10K) - {18, 20, 25}))
def test_each_level_is_farther_from_the_reference(number: int) -> None:
    # For JPEG 2000 an image twice as large: of the small one, little more than headers is left at level 4.
    photo = F.interpolate(PHOTO, scale_factor=2) if number == 9 else PHOTO
    closeness = [psnr(made(photo, number, level, stretch=True), photo) for level in range(1, 6)]
    assert all(first > second + 0.1 for first, second in itertools.pairwise(closeness)), closeness


def test_names_and_numbers_are_the_same_types() -> None:
    for number, entry in KADID10K.items():
        named = distort(PHOTO, entry.name, 2, 0, denoiser=torch.sqrt)
        assert torch.equal(named, distort(PHOTO, number, 2, 0, denoiser=torch.sqrt))


def test_no_gradients_come_back() -> None:
    scale = torch.ones((), requires_grad=True)
    assert not distort(PHOTO, 15, 1, 0, denoiser=lambda gray: scale * gray).requires_grad
    assert not made(PHOTO.clone().requires_grad_(), 1, 3).requires_grad


def test_other_dtypes_come_back_as_they_are() -> None:
    assert made(PHOTO.half(), 1, 3).dtype == torch.float16
    torch.testing.assert_close(made(PHOTO.double(), 1, 3), made(PHOTO, 1, 3).double())


def test_stretch_covers_the_whole_image_before_and_after() -> None:
    dull = 0.2 + 0.5 * PHOTO
    torch.testing.assert_close(stretched(dull), PHOTO)
    torch.testing.assert_close(distort(dull, 18, 3, 0), PHOTO)
    torch.testing.assert_close(distort(dull, 18, 3, 0, stretch=False), dull)
    shifted = (PHOTO + 0.15).clamp(max=1)
    torch.testing.assert_close(distort(dull, 18, 1, 0), (shifted - 0.15) / 0.85)
    constant = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(distort(constant, 18, 1, 0), constant + 0.15)


@pytest.mark.parametrize("unknown", [0, 26, "fog"])
def test_unknown_type_is_refused_with_the_known_ones(unknown: int | str) -> None:
    with pytest.raises(InputError, match=f"unknown distortion {unknown!r}") as caught:
        distort(PHOTO, unknown, 1, 0)
    assert all(f"{number} {entry.name}" in str(caught.value) for number, entry in KADID10K.items())


@pytest.mark.parametrize("level", [0, 6, -1])
def test_unknown_level_is_refused(level: int) -> None:
    with pytest.raises(InputError, match=f"unknown level {level} of jpeg; known: 1, 2, 3, 4, 5"):
        distort(PHOTO, "jpeg", level, 0)


@pytest.mark.parametrize(
    "image",
    [
        PHOTO[0],
        PHOTO[:, :1],
        PHOTO[:0],
        (PHOTO * 255).byte(),
        PHOTO * 255,
        PHOTO - 0.5,
        PHOTO * math.nan,
    ],
)
def test_wrong_images_are_refused(image: Tensor) -> None:
    with pytest.raises(InputError, match="want"):
        distort(image, 1, 1, 0)


def test_wrong_number_of_seeds_is_refused() -> None:
    with pytest.raises(InputError, match="2 seeds for 1 images"):
        distort(PHOTO, 11, 1, [1, 2])


@pytest.mark.parametrize(("number", "side"), [(20, 48), (23, 32)])
def test_images_too_small_for_a_patch_are_refused(number: int, side: int) -> None:
    made(PHOTO[..., :side, :side], number, 5)
    with pytest.raises(InputError, match=f"at least {side} pixels"):
        made(PHOTO[..., : side - 1, :side], number, 5)


@pytest.mark.parametrize("number", sorted(set(KADID10K) - {20, 23}))
def test_other_types_take_small_and_flat_images(number: int) -> None:
    for image in (PHOTO[..., :11, :8], torch.full((1, 3, 9, 9), 0.4), torch.zeros(1, 3, 9, 9)):
        for level in (1, 5):
            assert made(image, number, level, stretch=True).isfinite().all()


# ---------------------------------------------------------------- blur and sharpening


@LEVEL
def test_gaussian_blur_is_scipys(level: int) -> None:
    expected = np.stack([smooth(PIXELS[..., c], value(1, level)) for c in range(3)], axis=-1)
    np.testing.assert_allclose(pixels(made(PHOTO, 1, level)), expected, atol=1e-5)


@LEVEL
def test_lens_blur_is_a_disk_with_weighted_rim(level: int) -> None:
    radius, fine = value(2, level), 200
    spread = pixels(made(impulse(), 2, level))[..., 1]
    places = (np.arange(19 * fine) + 0.5) / fine - 9.5
    inside = places[:, None] ** 2 + places**2 <= radius**2
    expected = inside.reshape(19, fine, 19, fine).mean((1, 3)) / (math.pi * radius**2)
    np.testing.assert_allclose(spread, expected, atol=2e-4)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    if radius > 2:
        assert (spread * np.arange(-9, 10) ** 2).sum() == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.02)


@LEVEL
@pytest.mark.parametrize("angle", [0, 30, 90, 117, 180])
def test_motion_kernel_is_a_line_one_pixel_wide(level: int, angle: int) -> None:
    length = value(3, level)
    kernel = spatial.motion_kernel(length, angle).numpy()
    reach = len(kernel) // 2
    rows, columns = np.mgrid[-reach - 1 : reach + 2, -reach - 1 : reach + 2]
    along = np.linspace(-(length - 1) / 2, (length - 1) / 2, 4001)
    line = along * math.cos(math.radians(angle)), -along * math.sin(math.radians(angle))
    distance = np.hypot(columns[..., None] - line[0], rows[..., None] - line[1]).min(-1)
    weights = np.clip(1 - distance, 0, None)
    np.testing.assert_allclose(np.pad(kernel, 1), weights / weights.sum(), atol=1e-3)


def test_motion_along_a_row_is_the_known_filter() -> None:
    row = spatial.motion_kernel(10, 0).numpy()
    np.testing.assert_allclose(row[5], [0.05, *[0.1] * 9, 0.05], atol=1e-12)
    assert torch.equal(made(PHOTO, 3, 1), PHOTO)


def test_motion_blur_convolves_with_the_kernel_of_a_random_angle() -> None:
    angles = []
    for seed in range(40):
        streak = pixels(made(impulse(), 3, 5, seed))[4:15, 4:15, 0]
        misfits = [np.abs(spatial.motion_kernel(10, angle).numpy() - streak).max() for angle in range(181)]
        assert min(misfits) < 1e-6
        angles.append(int(np.argmin(misfits)))
    assert len(set(angles)) > 25
    assert min(angles) < 30
    assert max(angles) > 150


# ---------------------------------------------------------------- colour


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """The plain inverse of CIELAB: unlike scikit-image's, without a floor under Z."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389) * color.xyz_tristimulus_values(
        illuminant="D65", observer="2"
    )
    linear = (xyz @ np.linalg.inv(color.colorconv.xyz_from_rgb).T).clip(0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


def test_our_lab_oracle_agrees_with_scikit_image_and_with_the_value_in_matlabs_manual() -> None:
    lab = color.rgb2lab(PIXELS)
    np.testing.assert_allclose(lab_to_rgb(lab), PIXELS, atol=1e-3)
    np.testing.assert_allclose(lab_to_rgb(lab * 1.1), color.lab2rgb(lab * 1.1), atol=1e-3)
    np.testing.assert_allclose(lab_to_rgb(np.array([80, -130, 85])), [0, 0.9537, 0], atol=1e-4)


@LEVEL
def test_diffusion_blurs_and_multiplies_a_and_b(level: int) -> None:
    amount, lab = value(4, level), color.rgb2lab(PIXELS)
    for plane in (1, 2):
        lab[..., plane] = amount * smooth(lab[..., plane], 1.5 * amount + 2)
    np.testing.assert_allclose(pixels(made(PHOTO, 4, level)), lab_to_rgb(lab), atol=3e-3)


@LEVEL
def test_lab_saturation_multiplies_a_and_b(level: int) -> None:
    lab = color.rgb2lab(PIXELS) * [1, value(8, level), value(8, level)]
    np.testing.assert_allclose(pixels(made(PHOTO, 8, level)), lab_to_rgb(lab), atol=3e-3)


@LEVEL
def test_sharpening_is_an_unsharp_mask_of_lightness(level: int) -> None:
    lab = color.rgb2lab(PIXELS)
    lab[..., 0] += value(24, level) * (lab[..., 0] - smooth(lab[..., 0], 3))
    np.testing.assert_allclose(pixels(made(PHOTO, 24, level)), lab_to_rgb(lab), atol=3e-3)


@LEVEL
def test_hsv_saturation_multiplies_s(level: int) -> None:
    factor, result = value(7, level), pixels(made(PHOTO, 7, level, stretch=False))
    brightest = PIXELS.max(-1, keepdims=True)
    np.testing.assert_allclose(result, (brightest - factor * (brightest - PIXELS)).clip(0, 1), atol=1e-5)
    if factor >= 0:
        np.testing.assert_allclose(color.rgb2hsv(result)[..., 1], factor * color.rgb2hsv(PIXELS)[..., 1], atol=1e-4)


def expected_shift(right: int, down: int) -> np.ndarray:
    def stretch(plane: np.ndarray) -> np.ndarray:
        return (plane - plane.min()) / (plane.max() - plane.min())

    gray = PIXELS @ [0.299, 0.587, 0.114]
    gradient = np.hypot(ndimage.sobel(gray, 0, mode="nearest"), ndimage.sobel(gray, 1, mode="nearest"))
    mask = stretch(np.maximum(stretch(smooth(gradient, 4)), 0.1))
    mask = stretch(mask.clip(*np.percentile(mask, [1, 99])))
    rows, columns = np.indices(gray.shape)
    moved = PIXELS[(rows - down).clip(0), (columns - right).clip(0), 1]
    return mask * moved + (1 - mask) * PIXELS[..., 1]


@LEVEL
def test_colour_shift_moves_green_near_edges(level: int) -> None:
    result = pixels(made(PHOTO, 5, level, seed=level))
    np.testing.assert_allclose(result[..., [0, 2]], PIXELS[..., [0, 2]], atol=1e-7)
    amount = int(value(5, level))
    vectors = [v for v in itertools.product(range(amount + 1), repeat=2) if abs(math.hypot(*v) - amount) <= 0.71]
    misfits = [np.abs(expected_shift(*vector) - result[..., 1]).max() for vector in vectors]
    assert min(misfits) < 2e-3


@LEVEL
def test_colour_quantisation_has_a_good_palette_and_keeps_local_means(level: int) -> None:
    count = int(value(6, level))
    result = pixels(made(PHOTO, 6, level))
    palette = np.unique(result.reshape(-1, 3), axis=0)
    assert len(palette) == count
    samples = BYTES.reshape(-1, 3) / 255
    _, nearest = cluster.vq.vq(samples, palette)
    _, best = cluster.vq.vq(samples, cluster.vq.kmeans2(samples, count, minit="++", seed=0)[0])
    assert np.square(nearest).mean() < 1.15 * np.square(best).mean()
    drift = ndimage.uniform_filter(result - PIXELS, (15, 15, 0))
    assert np.square(drift).mean() < 0.25 * np.square(nearest).mean()


# ---------------------------------------------------------------- tone


def ramp() -> Tensor:
    return torch.arange(11).div(10).repeat(1, 3, 11, 1)


def test_darkening_has_the_known_values() -> None:
    quarters = torch.tensor([0, 0.25, 0.5, 0.75, 1]).repeat(1, 3, 5, 1)
    np.testing.assert_allclose(made(quarters, 17, 5)[0, 0, 0], [0, 0, 0.1, 0.45, 1], atol=1e-6)


def through(middle: float) -> Callable[[np.ndarray], np.ndarray]:
    spline = interpolate.CubicSpline([0, 0.5, 1], [0, middle, 1])
    return lambda t: spline(t).clip(0, 1)


@LEVEL
def test_brightening_and_darkening_are_splines_through_three_points(level: int) -> None:
    dark = through(0.5 - value(17, level) / 2)
    np.testing.assert_allclose(pixels(made(PHOTO, 17, level)), dark(PIXELS), atol=1e-5)
    bright = through(0.5 + value(16, level) / 2)
    lab = color.rgb2lab(PIXELS)
    lab[..., 0] = 100 * bright(lab[..., 0] / 100)
    expected = (2 * bright(PIXELS) + color.lab2rgb(lab)) / 3
    np.testing.assert_allclose(pixels(made(PHOTO, 16, level)), expected, atol=2e-3)
    assert bright(0.1) == pytest.approx({1: 0.118, 5: 0.298}.get(level, bright(0.1)))


CONTRAST = {
    1: [0.0000, 0.0571, 0.3286, 0.6714, 0.9429, 1.0000],
    2: [0.0250, 0.1000, 0.3500, 0.6500, 0.9000, 0.9750],
    3: [0.0571, 0.1429, 0.3714, 0.6286, 0.8571, 0.9429],
    4: [0.1429, 0.2571, 0.4286, 0.5714, 0.7429, 0.8571],
    5: [0.1857, 0.3143, 0.4571, 0.5429, 0.6857, 0.8143],
}


@LEVEL
def test_contrast_is_the_spline_through_five_points(level: int) -> None:
    result = made(ramp(), 25, level)[0, 0, 0].numpy()
    np.testing.assert_allclose(result[[1, 2, 4, 6, 8, 9]], CONTRAST[level], atol=6e-5)
    quarter = value(25, level) / 4
    spline = interpolate.CubicSpline([0, 0.3, 0.5, 0.7, 1], [0, 0.25 - quarter, 0.5, 0.75 + quarter, 1])
    np.testing.assert_allclose(pixels(made(PHOTO, 25, level)), spline(PIXELS).clip(0, 1), atol=1e-5)


@LEVEL
def test_mean_shift_adds_and_clips(level: int) -> None:
    expected = (PIXELS + value(18, level)).clip(0, 1)
    np.testing.assert_allclose(pixels(made(PHOTO, 18, level)), expected, atol=1e-6)


def scatter_within(histogram: np.ndarray, thresholds: Sequence[int]) -> float:
    bins = np.arange(len(histogram))
    classes = np.searchsorted(thresholds, bins)
    members = [(histogram[classes == k], bins[classes == k]) for k in range(len(thresholds) + 1)]
    return sum(n @ (places - n @ places / n.sum()) ** 2 for n, places in members if n.sum())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_thresholds_are_the_best_of_all(count: int) -> None:
    histogram = np.random.default_rng(count).integers(0, 50, 24)
    best = min(itertools.combinations(range(23), count), key=lambda thresholds: scatter_within(histogram, thresholds))
    assert tuple(otsu_thresholds(histogram, count)) == best


@pytest.mark.parametrize("count", [2, 3])
def test_thresholds_of_a_photo_are_no_worse_than_scikit_images(count: int) -> None:
    histogram = np.bincount(BYTES.ravel(), minlength=256)
    ours, theirs = (
        otsu_thresholds(histogram, count),
        filters.threshold_multiotsu(BYTES[..., 0], count + 1, hist=histogram),
    )
    assert scatter_within(histogram, ours) <= scatter_within(histogram, theirs)
    assert np.abs(ours - theirs).max() <= 1, "scikit-image computes in float32, but not so badly"


@LEVEL
def test_quantisation_takes_the_upper_threshold_black_or_white(level: int) -> None:
    count = int(value(22, level))
    result = pixels(made(PHOTO, 22, level))
    thresholds = otsu_thresholds(np.bincount(BYTES.ravel(), minlength=256), count)
    np.testing.assert_allclose(np.unique(result), [0, *thresholds[1:] / 255, 1], atol=1e-6)
    assert result[thresholds[0] >= BYTES].max() == 0
    assert result[thresholds[-1] < BYTES].min() == 1
    for lower, upper in itertools.pairwise(thresholds):
        inside = (lower < BYTES) & (upper >= BYTES)
        np.testing.assert_allclose(result[inside], upper / 255, atol=1e-6)


# ---------------------------------------------------------------- codecs and noise


@LEVEL
@pytest.mark.parametrize("number", [9, 10])
def test_codecs_are_pillows(number: int, level: int) -> None:
    options = {
        9: {"format": "JPEG2000", "quality_mode": "rates", "quality_layers": [value(9, level)], "irreversible": True},
        10: {"format": "JPEG", "quality": int(value(10, level)), "subsampling": "4:2:0"},
    }[number]
    buffer = io.BytesIO()
    Image.fromarray(BYTES).save(buffer, **options)
    np.testing.assert_array_equal((pixels(made(PHOTO, number, level)) * 255).round(), np.asarray(Image.open(buffer)))
    if number == 9:
        assert buffer.tell() < BYTES.size / value(9, level) + 200, "more than the ratio allows, headers apart"


def assert_white(noise: np.ndarray, sigma: float) -> None:
    """(H,W,3) is of standard deviation `sigma` and correlated neither between pixels nor between planes."""
    np.testing.assert_allclose(noise.std((0, 1)), sigma, rtol=0.02)
    np.testing.assert_allclose(noise.mean((0, 1)), 0, atol=0.03 * sigma)
    for shifted in (np.roll(noise, 1, 0), np.roll(noise, 1, 1), np.roll(noise, 1, 2)):
        assert abs((noise * shifted).mean()) / sigma**2 < 0.02


@LEVEL
def test_white_noise_has_its_variance_in_every_channel(level: int) -> None:
    assert_white(pixels(made(FLAT, 11, level) - FLAT), math.sqrt(value(11, level)))


@LEVEL
def test_component_noise_has_its_variance_in_studio_ycbcr(level: int) -> None:
    noise = color.rgb2ycbcr(pixels(made(FLAT, 12, level))) - color.rgb2ycbcr(pixels(FLAT))
    assert_white(noise / 255, math.sqrt(value(12, level)))


@LEVEL
def test_impulses_are_black_or_white_with_half_the_density_each(level: int) -> None:
    density, wide = value(13, level), FLAT.repeat(1, 1, 4, 4)
    result = pixels(made(wide, 13, level))
    samples = result.size
    for struck in (result == 0, result == 1):
        assert stats.binomtest(int(struck.sum()), samples, density / 2).pvalue > 1e-3
    struck = (result == 0) | (result == 1)
    np.testing.assert_array_equal(result[~struck], pixels(wide)[~struck])
    both = int((struck[..., 0] & struck[..., 1]).sum())
    assert stats.binomtest(both, samples // 3, density**2).pvalue > 1e-3


@LEVEL
def test_speckle_is_uniform_and_grows_with_the_image(level: int) -> None:
    reach = math.sqrt(3 * value(14, level))
    factors = pixels(made(FLAT, 14, level)) / pixels(FLAT) - 1
    assert stats.kstest(factors.ravel(), stats.uniform(-reach, 2 * reach).cdf).pvalue > 1e-3
    assert_white(factors, math.sqrt(value(14, level)))


@LEVEL
def test_denoising_gives_each_noisy_channel_to_the_denoiser(level: int) -> None:
    seen = []

    def half(gray: Tensor) -> Tensor:
        seen.append(gray)
        return gray / 2

    result = distort(PHOTO, 15, level, 0, stretch=False, denoiser=half)
    assert len(seen) == 1
    assert seen[0].shape == (3, 1, 97, 101)
    torch.testing.assert_close(result, seen[0].transpose(0, 1) / 2)
    middle = (PHOTO > 0.4) & (PHOTO < 0.6)
    noise = (seen[0].transpose(0, 1) - PHOTO)[middle]
    clipped = stats.norm(0.5, math.sqrt(value(15, level))).rvs(200_000, random_state=0).clip(0, 1)
    assert noise.std().item() == pytest.approx(clipped.std(), rel=0.04)


def test_denoising_without_a_fit_denoiser_says_what_to_pass() -> None:
    with pytest.raises(InputError, match=r"callable from gray images .* DnCNN") as caught:
        distort(PHOTO, "denoise", 1, 0)
    assert "denoiser=dncnn" in caught.value.fix
    with pytest.raises(InputError, match="want the same shape"):
        distort(PHOTO, "denoise", 1, 0, denoiser=lambda gray: gray[..., 1:])


# ---------------------------------------------------------------- places


def displacements(level: int) -> np.ndarray:
    """(H,W,3) of a jittered ramp, in pixels, well away from the border."""
    side = 200
    ramps = torch.arange(side).div(side - 1).repeat(1, 3, side, 1)
    ramps[:, 1] = ramps[:, 1].mT.clone()
    moved = pixels(made(ramps, 19, level) - ramps) * (side - 1)
    return moved[20:-20, 20:-20]


@LEVEL
def test_jitter_moves_pixels_as_five_passes_of_scipy_do(level: int) -> None:
    sigma, rng = value(19, level), np.random.default_rng(0)
    grid = np.indices((200, 200)).astype(float)
    columns = expected = grid[1]
    for _ in range(5):
        fetched = grid + sigma * rng.standard_normal(grid.shape)
        expected = ndimage.map_coordinates(expected, fetched, order=1, mode="nearest")
    moved = displacements(level)
    spread = (expected - columns)[20:-20, 20:-20].std()
    np.testing.assert_array_equal(moved[..., 0], moved[..., 2])
    np.testing.assert_allclose(moved.std((0, 1)), spread, rtol=0.03)
    np.testing.assert_allclose(moved.mean((0, 1)), 0, atol=0.03 * sigma + 1e-4)
    assert abs(np.corrcoef(moved[..., 0].ravel(), moved[..., 1].ravel())[0, 1]) < 0.03
    assert sigma < spread < math.sqrt(5) * sigma


def places(height: int, width: int) -> Tensor:
    """An image that tells the row and the column of each pixel in its red and its green, in 1/255."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)])[None] / 255


def test_one_patch_is_a_copy_from_inside_moved_by_up_to_eight_pixels() -> None:
    height, width, seen = 60, 90, []
    image = places(height, width)
    for seed in range(200):
        copied = spatial.non_eccentricity_patch(image, torch.Generator().manual_seed(seed), 1)
        source = (copied[0, :2] * 255).round().long().permute(1, 2, 0)
        offset = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1) - source
        changed = offset.any(-1).nonzero()
        if len(changed) == 0:
            continue
        (top, left), (bottom, right) = changed.amin(0).tolist(), changed.amax(0).tolist()
        assert (bottom - top, right - left) == (15, 15)
        assert len(changed) == 256
        moves = offset[offset.any(-1)].unique(dim=0)
        assert len(moves) == 1
        seen.append(moves[0].tolist())
        first, last = source[top, left].tolist(), source[bottom, right].tolist()
        assert min(first) >= 16
        assert last[0] < height - 16
        assert last[1] < width - 16
    moves = np.array(seen)
    assert len(moves) > 190
    assert (np.abs(moves).max(0) == 8).all()
    np.testing.assert_allclose(moves.mean(0), 0, atol=1.2)


@LEVEL
def test_patches_accumulate_and_invent_no_pixels(level: int) -> None:
    image = places(120, 140)
    result = made(image, 20, level)
    known = {tuple(pixel) for pixel in image[0].flatten(1).T.tolist()}
    assert {tuple(pixel) for pixel in result[0].flatten(1).T.tolist()} <= known
    by_hand = image
    generator = torch.Generator().manual_seed(0)
    for _ in range(int(value(20, level))):
        by_hand = spatial.non_eccentricity_patch(by_hand, generator, 1)
    assert torch.equal(by_hand, result)


@LEVEL
def test_pixelation_repeats_the_pixels_of_a_smaller_image(level: int) -> None:
    scale = 0.95 - value(21, level) ** 0.6
    assert scale == pytest.approx([0.887, 0.784, 0.699, 0.569, 0.290][level - 1], abs=1e-3)

    def sources(side: int, nudge: float) -> np.ndarray:
        small = math.ceil(scale * side)
        taken = ((np.arange(small) + 0.5) * side / small + nudge).astype(int)
        return taken[((np.arange(side) + 0.5) * small / side + nudge).astype(int)]

    rows, columns = sources(97, 1e-5), sources(101, 1e-5)
    clear = np.ix_(rows == sources(97, -1e-5), columns == sources(101, -1e-5))  # not half-way between two pixels
    assert PIXELS[clear].size > 0.95 * PIXELS.size
    result = pixels(made(PHOTO, 21, level))
    np.testing.assert_allclose(result[clear], PIXELS[np.ix_(rows, columns)][clear], atol=1e-6)
    assert len(np.unique(rows)) == math.ceil(scale * 97)


@LEVEL
def test_blocks_are_squares_of_one_colour(level: int) -> None:
    count, image = int(value(23, level)), places(250, 255)
    result = made(image, 23, level, seed=3)
    painted = (result != image).any(1)[0]
    colours, sizes = result[0][:, painted].unique(dim=1, return_counts=True)
    assert colours.shape[1] == count
    assert sizes.max() == 32 * 32
    for colour in colours.T:
        rows, columns = (result[0] == colour[:, None, None]).all(0).nonzero().T
        assert rows.max() - rows.min() < 32
        assert columns.max() - columns.min() < 32
    former = made(image, 23, max(level - 1, 1), seed=3)
    assert (painted | (former == image).all(1)[0]).all()
