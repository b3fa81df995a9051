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
