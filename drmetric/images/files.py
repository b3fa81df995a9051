"""Image files in, float RGB tensors out.

Pixel values are sRGB code values, as almost all files hold: nothing is linearised. 8-bit files with an embedded profile
of another colour space are converted, and ``drmetric doctor`` names them; what says otherwise that its values are
not sRGB (chunks of a PNG, code points of an AVIF) and 16-bit files with such a profile are refused.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageOps, UnidentifiedImageError, features
from PIL.ImageFile import ImageFile

from drmetric.errors import DrmetricError, ImageFileError, InputError, quoted
from drmetric.images import avif, png
from drmetric.images.checks import as_floats, check_image
from drmetric.images.damage import damage
from drmetric.images.geometry import to_8_bit
from drmetric.images.profiles import Profile, read_profile
from drmetric.images.samples import (
    bit_depth,
    is_wide_grey,
    layout_error,
    raw_mode,
    read_wide_colour,
    read_wide_grey,
    rgb_bytes,
    tiff_tag,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "Alpha",
    "composite",
    "decode",
    "list_images",
    "open_image",
    "profile_of",
    "read_bytes",
    "read_image",
    "read_image_bytes",
    "read_pixels",
    "read_size",
    "save_image",
    "stated_colour",
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
_TIFF_SAMPLE_FORMAT = 339
_TIFF_SIGNED = 2


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
            a kind that is not read: CMYK and Lab, PNG and AVIF that say (gAMA, cHRM, cICP, nclx) that their values are
            far from sRGB, profiles that cannot be applied, signed, 12- or 32-bit integers, floats other than grey in
            [0, 1].
            Or it is beyond Pillow's guard against decompression bombs (about 179 megapixels; above 89 Pillow only
            warns), which is left to the user because it is global.
        InputError: an unknown `alpha`.
    """
    return read_image_bytes(read_bytes(path), path, alpha)


def read_image_bytes(data: bytes, path: str | Path, alpha: Alpha = "refuse") -> torch.Tensor:
    """`read_image` of a file whose bytes were read before; its path is for the messages. Raises what that does."""
    return as_floats(read_pixels(data, path, alpha))


def read_pixels(data: bytes, path: str | Path, alpha: Alpha = "refuse") -> torch.Tensor:
    """As `read_image_bytes`, but (3, H, W) uint8 where the file has 8 bits a channel."""
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
    """The bytes of a file as RGB (3, H, W) and opacity (1, H, W), both uint8, or float32 in [0, 1] of more bits.

    The opacity is None where every pixel is opaque. Raises what `read_image` does.
    """
    with open_image(path, data) as image:
        _refuse_misread(image, data, path)
        profile = _usable_profile(image, data, path)
        if is_wide_grey(image):
            pixels = read_wide_grey(image, path)
            _refuse_damaged(image, data, path)
        elif bit_depth(image) == 16:
            with open_image(path, data) as again:
                pixels = read_wide_colour(image, again, path)
            _refuse_damaged(image, data, path)
        else:
            _refuse_unreadable_kind(image, path)
            _mend_transparency(image, data)
            image.load()
            _refuse_damaged(image, data, path)  # which looks at the rows as they are stored
            ImageOps.exif_transpose(image, in_place=True)
            pixels = torch.from_numpy(rgb_bytes(image, profile))
    rgb, opacity = pixels[:3].contiguous(), pixels[3:]
    return rgb, opacity if len(opacity) and as_floats(opacity.min()) < 1 else None


def composite(rgb: torch.Tensor, opacity: torch.Tensor, background: Alpha) -> torch.Tensor:
    """Lay RGB (3, H, W) over a white or black background by its opacity (1, H, W); floats."""
    rgb, opacity = as_floats(rgb), as_floats(opacity)
    over_black = rgb * opacity
    return over_black + (1 - opacity) if background == "white" else over_black


def transparency_error(path: str | Path, opacity: torch.Tensor) -> ImageFileError:
    """The error for a file with pixels that are not opaque."""
    share = float((as_floats(opacity) < 1).float().mean())
    return ImageFileError(
        f"{path}: {share:.2%} of the pixels are not opaque, and what is behind them would change the score",
        f'read_image({str(path)!r}, alpha="white")  # or "black"; on the command line: --alpha white',
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
                    f"save each as a file of its own: magick {quoted(path, path.stem + '_%03d.png')}",
                )
            yield image
    except DrmetricError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageFileError(
            f"{path} is beyond Pillow's pixel limit ({error})",
            "import PIL.Image; PIL.Image.MAX_IMAGE_PIXELS = None  # if you trust the file",
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
    with open_image(path) as image, Path(path).open("rb") as stream:
        # Pillow's own way to the EXIF of a PNG decodes it, in case that it comes at the end.
        is_known = image.format == "PNG" and not png.turns_late(stream)
        exif = Image.Image.getexif(image) if is_known else image.getexif()
        return image.size if exif.get(EXIF_ORIENTATION, 1) >= 5 else (image.height, image.width)


def _check_file(path: Path) -> None:
    if not path.exists():
        raise ImageFileError(f"{path} does not exist", "check the path")
    if path.is_dir():
        raise ImageFileError(f"{path} is a folder; wanted an image file", f"list_images({str(path)!r})")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageFileError(
            f"{path} has the suffix {path.suffix!r}; wanted one of {_suffixes()}",
            f"save it as PNG: magick {quoted(path, path.stem + '.png')}",
        )
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path} is empty (0 bytes)", "write or copy it again")


def _suffixes() -> str:
    return " ".join(sorted(IMAGE_SUFFIXES))


def _refuse_misread(image: ImageFile, data: bytes, path: str | Path) -> None:
    """Refuse what Pillow decodes as if it were unsigned, or sRGB."""
    formats = tiff_tag(image, _TIFF_SAMPLE_FORMAT)
    if isinstance(formats, tuple) and _TIFF_SIGNED in formats:
        raise layout_error(path, "signed samples")
    stated, gamma = stated_colour(image, data)
    if stated:
        raise ImageFileError(
            f"{path} would be read as sRGB, but {stated}", png.to_srgb(Path(path), gamma, bit_depth(image))
        )


def stated_colour(image: ImageFile, data: bytes) -> tuple[str, float | None]:
    """How the values are meant, where that is far from sRGB (else empty), but by a profile; and the gAMA of a PNG."""
    if image.format == "PNG":
        return png.stated_colour(data)
    is_told = image.format == "AVIF" and "icc_profile" not in image.info
    return avif.stated_colour(data) if is_told else "", None


def profile_of(image: ImageFile, data: bytes) -> Profile | None:
    """The embedded profile that counts."""
    embedded = image.info.get("icc_profile")
    if not embedded or (image.format == "PNG" and png.has_code_points(data)):
        return None
    is_grey = image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I")
    return read_profile(embedded, is_grey)


def _usable_profile(image: ImageFile, data: bytes, path: str | Path) -> Profile | None:
    """The embedded profile by which pixels are converted; raises `ImageFileError` where they cannot be."""
    profile = profile_of(image, data)
    if profile is None or profile.is_srgb:
        return None
    problem = profile.problem
    if not problem and (bit_depth(image) > 8 or is_wide_grey(image)):
        problem = "it has more than 8 bits a channel, which are not converted"
    if problem:
        target = f"{Path(path).stem}_srgb.png"
        drop = f"from PIL import Image; Image.open({str(path)!r}).save({target!r}, icc_profile=None)"
        is_kept = bit_depth(image) <= 8 or is_wide_grey(image)  # by Pillow, which makes 8 bits of deeper colours
        wrong = f"; if its values are sRGB all the same, drop the profile: {drop}" if is_kept else ""
        raise ImageFileError(f"{path} has the colour profile {profile.name}: {problem}", f"export it as sRGB{wrong}")
    return profile


def _refuse_damaged(image: ImageFile, data: bytes, path: str | Path) -> None:
    if found := damage(image, data):
        raise ImageFileError(f"{path} is damaged: {found}", "write or copy it again")


def _mend_transparency(image: ImageFile, data: bytes) -> None:
    """Pillow looks for a transparent grey of 2 or 4 bits among 8-bit values, as it stands in the file."""
    value = png.transparent_value(data) if image.format == "PNG" else None
    if value is not None:
        image.info["transparency"] = value


def _refuse_unreadable_kind(image: ImageFile, path: str | Path) -> None:
    if image.mode in ("CMYK", "LAB", "HSV"):
        raise ImageFileError(
            f"{path} is a {image.mode} image; wanted RGB or grey (converting needs a colour profile)",
            f"magick {quoted(path)} -colorspace sRGB rgb.png",
        )
    if image.mode not in _NARROW_MODES or _is_rescaled_ppm(image):
        raise layout_error(path, f"{image.mode} pixels stored as {raw_mode(image) or 'an unknown layout'}")


def _is_rescaled_ppm(image: ImageFile) -> bool:
    """Whether Pillow would stretch the samples of a PPM to 8 bits: their white is neither 1 nor 255."""
    if image.format != "PPM":
        return False
    stretched = [tile[3] for tile in image.tile if tile[0].startswith("ppm")]
    return any(isinstance(arguments, tuple) and arguments[-1] not in (1, 255) for arguments in stretched)
