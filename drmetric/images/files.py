"""Image files in, float RGB tensors out.

Pixel values are taken as they are stored (almost always sRGB code values): nothing is linearised and no
colour profile is applied, as is usual in the restoration literature. ``drmetric doctor`` names the files
whose embedded profile is not sRGB; a PNG whose chunks say linear light, HDR or a wide gamut is refused.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError, features
from PIL.ImageFile import ImageFile

from drmetric.errors import DrmetricError, ImageFileError, InputError
from drmetric.images import png
from drmetric.images.checks import check_image
from drmetric.images.damage import damage
from drmetric.images.geometry import to_8_bit

__all__ = [
    "IMAGE_SUFFIXES",
    "Alpha",
    "bit_depth",
    "composite",
    "decode",
    "list_images",
    "open_image",
    "read_bytes",
    "read_image",
    "read_image_bytes",
    "read_size",
    "save_image",
    "transparency_error",
    "unread_files",
    "visible_files",
]


_AVIF = "avif" in features.modules and bool(features.check("avif"))
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm"}
    | ({".avif"} if _AVIF else set())
)
"""Suffixes (in lower case) of the files that `read_image` reads and `list_images` finds."""

EXIF_ORIENTATION = 274
"""The tag; from 5 on the picture is stored on its side."""
Alpha = Literal["refuse", "white", "black"]

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", *(("AVIF",) if _AVIF else ()))
_NARROW_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"})
_WIDE_GREY = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I;16R"})
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANAR, _TIFF_SAMPLE_FORMAT = 258, 262, 284, 339
_TIFF_SIGNED = 2

# Pillow keeps one byte of each 16-bit colour sample: the high one. The unpacker of the opposite byte order
# keeps the low one, so decoding twice recovers all 16 bits. kornia_rs 0.2, which kornia installs, reads 16-bit PNG and
# RGB TIFF exactly, but no RGBA TIFF, and planar TIFF wrongly without an error: it would be a second reader beside this.
_FOREIGN = "B" if sys.byteorder == "little" else "L"
_LOW_BYTE_MODE = {
    f"{mode};16{order}": f"{mode};16{opposite}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, opposite in (("B", "L"), ("L", "B"), ("N", _FOREIGN))
}


def read_image(path: str | Path, *, alpha: Alpha = "refuse") -> torch.Tensor:
    """Read a PNG, JPEG, WebP, TIFF, BMP, PPM or AVIF file of 8 or 16 bits a channel, or a GIF's first frame, as RGB.

    The EXIF orientation is applied, palettes are looked up, and grey becomes three equal channels. All 16
    bits survive. A fully opaque alpha channel is dropped.

    Args:
        path: the file.
        alpha: what to do if some pixels are not opaque: "refuse" the file, or lay it over "white" or "black".

    Returns:
        A contiguous float32 tensor (3, H, W) in [0, 1].

    Raises:
        ImageFileError: the file is missing, broken or visibly damaged, animated or multi-page, transparent, or of
            a kind that is not read: CMYK and Lab (they need a colour profile), PNG whose chunks (gAMA, cHRM, cICP)
            say that its values are far from sRGB, signed, 12- or 32-bit integers, floats other than grey in [0, 1].
            Or it is beyond Pillow's guard against decompression bombs (about 179 megapixels; above 89 Pillow only
            warns), which is left to the user because it is global.
        InputError: an unknown `alpha`.
    """
    return read_image_bytes(read_bytes(path), path, alpha)


def read_image_bytes(data: bytes, path: str | Path, alpha: Alpha = "refuse") -> torch.Tensor:
    """`read_image` of a file whose bytes were read before; its path is for the messages. Raises what that does."""
    if alpha not in ("refuse", "white", "black"):
        raise InputError(f"alpha is {alpha!r}; wanted 'refuse', 'white' or 'black'", 'alpha="white"')
    rgb, opacity = decode(data, path)
    if opacity is None:
        return rgb
    if alpha == "refuse":
        raise transparency_error(path, opacity)
    return composite(rgb, opacity, alpha)


def save_image(image: torch.Tensor, path: str | Path) -> None:
    """Write an image (3, H, W) or (1, H, W) in [0, 1] as an 8-bit RGB PNG, values rounded to the nearest.

    Raises:
        InputError: an image that `check_image` refuses, or a path that does not end in ``.png``.
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"{path} does not end in .png, the one format written", f'"{Path(path).stem}.png"')
    if image.ndim != 3:
        raise InputError(f"image has the shape {tuple(image.shape)}; wanted (3, H, W)", "save_image(image[0], path)")
    rgb = check_image(image.detach().unsqueeze(0))[0]
    codes = to_8_bit(rgb).cpu()
    Image.fromarray(codes.permute(1, 2, 0).contiguous().numpy()).save(path, format="PNG")


def decode(data: bytes, path: str | Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The bytes of a file as RGB (3, H, W) and opacity (1, H, W), both float32 in [0, 1].

    The opacity is None where every pixel is opaque. Raises what `read_image` does.
    """
    with open_image(path, data) as image:
        _refuse_misread(image, data, path)
        if image.mode == "F" or _raw_mode(image) in _WIDE_GREY:
            pixels = _read_wide_grey(image, path)
        elif bit_depth(image) == 16:
            pixels = _read_wide_colour(image, data, path)
        else:
            _refuse_unreadable_kind(image, path)
            _mend_transparency(image, data)
            pixels = torch.from_numpy(_rgb_bytes(image)).permute(2, 0, 1).float().div_(255)
        if found := damage(image, data):
            raise ImageFileError(f"{path} is damaged: {found}", "write or copy it again")
    rgb, opacity = pixels[:3].contiguous(), pixels[3:]
    return rgb, opacity if len(opacity) and opacity.min() < 1 else None


def composite(rgb: torch.Tensor, opacity: torch.Tensor, background: Alpha) -> torch.Tensor:
    """Lay RGB (3, H, W) over a white or black background by its opacity (1, H, W)."""
    over_black = rgb * opacity
    return over_black + (1 - opacity) if background == "white" else over_black


def transparency_error(path: str | Path, opacity: torch.Tensor) -> ImageFileError:
    """The error for a file with pixels that are not opaque."""
    share = float((opacity < 1).float().mean())
    return ImageFileError(
        f"{path}: {share:.2%} of the pixels are not opaque, and what is behind them would change the score",
        f'read_image("{path}", alpha="white") or "black"; on the command line: --alpha white',
    )


def list_images(folder: str | Path) -> list[Path]:
    """All image files below a folder, sorted; hidden files and folders are left out.

    Raises:
        ImageFileError: the folder does not exist, or holds no file with one of `IMAGE_SUFFIXES`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"{folder} is not a folder", "check the path; a single file is read by read_image")
    images = sorted(file for file in visible_files(folder) if file.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise ImageFileError(f"{folder} holds no image", f"give a folder with files in {_suffixes()}")
    return images


def visible_files(folder: Path) -> Iterator[Path]:
    """Files below a folder without those that are hidden or lie in a hidden folder.

    Links are followed, save for those to a folder that they lie in; a link to nothing counts as a file.
    """
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        above = {os.path.realpath(each) for each in (here, *here.parents)}
        folders[:] = [
            name for name in folders if not name.startswith(".") and os.path.realpath(here / name) not in above
        ]
        for name in names:
            path = here / name
            if not name.startswith(".") and (path.is_file() or path.is_symlink()):
                yield path


def unread_files(paths: Iterable[Path]) -> str:
    """How many visible files of folders have which suffix that is not read, in words; empty where there are none."""
    suffixes = Counter(
        file.suffix.lower() or "no suffix"
        for path in paths
        if path.is_dir()
        for file in visible_files(path)
        if file.suffix.lower() not in IMAGE_SUFFIXES
    )
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))


def read_bytes(path: str | Path) -> bytes:
    """What an image file holds, to be decoded; raises `ImageFileError`."""
    path = Path(path)
    _check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read ({error})", "check its permissions and its disk") from error


@contextmanager
def open_image(path: str | Path, data: bytes | None = None) -> Iterator[ImageFile]:
    """Open a single-frame image with Pillow; whatever fails inside the block becomes an `ImageFileError`.

    Args:
        path: the file.
        data: its bytes, if they were read before.
    """
    path = Path(path)
    if data is None:
        _check_file(path)
    try:
        # By stream, not by name: Pillow maps a named file into memory and then scrambles rotated grey TIFFs.
        with (
            path.open("rb") if data is None else BytesIO(data) as stream,
            Image.open(stream, formats=_FORMATS) as image,
        ):
            # A JPEG of format MPO carries extra pictures (a preview, a gain map) after the main one; of a GIF the first
            # frame is read.
            if image.format not in ("MPO", "GIF") and getattr(image, "n_frames", 1) > 1:
                raise ImageFileError(
                    f"{path} holds {image.n_frames} frames or pages; wanted one",  # type: ignore[attr-defined]
                    f'save each as a file of its own: magick "{path}" "{path.stem}_%03d.png"',
                )
            yield image
    except DrmetricError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageFileError(
            f"{path} is beyond Pillow's pixel limit ({error})",
            "if you trust the file: import PIL.Image; PIL.Image.MAX_IMAGE_PIXELS = None",
        ) from error
    except UnidentifiedImageError as error:
        raise ImageFileError(
            f"{path} cannot be read (cannot identify the image: no format that is read begins so)",
            "write or copy it again; if other programs do open it, save it as an 8- or 16-bit RGB PNG",
        ) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        raise ImageFileError(
            f"{path} cannot be read ({type(error).__name__}: {error})",
            "write or copy it again; if other programs do open it, save it as an 8- or 16-bit RGB PNG",
        ) from error


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a file's upright picture in pixels, without decoding it; raises what `read_image` does."""
    with open_image(path) as image:
        turned = image.getexif().get(EXIF_ORIENTATION, 1) >= 5
        return image.size if turned else (image.height, image.width)


def bit_depth(image: ImageFile) -> int:
    """Bits a channel, as stored, of an image opened but not yet loaded; fewer than 8 count as 8."""
    if image.format == "TIFF":
        bits = _tiff_tag(image, _TIFF_BITS)
        return max(8, *bits) if isinstance(bits, tuple) else 8
    return 16 if image.format == "PNG" and ";16" in _raw_mode(image) else 8


def _check_file(path: Path) -> None:
    if not path.exists():
        raise ImageFileError(f"{path} does not exist", "check the path")
    if path.is_dir():
        raise ImageFileError(f"{path} is a folder; wanted an image file", f'list_images("{path}")')
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageFileError(
            f"{path} has the suffix {path.suffix!r}; wanted one of {_suffixes()}",
            f'save it as PNG: magick "{path}" "{path.stem}.png"',
        )
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path} is empty (0 bytes)", "write or copy it again")


def _suffixes() -> str:
    return " ".join(sorted(IMAGE_SUFFIXES))


def _raw_mode(image: ImageFile) -> str:
    """How the samples are laid out in the file, in Pillow's terms; empty where the decoder does not say."""
    return _raw_mode_of(image.tile[0][3]) if image.tile else ""


def _raw_mode_of(decoder_args: object) -> str:
    first = decoder_args[0] if isinstance(decoder_args, tuple) and decoder_args else decoder_args
    return first if isinstance(first, str) else ""


def _refuse_misread(image: ImageFile, data: bytes, path: str | Path) -> None:
    """Refuse what Pillow decodes as if it were unsigned, or sRGB."""
    formats = _tiff_tag(image, _TIFF_SAMPLE_FORMAT)
    if isinstance(formats, tuple) and _TIFF_SIGNED in formats:
        raise _layout_error(path, "signed samples")
    stated, gamma = png.stated_colour(data) if image.format == "PNG" else ("", None)
    if stated:
        raise ImageFileError(f"{path} would be read as sRGB, but {stated}", png.to_srgb(Path(path), gamma))


def _mend_transparency(image: ImageFile, data: bytes) -> None:
    """Pillow looks for a transparent grey of 2 or 4 bits among 8-bit values, as it stands in the file."""
    value = png.transparent_value(data) if image.format == "PNG" else None
    if value is not None:
        image.info["transparency"] = value


def _refuse_unreadable_kind(image: ImageFile, path: str | Path) -> None:
    if image.mode in ("CMYK", "LAB", "HSV"):
        raise ImageFileError(
            f"{path} is a {image.mode} image; wanted RGB or grey (converting needs a colour profile)",
            f'magick "{path}" -colorspace sRGB rgb.png',
        )
    if image.mode not in _NARROW_MODES or _is_rescaled_ppm(image):
        raise _layout_error(path, f"{image.mode} pixels stored as {_raw_mode(image) or 'an unknown layout'}")


def _is_rescaled_ppm(image: ImageFile) -> bool:
    """Whether Pillow would stretch the samples of a PPM to 8 bits: their white is neither 1 nor 255."""
    if image.format != "PPM":
        return False
    stretched = [tile[3] for tile in image.tile if tile[0].startswith("ppm")]
    return any(isinstance(arguments, tuple) and arguments[-1] not in (1, 255) for arguments in stretched)


def _layout_error(path: str | Path, what: str) -> ImageFileError:
    return ImageFileError(
        f"{path} holds {what}; wanted 8- or 16-bit unsigned RGB or grey",
        f'magick "{path}" -colorspace sRGB -depth 16 rgb.png',
    )


def _read_wide_grey(image: ImageFile, path: str | Path) -> torch.Tensor:
    """Grey of 16 bits or of floats, as (3, H, W)."""
    if "transparency" in image.info:
        raise _layout_error(path, "16-bit grey with a transparent colour")
    if _tiff_tag(image, _TIFF_PHOTOMETRIC) == 0:
        raise _layout_error(path, f"{image.mode} grey in which 0 is white")
    scale = 1 if image.mode == "F" else 65535
    grey = np.asarray(ImageOps.exif_transpose(image)).astype(np.float32) / np.float32(scale)
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= 1):
        raise ImageFileError(
            f"{path} holds floats from {low:g} to {high:g}; wanted 0 to 1",
            f"save it as 16 bits with white at 65535; now white is at about {high:g}",
        )
    return torch.from_numpy(grey).expand(3, -1, -1)


def _read_wide_colour(image: ImageFile, data: bytes, path: str | Path) -> torch.Tensor:
    """RGB or RGBA of 16 bits, as (3 or 4, H, W)."""
    if _raw_mode(image) not in _LOW_BYTE_MODE:
        raise _layout_error(path, f"16-bit samples stored as {_raw_mode(image)}")
    if _tiff_tag(image, _TIFF_PLANAR) == 2:
        raise _layout_error(path, "16-bit samples in separate planes")
    if "transparency" in image.info:
        raise _layout_error(path, "16-bit colour with a transparent colour")
    high = _rgb_bytes(image)
    with open_image(path, data) as again:
        again.tile = [_low_byte_tile(tile) for tile in again.tile]
        low = _rgb_bytes(again)
    samples = torch.from_numpy(high).int().mul_(256).add_(torch.from_numpy(low))
    return samples.permute(2, 0, 1).float().div_(65535)


def _low_byte_tile(tile: Any) -> Any:
    codec, extents, offset, decoder_args = tile
    low_mode = _LOW_BYTE_MODE[_raw_mode_of(decoder_args)]
    swapped = (low_mode, *decoder_args[1:]) if isinstance(decoder_args, tuple) else low_mode
    make = getattr(tile, "_make", tuple)  # a named tuple since Pillow 11
    return make((codec, extents, offset, swapped))


def _rgb_bytes(image: ImageFile) -> np.ndarray:
    """The upright picture as uint8 (H, W, 3), or (H, W, 4) with alpha."""
    upright = ImageOps.exif_transpose(image)
    return np.array(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))


def _tiff_tag(image: ImageFile, tag: int) -> object:
    return image.tag_v2.get(tag) if image.format == "TIFF" else None  # type: ignore[attr-defined]
