"""Degradations: each operation against an independent oracle, reproducible from plain data, always in range."""

import io
import json
import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from drmetric.distortions.degrade import FAMILIES, OPERATIONS, anisotropic_kernel, degrade, sample_degradation
from drmetric.errors import InputError

PIXELS = data.astronaut()[60:157, 170:271]
"""uint8 (97, 101, 3): sides that no scale divides."""
PHOTO = torch.from_numpy(PIXELS.astype(np.float32) / 255).permute(2, 0, 1)[None]
SMALL = PHOTO[..., :64, :64]


def impulse(side: int = 63) -> torch.Tensor:
    image = torch.zeros(1, 3, side, side)
    image[..., side // 2, side // 2] = 1
    return image


def offsets(side: int = 63) -> tuple[np.ndarray, np.ndarray]:
    """Columns (to the right) and rows (downwards) relative to the impulse."""
    rows, columns = np.mgrid[:side, :side] - side // 2
    return columns, rows


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscale_is_pillows_antialiased_bicubic(scale: int) -> None:
    small = degrade(PHOTO, [{"op": "downscale", "scale": scale}], seed=0)
    size = (101 // scale, 97 // scale)
    channels = [Image.fromarray(PHOTO[0, c].numpy()).resize(size, Image.Resampling.BICUBIC) for c in range(3)]
    expected = np.stack([np.asarray(channel).clip(0, 1) for channel in channels])
    assert small.shape == (1, 3, 97 // scale, 101 // scale)
    np.testing.assert_allclose(small[0].numpy(), expected, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.8, 3.0), st.floats(0.8, 3.0), st.floats(0, 180))
def test_blurred_impulse_has_the_asked_second_moments(sigma_x: float, sigma_y: float, angle: float) -> None:
    step = {"op": "anisotropic_blur", "sigma_x": sigma_x, "sigma_y": sigma_y, "angle": angle}
    spread = degrade(impulse(), [step], seed=0)[0, 1].double().numpy()
    columns, rows = offsets()
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert (spread * columns).sum() == pytest.approx(0, abs=1e-4)
    assert (spread * rows).sum() == pytest.approx(0, abs=1e-4)
    measured = [
        [(spread * columns * columns).sum(), (spread * columns * rows).sum()],
        [(spread * columns * rows).sum(), (spread * rows * rows).sum()],
    ]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = np.array([[c, -s], [s, c]])
    expected = turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T
    # Cut at three standard deviations, a Gaussian loses 2.7 % of its variance.
    np.testing.assert_allclose(measured, expected, atol=0.035 * max(sigma_x, sigma_y) ** 2)


@pytest.mark.parametrize("angle", [0, 30, 75, 120, 165])
def test_blurred_impulse_is_long_in_the_asked_direction(angle: float) -> None:
    step = {"op": "anisotropic_blur", "sigma_x": 3.0, "sigma_y": 1.0, "angle": angle}
    spread = degrade(impulse(), [step], seed=0)[0, 0].double().numpy()
    columns, rows = offsets()
    covariance = np.array(
        [
            [(spread * columns**2).sum(), (spread * columns * rows).sum()],
            [(spread * columns * rows).sum(), (spread * rows**2).sum()],
        ]
    )
    along = np.linalg.eigh(covariance)[1][:, 1]
    measured = math.degrees(math.atan2(along[1], along[0])) % 180
    assert min(abs(measured - angle), 180 - abs(measured - angle)) < 1


@pytest.mark.parametrize(("sigma", "side"), [(0.2, 3), (0.6, 5), (1.0, 7), (3.0, 19)])
def test_kernel_is_odd_sums_to_one_and_reaches_three_standard_deviations(sigma: float, side: int) -> None:
    kernel = anisotropic_kernel(sigma, sigma / 2, 20.0)
    assert kernel.shape == (side, side)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert kernel.argmax().item() == side * side // 2


def test_blurs_keep_a_flat_image_flat_up_to_the_border() -> None:
    flat = torch.full((1, 3, 32, 40), 0.7)
    blur = {"op": "anisotropic_blur", "sigma_x": 2.0, "sigma_y": 0.7, "angle": 33.0}
    motion = {"op": "motion_blur", "length": 9, "angle": 33.0}
    torch.testing.assert_close(degrade(flat, [blur, motion], seed=0), flat, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigma", [0.84, 1.62, 2.04, 2.34, 2.52, 2.76])
def test_rounding_in_a_blur_does_not_leave_the_range(sigma: float) -> None:
    blur = {"op": "anisotropic_blur", "sigma_x": sigma, "sigma_y": sigma / 2, "angle": 33.0}
    assert degrade(torch.ones(1, 3, 32, 40), [blur], seed=0).max() <= 1


@pytest.mark.parametrize("length", [5, 9, 19])
def test_motion_along_a_row_spreads_a_point_evenly_over_its_length(length: int) -> None:
    streak = degrade(impulse(), [{"op": "motion_blur", "length": length, "angle": 0.0}], seed=0)[0, 0]
    expected = torch.zeros(63, 63)
    expected[31, 31 - length // 2 : 31 + length // 2 + 1] = 1 / length
    torch.testing.assert_close(streak, expected, atol=1e-6, rtol=0)
    upright = degrade(impulse(), [{"op": "motion_blur", "length": length, "angle": 90.0}], seed=0)[0, 0]
    torch.testing.assert_close(upright, expected.T, atol=1e-6, rtol=0)


@pytest.mark.parametrize("angle", [20.0, 45.0, 110.0, 160.0])
def test_motion_streak_lies_along_its_angle_counter_clockwise_and_keeps_its_length(angle: float) -> None:
    length = 15
    streak = degrade(impulse(), [{"op": "motion_blur", "length": length, "angle": angle}], seed=0)[0, 0].numpy()
    columns, rows = offsets()
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    lit = streak > 0
    along, across = (columns * c - rows * s)[lit], (columns * s + rows * c)[lit]
    assert streak.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(across).max() < 0.75
    # Between the centres of the outermost pixels, each up to half a diagonal off the ends of the streak.
    assert along.max() - along.min() == pytest.approx(length - 1, abs=math.sqrt(2))


def test_gaussian_noise_has_the_asked_spread_and_is_white() -> None:
    grey = torch.full((2, 3, 128, 128), 0.5)
    noise = degrade(grey, [{"op": "gaussian_noise", "sigma": 0.05}], seed=3) - 0.5
    assert noise.std().item() == pytest.approx(0.05, rel=0.015)
    assert noise.mean().item() == pytest.approx(0, abs=7e-4)
    for shifted in (noise.roll(1, -1), noise.roll(1, -2), noise.roll(1, 1), noise.roll(1, 0)):
        assert (noise * shifted).mean().item() / 0.05**2 == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("peak", [20.0, 100.0, 400.0])
def test_photon_noise_has_a_variance_of_mean_over_peak(peak: float) -> None:
    flat = torch.full((1, 3, 160, 160), 0.25)
    noisy = degrade(flat, [{"op": "poisson_noise", "peak": peak}], seed=3)
    assert noisy.mean().item() == pytest.approx(0.25, rel=0.01)
    assert noisy.var().item() == pytest.approx(0.25 / peak, rel=0.03)
    counts = noisy * peak
    torch.testing.assert_close(counts, counts.round(), atol=1e-3, rtol=0)


def test_photon_noise_leaves_black_black() -> None:
    black = torch.zeros(1, 3, 16, 16)
    assert degrade(black, [{"op": "poisson_noise", "peak": 20.0}], seed=0).max() == 0


@pytest.mark.parametrize("quality", [5, 30, 95])
def test_jpeg_is_pillows_own_with_halved_chroma(quality: int) -> None:
    batch = torch.cat([PHOTO, PHOTO.flip(-1)])
    decoded = degrade(batch, [{"op": "jpeg", "quality": quality}], seed=0)
    for single, pixels in zip(decoded, (PIXELS, PIXELS[:, ::-1]), strict=True):
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        expected = np.asarray(Image.open(buffer))
        np.testing.assert_array_equal((single * 255).round().byte().permute(1, 2, 0).numpy(), expected)


def test_box_downscale_is_the_mean_of_each_square() -> None:
    squares = PIXELS[:96, :99].astype(np.float64).reshape(32, 3, 33, 3, 3).mean((1, 3)) / 255
    reduced = degrade(PHOTO, [{"op": "box_downscale", "scale": 3}], 0)
    np.testing.assert_allclose(reduced[0].permute(1, 2, 0).numpy(), squares, atol=1e-6)


def test_rain_adds_bright_streaks_along_its_angle() -> None:
    dark = torch.full((1, 3, 96, 96), 0.2)
    rain = degrade(dark, [{"op": "rain", "density": 0.004, "length": 19, "angle": 90.0}], 0)
    added = (rain - dark)[0, 0].numpy()
    assert added.min() >= -1e-6
    assert 0.01 < (added > 0.05).mean() < 0.3
    along, across = np.abs(np.diff(added, axis=0)).mean(), np.abs(np.diff(added, axis=1)).mean()
    assert along < across / 3
    heavier = degrade(dark, [{"op": "rain", "density": 0.02, "length": 19, "angle": 90.0}], 0)
    assert heavier.mean() > rain.mean()


def test_haze_draws_every_pixel_to_the_airlight_by_no_more_than_its_transmission() -> None:
    hazy = degrade(PHOTO, [{"op": "haze", "transmission": 0.4, "airlight": 0.9}], 3)
    passed = ((hazy - 0.9) / (PHOTO - 0.9))[(PHOTO - 0.9).abs() > 0.05]
    assert passed.min() >= 0.4 - 1e-3
    assert passed.max() <= 0.7 + 1e-3
    assert passed.std() > 0.01, "the haze varies over the image"


def test_steps_are_applied_in_order() -> None:
    small = {"op": "downscale", "scale": 2}
    coarse = {"op": "jpeg", "quality": 20}
    chained = degrade(PHOTO, [small, coarse], seed=0)
    assert torch.equal(chained, degrade(degrade(PHOTO, [small], seed=0), [coarse], seed=0))
    assert not torch.equal(chained, degrade(PHOTO, [coarse, small], seed=0))


def test_no_steps_change_nothing() -> None:
    assert torch.equal(degrade(PHOTO, [], seed=0), PHOTO)


@pytest.mark.parametrize("step", [{"op": "gaussian_noise", "sigma": 0.1}, {"op": "poisson_noise", "peak": 30.0}])
def test_noise_depends_on_the_seed_alone(step: dict[str, object]) -> None:
    first = degrade(SMALL, [step], seed=7)
    torch.manual_seed(99)
    assert torch.equal(first, degrade(SMALL, [step], seed=7))
    assert not torch.equal(first, degrade(SMALL, [step], seed=8))
    before = torch.get_rng_state()
    degrade(SMALL, [step], seed=7)
    assert torch.equal(before, torch.get_rng_state()), "the global random state was used"


def test_each_image_of_a_batch_gets_its_own_noise() -> None:
    grey = torch.full((2, 3, 16, 16), 0.5)
    noisy = degrade(grey, [{"op": "gaussian_noise", "sigma": 0.1}], seed=0)
    assert not torch.equal(noisy[0], noisy[1])


@pytest.mark.parametrize("step", [{"op": "sharpen"}, {"scale": 2}])
def test_unknown_operation_is_refused_with_the_known_ones(step: dict[str, object]) -> None:
    with pytest.raises(InputError, match="unknown degradation") as caught:
        degrade(SMALL, [step], seed=0)
    assert all(name in str(caught.value) for name in OPERATIONS)
    assert repr(step.get("op")) in str(caught.value)


def test_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="'fog'") as caught:
        sample_degradation("fog", random.Random(0))
    assert all(name in str(caught.value) for name in FAMILIES)


ALLOWED = {
    "downscale": {"scale": (2, 4)},
    "anisotropic_blur": {"sigma_x": (0.6, 3.0), "sigma_y": (0.6, 3.0), "angle": (0, 180)},
    "motion_blur": {"length": (5, 19), "angle": (0, 180)},
    "gaussian_noise": {"sigma": (0.02, 0.2)},
    "poisson_noise": {"peak": (20, 400)},
    "box_downscale": {"scale": (2, 4)},
    "rain": {"density": (0.002, 0.02), "length": (9, 25), "angle": (55, 125)},
    "haze": {"transmission": (0.2, 0.7), "airlight": (0.75, 1.0)},
    "jpeg": {"quality": (8, 95)},
}
MEMBERS = {
    "super_resolution": {"downscale"},
    "blur": {"anisotropic_blur"},
    "motion_blur": {"motion_blur"},
    "noise": {"gaussian_noise", "poisson_noise"},
    "jpeg": {"jpeg"},
    "rain": {"rain"},
    "haze": {"haze"},
}
CHAINED = {"anisotropic_blur", "downscale", "gaussian_noise", "poisson_noise", "jpeg"}
BLIND = {*CHAINED, "box_downscale"}


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_sampled_degradations_are_plain_data_in_range_that_makes_the_same_pixels_again(family: str, seed: int) -> None:
    steps = sample_degradation(family, random.Random(seed))
    assert steps == sample_degradation(family, random.Random(seed))
    for step in steps:
        ranges = ALLOWED[step["op"]]
        assert set(step) == {"op", *ranges}
        for name, (low, high) in ranges.items():
            assert low <= step[name] <= high, f"{step['op']}: {name} = {step[name]}"
    names = [step["op"] for step in steps]
    if names == ["box_downscale"]:
        assert family == "blind_super_resolution"
    elif family in ("chain", "blind_super_resolution"):
        order = ["anisotropic_blur", "downscale", "noise", "jpeg"]
        ranks = [order.index("noise" if name.endswith("noise") else name) for name in names]
        assert len(ranks) >= 2
        assert family == "chain" or "downscale" in names
        assert all(first < second for first, second in pairwise(ranks)), names
    else:
        assert len(names) == 1
        assert names[0] in MEMBERS[family]

    before = SMALL.clone()
    degraded = degrade(SMALL, steps, seed)
    scale = math.prod(step.get("scale", 1) for step in steps)
    assert degraded.shape == (1, 3, 64 // scale, 64 // scale)
    assert degraded.dtype == torch.float32
    assert degraded.min() >= 0
    assert degraded.max() <= 1
    assert torch.equal(SMALL, before), "the input was changed"
    assert scale > 1 or not torch.equal(degraded, SMALL)
    assert torch.equal(degraded, degrade(SMALL, json.loads(json.dumps(steps)), seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_families_vary(family: str) -> None:
    drawn = {json.dumps(sample_degradation(family, random.Random(seed))) for seed in range(60)}
    assert len(drawn) >= {"super_resolution": 3}.get(family, 20)
    operations = {step["op"] for steps in drawn for step in json.loads(steps)}
    assert operations == {"chain": CHAINED, "blind_super_resolution": BLIND, **MEMBERS}[family]


def test_families_use_every_operation() -> None:
    assert set().union(CHAINED, BLIND, *MEMBERS.values()) == set(OPERATIONS)
