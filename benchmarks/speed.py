"""Time metrics side by side: milliseconds for a score and for a score with its gradient.

    python -m benchmarks.speed          # driqa on both weights, lpips, ssim, psnr at 256, 512 px and 1080p
    python -m benchmarks.speed --metrics driqa,lpips --repeats 9
    python -m benchmarks.speed --metrics driqa,onnx:driqa,driqa:driqa-patches-2,onnx:driqa:driqa-patches-2
    python -m benchmarks.speed --metrics nriqa,backbone:mobilenetv2,onnx:nriqa,pyiqa:topiq_nr,pyiqa:maniqa

A metric is a name of `drmetric.available()`, with its weights behind a colon if wanted. "backbone:" times a bare
backbone, "onnx:" the file that `drmetric export` makes of a metric, in onnxruntime, "pyiqa:" a no-reference model of
pyiqa with random weights (its time does not depend on them). Metrics take turns within every repeat, so that a busy
moment of the machine hits them all; the median is reported. Every run writes a file of its own, by
default in runs/speed.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import torch

from benchmarks.reporting import add_output, report, stack
from drmetric import create
from drmetric.bench.tables import Column, Table
from drmetric.metrics.base import Metric
from drmetric.metrics.export import export_onnx
from drmetric.networks.backbones import create_backbone

COLUMNS = (
    Column("metric", "metric"),
    Column("size", "size"),
    Column("score_ms", "score, ms", ".1f"),
    Column("score_and_gradient_ms", "score and gradient, ms", ".1f"),
)
SIZES = {"256": (256, 256), "512": (512, 512), "1080p": (1080, 1920)}


def _images(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, reference = torch.rand(2, 1, 3, *size, generator=generator)
    return image, reference


Run = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A score of an image and its reference, which no-reference metrics do not look at."""


def _milliseconds(run: Run, size: tuple[int, int], backward: bool) -> float:
    image, reference = _images(size)
    start = time.perf_counter()
    if backward:
        run(image.requires_grad_(), reference).sum().backward()
    else:
        with torch.no_grad():
            run(image, reference)
    return 1e3 * (time.perf_counter() - start)


def _run(given: str) -> Run:
    kind, _, name = given.partition(":")
    if kind in PEERS:
        return PEERS[kind](name)
    metric = _metric(given)
    return metric if metric.needs_reference else (lambda image, reference: metric(image))


def _metric(given: str) -> Metric:
    name, _, weights = given.partition(":")
    return create(name, weights=weights) if weights else create(name)


def _backbone(name: str) -> Run:
    network = create_backbone(name, 5).eval().to(memory_format=torch.channels_last)

    def run(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return network.features(image)[-1].mean()

    return run


def _onnx(given: str) -> Run:
    """The file that `drmetric export` writes, in onnxruntime with as many threads as torch has."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(_metric(given), Path(folder) / "metric.onnx").path.read_bytes()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        images = (image.detach().numpy(), reference.numpy())
        return torch.from_numpy(session.run(["score"], dict(zip(names, images, strict=False)))[0])

    return run


def _pyiqa(name: str) -> Run:
    import pyiqa
    import timm

    create_model = timm.create_model
    timm.create_model = lambda *args, **options: create_model(*args, **{**options, "pretrained": False})
    network = pyiqa.create_metric(name, pretrained=False, as_loss=True, device="cpu")
    timm.create_model = create_model
    return lambda image, reference: network(image)


PEERS = {"backbone": _backbone, "onnx": _onnx, "pyiqa": _pyiqa}
WITHOUT_GRADIENT = ("onnx",)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", default="driqa,driqa:driqa-patches-2,lpips,ssim,psnr")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scores-only", action="store_true", help="no gradients, for peers that need minutes for one")
    add_output(parser)
    options = parser.parse_args()

    metrics = {given: _run(given) for given in options.metrics.split(",")}
    rows = []
    for size in options.sizes.split(","):
        times: dict[tuple[str, bool], list[float]] = {
            (name, backward): []
            for name in metrics
            for backward in (False, True)
            if not (backward and (options.scores_only or name.startswith(WITHOUT_GRADIENT)))
        }
        for repeat in range(options.repeats + 1):
            for (name, backward), measured in times.items():
                elapsed = _milliseconds(metrics[name], SIZES[size], backward)
                if repeat:
                    measured.append(elapsed)
        for name in metrics:
            score, both = (statistics.median(times.get((name, backward), [math.nan])) for backward in (False, True))
            rows.append({"metric": name, "size": size, "score_ms": score, "score_and_gradient_ms": both})
    title = f"{torch.get_num_threads()} threads, torch {torch.__version__}, n = {options.repeats}"
    output = options.output or Path("runs/speed") / f"{stack()}-{datetime.now():%Y%m%d-%H%M%S}.csv"
    report(Table(COLUMNS, rows, title), output)


if __name__ == "__main__":
    main()
