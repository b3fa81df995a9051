"""What becomes of damaged image files: 2,000 mutations with a fixed seed, each of them accounted for.

    python -m benchmarks.checks.fuzz_images

Files of every format that is read, of several kinds each, are mutated: bits flipped, bytes replaced, runs zeroed,
removed, inserted or moved, tails cut or zeroed, headers changed. Of each mutation one of these must hold:

* refused: `read_image` raises an `ImageFileError`;
* warned: it is read, and `drmetric doctor` has a warning of it;
* as before: it is read with the pixels of the unharmed file;
* as a reference reads it: OpenCV, which has decoders of its own, or of TIFF tifffile gives the same pixels (lossy
  formats: to within `NEAR` codes in the mean, as decoders round differently). No decoder can see such damage: a changed
  sample is a sample.

Anything else (another exception, pixels that no reference gives) is a failure: it is named, and the exit status is 1.
Needs OpenCV: pip install opencv-python-headless
"""

import argparse
import io
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.reporting import add_output, report
from drmetric import example
from drmetric.bench.tables import Table
from drmetric.errors import ImageFileError, optional
from drmetric.images import read_image
from drmetric.images.doctor import inspect

NEAR = 2.0
KINDS: dict[str, dict[str, Any]] = {
    "rgb.png": {},
    "grey.png": {"mode": "L"},
    "palette.png": {"mode": "P"},
    "alpha.png": {"mode": "RGBA"},
    "wide.png": {"wide": True},
    "photo.jpg": {"quality": 90},
    "small.jpg": {"quality": 40, "subsampling": 2},
    "progressive.jpg": {"progressive": True},
    "grey.jpg": {"mode": "L"},
    "lossy.webp": {"quality": 80},
    "lossless.webp": {"lossless": True},
    "plain.tif": {},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
    "lzw.tif": {"compression": "tiff_lzw"},
    "rgb.bmp": {},
    "grey.bmp": {"mode": "L"},
    "frame.gif": {"mode": "P"},
    "rgb.ppm": {},
    "photo.avif": {"quality": 80},
}


def encode(photograph: Image.Image, name: str, mode: str = "RGB", wide: bool = False, **options: Any) -> bytes:
    """The photograph as a file of that name."""
    if wide:
        codes = np.asarray(photograph.convert("L")).astype(np.uint16) * 257
        photograph = Image.fromarray(codes)
    else:
        photograph = photograph.convert(mode)
    file = io.BytesIO()
    photograph.save(file, Image.registered_extensions()[Path(name).suffix], **options)
    return file.getvalue()


def _flipped(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _replaced(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 4, 32))):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _zeroed(data: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(data)), rng.choice((4, 64, 512, 4096))
    data[start : start + size] = bytes(len(data[start : start + size]))


def _tail_zeroed(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) // 8, len(data))
    data[start:] = bytes(len(data) - start)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def _cut_and_closed(data: bytearray, rng: random.Random) -> None:
    end = bytes(data[-12:]) if data[:4] == b"\x89PNG" else bytes(data[-2:])
    del data[rng.randrange(len(data) // 8, len(data) - len(end)) :]
    data += end


def _removed(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 16, 256))]


def _inserted(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.choice((1, 2, 16, 256)))


def _moved(data: bytearray, rng: random.Random) -> None:
    size = rng.choice((16, 256))
    source, target = (rng.randrange(len(data)) for _ in range(2))
    data[target : target + size] = data[source : source + size]


def _header_changed(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2))):
        data[rng.randrange(min(len(data), 64))] = rng.randrange(256)


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flipped,
    _replaced,
    _zeroed,
    _tail_zeroed,
    _cut,
    _cut_and_closed,
    _removed,
    _inserted,
    _moved,
    _header_changed,
)


def outcome(path: Path, unharmed: np.ndarray) -> str:
    """What became of a file, in a word or two; raises what the reader should not have raised."""
    try:
        codes = read_image(path, alpha="black").permute(1, 2, 0).numpy() * 255
    except ImageFileError:
        return "refused"
    if codes.shape == unharmed.shape and np.abs(codes - unharmed).max() < 0.51 / 257:
        return "as before"
    if any(finding.level in ("warning", "error") for finding in inspect(path, alpha="black")):
        return "warned"
    reference = decoded(path)
    if reference is None:
        return "FAILED: the reference refuses it"
    if reference.shape != codes.shape:
        return f"FAILED: {codes.shape}, by the reference {reference.shape}"
    apart = np.abs(codes - reference)
    lossy = path.suffix in (".jpg", ".webp", ".avif")
    return (
        "as the reference" if (apart.mean() < NEAR if lossy else apart.max() < 0.51 / 257) else "FAILED: other pixels"
    )


def decoded(path: Path) -> np.ndarray | None:
    """(H, W, 3) in RGB from 0 to 255, transparent pixels over black; None where the reference refuses it."""
    cv2 = optional("cv2", "dev", "the reference decoder (pip install opencv-python-headless)")
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if found is None and path.suffix == ".tif":
        try:
            return np.asarray(optional("tifffile", "dev", "the reference decoder").imread(path), dtype=np.float64)
        except Exception:
            return None
    if found is None:
        return None
    codes = found.astype(np.float64) / (257 if found.dtype == np.uint16 else 1)
    codes = np.repeat(codes[..., None], 3, 2) if codes.ndim == 2 else codes
    colour = codes[..., 2::-1]
    return colour * codes[..., 3:] / 255 if codes.shape[2] == 4 else colour


def main() -> None:
    """Mutate, read, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    add_output(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = random.Random(options.seed)
    photograph = Image.open(example.FOLDER / "restored" / "coffee_sharp.png").convert("RGB").crop((40, 40, 136, 104))
    found: dict[str, Counter[str]] = {}
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        originals = {name: encode(photograph, name, **kind) for name, kind in KINDS.items()}
        pixels = {}
        for name, data in originals.items():
            (Path(scratch) / name).write_bytes(data)
            pixels[name] = read_image(Path(scratch) / name).permute(1, 2, 0).numpy() * 255
        for number in range(options.count):
            name, mutate = rng.choice(list(KINDS)), rng.choice(MUTATIONS)
            data = bytearray(originals[name])
            mutate(data, rng)
            path = Path(scratch) / f"{number}-{name}"
            path.write_bytes(data)
            try:
                became = outcome(path, pixels[name])
            except Exception as error:
                became = f"FAILED: {type(error).__name__}: {error}"
            path.unlink()
            if became.startswith("FAILED"):
                failures.append(f"{number}-{name}, {mutate.__name__.strip('_')}: {became}")
                became = "failed"
            found.setdefault(Path(name).suffix, Counter())[became] += 1
    words = ("refused", "warned", "as before", "as the reference", "failed")
    rows = [{"format": suffix, **{word: counts[word] for word in words}} for suffix, counts in sorted(found.items())]
    rows.append({"format": "all", **{word: sum(counts[word] for counts in found.values()) for word in words}})
    report(Table.of(rows, f"{options.count} mutated images, seed {options.seed}", "d"), options.output)
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
