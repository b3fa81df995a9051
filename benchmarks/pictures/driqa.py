"""The documents' pictures of DRIQA, made from scikit-image's photographs and the restorers of benchmarks/restorers.

    python -m benchmarks.pictures.driqa          # writes docs/pictures/driqa-*.jpg

Needs DRMETRIC_RESTORERS, DRMETRIC_SMALL_RESTORERS and DRMETRIC_LPIPS_BACKBONE.

ranking: restorations of one photograph by falling score. disagreement: for every photograph the pair on which DRIQA
contradicts the label most. maps: local scores over real artefacts.
"""

import argparse
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from skimage import data
from torch import Tensor

from benchmarks.restorers.corpus import networks
from drmetric import create
from drmetric.data.make.labels import bundled_fusion, measure
from drmetric.distortions.degrade import Step, degrade
from drmetric.images import resize, rounded_to_8_bit

matplotlib.use("Agg")
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
SIDE = 264
CROPS = {
    "astronaut": data.astronaut()[10 : 10 + SIDE, 110 : 110 + SIDE],
    "coffee": data.coffee()[60 : 60 + SIDE, 240 : 240 + SIDE],
    "chelsea": data.chelsea()[20 : 20 + SIDE, 100 : 100 + SIDE],
    "rocket": data.rocket()[20 : 20 + SIDE, 250 : 250 + SIDE],
}
"""NASA (public domain), Rachel Michetti (CC0), Stefan van der Walt (CC0), SpaceX (CC0)."""
INPUTS: dict[str, list[Step]] = {
    "x4": [{"op": "downscale", "scale": 4}],
    "x2, blurred": [
        {"op": "anisotropic_blur", "sigma_x": 1.2, "sigma_y": 1.2, "angle": 0.0},
        {"op": "downscale", "scale": 2},
    ],
    "noise": [{"op": "gaussian_noise", "sigma": 0.1}],
    "JPEG": [{"op": "jpeg", "quality": 15}],
}


@dataclass
class Case:
    """One restoration with everything that is said of it."""

    photo: str
    kind: str
    name: str
    image: Tensor
    degraded: Tensor
    pristine: Tensor
    driqa: float = 0.0
    label: float = 0.0
    lpips: float = 0.0


def _cases() -> list[Case]:
    cases = []
    for photo, pixels in CROPS.items():
        pristine = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
        for kind, steps in INPUTS.items():
            degraded = rounded_to_8_bit(degrade(pristine, steps, 0))
            size = (SIDE, SIDE)
            named = {"input, enlarged" if degraded.shape[-1] < SIDE else "input": resize(degraded, size)}
            with torch.no_grad():
                named |= {
                    name: resize(network(degraded), size).clamp(0, 1) for name, network in networks(steps).items()
                }
            cases += [Case(photo, kind, name, image, degraded, pristine) for name, image in named.items()]
    return cases


def _judge(cases: list[Case], weights: str) -> None:
    driqa, fusion = create("driqa", weights=weights), bundled_fusion()
    for case in cases:
        with torch.no_grad():
            case.driqa = float(driqa(case.image, case.degraded)[0])
        row = {name: float(measure(name, case.image, case.pristine)[0]) for name in {*fusion.features, "lpips"}}
        case.lpips, case.label = row["lpips"], fusion.label(row)


def _show(axis: pyplot.Axes, image: Tensor, title: str, crop: int = SIDE) -> None:
    margin = (SIDE - crop) // 2
    shown = image[0, :, margin : margin + crop, margin : margin + crop] if image.shape[-1] == SIDE else image[0]
    axis.imshow(shown.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
    axis.set_title(title, fontsize=8)
    axis.axis("off")


def _save(figure: pyplot.Figure, folder: Path, name: str, **options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"driqa-{name}.jpg", dpi=110, pil_kwargs={"quality": 82}, **options)
    pyplot.close(figure)


def ranking(cases: list[Case], folder: Path, photo: str = "astronaut", kind: str = "x4") -> None:
    """The input, the pristine image and ten restorations from best to worst."""
    chosen = sorted((c for c in cases if (c.photo, c.kind) == (photo, kind)), key=lambda c: -c.driqa)
    picked = [chosen[i] for i in np.linspace(0, len(chosen) - 1, 10).round().astype(int)]
    figure, axes = pyplot.subplots(3, 4, figsize=(11, 8.8))
    _show(axes.flat[0], picked[0].degraded, "degraded input")
    _show(axes.flat[1], picked[0].pristine, "pristine (not seen)", 132)
    for axis, case in zip(axes.flat[2:], picked, strict=True):
        _show(axis, case.image, f"{case.name}\nDRIQA {case.driqa:.2f}, label {case.label:.2f}", 132)
    figure.tight_layout()
    _save(figure, folder, "ranking")


def disagreement(cases: list[Case], folder: Path) -> None:
    """For every photograph the pair on which DRIQA contradicts the label most."""
    figure, axes = pyplot.subplots(len(CROPS), 3, figsize=(8.5, 11.5))
    for row, photo in zip(axes, CROPS, strict=True):
        alike = [(a, b) for a, b in combinations(cases, 2) if a.photo == b.photo == photo and a.kind == b.kind]
        pair = min(alike, key=lambda pair: (pair[0].driqa - pair[1].driqa) * (pair[0].label - pair[1].label))
        _show(row[0], pair[0].pristine, f"pristine, input: {pair[0].kind}", 132)
        verdicts = ("preferred by DRIQA", "by the label")
        for axis, case, verdict in zip(row[1:], sorted(pair, key=lambda c: -c.driqa), verdicts, strict=True):
            figures = f"DRIQA {case.driqa:.2f}, label {case.label:.2f}, LPIPS {case.lpips:.2f}"
            _show(axis, case.image, f"{case.name}: {verdict}\n{figures}", 132)
    figure.tight_layout()
    _save(figure, folder, "disagreement")


def maps(cases: list[Case], weights: str, folder: Path) -> None:
    """Local scores, brought to 0..1, over four restorations with visible faults."""
    driqa = create("driqa", weights=weights)
    chosen = [min((c for c in cases if c.kind == kind), key=lambda c: c.driqa) for kind in INPUTS]
    half = chosen[0]
    mixed = half.image.clone()
    mixed[..., : SIDE // 2] = half.pristine[..., : SIDE // 2]
    chosen.append(Case(half.photo, half.kind, "left half pristine", mixed, half.degraded, half.pristine))
    figure, axes = pyplot.subplots(2, len(chosen), figsize=(13, 5.6))
    for column, case in zip(axes.T, chosen, strict=True):
        with torch.no_grad():
            score, local = driqa(case.image, case.degraded, return_map=True)
        _show(column[0], case.image, f"{case.photo}, {case.kind}\n{case.name}: {float(score[0]):.2f}")
        shown = column[1].imshow(torch.sigmoid(local)[0, 0].numpy(), vmin=0, vmax=1, cmap="viridis")
        column[1].axis("off")
    figure.colorbar(shown, ax=axes[1], orientation="horizontal", fraction=0.06, pad=0.04)
    _save(figure, folder, "maps", bbox_inches="tight")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="default")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder (default: docs/pictures)")
    options = parser.parse_args()
    cases = _cases()
    _judge(cases, options.weights)
    ranking(cases, options.output)
    disagreement(cases, options.output)
    maps(cases, options.weights, options.output)


if __name__ == "__main__":
    main()
