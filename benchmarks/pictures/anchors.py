"""The first picture of the README: one photograph made smaller by 4 and enlarged again, with its scores.

    python -m benchmarks.pictures.anchors          # writes docs/pictures/anchors.jpg

What enlarges is that of benchmarks.checks.anchors. The photograph is scikit-image's astronaut (NASA, public domain).
Needs DRMETRIC_RESTORERS.
"""

import argparse
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot
from skimage import data
from torch import Tensor

from benchmarks.checks.anchors import PRISTINE, load_enlargers
from benchmarks.pictures.driqa import FOLDER
from drmetric import create
from drmetric.distortions.degrade import degrade
from drmetric.images import rounded_to_8_bit

matplotlib.use("Agg")
SCALE = 4
PHOTOGRAPH = data.astronaut()[0:400, 40:440]
ROWS, COLUMNS = slice(64, 224), slice(92, 252)
"""The crop that is shown; all of the photograph is scored."""
TITLES = {
    "bicubic": "bicubic",
    "network trained for PSNR": "a network trained for PSNR",
    "the same, adversarially": "the same, trained adversarially",
    PRISTINE: "the original, which DRIQA never sees",
}


def _show(axis: pyplot.Axes, image: Tensor, title: str, below: str) -> None:
    axis.imshow(image[0].permute(1, 2, 0).numpy(), interpolation="nearest")
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(below, fontsize=10, linespacing=1.5)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder (default: docs/pictures)")
    folder = parser.parse_args().output
    truth = torch.from_numpy(PHOTOGRAPH.copy()).permute(2, 0, 1)[None] / 255
    degraded = rounded_to_8_bit(degrade(truth, [{"op": "downscale", "scale": SCALE}], 0))
    enlargers = load_enlargers(SCALE)
    driqa, psnr = create("driqa"), create("psnr")
    figure, axes = pyplot.subplots(1, 1 + len(TITLES), figsize=(12.5, 3.25))
    rows, columns = (slice(side.start // SCALE, side.stop // SCALE) for side in (ROWS, COLUMNS))
    _show(axes[0], degraded[..., rows, columns], "the input, a quarter as large", "")
    for axis, (name, title) in zip(axes[1:], TITLES.items(), strict=True):
        with torch.no_grad():
            image = truth if name == PRISTINE else rounded_to_8_bit(enlargers[name](degraded))
            decibels = "" if name == PRISTINE else f"\nPSNR {float(psnr(image, truth)):.1f} dB"
            below = f"DRIQA {float(driqa(image, degraded)):.2f}{decibels}"
        _show(axis, image[..., ROWS, COLUMNS], title, below)
    figure.tight_layout(pad=0.6)
    figure.savefig(folder / "anchors.jpg", dpi=110, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
