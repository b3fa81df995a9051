"""Restore a folder of photographs by every super-resolver here, for `drmetric bench methods`.

    python -m benchmarks.restorers.outputs PHOTOGRAPHS runs/sr-x4 --scale 4

Writes truth/ (cut to multiples of the scale), degraded/ (bicubic, anti-aliased, 8 bits) and one folder a method;
images that are there are not made again. Needs DRMETRIC_RESTORERS.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.restorers.catalogue import names
from benchmarks.restorers.loading import load
from drmetric.data.make.restorers import INTERPOLATIONS
from drmetric.distortions.degrade import degrade, from_pillow, to_pillow
from drmetric.images import list_images, read_image, save_image

Method = Callable[[Tensor], Tensor]
FILTERS = ("nearest", "bicubic", "lanczos")


def interpolated(image: Tensor, scale: int, method: str) -> Tensor:
    """One image (1,3,h,w) enlarged by one of Pillow's filters, at 8 bits."""
    picture = to_pillow(image)
    return from_pillow(picture.resize((scale * picture.width, scale * picture.height), INTERPOLATIONS[method]))


def methods(scale: int) -> dict[str, Method]:
    """Everything that enlarges by `scale`: interpolation and the networks of the catalogue, by name."""
    found: dict[str, Method] = {name: partial(interpolated, scale=scale, method=name) for name in FILTERS}
    for name in names("super_resolution", scale):
        network = load(name)
        found[name] = lambda image, network=network: network(image, scale)
    return found


def write_inputs(photographs: Path, output: Path, scale: int) -> list[Path]:
    """Write truth/ and degraded/; returns the degraded files."""
    written = []
    for path in list_images(photographs):
        image = read_image(path, alpha="white")
        height, width = (side // scale * scale for side in image.shape[-2:])
        truth, file = image[:, :height, :width], output / "degraded" / f"{path.stem}.png"
        if not file.exists():
            save_image(truth, output / "truth" / file.name)
            save_image(degrade(truth[None], [{"op": "downscale", "scale": scale}], 0)[0], file)
        written.append(file)
    return written


def main() -> None:
    """Write inputs and outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scale", type=int, default=4)
    options = parser.parse_args()
    for part in ("truth", "degraded"):
        (options.output / part).mkdir(parents=True, exist_ok=True)
    degraded = write_inputs(options.photographs, options.output, options.scale)
    for name, method in methods(options.scale).items():
        folder = options.output / name
        folder.mkdir(exist_ok=True)
        for file in degraded:
            if not (folder / file.name).exists():
                with torch.no_grad():
                    restored = method(read_image(file)[None])
                save_image(restored[0].clamp(0, 1), folder / file.name)
        print(name, flush=True)


if __name__ == "__main__":
    main()
