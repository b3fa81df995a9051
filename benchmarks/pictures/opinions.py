"""The documents' pictures of NRIQA and NARIQA, made from scikit-image's photographs and KADID-10k's distortions.

    python -m benchmarks.pictures.opinions          # writes docs/pictures/nriqa-*.jpg and nariqa-*.jpg

order: the best and the worst of all distorted photographs by each metric. maps: local scores where one half is
distorted. disagreement: the images on which the metrics disagree most. references: one image beside many references.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from skimage import data
from torch import Tensor

from drmetric import NARIQA, NRIQA
from drmetric.distortions.kadid.types import KADID10K, distort, stretched
from drmetric.metrics.base import Metric

matplotlib.use("Agg")
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
PHOTOS = {
    "astronaut": data.astronaut()[:300, 60:460],
    "coffee": data.coffee()[40:340, 120:520],
    "chelsea": data.chelsea()[:, 20:420],
    "rocket": data.rocket()[60:360, 120:520],
}
"""NASA (public domain), Rachel Michetti (CC0), Stefan van der Walt (CC0), SpaceX (CC0)."""
TYPES = (1, 3, 5, 9, 10, 11, 12, 14, 17, 18, 21, 22, 24, 25)
LEVELS = (1, 3, 5)
Named = dict[str, Tensor]


def _photographs() -> Named:
    return {name: torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255 for name, pixels in PHOTOS.items()}


def _distorted() -> Named:
    named = {}
    for photo, image in _photographs().items():
        named[f"{photo}, as it is"] = stretched(image)
        for kind in TYPES:
            for level in LEVELS:
                name = f"{photo}, {KADID10K[kind].name.replace('_', ' ')} {level}"
                named[name] = distort(image, kind, level, seed=0)
    return named


@torch.no_grad()
def _scores(metric: Metric, images: Named) -> dict[str, float]:
    return {name: float(metric(image)[0]) for name, image in images.items()}


def _show(axis: pyplot.Axes, image: Tensor, title: str) -> None:
    axis.imshow(image[0].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
    axis.set_title(title, fontsize=8)
    axis.axis("off")


def _save(figure: pyplot.Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100, bbox_inches="tight", pil_kwargs={"quality": 82})
    pyplot.close(figure)


def extremes(file: Path, values: dict[str, float], images: Named, *said: tuple[str, dict[str, float]]) -> None:
    """For every photograph, the image with the greatest value and the one with the least, and what metrics say."""
    figure, axes = pyplot.subplots(2, len(PHOTOS), figsize=(12, 5.2))
    for column, photo in zip(axes.T, PHOTOS, strict=True):
        own = sorted((each for each in images if each.startswith(photo)), key=lambda each: -values[each])
        for axis, each in zip(column, (own[0], own[-1]), strict=True):
            _show(axis, images[each], f"{each}\n" + ", ".join(f"{title} {scores[each]:.2f}" for title, scores in said))
    _save(figure, file)


def maps(file: Path, metrics: dict[str, Callable[..., tuple[Tensor, Tensor]]]) -> None:
    """Local scores, brought to 0..1, where the right half of a photograph is distorted."""
    kinds = (10, 1, 11, 24)
    figure, axes = pyplot.subplots(1 + len(metrics), len(PHOTOS), figsize=(12, 2.8 * (1 + len(metrics))))
    for column, (photo, image), kind in zip(axes.T, _photographs().items(), kinds, strict=True):
        mixed = image.clone()
        half = image.shape[-1] // 2
        mixed[..., half:] = distort(image, kind, 5, seed=0)[..., half:]
        _show(column[0], mixed, f"{photo}, right half: {KADID10K[kind].name.replace('_', ' ')} 5")
        for axis, (title, metric) in zip(column[1:], metrics.items(), strict=True):
            with torch.no_grad():
                score, local = metric(mixed, return_map=True)
            frame = (0, image.shape[-1], image.shape[-2], 0)
            shown = axis.imshow(torch.sigmoid(local)[0, 0].numpy(), vmin=0, vmax=1, cmap="viridis", extent=frame)
            axis.set_title(f"{title} {float(score[0]):.2f}", fontsize=8)
            axis.axis("off")
    figure.colorbar(shown, ax=axes[1:], orientation="horizontal", fraction=0.04, pad=0.02)
    _save(figure, file)


def references(file: Path, metric: NARIQA) -> None:
    """Scores of one photograph, blurred step by step, beside references of other contents, good and poor."""
    photographs = _photographs()
    image = photographs.pop("chelsea")
    beside: dict[str, Tensor | Sequence[Tensor] | None] = {"the bank": None, **photographs}
    beside |= {f"{photo}, compressed": distort(each, 10, 5, seed=0) for photo, each in photographs.items()}
    figure, axis = pyplot.subplots(figsize=(7, 4))
    for number, (name, reference) in enumerate(beside.items()):
        with torch.no_grad():
            images = [image, *(distort(image, 1, level, seed=0) for level in range(1, 6))]
            scores = [float(metric(each, reference)[0]) for each in images]
        axis.plot(range(6), scores, "--" if "compressed" in name else "-", color=f"C{number}", label=name)
    axis.set(xlabel="level of Gaussian blur of the photograph 'chelsea'", ylabel="NARIQA")
    axis.legend(title="beside", fontsize=8)
    _save(figure, file)


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder (default: docs/pictures)")
    folder = parser.parse_args().output
    images = _distorted()
    metrics = {"mobile": NRIQA(), "akd": NRIQA("akd"), "nariqa": NARIQA()}
    scores = {name: _scores(metric, images) for name, metric in metrics.items()}
    mobile, akd, nariqa = scores.values()
    extremes(folder / "nriqa-order.jpg", mobile, images, ("NRIQA", mobile))
    extremes(folder / "nriqa-akd-order.jpg", akd, images, ('NRIQA("akd")', akd))
    extremes(folder / "nariqa-order.jpg", nariqa, images, ("NARIQA", nariqa))
    gaps = {name: akd[name] - mobile[name] for name in images}
    extremes(folder / "nriqa-disagreement.jpg", gaps, images, ("mobile", mobile), ("akd", akd))
    maps(folder / "nriqa-maps.jpg", {"mobile": metrics["mobile"], "akd": metrics["akd"]})
    maps(folder / "nariqa-maps.jpg", {"NARIQA": metrics["nariqa"]})
    references(folder / "nariqa-references.jpg", NARIQA())
    spread = {name: float(np.std(list(each.values()))) for name, each in scores.items()}
    print(f"{len(images)} images; standard deviation of the scores: {spread}")


if __name__ == "__main__":
    main()
