"""Time metrics side by side: milliseconds for a score and for a score with its gradient, memory and multiplications.

    python -m benchmarks.speed          # driqa on both weights, lpips, ssim, psnr at 256, 512 px and 1080p
    python -m benchmarks.speed --metrics driqa,lpips --repeats 9 --memory
    python -m benchmarks.speed --metrics driqa,onnx:driqa,driqa:driqa-patches-3,onnx:driqa:driqa-patches-3
    python -m benchmarks.speed --metrics ssim,piq:ssim,pyiqa:lpips,pyiqa:lpips-vgg,pyiqa:dists,vif,fsim --sizes 512,4k
    python -m benchmarks.speed --metrics nriqa,backbone:mobilenetv2,onnx:nriqa,pyiqa:topiq_nr,pyiqa:maniqa
    python -m benchmarks.speed --device cuda --repeats 30 --memory

A metric is a name of `drmetric.available()`, with its weights behind a colon if wanted. "backbone:" times a bare
backbone, "onnx:" the file that `drmetric export` makes of a metric, in onnxruntime, "piq:ssim" piq's SSIM with its
downsampling (to a quarter of the pixels at 1080p; "ssim" has none), "pyiqa:" a model of pyiqa with random weights (its
time does not depend on them). Metrics take turns within every repeat, so that a busy moment of the machine hits them
all; the median is reported. "GMACs" are the multiplications of a score's convolutions and matrix products. With
`--memory`, what a process of its own takes at most for a score, and for a score with its gradient, beyond what it has
after one of 64 x 64 pixels (on a GPU: what PyTorch's allocator gives). Every run writes a file of its own, by default
in runs/speed.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from benchmarks.checks.memory import ALLOCATOR, SMALLEST
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
    Column("gmacs", "GMACs", ".2f"),
)
MEMORY = (
    Column("score_mib", "score, MiB", ".0f"),
    Column("score_and_gradient_mib", "score and gradient, MiB", ".0f"),
)
SIZES = {"256": (256, 256), "512": (512, 512), "1080p": (1080, 1920), "4k": (2160, 3840)}


def _images(size: tuple[int, int], device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, reference = torch.rand(2, 1, 3, *size, generator=generator).to(device)
    return image, reference


Run = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A score of an image and its reference, which no-reference metrics do not look at."""


def _compute(run: Run, image: torch.Tensor, reference: torch.Tensor, backward: bool) -> None:
    if backward:
        run(image.requires_grad_(), reference).sum().backward()  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad():
            run(image, reference)
    if image.device.type == "cuda":
        torch.cuda.synchronize(image.device)


def _milliseconds(run: Run, size: tuple[int, int], backward: bool, device: str = "cpu") -> float:
    images = _images(size, device)
    start = time.perf_counter()
    _compute(run, *images, backward)
    return 1e3 * (time.perf_counter() - start)


def _fused(image: list[int], weight: list[int], *_: object, out_shape: list[int], **__: object) -> int:
    """Of the kernels of `drmetric.networks.fused`, which PyTorch does not count."""
    return conv_flop_count(image, weight, out_shape)


def _gmacs(run: Run, size: tuple[int, int], device: str) -> float:
    """Of a score, in convolutions and matrix products."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.mkldnn._convolution_pointwise: _fused}) as counter:
        _compute(run, *_images(size, device), backward=False)
    return float(counter.get_total_flops()) / 2e9


def _resident(name: str) -> float:
    """MiB of this process by Linux: "VmRSS" now, "VmHWM" at most."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _mebibytes(device: str, name: str) -> float:
    if device == "cpu":
        return _resident(name)
    measured = torch.cuda.memory_allocated if name == "VmRSS" else torch.cuda.max_memory_allocated
    return measured() / 2**20


def _print_peaks(given: str, size: str, device: str, scores_only: bool) -> None:
    """MiB beyond a small image's, of a score and of a score with its gradient."""
    run = _run(given, device)
    _compute(run, *_images((SMALLEST, SMALLEST), device), backward=False)
    before = _mebibytes(device, "VmRSS")
    for backward in (False,) if scores_only else (False, True):
        _compute(run, *_images(SIZES[size], device), backward)
        print(_mebibytes(device, "VmHWM") - before)


def _peaks(given: str, size: str, device: str, scores_only: bool) -> list[float]:
    """`_print_peaks` in a process of its own; NaN where it failed, as for want of memory."""
    command = [sys.executable, "-m", "benchmarks.speed", "--peaks-of", given, size, "--device", device]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ALLOCATOR)}
    done = subprocess.run(
        [*command, *(["--scores-only"] if scores_only else [])], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        print(f"{given} at {size}: {(done.stderr.strip().splitlines() or ['killed'])[-1]}", file=sys.stderr)
    numbers = [float(line) for line in done.stdout.split()]
    return [*numbers, math.nan, math.nan][:2]


def _run(given: str, device: str = "cpu") -> Run:
    kind, _, name = given.partition(":")
    if kind in PEERS:
        return PEERS[kind](name, device)
    metric = _metric(given).to(device)
    return metric if metric.needs_reference else (lambda image, reference: metric(image))


def _metric(given: str) -> Metric:
    name, _, weights = given.partition(":")
    return create(name, weights=weights) if weights else create(name)


def _backbone(name: str, device: str) -> Run:
    network = create_backbone(name, 5).eval().to(device).to(memory_format=torch.channels_last)

    def run(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return network.features(image)[-1].mean()

    return run


def _onnx(given: str, device: str) -> Run:
    """The file that `drmetric export` writes, in onnxruntime on the CPU with as many threads as torch has."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(_metric(given), Path(folder) / "metric.onnx").path.read_bytes()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        images = (image.detach().cpu().numpy(), reference.cpu().numpy())
        return torch.from_numpy(session.run(["score"], dict(zip(names, images, strict=False)))[0])

    return run


def _piq(name: str, device: str) -> Run:
    import piq

    return lambda image, reference: getattr(piq, name)(image, reference, data_range=1.0)


def _pyiqa(name: str, device: str) -> Run:
    import pyiqa
    import timm
    from torchvision.models import WeightsEnum

    create_model = timm.create_model
    with (
        patch.object(
            timm, "create_model", lambda *args, **options: create_model(*args, **{**options, "pretrained": False})
        ),
        patch.object(WeightsEnum, "get_state_dict", lambda *args, **options: {}),
        patch.object(torch.nn.Module, "load_state_dict"),
    ):
        network = pyiqa.create_metric(name, pretrained=False, as_loss=True, device=device)
    return network if network.metric_mode == "FR" else (lambda image, reference: network(image))


PEERS = {"backbone": _backbone, "onnx": _onnx, "piq": _piq, "pyiqa": _pyiqa}
WITHOUT_GRADIENT = ("onnx",)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", default="driqa,driqa:driqa-patches-3,lpips,ssim,psnr")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scores-only", action="store_true", help="no gradients, for peers that need minutes for one")
    parser.add_argument("--memory", action="store_true", help="measure memory too, in a process a metric and size")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--peaks-of", nargs=2, help=argparse.SUPPRESS)
    add_output(parser)
    options = parser.parse_args()
    if options.peaks_of:
        given, size = options.peaks_of
        _print_peaks(given, size, options.device, options.scores_only)
        return

    metrics = {given: _run(given, options.device) for given in options.metrics.split(",")}
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
                elapsed = _milliseconds(metrics[name], SIZES[size], backward, options.device)
                if repeat:
                    measured.append(elapsed)
        for name in metrics:
            score, both = (statistics.median(times.get((name, backward), [math.nan])) for backward in (False, True))
            rows.append({"metric": name, "size": size, "score_ms": score, "score_and_gradient_ms": both})
            rows[-1]["gmacs"] = _gmacs(metrics[name], SIZES[size], options.device) or math.nan
            if options.memory:
                peaks = _peaks(name, size, options.device, options.scores_only or name.startswith(WITHOUT_GRADIENT))
                rows[-1] |= dict(zip((column.key for column in MEMORY), peaks, strict=True))
            print(rows[-1], flush=True)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} threads"
    title = f"{where}, torch {torch.__version__}, n = {options.repeats}"
    output = options.output or Path("runs/speed") / f"{stack()}-{datetime.now():%Y%m%d-%H%M%S}.csv"
    report(Table((*COLUMNS, *(MEMORY if options.memory else ())), rows, title), output)
    if any(math.isnan(row.get("score_mib", 0.0)) for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
