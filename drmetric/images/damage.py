"""Damage that decoders paint over: a file cut short, or with its tail zeroed, that still gives a whole picture."""

import re
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from drmetric.images import png

__all__ = ["damage"]


# In the compressed samples of a JPEG, FF 00 is a byte, FF D0 to FF D7 restart the decoder, and FF FF is padding.
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_PROGRESSIVE, _JPEG_SCAN, _JPEG_END = 0xC2, 0xDA, 0xD9
_JPEG_BARE = (0x01, 0xD8)

_PIXELS_A_ZERO = {b"VP8 ": 4096, b"VP8L": 8}
"""Encoded pixels that may end in one zero byte: in flat areas a lossy WebP has one for over 7,000, a lossless one for
over 100."""
_FEW_ZEROS = 64
_LEAST_BITS = 2
"""Of an empty block of a JPEG: a code for no change of its mean, and one for its end."""
_COMPARED = 512
_BAND = 64


def damage(image: ImageFile, data: bytes) -> str:
    """What is wrong with a file that Pillow has decoded; empty if nothing can be seen.

    PNG: a wrong checksum, no end, fewer rows than its size says. JPEG: no end marker, scans that are missing, or
    samples of its one scan that end before its last rows. WebP:
    zeros where the samples should end. Nothing tells zeros in a BMP or TIFF, or a progressive JPEG that was cut in its
    last scan and closed, from a picture that ends so.

    Args:
        image: the decoded image.
        data: the bytes of the file.
    """
    if image.format == "PNG":
        return png.damage(data) or ("rows are missing at its end" if _png_is_short(image, data) else "")
    if image.format in ("JPEG", "MPO"):
        return _jpeg_fault(data) or ("its samples end before its last rows" if _jpeg_is_cut(image, data) else "")
    if image.format == "WEBP":
        zeros = _webp_zeros(data, image.width * image.height)
        return f"its last {zeros} bytes are zero" if zeros else ""
    return ""


def _png_is_short(image: ImageFile, data: bytes) -> bool:
    """Counting the rows takes as long as decoding, so only where there is a doubt: the last row is zero."""
    last = image.crop((0, image.height - 1, image.width, image.height))
    is_doubtful = bool(image.info.get("interlace")) or not any(last.tobytes())
    return is_doubtful and png.is_short(data)


def _jpeg_fault(data: bytes) -> str:
    """A progressive JPEG refines its coefficients scan by scan: where it was cut and closed, some stay coarse."""
    at, coarse = 0, set[tuple[int, int]]()
    while marker := _JPEG_MARKER.search(data, at):
        kind, at = marker[0][1], marker.end()
        if kind == _JPEG_END:
            return "scans are missing at its end" if coarse else ""
        if kind in _JPEG_BARE:
            continue
        length = int.from_bytes(data[at : at + 2])
        segment = data[at + 2 : at + length]
        if kind == _JPEG_PROGRESSIVE:
            coarse = {(component, number) for component in segment[6::3] for number in range(64)}
        elif kind == _JPEG_SCAN:
            coarse -= _made_exact(segment)
        at += length
    return "its end marker is missing, so it was cut or overwritten"


def _jpeg_is_cut(image: ImageFile, data: bytes) -> bool:
    """Whether the samples of a JPEG of one scan end before its last rows, which a decoder then leaves in one colour.

    In a sound file such rows are coded too, in `_LEAST_BITS` a block of 8 x 8 at the least. Without so much of its end
    its rows above are what they were; in a file that was cut before, more of them are missing.
    """
    rows = _rows_alike(image)
    samplings = [(across, down) for _, across, down, _ in image.layer]  # type: ignore[attr-defined]
    across, down = (max(each) for each in zip(*samplings, strict=True))
    units = (rows // (8 * down)) * (image.width // (8 * across))
    spare = _LEAST_BITS * units * sum(a * d for a, d in samplings) // 8 - 2
    above, end = image.height - rows - 2 * down, data.rfind(b"\xff\xd9")  # colours are smoothed over two rows
    if spare <= 0 or above <= 0 or data.count(b"\xff\xda", 0, end) != 1 or end - spare < data.find(b"\xff\xda"):
        return False
    seen = (0, max(0, above - _COMPARED), image.width, above)
    try:
        with Image.open(BytesIO(data[: end - spare] + b"\xff\xd9"), formats=["JPEG"]) as shorter:
            return shorter.crop(seen).tobytes() != image.crop(seen).tobytes()
    except OSError:
        return False


def _rows_alike(image: ImageFile) -> int:
    """How many of the last rows are of one colour throughout."""
    width, height = image.size
    colour = np.asarray(image.crop((width - 1, height - 1, width, height)))
    for bottom in range(height, 0, -_BAND):
        top = max(0, bottom - _BAND)
        alike = (np.asarray(image.crop((0, top, width, bottom))) == colour).reshape(bottom - top, -1).all(1)
        if not alike.all():
            return height - bottom + int(alike[::-1].argmin())
    return height


def _made_exact(scan: bytes) -> set[tuple[int, int]]:
    """The coefficients (component, number) that a scan with this header gives their last bit."""
    first, last, bits = scan[-3:]
    if bits & 15:
        return set()
    return {(component, number) for component in scan[1:-3:2] for number in range(first, last + 1)}


def _webp_zeros(data: bytes, pixels: int) -> int:
    """Zeros at the end of the samples, if they are more than an encoder writes."""
    at = 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        if kind in _PIXELS_A_ZERO:
            zeros = len(body) - len(body.rstrip(b"\0"))
            return zeros if zeros > _FEW_ZEROS + pixels // _PIXELS_A_ZERO[kind] else 0
        at += 8 + length + length % 2
    return 0
