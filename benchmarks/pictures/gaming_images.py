"""Images for `drmetric bench gaming`: photographs halved and enlarged again by PCARN-M, with inputs and truth.

    export DRMETRIC_RESTORERS=/folder/of/the/safetensors/files
    python -m benchmarks.pictures.gaming_images $DRMETRIC_DATA/kodak runs/gaming-images --every 3
    drmetric bench gaming driqa lpips --images runs/gaming-images/restored --degraded runs/gaming-images/degraded \\
        --truth runs/gaming-images/truth -o runs/gaming
"""

import argparse
from pathlib import Path

from benchmarks.restorers import load
from drmetric.distortions.degrade import degrade
from drmetric.images import list_images, read_image, rounded_to_8_bit, save_image


def main() -> None:
    """Write truth/, degraded/ and restored/ of the central square of every n-th photograph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--every", type=int, default=3, help="take every n-th photograph")
    parser.add_argument("--side", type=int, default=288, help="of the truth, pixels; even")
    arguments = parser.parse_args()
    network = load("pcarn_m_l1_x234")
    for path in list_images(arguments.photographs)[:: arguments.every]:
        photograph = read_image(path)
        top, left = ((length - arguments.side) // 2 for length in photograph.shape[-2:])
        truth = photograph[:, top : top + arguments.side, left : left + arguments.side]
        low = rounded_to_8_bit(degrade(truth[None], [{"op": "downscale", "scale": 2}], 0))
        for folder, image in {"truth": truth, "degraded": low[0], "restored": network(low, 2)[0].clamp(0, 1)}.items():
            (arguments.output / folder).mkdir(parents=True, exist_ok=True)
            save_image(image, arguments.output / folder / f"{path.stem}.png")


if __name__ == "__main__":
    main()
