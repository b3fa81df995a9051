"""Damage that decoders paint over: a file cut short, or with its tail zeroed, that still gives a whole picture."""

import re

from PIL.ImageFile import ImageFile

from drmetric.images import png

__all__ = ["damage"]


# In the compressed samples of a JPEG, FF 00 is a byte, FF D0 to FF D7 restart the decoder, and FF FF is padding.
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_END, _JPEG_BARE = 0xD9, (0x01, 0xD8, 0xD9)

_PIXELS_A_ZERO = {b"VP8 ": 4096, b"VP8L": 8}
"""Encoded pixels that may end in one zero byte: in flat areas a lossy WebP has one for over 7,000, a lossless one for
over 100."""
_FEW_ZEROS = 64


def damage(image: ImageFile, data: bytes) -> str:
    """What is wrong with a file that Pillow has decoded; empty if nothing can be seen.

    PNG: a wrong checksum, no end, fewer rows than its size says. JPEG: no end marker. WebP: zeros where the samples
    should end. Nothing tells a JPEG that was cut and closed, or zeros in a BMP or TIFF, from a picture that ends so.

    Args:
        image: the decoded image.
        data: the bytes of the file.
    """
    if image.format == "PNG":
        return png.damage(data) or ("rows are missing at its end" if _png_is_short(image, data) else "")
    if image.format in ("JPEG", "MPO"):
        return "" if _jpeg_has_end(data) else "its end marker is missing, so it was cut or overwritten"
    if image.format == "WEBP":
        zeros = _webp_zeros(data, image.width * image.height)
        return f"its last {zeros} bytes are zero" if zeros else ""
    return ""


def _png_is_short(image: ImageFile, data: bytes) -> bool:
    """Counting the rows takes as long as decoding, so only where there is a doubt: the last row is zero."""
    last = image.crop((0, image.height - 1, image.width, image.height))
    is_doubtful = bool(image.info.get("interlace")) or not any(last.tobytes())
    return is_doubtful and png.is_short(data)


def _jpeg_has_end(data: bytes) -> bool:
    at = 0
    while marker := _JPEG_MARKER.search(data, at):
        kind, at = marker[0][1], marker.end()
        if kind == _JPEG_END:
            return True
        if kind not in _JPEG_BARE:
            at += int.from_bytes(data[at : at + 2])
    return False


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
