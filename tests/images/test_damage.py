"""Damaged files that decode all the same are refused where it can be seen, and their whole neighbours are read."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from drmetric.errors import ImageFileError
from drmetric.images import read_image
from tests.images.pictures import PHOTO, as_tensor, png_header, png_of


def encoded(pixels: np.ndarray = PHOTO, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def zeroed(content: bytes, kept: float) -> bytes:
    return content[: int(len(content) * kept)].ljust(len(content), b"\0")


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ImageFileError) as caught:
        read_image(path)
    assert "copy it again" in caught.value.fix
    return caught.value.problem


class TestPng:
    @pytest.mark.parametrize("kind", [b"IDAT", b"tEXt", b"IEND"])
    def test_wrong_checksum(self, tmp_path: Path, kind: bytes) -> None:
        rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PHOTO))
        content = png_of(png_header(96, 64, 8, 2), (b"tEXt", b"a\0b"), (b"IDAT", rows))
        (tmp_path / "whole.png").write_bytes(content)
        assert torch.equal(read_image(tmp_path / "whole.png"), as_tensor(PHOTO))
        checksum = content.index(kind) + 4 + {b"IDAT": len(rows), b"tEXt": 3, b"IEND": 0}[kind]
        broken = content[:checksum] + bytes([content[checksum] ^ 1]) + content[checksum + 1 :]
        assert kind.decode() in refused(tmp_path / "broken.png", broken)

    @pytest.mark.parametrize(("depth", "channels"), [(8, 1), (8, 3), (16, 1), (16, 3), (16, 4)])
    @pytest.mark.parametrize("rows", [1, 32, 63])
    def test_rows_missing(self, tmp_path: Path, depth: int, channels: int, rows: int) -> None:
        size = 96 * channels * depth // 8
        noise = np.random.default_rng(0).integers(1, 255, (rows, size), dtype=np.uint8)
        noise[:, -depth // 8 :] = 255
        samples = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise))
        content = png_of(png_header(96, 64, depth, {1: 0, 3: 2, 4: 6}[channels]), (b"IDAT", samples))
        assert "rows are missing" in refused(tmp_path / "half.png", content)

    def test_rows_missing_of_an_interlaced_file(self, tmp_path: Path) -> None:
        """Its last pass holds every other row, and here not the last one."""
        grey = np.full((7, 8), 9, np.uint8)
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        rows = [b"\0" + row.tobytes() for x, y, dx, dy in passes for row in grey[y::dy, x::dx]]
        header = png_header(8, 7, 8, 0, interlaced=1)
        (tmp_path / "whole.png").write_bytes(png_of(header, (b"IDAT", zlib.compress(b"".join(rows)))))
        assert torch.equal(read_image(tmp_path / "whole.png"), torch.full((3, 7, 8), 9 / 255))
        short = png_of(header, (b"IDAT", zlib.compress(b"".join(rows[:-1]))))
        assert "rows are missing" in refused(tmp_path / "short.png", short)

    def test_a_black_end_is_read(self, tmp_path: Path) -> None:
        pixels = PHOTO.copy()
        pixels[40:] = 0
        for name, picture in {"rgb": pixels, "grey": pixels[..., 0], "bits": pixels[..., 0] > 99}.items():
            (tmp_path / f"{name}.png").write_bytes(encoded(picture))
            assert not read_image(tmp_path / f"{name}.png")[:, 40:].any()


class TestJpeg:
    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
    def test_zeroed_tail(self, tmp_path: Path, options: dict[str, Any]) -> None:
        content = encoded(form="JPEG", quality=95, **options)
        (tmp_path / "whole.jpg").write_bytes(content)
        assert read_image(tmp_path / "whole.jpg").shape == (3, 64, 96)
        for kept in (0.5, 0.9, 0.99):
            assert refused(tmp_path / "zeroed.jpg", zeroed(content, kept))

    @pytest.mark.parametrize("pixels", [PHOTO, PHOTO[..., 0]], ids=["rgb", "grey"])
    @pytest.mark.parametrize("kept", [0.2, 0.4, 0.6])
    def test_progressive_that_was_cut_before_its_last_scan_and_closed(
        self, tmp_path: Path, pixels: np.ndarray, kept: float
    ) -> None:
        content = encoded(pixels, form="JPEG", quality=95, progressive=True)
        (tmp_path / "whole.jpg").write_bytes(content)
        assert read_image(tmp_path / "whole.jpg").shape == (3, 64, 96)
        cut = content[: int(len(content) * kept)] + b"\xff\xd9"
        assert "scans are missing" in refused(tmp_path / "cut.jpg", cut)

    def test_the_end_of_a_thumbnail_is_not_that_of_the_picture(self, tmp_path: Path) -> None:
        content = encoded(form="JPEG", quality=95, exif=b"Exif\0\0" + encoded(PHOTO[:16, :16], "JPEG"))
        assert "end marker" in refused(tmp_path / "zeroed.jpg", zeroed(content, 0.8))

    def test_what_follows_the_picture_does_not_matter(self, tmp_path: Path) -> None:
        (tmp_path / "phone.jpg").write_bytes(encoded(form="JPEG") + bytes(1000))
        assert read_image(tmp_path / "phone.jpg").shape == (3, 64, 96)


class TestWebp:
    @pytest.mark.parametrize("options", [{"quality": 90}, {"lossless": True}], ids=str)
    @pytest.mark.parametrize("extra", [{}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}], ids=["", "with metadata"])
    def test_zeroed_tail(self, tmp_path: Path, options: dict[str, Any], extra: dict[str, Any]) -> None:
        content = encoded(form="WEBP", **options, **extra)
        metadata = content[content.index(b"EXIF") :] if extra else b""
        samples = content.removesuffix(metadata)
        assert "are zero" in refused(tmp_path / "zeroed.webp", zeroed(samples, 0.6) + metadata)

    @pytest.mark.parametrize("options", [{"quality": 0}, {"quality": 80, "method": 0}, {"lossless": True, "method": 0}])
    @pytest.mark.parametrize("grey", [0, 128, 255])
    def test_flat_pictures_are_read(self, tmp_path: Path, options: dict[str, Any], grey: int) -> None:
        pixels = np.full((1000, 1000, 3), grey, np.uint8)
        for noise in (0, 100):
            pixels[:noise] = np.random.default_rng(0).integers(0, 256, (noise, 1000, 3))
            (tmp_path / "flat.webp").write_bytes(encoded(pixels, "WEBP", **options))
            assert (read_image(tmp_path / "flat.webp")[:, 200:] * 255 - grey).abs().max() < 32


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 90},
        {"quality": 30, "optimize": True},
        {"quality": 75, "subsampling": 0},
        {"quality": 75, "restart_marker_rows": 1},
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_baseline_jpeg_that_was_cut_and_closed_is_refused(
    tmp_path: Path, options: dict[str, Any], share: float
) -> None:
    whole = encoded(data.coffee(), form="JPEG", **options)
    start = whole.index(b"\xff\xda")
    (tmp_path / "cut.jpg").write_bytes(whole[: start + int(share * (len(whole) - start))] + b"\xff\xd9")
    with pytest.raises(ImageFileError, match="its samples end before its last rows"):
        read_image(tmp_path / "cut.jpg")


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_jpeg_that_ends_in_one_colour_is_read(tmp_path: Path, optimize: bool, mode: str, colour: int) -> None:
    """However few bits its last rows take."""
    for rows in (20, 130, 333, 399):
        pixels = data.coffee()[:, :333].copy()
        pixels[-rows:] = colour
        pixels = np.asarray(Image.fromarray(pixels).convert(mode))
        for subsampling in (0, 2):
            (tmp_path / "flat.jpg").write_bytes(encoded(pixels, "JPEG", optimize=optimize, subsampling=subsampling))
            assert read_image(tmp_path / "flat.jpg").shape == (3, 400, 333)
