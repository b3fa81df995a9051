"""Embedded profiles: what is converted to which values, what stays, what is refused."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, features
from skimage import data

from drmetric.errors import ImageFileError
from drmetric.images import read_image
from tests.images.pictures import ADOBE_RGB, DISPLAY_P3, GREY_18, PHOTO, RGB_TO_XYZ, png_header, png_of

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def codes(path: Path) -> np.ndarray:
    return (read_image(path).permute(1, 2, 0) * 255).numpy()


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def srgb_of(light: np.ndarray) -> np.ndarray:
    """Codes of linear light, clipped."""
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("name", "profile", "gamma"), [("Adobe RGB", ADOBE_RGB, 2.19921875), ("Display P3", DISPLAY_P3, 2.2)]
)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_rgb_is_converted_by_the_matrices_and_curves(
    tmp_path: Path, name: str, profile: bytes, gamma: float, suffix: str
) -> None:
    pixels = data.coffee()[:300, :400]  # more rows than are converted at once
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"wide.{suffix}", pixels, icc_profile=profile, **options)
    to_srgb = np.linalg.inv(RGB_TO_XYZ["sRGB"]) @ RGB_TO_XYZ[name]
    expected = srgb_of((pixels / 255) ** gamma @ to_srgb.T)
    assert np.abs(expected - pixels).max() > 15
    apart = np.abs(codes(path) - expected)
    assert apart.max() < 2
    assert apart.mean() < 0.4  # rounding alone is .25


def test_grey_is_converted_by_its_curve(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(8, 0)
    expected = srgb_of((ramp / 255) ** 1.8)
    for pixels in (ramp, np.stack([ramp, np.full_like(ramp, 255)], -1)):
        found = codes(saved(tmp_path / "grey.png", pixels, icc_profile=GREY_18))
        assert np.abs(found - expected[..., None]).max() < 1.5


def test_grey_with_a_profile_of_rgb_is_grey(tmp_path: Path) -> None:
    found = codes(saved(tmp_path / "grey.png", PHOTO[..., 0], icc_profile=ADOBE_RGB))
    assert np.abs(found - srgb_of((PHOTO[..., :1] / 255) ** 2.19921875)).max() < 1.5


def test_palettes_and_opaque_alpha_are_converted_too(tmp_path: Path) -> None:
    expected = codes(saved(tmp_path / "rgb.png", PHOTO, icc_profile=ADOBE_RGB))
    opaque = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    assert np.array_equal(codes(saved(tmp_path / "alpha.png", opaque, icc_profile=ADOBE_RGB)), expected)
    palette = Image.fromarray(PHOTO).quantize(64)
    palette.save(tmp_path / "palette.png", icc_profile=ADOBE_RGB)
    plain = codes(saved(tmp_path / "plain.png", np.asarray(palette.convert("RGB")), icc_profile=ADOBE_RGB))
    assert np.array_equal(codes(tmp_path / "palette.png"), plain)


@pytest.mark.parametrize("named", [SRGB, SRGB.replace("sRGB".encode("utf-16-be"), "Wide".encode("utf-16-be"))])
def test_srgb_by_any_name_is_read_as_it_is(tmp_path: Path, named: bytes) -> None:
    assert np.array_equal(codes(saved(tmp_path / "srgb.png", PHOTO, icc_profile=named)).round(), PHOTO)


@pytest.mark.parametrize(
    ("pixels", "profile", "said"),
    [
        (PHOTO, b"not a profile", "cannot be parsed"),
        (PHOTO, GREY_18, "one of GRAY, and the pixels are RGB"),
        (PHOTO[..., 0].astype(np.uint16) * 257, GREY_18, "more than 8 bits"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_the_line_drops_the_profile(
    tmp_path: Path, pixels: np.ndarray, profile: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "wide.png", pixels, icc_profile=profile)
    with pytest.raises(ImageFileError, match=said) as caught:
        read_image(path)
    monkeypatch.chdir(tmp_path)
    exec(caught.value.fix.split("drop the profile: ")[1])
    white = 257 if pixels.dtype == np.uint16 else 1
    expected = pixels / white if pixels.ndim == 3 else (pixels / white)[..., None].repeat(3, -1)
    assert np.abs(codes(tmp_path / "wide_srgb.png") - expected).max() < 1e-3


def test_code_points_outrank_a_profile(tmp_path: Path) -> None:
    data = saved(tmp_path / "both.png", PHOTO, icc_profile=ADOBE_RGB).read_bytes()
    body = bytes((1, 13, 0, 1))
    chunk = png_of(png_header(1, 1, 8, 2), (b"cICP", body))[33:-12]
    (tmp_path / "both.png").write_bytes(data[:33] + chunk + data[33:])
    assert np.array_equal(codes(tmp_path / "both.png").round(), PHOTO)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow does not read AVIF")
def test_an_avif_that_says_hdr_or_wide_colours_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "AVIF", quality=90)
    plain = file.getvalue()
    at = plain.index(b"nclx") + 4
    path = tmp_path / "image.avif"
    for primaries, transfer, said in ((12, 13, "Display P3"), (9, 16, "BT.2020, PQ"), (1, 8, "linear light")):
        path.write_bytes(plain[:at] + bytes((0, primaries, 0, transfer)) + plain[at + 4 :])
        with pytest.raises(ImageFileError, match=f"its nclx box says .*{said}"):
            read_image(path)
    path.write_bytes(plain)
    assert torch.is_tensor(read_image(path))
