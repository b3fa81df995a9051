"""Measure the restorers on a folder of pristine photographs, to see that each computes what its authors published.

    python -m benchmarks.restorers.measure Set14 [--only NAME ...] [--limit N] [--side 512]

Super-resolvers: the image is cut to the top left 512 x 512 if it is larger than 300,000 pixels and to multiples of
the scale, shrunk with Pillow's BICUBIC, restored, and rounded to 8 bits. PSNR on BT.601 Y without `scale` pixels at
each border, LPIPS (squeeze) of the whole. Others: the top left 320 x 320, PSNR over all channels of the degraded and
of the restored image. Grey images are left out. Writes CSV to stdout.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.restorers.catalogue import RESTORERS, Restorer
from benchmarks.restorers.loading import load
from benchmarks.restorers.wheels import WHEEL_RESTORERS, load_wheel
from drmetric.distortions.degrade import from_pillow, to_pillow
from drmetric.errors import WeightsError
from drmetric.images import list_images, rounded_to_8_bit
from drmetric.metrics.base import Metric
from drmetric.metrics.pixel import PSNR
from drmetric.metrics.registry import create

MANY_PIXELS = 300_000
DEFAULT_SIGMA = 25


def photographs(folder: Path, limit: int | None = None) -> list[Image.Image]:
    """The colour images of a folder, by name."""
    images: list[Image.Image] = [Image.open(path) for path in list_images(folder)]
    return [image for image in images if image.mode == "RGB"][:limit]


def low_resolution(image: Image.Image, scale: int, side: int) -> tuple[Tensor, Tensor]:
    """The high-resolution crop and what Pillow shrinks it to."""
    width, height = image.size if image.width * image.height <= MANY_PIXELS else (side, side)
    high = image.crop((0, 0, width // scale * scale, height // scale * scale))
    low = high.resize((high.width // scale, high.height // scale), Image.Resampling.BICUBIC)
    return from_pillow(high), from_pillow(low)


def noisy(image: Image.Image, sigma: int) -> Image.Image:
    pristine = from_pillow(image)
    noise = torch.randn(pristine.shape, generator=torch.Generator().manual_seed(0))
    return to_pillow(pristine + sigma / 255 * noise)


def compressed(image: Image.Image, quality: int = 10) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def hazy(image: Image.Image) -> Image.Image:
    """A uniform veil: transmission 0.55 under an airlight of 0.9."""
    return to_pillow(0.55 * from_pillow(image) + 0.405)


def rainy(image: Image.Image, pixels_per_streak: int = 500) -> Image.Image:
    """Parallel bright streaks of 40 pixels, one pixel wide, in the manner of Rain100L."""
    rng = np.random.default_rng(0)
    fine = Image.new("L", (4 * image.width, 4 * image.height))
    draw = ImageDraw.Draw(fine)
    for _ in range(image.width * image.height // pixels_per_streak):
        x, y = rng.uniform(-40, fine.width), rng.uniform(-160, fine.height)
        draw.line((x, y, x + 40, y + 155), fill=int(rng.uniform(40, 130)), width=4)
    streaks = fine.resize(image.size, Image.Resampling.BOX).convert("RGB")
    return to_pillow(from_pillow(image) + from_pillow(streaks))


def degrade(image: Image.Image, restorer: Restorer) -> Image.Image:
    """What the restorer is for, done to an image."""
    match restorer.task:
        case "jpeg":
            return compressed(image)
        case "dehazing":
            return hazy(image)
        case "deraining":
            return rainy(image)
        case _:
            return noisy(image, restorer.sigma or DEFAULT_SIGMA)


def measure_enlargement(
    restore: Callable[[Tensor], Tensor], images: list[Image.Image], scale: int, side: int, lpips: Metric | None
) -> tuple[float, float]:
    """Mean PSNR on Y and mean LPIPS."""
    figures = []
    for image in images:
        high, low = low_resolution(image, scale, side)
        restored = rounded_to_8_bit(restore(low))
        distance = float(lpips(restored, high)) if lpips else float("nan")
        figures.append((float(PSNR(channel="y", shave=scale)(restored, high)), distance))
    quality, distance = np.mean(figures, axis=0)
    return float(quality), float(distance)


def measure_restoration(
    restore: Callable[[Tensor], Tensor], spoil: Callable[[Image.Image], Image.Image], images: list[Image.Image]
) -> tuple[float, float]:
    """Mean PSNR over RGB of the degraded and of the restored images."""
    figures = []
    for image in images:
        pristine = image.crop((0, 0, min(320, image.width), min(320, image.height)))
        degraded = from_pillow(spoil(pristine))
        figures.append([float(PSNR()(output, from_pillow(pristine))) for output in (degraded, restore(degraded))])
    before, after = np.mean(figures, axis=0)
    return float(before), float(after)


def measure(chosen: list[str], folder: Path, limit: int | None, side: int, lpips: Metric | None) -> Iterator[str]:
    """The table's lines."""
    images = photographs(folder, limit)
    yield "restorer,scale,psnr_before,psnr,lpips,images"
    for name in chosen:
        if name in WHEEL_RESTORERS:
            yield from _measure_wheel(name, images, side, lpips)
            continue
        entry, restorer = RESTORERS[name], load(name)
        if entry.task != "super_resolution":
            before, after = measure_restoration(restorer, partial(degrade, restorer=entry), images)
            yield f"{entry.name},1,{before:.2f},{after:.2f},,{len(images)}"
            continue
        for scale in entry.scales:
            quality, distance = measure_enlargement(partial(restorer, scale=scale), images, scale, side, lpips)
            yield f"{entry.name},{scale},,{quality:.2f},{distance:.3f},{len(images)}"


def _measure_wheel(name: str, images: list[Image.Image], side: int, lpips: Metric | None) -> Iterator[str]:
    restorer = load_wheel(name)
    if restorer.scale > 1:
        quality, distance = measure_enlargement(restorer, images, restorer.scale, side, lpips)
        yield f"{name},{restorer.scale},,{quality:.2f},{distance:.3f},{len(images)}"
    else:
        before, after = measure_restoration(restorer, compressed, images)
        yield f"{name},1,{before:.2f},{after:.2f},,{len(images)}"


def _lpips() -> Metric | None:
    try:
        return create("lpips")
    except WeightsError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pristine photographs, such as Set14")
    parser.add_argument(
        "--only", nargs="+", choices=[*RESTORERS, *WHEEL_RESTORERS], default=list(RESTORERS), metavar="NAME"
    )
    parser.add_argument("--limit", type=int, help="the first N images only")
    parser.add_argument("--side", type=int, default=512, help="of the crop of large images")
    options = parser.parse_args()
    for line in measure(options.only, options.folder, options.limit, options.side, _lpips()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
