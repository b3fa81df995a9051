"""Image files: what is read, bit for bit, what is refused, and that each suggested fix mends its error."""

import shlex
import struct
import zlib
from pathlib import Path
from typing import Any

import kornia_rs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps
from skimage import data

from drmetric.errors import ImageFileError, InputError
from drmetric.images import IMAGE_SUFFIXES, check_image, list_images, read_image, save_image
from drmetric.images.files import Alpha
from tests.images.pictures import PHOTO, as_tensor, png_header, png_of


def sixteen_bits(channels: int = 3) -> np.ndarray:
    """A smooth photo with values that 8 bits cannot hold, (64, 96, channels)."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, channels), dtype=np.uint16)
    return np.resize(PHOTO, (64, 96, channels)).astype(np.uint16) * 256 + noise


def write_png16(path: Path, samples: np.ndarray, extra_chunk: tuple[bytes, bytes] | None = None) -> Path:
    """A 16-bit PNG of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels, every row Sub-filtered."""
    height, width, channels = samples.shape
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1).astype(np.int16)
    rows[:, 2 * channels :] -= rows[:, : -2 * channels].copy()
    filtered = np.hstack([np.ones((height, 1), np.int16), rows]).astype(np.uint8)
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    extra = [extra_chunk] if extra_chunk else []
    samples_chunk = (b"IDAT", zlib.compress(filtered.tobytes()))
    path.write_bytes(png_of(png_header(width, height, 16, colour_type), *extra, samples_chunk))
    return path


class TestReadImage:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF", ".webp"])
    def test_lossless_formats_give_the_exact_pixels(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"photo{suffix}"
        Image.fromarray(PHOTO).save(path, lossless=True)
        image = read_image(path)
        assert image.dtype == torch.float32
        assert image.is_contiguous()
        assert torch.equal(image, as_tensor(PHOTO))

    def test_jpeg_is_decoded_as_by_pillow(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.JPEG"
        Image.fromarray(PHOTO).save(path, quality=90)
        assert torch.equal(read_image(str(path)), as_tensor(np.array(Image.open(path))))

    def test_jpeg_with_further_pictures_gives_the_main_one(self, tmp_path: Path) -> None:
        path = tmp_path / "phone.jpg"
        preview = Image.fromarray(PHOTO[:16, :16])
        Image.fromarray(PHOTO).save(path, format="MPO", save_all=True, append_images=[preview])
        assert read_image(path).shape == (3, 64, 96)

    @pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
    def test_grey_becomes_three_equal_channels(self, tmp_path: Path, mode: str) -> None:
        path = tmp_path / "grey.png"
        Image.fromarray(data.camera()[:64, :96]).convert(mode).save(path)
        image = read_image(path)
        assert image.shape == (3, 64, 96)
        assert torch.equal(image[0], image[1])
        assert torch.equal(image[0], image[2])
        assert image.is_contiguous()

    def test_palette_is_looked_up(self, tmp_path: Path) -> None:
        picture = Image.fromarray(PHOTO).quantize(64)
        picture.save(tmp_path / "palette.png")
        assert torch.equal(read_image(tmp_path / "palette.png"), as_tensor(np.array(picture.convert("RGB"))))

    def test_file_and_uint8_tensor_give_the_same_numbers(self, tmp_path: Path) -> None:
        Image.fromarray(PHOTO).save(tmp_path / "photo.png")
        pixels = torch.from_numpy(PHOTO).permute(2, 0, 1)
        assert torch.equal(check_image(pixels[None])[0], read_image(tmp_path / "photo.png"))


class TestSixteenBits:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_png_keeps_all_bits(self, tmp_path: Path, channels: int) -> None:
        samples = sixteen_bits(channels)
        image = read_image(write_png16(tmp_path / "deep.png", samples))
        assert torch.equal(image, as_tensor(samples, 65535).expand(3, -1, -1))

    def test_png_of_another_writer_keeps_all_bits(self, tmp_path: Path) -> None:
        samples = sixteen_bits()
        kornia_rs.io.write_image_png_u16(str(tmp_path / "deep.png"), samples, "rgb")
        assert torch.equal(read_image(tmp_path / "deep.png"), as_tensor(samples, 65535))

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"byteorder": ">"},
            {"compression": "zlib"},
            {"compression": "zlib", "predictor": True, "byteorder": ">"},
            {"tile": (32, 32)},
            {"rowsperstrip": 5},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("channels", [1, 3])
    def test_tiff_keeps_all_bits(self, tmp_path: Path, options: dict[str, Any], channels: int) -> None:
        samples = sixteen_bits(channels)
        tifffile.imwrite(tmp_path / "deep.tif", samples.squeeze(), **options)
        image = read_image(tmp_path / "deep.tif")
        assert torch.equal(image, as_tensor(samples, 65535).expand(3, -1, -1))

    def test_alpha_of_16_bits_is_composited(self, tmp_path: Path) -> None:
        samples = sixteen_bits(4)
        path = write_png16(tmp_path / "deep.png", samples)
        pixels = as_tensor(samples, 65535)
        expected = pixels[:3] * pixels[3:] + 1 - pixels[3:]
        torch.testing.assert_close(read_image(path, alpha="white"), expected, atol=1e-6, rtol=0)

    def test_alpha_just_short_of_opaque_is_seen(self, tmp_path: Path) -> None:
        samples = sixteen_bits(4)
        samples[..., 3] = 65535
        path = write_png16(tmp_path / "deep.png", samples)
        assert torch.equal(read_image(path), as_tensor(samples[..., :3], 65535))
        samples[0, 0, 3] = 65534
        with pytest.raises(ImageFileError, match="not opaque"):
            read_image(write_png16(path, samples))

    @pytest.mark.parametrize("samples", [sixteen_bits(1)[..., 0], sixteen_bits()], ids=["grey", "rgb"])
    def test_orientation_is_applied(self, tmp_path: Path, samples: np.ndarray) -> None:
        tifffile.imwrite(tmp_path / "deep.tif", samples, extratags=[(274, 3, 1, 6, True)])
        turned = np.rot90(samples.reshape(64, 96, -1), -1).copy()
        assert torch.equal(read_image(tmp_path / "deep.tif"), as_tensor(turned, 65535).expand(3, -1, -1))

    @pytest.mark.parametrize(
        ("samples", "options"),
        [
            (np.moveaxis(sixteen_bits(), -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
            (
                np.moveaxis(sixteen_bits(), -1, 0),
                {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"},
            ),
            (sixteen_bits(4), {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
            (sixteen_bits(1)[..., 0], {"photometric": "miniswhite"}),
            (sixteen_bits(1)[..., 0].astype(np.int16), {}),
            (sixteen_bits(1)[..., 0].astype(np.int32), {}),
        ],
        ids=["planes", "compressed planes", "premultiplied", "inverted", "signed", "32 bits"],
    )
    def test_tiff_that_pillow_would_get_wrong_is_refused(
        self, tmp_path: Path, samples: np.ndarray, options: dict[str, Any]
    ) -> None:
        tifffile.imwrite(tmp_path / "odd.tif", np.ascontiguousarray(samples), **options)
        with pytest.raises(ImageFileError, match=r"odd\.tif") as caught:
            read_image(tmp_path / "odd.tif")
        assert caught.value.fix

    @pytest.mark.parametrize("channels", [1, 3])
    def test_transparent_colour_is_refused(self, tmp_path: Path, channels: int) -> None:
        key = (b"tRNS", struct.pack(f">{channels}H", *[7] * channels))
        with pytest.raises(ImageFileError, match="transparent colour"):
            read_image(write_png16(tmp_path / "key.png", sixteen_bits(channels), key))

    def test_grey_with_alpha_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImageFileError, match="LA;16B"):
            read_image(write_png16(tmp_path / "la.png", sixteen_bits(2)))

    def test_float_grey_within_range_is_exact(self, tmp_path: Path) -> None:
        grey = np.linspace(0, 1, 64 * 96, dtype=np.float32).reshape(64, 96)
        tifffile.imwrite(tmp_path / "float.tif", grey)
        assert np.array_equal(read_image(tmp_path / "float.tif")[1].numpy(), grey)

    @pytest.mark.parametrize("value", [1.5, -0.25, np.nan])
    def test_floats_out_of_range_are_refused(self, tmp_path: Path, value: float) -> None:
        grey = np.full((8, 8), 0.5, np.float32)
        grey[3, 3] = value
        tifffile.imwrite(tmp_path / "float.tif", grey)
        with pytest.raises(ImageFileError, match=rf"float\.tif.*{value:g}"):
            read_image(tmp_path / "float.tif")


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
    def test_is_applied(self, tmp_path: Path, orientation: int, suffix: str) -> None:
        exif = Image.Exif()
        exif[274] = orientation
        path = tmp_path / f"turned{suffix}"
        Image.fromarray(PHOTO).save(path, exif=exif, lossless=True)
        upright = {
            1: PHOTO,
            2: PHOTO[:, ::-1],
            3: PHOTO[::-1, ::-1],
            4: PHOTO[::-1],
            5: PHOTO.swapaxes(0, 1),
            6: np.rot90(PHOTO, -1),
            7: PHOTO[::-1, ::-1].swapaxes(0, 1),
            8: np.rot90(PHOTO),
        }[orientation]
        assert torch.equal(read_image(path), as_tensor(upright))

    def test_of_a_grey_tiff_is_applied(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "turned.tif", PHOTO[..., 0], extratags=[(274, 3, 1, 6, True)])
        expected = as_tensor(np.rot90(PHOTO[..., :1], -1).copy()).expand(3, -1, -1)
        assert torch.equal(read_image(tmp_path / "turned.tif"), expected)

    def test_of_a_jpeg_is_applied(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(PHOTO).save(tmp_path / "turned.jpg", exif=exif, quality=95)
        expected = np.array(ImageOps.exif_transpose(Image.open(tmp_path / "turned.jpg")))
        assert torch.equal(read_image(tmp_path / "turned.jpg"), as_tensor(expected))
        assert expected.shape == (96, 64, 3)


class TestAlpha:
    @pytest.fixture
    def half_transparent(self, tmp_path: Path) -> Path:
        opacity = np.full((64, 96, 1), 255, np.uint8)
        opacity[:32] = 51
        Image.fromarray(np.concatenate([PHOTO, opacity], axis=2)).save(tmp_path / "alpha.png")
        return tmp_path / "alpha.png"

    def test_is_refused_with_both_ways_out(self, half_transparent: Path) -> None:
        with pytest.raises(ImageFileError) as caught:
            read_image(half_transparent)
        assert "50.00%" in str(caught.value)
        assert f'read_image({str(half_transparent)!r}, alpha="white")' in caught.value.fix
        assert "--alpha white" in caught.value.fix

    @pytest.mark.parametrize(("alpha", "behind"), [("white", 1.0), ("black", 0.0)])
    def test_is_composited(self, half_transparent: Path, alpha: Alpha, behind: float) -> None:
        image, photo = read_image(half_transparent, alpha=alpha), as_tensor(PHOTO)
        torch.testing.assert_close(image[:, :32], photo[:, :32] * 0.2 + behind * 0.8)
        assert torch.equal(image[:, 32:], photo[:, 32:])

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_opaque_channel_is_dropped(self, tmp_path: Path, mode: str) -> None:
        plain = Image.fromarray(PHOTO).convert(mode.removesuffix("A"))
        plain.convert(mode).save(tmp_path / "opaque.png")
        assert torch.equal(read_image(tmp_path / "opaque.png"), as_tensor(np.array(plain.convert("RGB"))))

    def test_transparent_palette_entry_is_seen(self, tmp_path: Path) -> None:
        picture = Image.fromarray(PHOTO).quantize(16)
        entry = picture.getpixel((0, 0))
        picture.save(tmp_path / "palette.png", transparency=entry)
        with pytest.raises(ImageFileError, match="not opaque"):
            read_image(tmp_path / "palette.png")
        assert torch.equal(read_image(tmp_path / "palette.png", alpha="white")[:, 0, 0], torch.ones(3))

    def test_unknown_policy_is_refused(self, half_transparent: Path) -> None:
        with pytest.raises(InputError, match="'green'"):
            read_image(half_transparent, alpha="green")  # type: ignore[arg-type]


class TestUnreadable:
    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
    @pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.9])
    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
    def test_truncated_file(self, tmp_path: Path, suffix: str, kept: float) -> None:
        path = tmp_path / f"cut{suffix}"
        Image.fromarray(PHOTO).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(ImageFileError, match=f"cut{suffix}") as caught:
            read_image(path)
        assert caught.value.fix

    def test_corrupt_data(self, tmp_path: Path) -> None:
        path = tmp_path / "corrupt.png"
        Image.fromarray(PHOTO).save(path)
        content = bytearray(path.read_bytes())
        content[1000:1100] = bytes(100)
        path.write_bytes(content)
        with pytest.raises(ImageFileError, match=r"corrupt\.png cannot be read"):
            read_image(path)

    @pytest.mark.parametrize(
        ("name", "message"),
        [("missing.png", "does not exist"), ("text.txt", "'.txt'"), ("fake.png", "cannot identify")],
    )
    def test_not_an_image(self, tmp_path: Path, name: str, message: str) -> None:
        if name != "missing.png":
            (tmp_path / name).write_text("no pixels")
        with pytest.raises(ImageFileError, match=message) as caught:
            read_image(tmp_path / name)
        assert isinstance(caught.value, OSError)
        assert name in str(caught.value)

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ImageFileError, match="is a folder"):
            read_image(tmp_path)

    @pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
    def test_several_frames(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"film{suffix}"
        frames = [Image.fromarray(np.roll(PHOTO, shift)) for shift in (1, 2)]
        Image.fromarray(PHOTO).save(path, save_all=True, append_images=frames)
        with pytest.raises(ImageFileError, match="3 frames"):
            read_image(path)

    @pytest.mark.parametrize("mode", ["CMYK", "LAB"])
    def test_colour_space_that_needs_a_profile(self, tmp_path: Path, mode: str) -> None:
        Image.new(mode, (64, 64)).save(tmp_path / "ink.tif")
        with pytest.raises(ImageFileError, match=mode):
            read_image(tmp_path / "ink.tif")

    @pytest.mark.parametrize("kind", ["i1", "i2", "i4"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_signed_samples(self, tmp_path: Path, kind: str, channels: int) -> None:
        signed = (np.resize(PHOTO, (64, 96, channels)).astype(np.int16) - 128).astype(kind)
        tifffile.imwrite(
            tmp_path / "signed.tif", signed.squeeze(), photometric="rgb" if channels == 3 else "minisblack"
        )
        with pytest.raises(ImageFileError, match=r"signed\.tif"):
            read_image(tmp_path / "signed.tif")

    def test_float_colour(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "hdr.tif", PHOTO.astype(np.float32), photometric="rgb")
        with pytest.raises(ImageFileError, match=r"hdr\.tif"):
            read_image(tmp_path / "hdr.tif")

    def test_pixel_limit_is_pillows_and_can_be_lifted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.fromarray(PHOTO).save(tmp_path / "large.png")
        monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
        with pytest.raises(ImageFileError, match="pixel limit") as caught:
            read_image(tmp_path / "large.png")
        exec(caught.value.fix)
        assert read_image(tmp_path / "large.png").shape == (3, 64, 96)


class TestListAndSave:
    def test_lists_sorted_recursive_and_visible(self, tmp_path: Path) -> None:
        names = ["b.PNG", "a.jpg", "sub/c.TiFF", "notes.txt", ".hidden.png", ".cache/d.png", "sub/e.heic"]
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
        assert found == ["a.jpg", "b.PNG", "sub/c.TiFF"]
        assert all(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in found)

    def test_a_hidden_parent_does_not_matter(self, tmp_path: Path) -> None:
        folder = tmp_path / ".results"
        folder.mkdir()
        (folder / "a.png").touch()
        assert list_images(folder) == [folder / "a.png"]

    def test_missing_or_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ImageFileError, match="is not a folder"):
            list_images(tmp_path / "nowhere")
        with pytest.raises(ImageFileError, match=f"{tmp_path} holds no image"):
            list_images(tmp_path)

    def test_saved_image_reads_back_rounded(self, tmp_path: Path) -> None:
        image = torch.rand(3, 20, 30, generator=torch.manual_seed(0), requires_grad=True)
        save_image(image, tmp_path / "out.png")
        again = read_image(tmp_path / "out.png")
        assert (again - image).abs().max() <= 0.5 / 255 + 1e-6

    def test_save_refuses_what_it_cannot_keep(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"\.jpg"):
            save_image(torch.rand(3, 8, 8), tmp_path / "out.jpg")
        with pytest.raises(InputError, match=r"\(1, 3, 8, 8\)"):
            save_image(torch.rand(1, 3, 8, 8), tmp_path / "out.png")
        with pytest.raises(InputError, match="200"):
            save_image(torch.full((3, 8, 8), 200.0), tmp_path / "out.png")


@pytest.mark.parametrize("suffix", [".jfif", ".ppm", ".gif", ".avif"])
def test_further_formats_are_read_as_pillow_does(tmp_path: Path, suffix: str) -> None:
    if suffix not in IMAGE_SUFFIXES:
        pytest.skip("this Pillow reads no AVIF")
    form = {".jfif": "JPEG", ".ppm": "PPM", ".gif": "GIF", ".avif": "AVIF"}[suffix]
    Image.fromarray(PHOTO).save(tmp_path / f"a{suffix}", format=form)
    with Image.open(tmp_path / f"a{suffix}") as image:
        expected = np.array(image.convert("RGB"))
    assert torch.equal(read_image(tmp_path / f"a{suffix}"), as_tensor(expected))
    assert [path.name for path in list_images(tmp_path)] == [f"a{suffix}"]


def test_the_first_frame_of_a_gif_is_read(tmp_path: Path) -> None:
    first, second = Image.fromarray(PHOTO).quantize(), Image.fromarray(PHOTO[::-1].copy()).quantize()
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert torch.equal(read_image(tmp_path / "a.gif"), as_tensor(np.array(first.convert("RGB"))))


def test_ppm_of_other_depths_is_exact_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 2 1 1023 " + np.arange(6, dtype=">u2").tobytes())
    with pytest.raises(ImageFileError, match="wanted 8- or 16-bit"):
        read_image(tmp_path / "a.ppm")
    grey = np.array([[0, 1, 65535]], dtype=">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 65535 " + grey.tobytes())
    assert torch.equal(read_image(tmp_path / "a.pgm")[0], torch.tensor([[0, 1 / 65535, 1]]))


@pytest.mark.parametrize("name", ["two words", "it's", 'a"b', "$(touch made)"])
def test_the_fix_names_any_file_as_it_is_called(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.tga"
    path.touch()
    with pytest.raises(ImageFileError) as caught:
        read_image(path)
    assert shlex.split(caught.value.fix.partition(": ")[2]) == ["magick", str(path), f"{name}.png"]
