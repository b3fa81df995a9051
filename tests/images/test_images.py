"""The image contract: what is read, what is refused, and that each suggested fix mends its error."""

import struct
import zlib
from pathlib import Path
from typing import Any

import kornia_rs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from skimage import data

import drmetric
from drmetric.errors import DrmetricError, ImageFileError, InputError
from drmetric.images import (
    IMAGE_SUFFIXES,
    check_batch,
    check_image,
    check_same_device,
    list_images,
    read_image,
    resize,
    save_image,
    tiles,
)
from drmetric.images.files import Alpha

PHOTO = data.astronaut()[100:164, 150:246]
"""uint8 (64, 96, 3)."""


def as_tensor(pixels: np.ndarray, white: int = 255) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / white


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
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    chunks += [extra_chunk] if extra_chunk else []
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b"")]
    encoded = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(encoded))
    return path


def mended(error: DrmetricError, **variables: Any) -> Any:
    """Run the fix line of an error on the one variable given and return what became of it."""
    scope = {"torch": torch, "numpy": np, "drmetric": drmetric, **variables}
    exec(error.fix, scope)
    return scope[next(iter(variables))]


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
        assert f'read_image("{half_transparent}", alpha="white")' in caught.value.fix
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

    def test_float_colour(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "hdr.tif", PHOTO.astype(np.float32), photometric="rgb")
        with pytest.raises(ImageFileError, match=r"hdr\.tif"):
            read_image(tmp_path / "hdr.tif")

    def test_pixel_limit_is_pillows_and_can_be_lifted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.fromarray(PHOTO).save(tmp_path / "large.png")
        monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
        with pytest.raises(ImageFileError, match="pixel limit") as caught:
            read_image(tmp_path / "large.png")
        exec(caught.value.fix.partition(": ")[2])
        assert read_image(tmp_path / "large.png").shape == (3, 64, 96)


class TestListAndSave:
    def test_lists_sorted_recursive_and_visible(self, tmp_path: Path) -> None:
        names = ["b.PNG", "a.jpg", "sub/c.TiFF", "notes.txt", ".hidden.png", ".cache/d.png", "sub/e.gif"]
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


BATCH = as_tensor(PHOTO)[None]


class TestCheckImage:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_floats_become_float32(self, dtype: torch.dtype) -> None:
        checked = check_image(BATCH.to(dtype))
        assert checked.dtype == torch.float32
        assert torch.equal(checked, BATCH.to(dtype).float())

    def test_float32_is_not_copied(self) -> None:
        assert check_image(BATCH).data_ptr() == BATCH.data_ptr()

    def test_grey_becomes_three_channels(self) -> None:
        assert torch.equal(check_image(BATCH[:, :1]), BATCH[:, :1].expand(-1, 3, -1, -1))

    def test_gradient_flows_even_where_slightly_out_of_range(self) -> None:
        image = BATCH[:, :1].clone()
        image[0, 0, 0, :2] = torch.tensor([-5e-4, 1.0005])
        image.requires_grad_()
        checked = check_image(image)
        assert checked[0, 0, 0, 1] > 1
        (gradient,) = torch.autograd.grad(checked.sum(), image)
        assert torch.equal(gradient, torch.full_like(image, 3.0))

    @pytest.mark.parametrize(
        ("image", "quoted"),
        [
            (BATCH * 255, "from"),
            (BATCH * 65535, "from"),
            (BATCH * 2 - 1, "from"),
            (BATCH * 1.2, "to 1.2"),
            (BATCH - 0.1, "from -0.1"),
            (BATCH.where(BATCH > 0.01, torch.nan), "NaN"),
            (BATCH.where(BATCH > 0.01, torch.inf), "infinite"),
            (torch.cat([BATCH, BATCH[:, :1]], dim=1), "(1, 4, 64, 96)"),
            (BATCH.permute(0, 2, 3, 1), "(1, 64, 96, 3)"),
            (torch.cat([BATCH, BATCH[:, :1]], dim=1).permute(0, 2, 3, 1)[..., :3], "(1, 64, 96, 3)"),
            (BATCH[0].permute(1, 2, 0), "(64, 96, 3)"),
            (BATCH[0], "(3, 64, 96)"),
            (BATCH[0, :1], "(1, 64, 96)"),
            (torch.cat([BATCH[0], BATCH[0, :1]]), "(4, 64, 96)"),
            (BATCH[0, 0], "(64, 96)"),
            (BATCH[0, 0].expand(5, -1, -1), "(5, 64, 96)"),
            (BATCH.expand(2, 5, -1, -1, -1), "(2, 5, 3, 64, 96)"),
            ((BATCH * 255).int(), "torch.int32"),
            ((BATCH * 65535).to(torch.int32).to(torch.uint16), "torch.uint16"),
            (BATCH > 0.5, "torch.bool"),
            (PHOTO, "NumPy array of shape (64, 96, 3) and type uint8"),
            (PHOTO[None], "NumPy array of shape (1, 64, 96, 3)"),
            (BATCH.numpy(), "NumPy array of shape (1, 3, 64, 96)"),
            (Image.fromarray(PHOTO), "PIL image of mode RGB"),
            ([BATCH[0], BATCH[0]], "list of 2 items"),
            (BATCH.tolist(), "list of 1 items"),
        ],
    )
    def test_refusal_quotes_the_input_and_its_fix_works(self, image: Any, quoted: str) -> None:
        with pytest.raises(InputError) as caught:
            check_image(image, "restored")
        assert caught.value.problem.startswith("restored ")
        assert quoted in caught.value.problem
        checked = check_image(mended(caught.value, restored=image), "restored")
        assert checked.shape[1:] == (3, 64, 96)

    def test_range_error_quotes_the_extremes(self) -> None:
        with pytest.raises(InputError, match=r"from 2 to 254.*\n.*image = image / 255"):
            check_image(torch.tensor([2.0, 254.0]).expand(1, 3, 8, 2))

    def test_fixes_restore_the_values(self) -> None:
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        normalised = (BATCH - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        for image in (BATCH * 255, BATCH * 2 - 1, normalised):
            with pytest.raises(InputError) as caught:
                check_image(image)
            torch.testing.assert_close(mended(caught.value, image=image), BATCH)

    def test_values_of_no_known_scale_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"from -700 to 900.*\n.*black"):
            check_image(torch.tensor([-700.0, 900.0]).expand(1, 3, 8, 2))

    def test_number_of_bad_values_is_told(self) -> None:
        image = BATCH.clone()
        image[0, 0, 0, :3] = torch.tensor([torch.nan, torch.nan, -torch.inf])
        with pytest.raises(InputError, match="2 NaN and 1 infinite values among 18432"):
            check_image(image)

    @pytest.mark.parametrize("channels", [2, 5])
    def test_other_channel_counts(self, channels: int) -> None:
        with pytest.raises(InputError, match=rf"\(1, {channels}, 8, 8\)"):
            check_image(torch.rand(1, channels, 8, 8))

    @pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 3, 0, 8), (1, 1, 8, 0)])
    def test_empty(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match="is empty"):
            check_image(torch.rand(shape))

    def test_too_small(self) -> None:
        assert check_image(BATCH, min_size=64).shape == BATCH.shape
        with pytest.raises(InputError, match="64 x 96 pixels; wanted at least 65 x 65"):
            check_image(BATCH, min_size=65)

    @pytest.mark.parametrize("given", ["photo.png", Path("photo.png")])
    def test_path(self, given: Any) -> None:
        with pytest.raises(InputError, match="read_image"):
            check_image(given)

    def test_other_objects(self) -> None:
        with pytest.raises(InputError, match="NoneType"):
            check_image(None)  # type: ignore[arg-type]

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
    def test_traced_graphs_skip_the_values_but_not_the_shape(self) -> None:
        compiled = torch.compile(check_image, backend="eager", fullgraph=True)
        assert torch.equal(compiled(BATCH[:, :1]), BATCH[:, :1].expand(-1, 3, -1, -1))
        traced = torch.jit.trace(lambda image: check_image(image) * 2, BATCH)  # type: ignore[no-untyped-call]
        assert torch.equal(traced(BATCH), BATCH * 2)
        assert check_image(BATCH.to("meta")).shape == BATCH.shape
        with pytest.raises(InputError):
            check_image(BATCH[0].to("meta"))

    @settings(max_examples=30, deadline=None)
    @given(
        count=st.integers(1, 3),
        channels=st.sampled_from([1, 3]),
        height=st.integers(5, 20),
        width=st.integers(5, 20),
    )
    def test_any_size_in_range_passes_unchanged(self, count: int, channels: int, height: int, width: int) -> None:
        image = torch.rand(count, channels, height, width)
        assert torch.equal(check_image(image), image.expand(-1, 3, -1, -1))


class TestPairs:
    @pytest.mark.parametrize(("count", "references"), [(1, 1), (4, 4), (4, 1)])
    def test_fitting_batches_pass(self, count: int, references: int) -> None:
        check_batch(BATCH.expand(count, -1, -1, -1), BATCH.expand(references, -1, -1, -1))

    @pytest.mark.parametrize(("count", "references"), [(1, 4), (4, 2)])
    def test_other_batches_are_refused(self, count: int, references: int) -> None:
        with pytest.raises(InputError, match=f"image is a batch of {count} but pristine of {references}"):
            check_batch(torch.rand(count, 3, 8, 8), torch.rand(references, 3, 8, 8), "image", "pristine")

    def test_devices_must_agree(self) -> None:
        with pytest.raises(InputError, match="restored is on cpu, degraded on meta") as caught:
            check_same_device(BATCH, BATCH.to("meta"))
        assert caught.value.fix == "degraded = degraded.to(restored.device)"


class TestResize:
    @pytest.mark.parametrize("size", [(32, 48), (20, 31), (128, 192), (64, 40), (7, 200)])
    def test_agrees_with_pillow(self, size: tuple[int, int]) -> None:
        planes = [
            np.array(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC)) for plane in BATCH[0].numpy()
        ]
        expected = torch.from_numpy(np.stack(planes)).clamp(0, 1)
        torch.testing.assert_close(resize(BATCH, size)[0], expected, atol=2e-6, rtol=0)

    def test_same_size_is_the_same_tensor(self) -> None:
        assert resize(BATCH, (64, 96)) is BATCH

    def test_overshoot_is_clamped(self) -> None:
        edges = (BATCH > 0.5).float()
        larger = resize(edges, (150, 250))
        assert larger.min() == 0
        assert larger.max() == 1

    def test_float32_even_under_autocast(self) -> None:
        expected = resize(BATCH, (30, 40))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(resize(BATCH, (30, 40)), expected)

    def test_is_differentiable(self) -> None:
        image = (BATCH[..., :12, :12] * 0.5 + 0.25).requires_grad_()
        (gradient,) = torch.autograd.grad(resize(image, (7, 9)).mean(), image)
        assert torch.isfinite(gradient).all()
        assert gradient.sum() == pytest.approx(1, abs=1e-4)

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
    def test_size_of_another_image_can_be_traced(self) -> None:
        other = torch.rand(1, 3, 30, 40)
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            lambda image, other: resize(image, other.shape[-2:]), (BATCH, other)
        )
        assert torch.equal(traced(BATCH, other), resize(BATCH, (30, 40)))

    @pytest.mark.parametrize("size", [(0, 8), (8, -1), (8.0, 8), (8,)])
    def test_bad_size(self, size: tuple[int, int]) -> None:
        with pytest.raises(InputError, match="size is"):
            resize(BATCH, size)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    stride, overlap = draw(st.integers(1, 33)), draw(st.integers(0, 70))
    least = -(-2 * (overlap + stride) // stride)
    size = stride * draw(st.integers(least, least + 20))
    return draw(st.integers(1, 900)), draw(st.integers(1, 900)), size, overlap, stride


class TestTiles:
    @settings(max_examples=150, deadline=None)
    @given(tilings())
    def test_cores_partition_the_image_on_the_grid(self, tiling: tuple[int, int, int, int, int]) -> None:
        height, width, size, overlap, stride = tiling
        covered = np.zeros((height, width), np.int32)
        for tile in tiles(*tiling):
            covered[tile.top : tile.bottom, tile.left : tile.right] += 1
            spans = (
                (tile.outer_top, tile.top, tile.bottom, tile.outer_bottom, height),
                (tile.outer_left, tile.left, tile.right, tile.outer_right, width),
            )
            for outer_start, start, end, outer_end, length in spans:
                assert start % stride == outer_start % stride == 0
                assert end == length or end % stride == 0
                assert outer_end == length or outer_end % stride == 0
                assert 0 <= outer_start <= max(0, start - overlap)
                assert min(length, end + overlap) <= outer_end <= length
                assert 0 < end - start <= size
                assert end - start == length or end - start >= overlap
        assert (covered == 1).all()

    def test_small_image_is_one_tile(self) -> None:
        (tile,) = tiles(100, 200, 256, 32, 16)
        assert (tile.outer_bottom, tile.outer_right, tile.bottom, tile.right) == (100, 200, 100, 200)

    def test_sizes_are_balanced(self) -> None:
        heights = [tile.bottom - tile.top for tile in tiles(520, 100, 512, 32, 8)]
        assert heights == [264, 256]

    def test_convolution_by_tiles_is_the_convolution_of_the_whole(self) -> None:
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride=2, padding=1), torch.nn.Conv2d(4, 2, 3, stride=2, padding=1)
        ).eval()
        image = as_tensor(data.coffee()[:301, :203])[None]
        with torch.no_grad():
            whole = network(image)
            tiled = torch.full_like(whole, torch.nan)
            for t in tiles(301, 203, 64, 8, 4):
                part = network(image[..., t.outer_top : t.outer_bottom, t.outer_left : t.outer_right])
                rows, columns = slice(t.top // 4, -(-t.bottom // 4)), slice(t.left // 4, -(-t.right // 4))
                top, left = t.outer_top // 4, t.outer_left // 4
                tiled[..., rows, columns] = part[
                    ..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
                ]
        torch.testing.assert_close(tiled, whole)

    @pytest.mark.parametrize(
        ("tiling", "message"),
        [
            ((0, 10, 64, 8, 8), "0 x 10"),
            ((10, 10, 60, 8, 8), "size is 60"),
            ((10, 10, 24, 8, 8), "at least 2"),
            ((10, 10, 64, -1, 8), "overlap -1"),
            ((10, 10, 64, 8, 0), "stride is 0"),
        ],
    )
    def test_bad_arguments(self, tiling: tuple[int, int, int, int, int], message: str) -> None:
        with pytest.raises(InputError, match=message):
            tiles(*tiling)

    def test_the_suggested_size_is_accepted(self) -> None:
        with pytest.raises(InputError) as caught:
            tiles(100, 100, 45, 20, 16)
        assert tiles(100, 100, overlap=20, stride=16, **eval(f"dict({caught.value.fix})"))
