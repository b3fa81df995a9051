"""A photograph in the forms that the tests of images want."""

import struct
import zlib
from typing import Any

import numpy as np
import torch
from skimage import data

import drmetric
from drmetric.errors import DrmetricError

PHOTO = data.astronaut()[100:164, 150:246]
"""uint8 (64, 96, 3)."""


def as_tensor(pixels: np.ndarray, white: int = 255) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / white


BATCH = as_tensor(PHOTO)[None]


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of chunks (kind, body), with their checksums and the end chunk."""
    encoded = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(encoded) + b"\x00\x00\x00\x00IEND\xaeB`\x82"


def png_header(width: int, height: int, depth: int, colour_type: int, interlaced: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)


def mended(error: DrmetricError, **variables: Any) -> Any:
    """Run the fix line of an error on the one variable given and return what became of it."""
    scope = {"torch": torch, "numpy": np, "drmetric": drmetric, **variables}
    exec(error.fix, scope)
    return scope[next(iter(variables))]


RGB_TO_XYZ = {
    "Adobe RGB": ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457)),
    "Display P3": ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407)),
    "sRGB": ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410)),
}
"""Linear light to XYZ under D50, as profiles give it; from the Bradford-adapted matrices of their specifications."""


def icc_profile(name: str, space: bytes, gamma: float, matrix: Any = ()) -> bytes:
    """A profile of version 2 whose curves are powers: of RGB with its matrix, or of grey without one."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def place(values: Any) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(map(fixed, values))

    said = name.encode() + b"\0"
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(said)) + said + bytes(78),
        b"wtpt": place((0.9642, 1.0, 0.8249)),
    }
    if space == b"RGB ":
        columns = np.array(matrix).T
        tags |= {letter + b"XYZ": place(column) for letter, column in zip((b"r", b"g", b"b"), columns, strict=True)}
        tags |= {letter + b"TRC": curve for letter in (b"r", b"g", b"b")}
    else:
        tags[b"kTRC"] = curve
    table, bodies, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, body in tags.items():
        table += tag + struct.pack(">II", at + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    rest = struct.pack(">I", len(tags)) + table + bodies
    head = struct.pack(">I4sI4s4s4s12x4s", 128 + len(rest), b"\0" * 4, 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    head += bytes(28) + fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return head + bytes(128 - len(head)) + rest


ADOBE_RGB = icc_profile("made Adobe RGB", b"RGB ", 2.19921875, RGB_TO_XYZ["Adobe RGB"])
DISPLAY_P3 = icc_profile("made P3", b"RGB ", 2.2, RGB_TO_XYZ["Display P3"])
GREY_18 = icc_profile("made grey", b"GRAY", 1.8)
