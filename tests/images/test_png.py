"""What Pillow passes over in a PNG is read right or refused: transparent greys, other colour spaces."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drmetric.errors import ImageFileError
from drmetric.images import read_image
from tests.images.pictures import PHOTO, as_tensor, png_header, png_of


def write_png(path: Path, codes: np.ndarray, depth: int = 8, *chunks: tuple[bytes, bytes]) -> Path:
    """A PNG of integers (H, W), grey, or (H, W, 3), RGB, with more chunks before the samples."""
    bits = (codes.reshape(len(codes), -1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(len(codes), -1).astype(np.uint8), axis=1)
    samples = b"".join(b"\0" + row.tobytes() for row in rows)
    header = png_header(codes.shape[1], len(codes), depth, 0 if codes.ndim == 2 else 2)
    path.write_bytes(png_of(header, *chunks, (b"IDAT", zlib.compress(samples))))
    return path


class TestTransparentValue:
    @pytest.mark.parametrize(("depth", "value"), [(1, 0), (1, 1), (2, 0), (2, 1), (2, 3), (4, 5), (4, 15), (8, 200)])
    def test_grey(self, tmp_path: Path, depth: int, value: int) -> None:
        white = 2**depth - 1
        codes = np.arange(40 * 41).reshape(40, 41) % (white + 1)
        path = write_png(tmp_path / "grey.png", codes, depth, (b"tRNS", struct.pack(">H", value)))
        with pytest.raises(ImageFileError, match="not opaque"):
            read_image(path)
        expected = np.where(codes == value, 1, codes / white).astype(np.float32)
        torch.testing.assert_close(read_image(path, alpha="white"), torch.from_numpy(expected).expand(3, -1, -1))

    @pytest.mark.parametrize("high_byte", [0, 0x100], ids=["as stored", "of 16 bits"])
    def test_colour(self, tmp_path: Path, high_byte: int) -> None:
        colour = PHOTO[3, 4].astype(int)
        path = write_png(tmp_path / "rgb.png", PHOTO, 8, (b"tRNS", struct.pack(">3H", *(colour + high_byte))))
        expected = np.where((colour == PHOTO).all(axis=2, keepdims=True), 255, PHOTO)
        assert torch.equal(read_image(path, alpha="white"), as_tensor(expected))

    def test_a_value_that_does_not_occur_leaves_the_image_opaque(self, tmp_path: Path) -> None:
        codes = np.zeros((8, 8), int)
        assert not read_image(write_png(tmp_path / "grey.png", codes, 2, (b"tRNS", b"\0\3"))).any()


def gamma_chunk(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


class TestStatedColour:
    @pytest.mark.parametrize(
        ("chunk", "message"),
        [
            (gamma_chunk(1), "gAMA chunk says linear light"),
            (gamma_chunk(1 / 1.8), "gAMA chunk says light to the power of 0.55556"),
            ((b"cHRM", struct.pack(">8I", *P3)), "cHRM chunk says"),
            ((b"cICP", bytes([9, 16, 0, 1])), r"primaries of BT.2020, PQ \(HDR\)"),
            ((b"cICP", bytes([9, 18, 0, 1])), r"primaries of BT.2020, HLG \(HDR\)"),
            ((b"cICP", bytes([12, 13, 0, 1])), "primaries of Display P3"),
            ((b"cICP", bytes([1, 13, 0, 0])), "the narrow range"),
            ((b"cICP", bytes([1, 13, 1, 1])), "matrix 1"),
            ((b"cICP", bytes([99, 98, 0, 1])), "primaries of number 99, transfer function 98"),
        ],
    )
    def test_far_from_srgb_is_refused(self, tmp_path: Path, chunk: tuple[bytes, bytes], message: str) -> None:
        path = write_png(tmp_path / "other.png", PHOTO, 8, chunk)
        with pytest.raises(ImageFileError, match=message) as caught:
            read_image(path)
        assert "srgb.png" in caught.value.fix

    @pytest.mark.parametrize(
        "chunks",
        [
            [gamma_chunk(1 / 2.2), (b"cHRM", struct.pack(">8I", *SRGB))],
            [gamma_chunk(1 / 1.961), (b"cICP", bytes([1, 1, 0, 1]))],  # a frame of BT.709 video, from ffmpeg
            [(b"cICP", bytes([1, 13, 0, 1])), gamma_chunk(1)],  # cICP outranks gAMA
            [(b"sRGB", b"\0"), gamma_chunk(1), (b"cHRM", struct.pack(">8I", *P3))],  # so does sRGB
            [gamma_chunk(0)],  # means nothing
        ],
    )
    def test_srgb_and_what_is_taken_for_it_is_read(self, tmp_path: Path, chunks: list[tuple[bytes, bytes]]) -> None:
        assert torch.equal(read_image(write_png(tmp_path / "photo.png", PHOTO, 8, *chunks)), as_tensor(PHOTO))

    @pytest.mark.parametrize("gamma", [1, 1 / 1.8])
    def test_the_fix_for_a_gamma_gives_the_picture_in_srgb(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gamma: float
    ) -> None:
        srgb = PHOTO / 255
        light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        codes = (light**gamma * 255).round().astype(int)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ImageFileError) as caught:
            read_image(write_png(tmp_path / "linear.png", codes, 8, gamma_chunk(gamma)))
        exec(caught.value.fix)
        error = (read_image(tmp_path / "linear_srgb.png") - as_tensor(PHOTO)).abs()
        assert error.mean() < 0.01  # what 8 bits of linear light lose, most of it in the shadows

    def test_of_16_bits_nothing_is_lost_by_a_fix(self, tmp_path: Path) -> None:
        deep = PHOTO.astype(np.uint16) * 257
        for name, chunk in (("linear", gamma_chunk(1.0)), ("wrong", (b"cICP", bytes([9, 16, 0, 1])))):
            with pytest.raises(ImageFileError) as caught:
                read_image(write_png(tmp_path / f"{name}.png", deep, 16, chunk))
            assert caught.value.fix == "export it as sRGB of 16 bits from the program that made it"

    def test_the_fix_for_a_wrong_chunk_drops_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ImageFileError) as caught:
            read_image(write_png(tmp_path / "wrong.png", PHOTO, 8, (b"cICP", bytes([9, 16, 0, 1]))))
        exec(caught.value.fix.partition("drop the chunk: ")[2], {"Image": Image})
        assert torch.equal(read_image(tmp_path / "wrong_srgb.png"), as_tensor(PHOTO))
