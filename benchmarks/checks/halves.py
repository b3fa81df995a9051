"""Do local scores point at what is wrong? Maps of photographs of which one half is distorted.

    python -m benchmarks.checks.halves $DRMETRIC_DATA/kodak
    python -m benchmarks.checks.halves $DRMETRIC_DATA/kodak --metrics nriqa --weights runs/mine/mine.safetensors

Of each photograph, 384 pixels on a side, the left or the right half has one of KADID-10k's distortions, each of them in
turn but denoising, which wants a network. Prints how often a cell of the distorted half has the lower local score (the
area under the ROC curve, .5 by chance), over all types and for the one where it is least, with 95 % intervals over
photographs.
"""

import argparse
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.reporting import add_output, mean_of, report
from drmetric import create
from drmetric.bench.tables import Column, Table
from drmetric.data.splits import share_of
from drmetric.distill.mobileiqa import half_replaced
from drmetric.distortions.kadid.types import KADID10K, distort, stretched
from drmetric.images import list_images, read_image
from drmetric.metrics.base import Metric
from drmetric.statistics import auc

SIDE = 384
KINDS = [kind for kind, distortion in KADID10K.items() if distortion.name != "denoise"]


@torch.no_grad()
def pointing(metric: Metric, photograph: torch.Tensor, kind: int, level: int, *, left: bool) -> float:
    """The area under the ROC curve for a photograph (1,3,H,W) whose left or right half is distorted."""
    halves = half_replaced(distort(photograph, kind, level, seed=kind), stretched(photograph), left=not left)
    _, local = metric(halves, return_map=True)
    columns = local.shape[-1] // 2
    halves_of = torch.cat([local[..., :columns], local[..., -columns:]], -1)
    is_distorted = torch.zeros_like(halves_of, dtype=torch.bool)
    is_distorted[..., slice(0, columns) if left else slice(columns, None)] = True
    return auc((-halves_of).flatten().tolist(), is_distorted.flatten().tolist())


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--metrics", nargs="+", default=["nriqa", "nriqa_akd", "nariqa"])
    parser.add_argument("--weights", default="default", help="of all these metrics")
    parser.add_argument("--level", type=int, default=4, help="of the distortions, 1 to 5")
    add_output(parser)
    options = parser.parse_args()
    files = list_images(options.photographs)
    rows = []
    for name in options.metrics:
        metric = create(name, weights=options.weights)
        found: dict[int, list[float]] = {kind: [] for kind in KINDS}
        for path in files:
            photograph = read_image(path, alpha="white")[None, :, :SIDE, :SIDE]
            for kind, values in found.items():
                left = share_of("half", path.name, kind) < 0.5
                values.append(pointing(metric, photograph, kind, options.level, left=left))
        worst = min(found, key=lambda kind: fmean(found[kind]))
        for what, values in (
            (f"all {len(KINDS)}", [fmean(of) for of in zip(*found.values(), strict=True)]),
            (KADID10K[worst].name.replace("_", " "), found[worst]),
        ):
            rows.append({"metric": name, "distortion": what, "auc": mean_of(values)})
            print(rows[-1], flush=True)
    columns = (Column("metric", "metric"), Column("distortion", "distortion"), Column("auc", "AUC", ".3f", "shown"))
    title = f"level {options.level}, n = {len(files)} photographs, {SIDE} px"
    report(Table(columns, rows, title), options.output)


if __name__ == "__main__":
    main()
