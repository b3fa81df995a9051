"""Damage that decoders paint over: a file cut short, or with its tail zeroed, that still gives a whole picture."""

import re

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


def damage(image: ImageFile, data: bytes) -> str:
    """What is wrong with a file that Pillow has decoded; empty if nothing can be seen.

    PNG: a wrong checksum, no end, fewer rows than its size says. JPEG: no end marker, or scans that are missing. WebP:
    zeros where the samples should end. Nothing tells a JPEG that was cut in its last scan (most have one) and closed,
    or zeros in a BMP or TIFF, from a picture that ends so.

    Args:
        image: the decoded image.
        data: the bytes of the file.
    """
    if image.format == "PNG":
        return png.damage(data) or ("rows are missing at its end" if _png_is_short(image, data) else "")
    if image.format in ("JPEG", "MPO"):
        return _jpeg_fault(data)
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
