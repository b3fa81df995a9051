"""Could another decoder take Pillow's place for plain 8-bit RGB PNG, and would every refusal stay?

    python -m benchmarks.checks.decoders $DRMETRIC_DATA/cid22-training

Prints milliseconds of this thread's processor time an image (median over `--turns`, in which all take turns): Pillow,
kornia_rs, and kornia_rs behind zlib, which looks at the checksum of the stream. Then, of small images whose streams are
damaged while the checksums of the chunks are right (as where memory fails before a file is written), how many each
gives a picture of (of Pillow: behind the checks of `read_image`), and whether the pixels are Pillow's where both do.
"""

import argparse
import random
import statistics
import struct
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from itertools import islice
from pathlib import Path

import kornia_rs.io
import numpy as np
from PIL import Image

from benchmarks.reporting import add_output, report
from drmetric.bench.tables import Column, Table
from drmetric.images.files import list_images, read_image_bytes
from drmetric.images.png import chunks

Decode = Callable[[bytes], np.ndarray]
COLUMNS = (
    Column("decoder", "decoder"),
    Column("milliseconds", "ms an image", ".2f"),
    Column("pictures", "pictures of damaged streams"),
    Column("damaged", "of"),
    Column("unlike", "unlike Pillow's"),
)
DAMAGES = ("a bit flipped", "a wrong checksum", "cut", "too few rows", "an unknown filter")


def with_pillow(data: bytes) -> np.ndarray:
    """(H,W,3) codes, as `read_image` has them decoded."""
    with Image.open(BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def with_kornia(data: bytes) -> np.ndarray:
    """The same by kornia_rs."""
    width, height = struct.unpack_from(">II", data, 16)
    decoded: np.ndarray = kornia_rs.io.decode_image_png_u8(data, (height, width), "rgb")
    return decoded


def with_zlib_and_kornia(data: bytes) -> np.ndarray:
    """The same, where zlib finds the stream sound."""
    zlib.decompress(b"".join(body for kind, body, _ in chunks(data) if kind == b"IDAT"))
    return with_kornia(data)


DECODERS: dict[str, Decode] = {
    "Pillow": with_pillow,
    "kornia_rs": with_kornia,
    "zlib, then kornia_rs": with_zlib_and_kornia,
}


def processor_times(files: list[bytes], turns: int) -> dict[str, float]:
    """Median milliseconds an image."""
    times: dict[str, list[float]] = {name: [] for name in DECODERS}
    for _ in range(turns):
        for name, decode in DECODERS.items():
            start = time.thread_time()
            for data in files:
                decode(data)
            times[name].append(1e3 * (time.thread_time() - start) / len(files))
    return {name: statistics.median(each) for name, each in times.items()}


def damaged(damage: str, rng: random.Random) -> bytes:
    """A small PNG with a damaged stream in sound chunks."""
    height, width = rng.randint(2, 40), rng.randint(2, 40)
    rows = [bytearray([rng.randint(0, 4), *rng.randbytes(3 * width)]) for _ in range(height)]
    if damage == "an unknown filter":
        rows[rng.randrange(height)][0] = rng.randint(5, 255)
    if damage == "too few rows":
        rows = rows[: rng.randrange(1, height)]
    stream = bytearray(zlib.compress(b"".join(rows), rng.randint(0, 9)))
    if damage == "a bit flipped":
        stream[rng.randrange(len(stream))] ^= 1 << rng.randrange(8)
    if damage == "a wrong checksum":
        stream[-1 - rng.randrange(4)] ^= 1 << rng.randrange(8)
    if damage == "cut":
        stream = stream[: rng.randrange(len(stream))]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", bytes(stream)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def picture(name: str, data: bytes) -> np.ndarray | None:
    """What a decoder gives, or None where it refuses, or for Pillow where `read_image` does."""
    try:
        if name == "Pillow":
            read_image_bytes(data, "image.png")
        return DECODERS[name](data)
    except Exception:  # of many kinds
        return None


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--damaged", type=int, default=2000, help="damaged streams")
    add_output(parser)
    options = parser.parse_args()

    plain = (path.read_bytes() for path in list_images(options.images) if path.suffix.lower() == ".png")
    files = list(islice((data for data in plain if data[24:26] == b"\x08\x02"), options.limit))
    times = processor_times(files, options.turns)
    rng = random.Random(0)
    streams = [damaged(DAMAGES[number % len(DAMAGES)], rng) for number in range(options.damaged)]
    given = {name: [picture(name, data) for data in (*files, *streams)] for name in DECODERS}
    rows = []
    for name, pictures in given.items():
        pairs = zip(pictures, given["Pillow"], strict=True)
        both = [(one, other) for one, other in pairs if one is not None and other is not None]
        rows.append(
            {
                "decoder": name,
                "milliseconds": times[name],
                "pictures": sum(each is not None for each in pictures[len(files) :]),
                "damaged": len(streams),
                "unlike": sum(not np.array_equal(one, other) for one, other in both),
            }
        )
    report(Table(COLUMNS, rows, f"{len(files)} files, medians of {options.turns} turns"), options.output)


if __name__ == "__main__":
    main()
