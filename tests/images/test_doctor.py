"""The doctor names what would spoil a score, and its fixes work."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from skimage import data

from drmetric.images import damage
from drmetric.images.doctor import Finding, inspect, summary
from drmetric.images.files import Alpha
from tests.images.pictures import DISPLAY_P3, png_header, png_of

PHOTO = data.coffee()[100:164, 150:246]


def save(path: Path, pixels: np.ndarray = PHOTO, **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def found(paths: Path | Iterable[Path], alpha: Alpha = "refuse") -> dict[str, Finding]:
    """The findings by check; each check is expected once."""
    findings = list(inspect(paths, alpha))
    by_check = {finding.check: finding for finding in findings}
    assert len(by_check) == len(findings)
    return by_check


def with_opacity(value: int) -> np.ndarray:
    return np.concatenate([PHOTO, np.full((64, 96, 1), value, np.uint8)], axis=2)


def test_clean_file_is_ok(tmp_path: Path) -> None:
    path = save(tmp_path / "clean.png")
    assert list(inspect(path)) == [Finding(str(path), "ok", "file", "96 x 64 pixels, 8-bit RGB, PNG")]


def test_folder_is_searched_and_each_file_reported(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "sub" / "b.png", PHOTO[::-1])
    (tmp_path / "photo.heic").touch()
    (tmp_path / ".DS_Store").touch()
    findings = list(inspect(str(tmp_path)))
    assert [Path(f.file).name for f in findings if f.level == "ok"] == ["a.png", "b.png"]
    assert [f.message for f in findings if f.check == "skipped"] == ["files that are not read as images: 1 .heic"]
    assert summary(findings) == {"ok": 2, "note": 1, "warning": 0, "error": 0}


def test_unreadable_files_do_not_stop_the_others(tmp_path: Path) -> None:
    good, cut = save(tmp_path / "good.png"), save(tmp_path / "cut.png")
    cut.write_bytes(cut.read_bytes()[:500])
    levels = {Path(f.file).name: f for f in inspect([cut, tmp_path / "missing.png", good])}
    assert {name: f.level for name, f in levels.items()} == {
        "cut.png": "error",
        "missing.png": "error",
        "good.png": "ok",
    }
    assert str(cut) in levels["cut.png"].message
    assert levels["cut.png"].fix


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    finding = found(tmp_path)["folder"]
    assert finding.level == "error"
    assert "holds no image" in finding.message


def test_too_small_to_score(tmp_path: Path) -> None:
    finding = found(save(tmp_path / "tiny.png", PHOTO[:31]))["size"]
    assert finding.level == "error"
    assert "96 x 31" in finding.message
    assert "size" not in found(save(tmp_path / "enough.png", PHOTO[:32]))


def test_degraded_inputs_may_be_small(tmp_path: Path) -> None:
    save(tmp_path / "restored/a.png")
    save(tmp_path / "degraded/a.png", PHOTO[:24, :24])
    save(tmp_path / "degraded/b.png").write_bytes(b"broken")
    findings = list(inspect(tmp_path / "restored", degraded=tmp_path / "degraded"))
    assert {(Path(each.file).name, each.check): each.level for each in findings[1:]} == {
        ("a.png", "file"): "ok",
        ("b.png", "unreadable"): "error",
    }


def test_large_image_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drmetric.images.doctor.TILED_ABOVE", 1000)
    finding = found(save(tmp_path / "large.png"))["size"]
    assert finding.level == "note"
    assert "tiles" in finding.message


def test_transparency_is_an_error_unless_a_background_is_chosen(tmp_path: Path) -> None:
    path = save(tmp_path / "alpha.png", with_opacity(100))
    refused = found(path)["alpha"]
    assert refused.level == "error"
    assert "--alpha white" in refused.fix
    assert found(path, alpha="white")["alpha"].level == "note"


def test_opaque_alpha_is_noted(tmp_path: Path) -> None:
    assert found(save(tmp_path / "opaque.png", with_opacity(255)))["alpha"].level == "note"


def test_srgb_profile_is_fine_whatever_its_name_and_another_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert "colour profile" not in found(save(tmp_path / "srgb.png", icc_profile=srgb))
    named = srgb.replace("sRGB".encode("utf-16-be"), "Wide".encode("utf-16-be"))
    assert "colour profile" not in found(save(tmp_path / "named.png", icc_profile=named))
    finding = found(save(tmp_path / "wide.png", icc_profile=DISPLAY_P3))["colour profile"]
    assert finding.level == "warning"
    assert "made P3" in finding.message
    assert "converted to sRGB" in finding.message
    monkeypatch.chdir(tmp_path)
    exec(finding.fix)
    assert "colour profile" not in found(tmp_path / "wide_srgb.png")


def test_broken_profile_is_an_error(tmp_path: Path) -> None:
    finding = found(save(tmp_path / "broken.png", icc_profile=b"not a profile"))["unreadable"]
    assert finding.level == "error"
    assert "cannot be parsed" in finding.message


def test_a_chunk_of_another_colour_space_is_a_warning_and_the_file_an_error(tmp_path: Path) -> None:
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PHOTO))
    linear = (b"gAMA", (100_000).to_bytes(4, "big"))
    (tmp_path / "linear.png").write_bytes(png_of(png_header(96, 64, 8, 2), linear, (b"IDAT", rows)))
    findings = found(tmp_path / "linear.png")
    assert (findings["colour chunk"].level, findings["unreadable"].level) == ("warning", "error")
    assert "linear light" in findings["colour chunk"].message
    assert findings["colour chunk"].fix == findings["unreadable"].fix


def test_a_file_that_was_cut_and_closed_is_an_error_or_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tall = data.coffee()[:256, :256]
    whole = save(tmp_path / "whole.jpg", tall, quality=95).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    assert "constant end" not in found(tmp_path / "whole.jpg")
    assert "its samples end" in found(tmp_path / "cut.jpg")["unreadable"].message
    monkeypatch.setattr(damage, "_LEAST_BITS", 0)  # as where it cannot be told
    finding = found(tmp_path / "cut.jpg")["constant end"]
    assert finding.level == "warning"
    assert "of 256 rows in the file are all (128, 128, 128)" in finding.message


@pytest.mark.parametrize("suffix", [".bmp", ".tif"])
@pytest.mark.parametrize("pixels", [PHOTO, PHOTO[..., 0]], ids=["rgb", "grey"])
def test_zeros_at_the_end_of_the_file_are_a_warning(tmp_path: Path, suffix: str, pixels: np.ndarray) -> None:
    path = save(tmp_path / f"zeroed{suffix}", pixels)
    content = path.read_bytes()
    first_row = pixels[-1 if suffix == ".bmp" else 0].reshape(96, -1)[:, :: -1 if suffix == ".bmp" else 1].tobytes()
    start = content.index(first_row)
    size = pixels.size
    path.write_bytes(content[: start + size // 2] + bytes(size - size // 2) + content[start + size :])
    assert "the last 32 of 64 rows in the file are all (0, 0, 0)" in found(path)["constant end"].message


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_end_of_a_file_is_found_in_every_orientation(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    cut = PHOTO.copy()
    cut[44:] = 128
    assert "the last 20 of 64" in found(save(tmp_path / "turned.png", cut, exif=exif))["constant end"].message


def test_bars_and_thin_edges_are_not_a_cut_file(tmp_path: Path) -> None:
    bars = PHOTO.copy()
    bars[:12] = bars[-10:] = 0
    assert "constant end" not in found(save(tmp_path / "bars.png", bars))
    edge = PHOTO.copy()
    edge[-7:] = 0
    assert "constant end" not in found(save(tmp_path / "edge.png", edge))


def test_orientation_is_noted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 8
    finding = found(save(tmp_path / "turned.png", exif=exif))["orientation"]
    assert finding.level == "note"
    assert "orientation 8" in finding.message


@pytest.mark.parametrize("value", [0, 127])
def test_constant_image_is_a_warning(tmp_path: Path, value: int) -> None:
    finding = found(save(tmp_path / "flat.png", np.full_like(PHOTO, value)))["constant"]
    assert finding.level == "warning"


def test_floats_saved_as_8_bits_are_a_warning(tmp_path: Path) -> None:
    finding = found(save(tmp_path / "dark.png", (PHOTO > 128).astype(np.uint8)))["dark"]
    assert finding.level == "warning"
    assert "floats" in finding.message
    save(tmp_path / "mended.png", eval(finding.fix, {"array": PHOTO / 255}))
    assert found(tmp_path / "mended.png")["file"].level == "ok"


@pytest.mark.parametrize(("bits", "shown"), [(6, 8), (8, 8), (10, 10), (12, 12)])
def test_few_bits_in_16_are_a_warning(tmp_path: Path, bits: int, shown: int) -> None:
    array = (PHOTO.astype(np.uint16) << 8) >> (16 - bits)
    tifffile.imwrite(tmp_path / "dark.tif", array)
    findings = found(tmp_path / "dark.tif")
    assert findings["bit depth"].level == "note"
    assert findings["dark"].level == "warning"
    assert f"{shown}-bit values in 16 bits" in findings["dark"].message
    tifffile.imwrite(tmp_path / "mended.tif", eval(findings["dark"].fix, {"array": array}))
    assert "dark" not in found(tmp_path / "mended.tif")


def test_dark_scene_of_a_usual_range_is_not_flagged(tmp_path: Path) -> None:
    assert "dark" not in found(save(tmp_path / "night.png", PHOTO // 16))


def test_how_it_is_stored_is_noted(tmp_path: Path) -> None:
    assert found(save(tmp_path / "grey.png", PHOTO[..., 0]))["grey"].level == "note"
    assert found(save(tmp_path / "photo.jpg"))["compression"].level == "note"
    Image.fromarray(PHOTO).quantize(32).save(tmp_path / "palette.png")
    assert found(tmp_path / "palette.png")["palette"].level == "note"


def test_identical_files_are_grouped_by_pixels(tmp_path: Path) -> None:
    first = save(tmp_path / "a.png", compress_level=1)
    second, third = save(tmp_path / "b.bmp"), save(tmp_path / "c.png", compress_level=9)
    save(tmp_path / "other.png", PHOTO[::-1])
    groups = [f for f in inspect(tmp_path) if f.check == "identical files"]
    assert len(groups) == 1
    assert groups[0].level == "warning"
    assert groups[0].file == str(first)
    assert str(second) in groups[0].message
    assert str(third) in groups[0].message


def test_same_bytes_in_another_shape_are_not_identical(tmp_path: Path) -> None:
    save(tmp_path / "wide.png", np.resize(PHOTO, (48, 64, 3)))
    save(tmp_path / "high.png", np.resize(PHOTO, (64, 48, 3)))
    assert not [f for f in inspect(tmp_path) if f.check == "identical files"]


def test_identical_pair_across_folders(tmp_path: Path) -> None:
    save(tmp_path / "restored" / "1.png")
    save(tmp_path / "degraded" / "1.png")
    save(tmp_path / "degraded" / "2.png", PHOTO[::-1])
    findings = list(inspect([tmp_path / "restored", tmp_path / "degraded"]))
    pairs = [f for f in findings if f.check == "identical pair"]
    assert len(pairs) == 1
    assert pairs[0].level == "warning"
    assert str(tmp_path / "degraded" / "1.png") in pairs[0].message
    assert summary(findings) == {"ok": 3, "note": 0, "warning": 1, "error": 0}
