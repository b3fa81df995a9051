"""Images for `drmetric bench gaming` and `bench fidelity`: photographs degraded and restored, with inputs and truth.

    export DRMETRIC_RESTORERS=/folder/of/the/safetensors/files
    python -m benchmarks.pictures.board_images $DRMETRIC_DATA/kodak runs/images --family x2 --every 3
    drmetric bench gaming driqa lpips --images runs/images/restored --degraded runs/images/degraded \\
        --truth runs/images/truth -o runs/gaming
"""

import argparse
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from benchmarks.restorers import load
from drmetric.distortions.degrade import Step, degrade
from drmetric.images import list_images, read_image, rounded_to_8_bit, save_image


class Family(NamedTuple):
    """How inputs are made, and the network that restores them."""

    step: Step
    restorer: str
    scale: int = 1


FAMILIES = {
    "x2": Family({"op": "downscale", "scale": 2}, "pcarn_m_l1_x234", 2),
    "x4": Family({"op": "downscale", "scale": 4}, "pcarn_m_l1_x234", 4),
    "noise": Family({"op": "gaussian_noise", "sigma": 25 / 255}, "cdncnn_color_s25"),
    "jpeg": Family({"op": "jpeg", "quality": 20}, "dncnn3_jpeg"),
}
"""Halved and quartered, and enlarged by PCARN-M trained for PSNR; noise of sigma 25, and JPEG of quality 20, restored
by DnCNN."""


def main() -> None:
    """Write truth/, degraded/ and restored/ of the central square of every n-th photograph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--family", choices=FAMILIES, default="x2")
    parser.add_argument("--every", type=int, default=3, help="take every n-th photograph")
    parser.add_argument("--side", type=int, default=288, help="of the truth, pixels; a multiple of the scale")
    arguments = parser.parse_args()
    family = FAMILIES[arguments.family]
    network = load(family.restorer)
    for path in list_images(arguments.photographs)[:: arguments.every]:
        photograph = read_image(path, alpha="white")
        top, left = ((length - arguments.side) // 2 for length in photograph.shape[-2:])
        truth = photograph[:, top : top + arguments.side, left : left + arguments.side]
        low = rounded_to_8_bit(degrade(truth[None], [family.step], crc32(path.stem.encode())))
        restored = network(low, family.scale)[0].clamp(0, 1)
        for folder, image in {"truth": truth, "degraded": low[0], "restored": restored}.items():
            (arguments.output / folder).mkdir(parents=True, exist_ok=True)
            save_image(image, arguments.output / folder / f"{path.stem}.png")


if __name__ == "__main__":
    main()
