"""The samples of an opened image file as numbers: how many bits they have, and all 16 of those that have so many."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from drmetric.errors import ImageFileError, quoted
from drmetric.images.profiles import Profile

__all__ = [
    "bit_depth",
    "is_wide_grey",
    "layout_error",
    "raw_mode",
    "read_wide_colour",
    "read_wide_grey",
    "rgb_bytes",
    "tiff_tag",
]


_WIDE_GREY = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I;16R"})
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANAR = 258, 262, 284

# Pillow keeps one byte of each 16-bit colour sample: the high one. The unpacker of the opposite byte order
# keeps the low one, so decoding twice recovers all 16 bits. kornia_rs 0.2, which kornia installs, reads 16-bit PNG and
# RGB TIFF exactly, but no RGBA TIFF, and planar TIFF wrongly without an error: it would be a second reader beside this.
_ROWS = 256
_FOREIGN = "B" if sys.byteorder == "little" else "L"
_LOW_BYTE_MODE = {
    f"{mode};16{order}": f"{mode};16{opposite}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, opposite in (("B", "L"), ("L", "B"), ("N", _FOREIGN))
}


def bit_depth(image: ImageFile) -> int:
    """Bits a channel, as stored, of an image opened but not yet loaded; fewer than 8 count as 8."""
    if image.format == "TIFF":
        bits = tiff_tag(image, _TIFF_BITS)
        return max(8, *bits) if isinstance(bits, tuple) else 8
    return 16 if image.format == "PNG" and ";16" in raw_mode(image) else 8


def is_wide_grey(image: ImageFile) -> bool:
    """Whether the file holds grey of 16 bits or of floats."""
    return image.mode == "F" or raw_mode(image) in _WIDE_GREY


def raw_mode(image: ImageFile) -> str:
    """How the samples are laid out in the file, in Pillow's terms; empty where the decoder does not say."""
    return _raw_mode_of(image.tile[0][3]) if image.tile else ""


def _raw_mode_of(decoder_args: object) -> str:
    first = decoder_args[0] if isinstance(decoder_args, tuple) and decoder_args else decoder_args
    return first if isinstance(first, str) else ""


def layout_error(path: str | Path, what: str) -> ImageFileError:
    """The error for samples of a kind that is not read."""
    return ImageFileError(
        f"{path} holds {what}; wanted 8- or 16-bit unsigned RGB or grey",
        f"magick {quoted(path)} -colorspace sRGB -alpha off PNG48:rgb.png",
    )


def read_wide_grey(image: ImageFile, path: str | Path) -> torch.Tensor:
    """Grey of 16 bits or of floats, as (3, H, W)."""
    if "transparency" in image.info:
        raise layout_error(path, "16-bit grey with a transparent colour")
    if tiff_tag(image, _TIFF_PHOTOMETRIC) == 0:
        raise layout_error(path, f"{image.mode} grey in which 0 is white")
    scale = 1 if image.mode == "F" else 65535
    grey = np.asarray(ImageOps.exif_transpose(image)).astype(np.float32) / np.float32(scale)
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= 1):
        raise ImageFileError(
            f"{path} holds floats from {low:g} to {high:g}; wanted 0 to 1",
            f"save it as 16 bits with white at 65535; now white is at about {high:g}",
        )
    return torch.from_numpy(grey).expand(3, -1, -1)


def read_wide_colour(image: ImageFile, again: ImageFile, path: str | Path) -> torch.Tensor:
    """RGB or RGBA of 16 bits, as (3 or 4, H, W), of an image that was opened twice."""
    if raw_mode(image) not in _LOW_BYTE_MODE:
        raise layout_error(path, f"16-bit samples stored as {raw_mode(image)}")
    if tiff_tag(image, _TIFF_PLANAR) == 2:
        raise layout_error(path, "16-bit samples in separate planes")
    if "transparency" in image.info:
        raise layout_error(path, "16-bit colour with a transparent colour")
    samples = torch.from_numpy(rgb_bytes(ImageOps.exif_transpose(image))).int().mul_(256)
    again.tile = [_low_byte_tile(tile) for tile in again.tile]
    samples.add_(torch.from_numpy(rgb_bytes(ImageOps.exif_transpose(again))))
    return samples.float().div_(65535)


def _low_byte_tile(tile: Any) -> Any:
    codec, extents, offset, decoder_args = tile
    low_mode = _LOW_BYTE_MODE[_raw_mode_of(decoder_args)]
    swapped = (low_mode, *decoder_args[1:]) if isinstance(decoder_args, tuple) else low_mode
    make = getattr(tile, "_make", tuple)  # a named tuple since Pillow 11
    return make((codec, extents, offset, swapped))


def rgb_bytes(image: Image.Image, profile: Profile | None = None) -> np.ndarray:
    """A picture as uint8 (3, H, W), or (4, H, W) with alpha, brought to sRGB, some rows at a time."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    width, height = image.size
    pixels = np.empty((len(mode), height, width), np.uint8)
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        band = image.crop((0, top, width, bottom))
        pixels[:, top:bottom] = np.asarray(band.convert(mode)).transpose(2, 0, 1)
        if profile is not None and not profile.is_srgb:
            pixels[:3, top:bottom] = np.asarray(profile.convert(band)).transpose(2, 0, 1)
    return pixels


def tiff_tag(image: ImageFile, tag: int) -> object:
    """The value of a tag of a TIFF; None where there is none, and in other formats."""
    return image.tag_v2.get(tag) if image.format == "TIFF" else None  # type: ignore[attr-defined]
