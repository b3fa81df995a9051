"""What may be wrong with image files before they are scored: one finding at a time, as data."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from PIL.ImageFile import ImageFile

from drmetric.errors import ImageFileError, quoted
from drmetric.images import png
from drmetric.images.checks import as_floats
from drmetric.images.files import (
    EXIF_ORIENTATION,
    Alpha,
    composite,
    decode,
    list_images,
    open_image,
    profile_of,
    read_bytes,
    stated_colour,
    transparency_error,
    unread_files,
)
from drmetric.images.samples import bit_depth

__all__ = ["LEAST_SIDE", "LEAST_TAIL", "TILED_ABOVE", "Finding", "Level", "inspect", "summary"]


Level = Literal["ok", "note", "warning", "error"]

LEAST_SIDE = 32
"""Pixels below which an image cannot be scored; its degraded input may have fewer."""
LEAST_TAIL = 8
"""Rows of one colour, at least, with which a file that was cut short ends: JPEG is coded in blocks of 8."""
TILED_ABOVE = 50_000_000
"""Pixels above which an image is large enough for a note on time and memory."""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        file: the file or folder, as it was given.
        level: "ok" (nothing to say about the file), "note" (good to know), "warning" (the score may mean
            something else than you think) or "error" (it will not be scored).
        check: which check found it, in a word or two.
        message: what was found.
        fix: the line or the step that mends it; empty for a note that asks for nothing.
    """

    file: str
    level: Level
    check: str
    message: str
    fix: str = ""


def inspect(
    paths: str | Path | Iterable[str | Path], alpha: Alpha = "refuse", degraded: str | Path | None = None
) -> Iterator[Finding]:
    """Look into image files, and all image files below folders, for what would spoil their scores.

    Findings come file by file, each file at least once; those about identical pixels come last. Nothing is
    raised for a bad path or file: that is a finding of level "error".

    Args:
        paths: a file or folder, or several; identical images below two of them are an "identical pair".
        alpha: what the scoring will do about transparency, as in `drmetric.images.read_image`.
        degraded: the inputs of these images, looked into as well; they may be small, as the scoring enlarges them.
    """
    roots = [(Path(path), LEAST_SIDE) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    roots += [(Path(degraded), 1)] if degraded is not None else []
    same_pixels: dict[str, list[tuple[Path, Path]]] = defaultdict(list)
    for root, least in roots:
        try:
            files = list_images(root) if root.is_dir() else [root]
        except ImageFileError as error:
            yield Finding(str(root), "error", "folder", error.problem, error.fix)
            continue
        if root.is_dir():
            yield from _skipped(root)
        for file in files:
            findings, digest = _inspect_file(file, alpha, least)
            yield from findings
            if digest:
                same_pixels[digest].append((root, file))
    for copies in same_pixels.values():
        if len(copies) > 1:
            yield _identical(copies)


def summary(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each level, all four levels included."""
    counts = Counter(finding.level for finding in findings)
    return {level: counts[level] for level in get_args(Level)}


def _skipped(folder: Path) -> Iterator[Finding]:
    if kinds := unread_files([folder]):
        yield Finding(str(folder), "note", "skipped", f"files that are not read as images: {kinds}")


def _inspect_file(file: Path, alpha: Alpha, least: int) -> tuple[list[Finding], str]:
    """Findings on one file, and a digest of its pixels (empty if it cannot be read)."""
    findings: list[Finding] = []
    try:
        data = read_bytes(file)
        with open_image(file, data) as image:
            depth = bit_depth(image)
            stored = f"{image.width} x {image.height} pixels, {depth}-bit {image.mode}, {image.format}"
            has_alpha = image.has_transparency_data
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
            is_bottom_up = _is_bottom_up(image)
            findings += [*_size(file, image, least), *_orientation(file, orientation), *_profile(file, image, data)]
            findings += [*_stated_colour(file, image, data), *_storage(file, image, depth), *_jpeg(file, image)]
            findings += _unchecked(file, image)
        rgb, opacity = decode(data, file)
        rgb = as_floats(rgb)
    except ImageFileError as error:
        return [*findings, Finding(str(file), "error", "unreadable", error.problem, error.fix)], ""
    if opacity is not None and alpha == "refuse":
        refusal = transparency_error(file, opacity)
        return [*findings, Finding(str(file), "error", "alpha", refusal.problem, refusal.fix)], ""
    if opacity is not None:
        findings.append(Finding(str(file), "note", "alpha", f"transparent pixels are laid over {alpha}"))
        rgb = composite(rgb, opacity, alpha)
    elif has_alpha:
        findings.append(Finding(str(file), "note", "alpha", "the alpha channel is opaque; it is dropped"))
    findings += _values(file, rgb, depth)
    findings += _tail(file, _as_stored(rgb, orientation, is_bottom_up))
    return findings or [Finding(str(file), "ok", "file", stored)], _digest(rgb)


def _size(file: Path, image: ImageFile, least: int) -> Iterator[Finding]:
    size = f"{image.width} x {image.height} pixels"
    if min(image.size) < least:
        yield Finding(
            str(file),
            "error",
            "size",
            f"{size}; at least {least} x {least} are needed",
            "leave it out, or score the image that it was cut from; enlarging it would change the score",
        )
    if image.width * image.height > TILED_ABOVE:
        yield Finding(str(file), "note", "size", f"{size}; it will be scored in tiles, which takes a while")


def _orientation(file: Path, orientation: int) -> Iterator[Finding]:
    if orientation != 1:
        yield Finding(
            str(file),
            "note",
            "orientation",
            f"EXIF orientation {orientation} is applied; programs that ignore it see another picture",
            f"magick {quoted(file)} -auto-orient {quoted(file.stem + '_upright.png')}",
        )


def _profile(file: Path, image: ImageFile, data: bytes) -> Iterator[Finding]:
    profile = profile_of(image, data)
    if profile is not None and profile.transform is not None:
        yield Finding(
            str(file),
            "warning",
            "colour profile",
            f"the embedded colour profile is {profile.name}: pixels are converted to sRGB, but a restorer that "
            "ignores profiles, as most do, sees other values, and its output differs from this file in colour",
            f"from drmetric.images import read_image, save_image; save_image(read_image({str(file)!r}), "
            f"{file.stem + '_srgb.png'!r})  # and restore that",
        )


def _stated_colour(file: Path, image: ImageFile, data: bytes) -> Iterator[Finding]:
    stated, gamma = stated_colour(image, data)
    if stated:
        message = f"{stated}; programs that ignore it see another picture"
        yield Finding(str(file), "warning", "colour chunk", message, png.to_srgb(file, gamma, bit_depth(image)))


def _storage(file: Path, image: ImageFile, depth: int) -> Iterator[Finding]:
    if depth > 8:
        yield Finding(str(file), "note", "bit depth", f"{depth} bits a channel; all of them count in the score")
    if image.mode in ("P", "PA"):
        yield Finding(str(file), "note", "palette", "stored with a palette of at most 256 colours")
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        yield Finding(str(file), "note", "grey", "stored as grey; scored as three equal channels")


def _unchecked(file: Path, image: ImageFile) -> Iterator[Finding]:
    """Decoders of these formats paint over damage that no checksum tells."""
    if image.format in ("AVIF", "GIF"):
        yield Finding(
            str(file),
            "warning",
            "unchecked",
            f"stored as {image.format}, in which damage is not seen: what is broken is read as some picture",
            "save restored images as PNG",
        )


def _jpeg(file: Path, image: ImageFile) -> Iterator[Finding]:
    if image.format in ("JPEG", "MPO"):
        yield Finding(
            str(file),
            "note",
            "compression",
            "stored as JPEG: right for a degraded input that came so, but it alters a restored image",
            "save restored images as PNG",
        )


def _values(file: Path, rgb: torch.Tensor, depth: int) -> Iterator[Finding]:
    low, high = (float(value) for value in rgb.aminmax())
    if low == high:
        yield Finding(
            str(file),
            "warning",
            "constant",
            f"every pixel is {high:g} of 1",
            "check what wrote it: floats in [0, 1] cast to 8 bits become all black",
        )
        return
    if depth == 8 and high < 2 / 255:
        yield Finding(
            str(file),
            "warning",
            "dark",
            "the largest of 255 is 1: it looks like floats in [0, 1] cast to 8 bits",
            '(array * 255).round().astype("uint8")  # when it is written',
        )
    used_bits = max(8, round(high * 65535).bit_length())
    if depth == 16 and used_bits <= 12:
        yield Finding(
            str(file),
            "warning",
            "dark",
            f"the largest of 65535 is {high * 65535:.0f}: it looks like {used_bits}-bit values in 16 bits",
            f'(array * (65535 / {2**used_bits - 1})).round().astype("uint16")  # when it is written',
        )


def _tail(file: Path, rows: torch.Tensor) -> Iterator[Finding]:
    """What a decoder leaves of a file that was cut and closed, or whose end is zeros: one colour; rows as stored."""
    height = rows.shape[1]
    alike = (rows == rows[:, -1:, -1:]).all(2).all(0)
    count = int(alike.flip(0).int().cumprod(0).sum())
    if max(LEAST_TAIL, height / 32) <= count < height and not alike[0]:  # bars at both ends are meant
        colour = ", ".join(f"{255 * value:.0f}" for value in rows[:, -1, -1].tolist())
        yield Finding(
            str(file),
            "warning",
            "constant end",
            f"the last {count} of {height} rows in the file are all ({colour}): a file that was cut short looks so",
            "look at it; if rows are missing, write or copy it again",
        )


def _is_bottom_up(image: ImageFile) -> bool:
    """Whether the file begins with the last row, as most BMP do."""
    layout = image.tile[0][3] if image.format == "BMP" else ()
    return isinstance(layout, tuple) and bool(layout) and layout[-1] < 0


def _as_stored(rgb: torch.Tensor, orientation: int, is_bottom_up: bool) -> torch.Tensor:
    """The upright picture with its rows, though maybe mirrored, in the order of the file."""
    if orientation >= 5:
        rgb = rgb.transpose(1, 2)
    return rgb.flip(1) if is_bottom_up or orientation in (3, 4, 6, 7) else rgb


def _digest(rgb: torch.Tensor) -> str:
    digest = hashlib.blake2b(str(tuple(rgb.shape)).encode())
    digest.update(rgb.numpy().data)
    return digest.hexdigest()


def _identical(copies: list[tuple[Path, Path]]) -> Finding:
    """The finding for files of equal pixels, given as (root, file)."""
    names = [str(file) for _, file in copies]
    if len({root for root, _ in copies}) > 1:
        return Finding(
            names[0],
            "warning",
            "identical pair",
            f"the same pixels as {', '.join(names[1:])}: if they are a pair, nothing was restored",
            "check that the restored images were written to a folder of their own",
        )
    return Finding(
        names[0],
        "warning",
        "identical files",
        f"the same pixels as {', '.join(names[1:])}",
        "keep one, unless the same result was expected",
    )
