"""What a PNG says that Pillow passes over: checksums, missing rows, transparent greys, colour spaces."""

import os
import struct
import zlib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "chunks",
    "damage",
    "has_code_points",
    "is_short",
    "stated_colour",
    "to_srgb",
    "transparent_value",
    "turns_late",
    "video_colour",
]


_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by colour type."""
_AT_ONCE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass, and its steps."""

_TURNING = ((b"eXIf", b""), (b"tEXt", b"Raw profile"), (b"zTXt", b"Raw profile"), (b"iTXt", b"XML:com.adobe.xmp"))
"""Kinds of chunks with the orientation, and how they begin."""
_PIECE = 2**20
"""Bytes that are inflated at once."""

# Numbers of ITU-T H.273. BT.601, BT.709 and the 2.2 of sRGB are taken for sRGB, as everybody does who reads frames of
# video; ffmpeg marks such frames with gAMA 1/1.96.
_NEAR_SRGB_PRIMARIES = {1, 2, 5, 6, 7}
_NEAR_SRGB_TRANSFERS = {1, 2, 4, 6, 7, 13, 14, 15}
_PRIMARIES = {4: "BT.470 M", 9: "BT.2020", 10: "XYZ", 11: "DCI-P3", 12: "Display P3"}
_TRANSFERS = {5: "gamma 2.8", 8: "linear light", 16: "PQ (HDR)", 18: "HLG (HDR)"}
_NEAR_SRGB_GAMMA = (0.41, 0.52)
_SRGB_CHROMATICITIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_NEAR_CHROMATICITY = 0.05


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, bool]]:
    """Kind, body and soundness of each chunk, up to the end chunk or the end of the data."""
    at, kind = 8, b""
    view = memoryview(data)
    while at + 8 <= len(data) and kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        checksum = int.from_bytes(view[end : end + 4])
        yield kind, view[at + 8 : end], end + 4 <= len(data) and zlib.crc32(view[at + 4 : end]) == checksum
        at = end + 4


def damage(data: bytes) -> str:
    """What is wrong with the chunks; empty if nothing is."""
    kind = b""
    for kind, _, is_sound in chunks(data):
        if not is_sound:
            return f"the checksum of its {kind.decode('ascii', 'replace')} chunk is wrong"
    return "" if kind == b"IEND" else "its end is missing"


def is_short(data: bytes) -> bool:
    """Whether the compressed samples end before the last row; decoders leave the missing ones at zero."""
    width, height, depth, colour, interlaced = struct.unpack(">IIBBxxB", _head(data)[b"IHDR"])
    missing = 0
    for column, row, across, down in _ADAM7 if interlaced else _AT_ONCE:
        columns, rows = -(-(width - column) // across), -(-(height - row) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + -(-columns * depth * _SAMPLES[colour] // 8))
    inflate = zlib.decompressobj()
    for kind, body, _ in chunks(data):
        rest: bytes | memoryview = body
        while kind == b"IDAT" and missing > 0 and (found := len(inflate.decompress(rest, _PIECE))):
            missing -= found
            rest = inflate.unconsumed_tail
    return missing > 0


def turns_late(stream: BinaryIO) -> bool:
    """Whether a chunk after the samples may say how the picture is turned, which is known when all is decoded."""
    stream.seek(8)
    is_late = False
    while len(head := stream.read(8 + len(_TURNING[-1][1]))) >= 8:
        length, kind = struct.unpack(">I4s", head[:8])
        if is_late and any(kind == each and head[8:].startswith(key) for each, key in _TURNING):
            return True
        is_late |= kind == b"IDAT"
        stream.seek(length + 12 - len(head), os.SEEK_CUR)
    return False


def transparent_value(data: bytes) -> int | tuple[int, ...] | None:
    """The grey or the colour (of 8 bits) that is transparent in a PNG of up to 8 bits without a palette."""
    head = _head(data)
    depth, colour = head[b"IHDR"][8:10]
    if b"tRNS" not in head or depth > 8 or colour not in (0, 2):
        return None
    white = 2**depth - 1
    codes = struct.unpack_from(f">{_SAMPLES[colour]}H", head[b"tRNS"])
    greys = tuple((code & white) * (255 // white) for code in codes)
    return greys if colour == 2 else greys[0]


def stated_colour(data: bytes) -> tuple[str, float | None]:
    """How the values are meant, where that is far from sRGB (else empty), and the gAMA if it is that which says so.

    A cICP chunk outranks a profile, a profile an sRGB chunk, and that gAMA and cHRM. Profiles are elsewhere:
    `drmetric.images.profiles`.
    """
    head = _head(data)
    if b"cICP" in head:
        return _chunk_colour(*head[b"cICP"][:4]), None
    if b"iCCP" in head or b"sRGB" in head:
        return "", None
    gamma = int.from_bytes(head.get(b"gAMA", b"")) / 100_000
    if gamma and not _NEAR_SRGB_GAMMA[0] <= gamma <= _NEAR_SRGB_GAMMA[1]:
        return f"its gAMA chunk says {'linear light' if gamma == 1 else f'light to the power of {gamma:g}'}", gamma
    if b"cHRM" in head:
        stated = [value / 100_000 for value in struct.unpack(">8I", head[b"cHRM"])][2:]
        if any(abs(a - b) > _NEAR_CHROMATICITY for a, b in zip(stated, _SRGB_CHROMATICITIES, strict=True)):
            return f"its cHRM chunk says red, green and blue at {stated}", None
    return "", None


def to_srgb(path: Path, gamma: float | None, depth: int) -> str:
    """The line that converts a PNG by its gAMA; for another colour space, the one that drops a wrong chunk.

    Pillow, which these lines use, keeps 8 bits: deeper files are for the program that wrote them.
    """
    if depth > 8:
        return f"export it as sRGB of {depth} bits from the program that made it"
    target = f"{path.stem}_srgb.png"
    if gamma is None:
        drop = f"from PIL import Image; Image.open({str(path)!r}).save({target!r})"
        return f"export it as sRGB; if its values are sRGB all the same, drop the chunk: {drop}"
    return (
        f'import numpy; from PIL import Image; x = numpy.asarray(Image.open({str(path)!r}).convert("RGB")) / 255; '
        f"x = x ** {1 / gamma:g}; x = numpy.where(x < 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055); "
        f'Image.fromarray((x * 255).round().astype("uint8")).save({target!r})'
    )


def has_code_points(data: bytes) -> bool:
    """Whether there is a cICP chunk, which outranks a profile."""
    return b"cICP" in _head(data)


def video_colour(primaries: int, transfer: int) -> str:
    """What code points of ITU-T H.273 say that is far from sRGB; empty if nothing is."""
    parts = []
    if primaries not in _NEAR_SRGB_PRIMARIES:
        parts.append(f"the primaries of {_PRIMARIES.get(primaries, f'number {primaries}')}")
    if transfer not in _NEAR_SRGB_TRANSFERS:
        parts.append(_TRANSFERS.get(transfer, f"transfer function {transfer}"))
    return ", ".join(parts)


def _chunk_colour(primaries: int, transfer: int, matrix: int, full_range: int) -> str:
    parts = [video_colour(primaries, transfer)]
    if matrix:
        parts.append(f"matrix {matrix}")
    if not full_range:
        parts.append("the narrow range, with black at 16")
    said = ", ".join(part for part in parts if part)
    return f"its cICP chunk says {said}" if said else ""


def _head(data: bytes) -> dict[bytes, bytes]:
    """The chunks before the samples, by kind."""
    return {kind: bytes(body) for kind, body, _ in takewhile(lambda chunk: chunk[0] != b"IDAT", chunks(data))}
