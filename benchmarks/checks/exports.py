"""Do ONNX files score as their metrics do, and what do 8 bits cost?

    python -m benchmarks.checks.exports                                     # parity on 50 images of different sizes
    python -m benchmarks.checks.exports --metrics driqa --rated srij $DRMETRIC_SRIJ    # and SRCC in 8 bits

A metric is a name of `drmetric.available()`, with its weights behind a colon if wanted. Parity is of parts of the
bundled photographs, sides from 32 to 192 pixels, a third of them odd; the largest difference of scores is printed. On
a set of rated images the metric and its 8-bit graph are correlated (Spearman) with the opinions of the images of each
input, averaged over inputs, with 95 % intervals over contents; the loss of SRCC as well.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from benchmarks.reporting import add_output, report
from drmetric import create, example, read_image
from drmetric.bench.tables import Cell, Column, Table
from drmetric.cli.console import note, show
from drmetric.data.rated import RatedImage, read_opinions
from drmetric.images import resize
from drmetric.metrics.base import Metric
from drmetric.metrics.export import Pair, export_onnx, quantise
from drmetric.statistics import bootstrap_by_content, srcc

PARITY = (
    Column("metric", "metric"),
    Column("images", "n"),
    Column("difference", "largest difference", ".2g"),
    Column("map_difference", "of the maps", ".2g"),
)
LOSS = (
    Column("metric", "metric"),
    Column("images", "n"),
    Column("srcc", "SRCC", ".3f", "shown"),
    Column("srcc_int8", "SRCC in 8 bits", ".3f", "shown"),
    Column("loss", "loss", ".3f", "shown"),
    Column("difference", "mean difference of scores", ".4f"),
    Column("bytes", "bytes in float32"),
    Column("bytes_int8", "bytes in 8 bits"),
)
Scored = tuple[float, float, float]
"""Opinion, score of the metric, score of the 8-bit graph."""


def _session(path: Path) -> Callable[..., list[Tensor]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *images: [
        torch.from_numpy(output)
        for output in session.run(None, dict(zip(names, (each.numpy() for each in images[: len(names)]), strict=True)))
    ]


def _exported(metric: Metric, path: Path) -> Path:
    """The graph of a metric, of an earlier run if it has the signature of this one."""
    if path.is_file():
        notes = {each.key: each.value for each in onnx.load(path).metadata_props}
        if notes.get("signature") == metric.signature:
            return path
    return export_onnx(metric, path).path


def parts(count: int) -> list[Pair]:
    """Parts of the bundled photographs, of different sizes; every second input is as large as its output."""
    draw = np.random.default_rng(0)
    pairs, found = example.pairs(), []
    for number in range(count):
        restored, degraded = pairs[number % len(pairs)]
        height, width = (int(draw.integers(32, side + 1)) for side in restored.shape[-2:])
        part = restored[..., :height, :width]
        whole = resize(degraded, (restored.shape[-2], restored.shape[-1]))[..., :height, :width]
        smaller = (-(-height // 2), -(-width // 2)) if number % 2 else (height, width)
        found.append((part, resize(whole, smaller)))
    return found


def parity(metric: Metric, path: Path, count: int) -> dict[str, object]:
    """The largest difference of scores and of maps."""
    run, scores, maps = _session(path), [0.0], [0.0]
    for pair in parts(count):
        given = pair if metric.needs_reference else pair[:1]
        with torch.no_grad():
            score, local = metric(*given, return_map=True)
        exported = run(*given)
        scores.append(float((exported[0] - score).abs().max()))
        maps.append(float((exported[1] - local).abs().max()))
    return {"images": count, "difference": max(scores), "map_difference": max(maps)}


def loss_in_8_bits(metric: Metric, path: Path, rated: Sequence[RatedImage]) -> dict[str, object]:
    """What 8 bits cost in agreement with people, within the images of one input, and how far scores move."""
    run, moved = _session(path), []
    contents: dict[str, dict[Path | None, list[Scored]]] = {}
    for each in rated:
        given = tuple(read_image(file)[None] for file in (each.image, each.degraded) if file)
        given = given if metric.needs_reference else given[:1]
        with torch.no_grad():
            score, quantised = float(metric(*given)), float(run(*given)[0])
        contents.setdefault(each.content, {}).setdefault(each.degraded, []).append((each.score, score, quantised))
        moved.append(abs(score - quantised))
    correlated = [[_correlations(rows) for rows in inputs.values()] for inputs in contents.values()]
    cells = {
        name: _cell([[row[place] for row in rows] for rows in correlated])
        for place, name in enumerate(("srcc", "srcc_int8", "loss"))
    }
    return {"images": len(rated), **cells, "difference": float(np.mean(moved)), "bytes_int8": path.stat().st_size}


def _correlations(rows: list[Scored]) -> tuple[float, float, float]:
    opinions, scores, quantised = zip(*rows, strict=True)
    before, after = srcc(scores, opinions), srcc(quantised, opinions)
    return before, after, before - after


def _cell(contents: list[list[float]]) -> Cell:
    """The mean over inputs, and its interval over contents."""

    def mean(drawn: list[list[float]]) -> float:
        return float(np.nanmean(np.concatenate(drawn)))

    return Cell(mean(contents), *bootstrap_by_content(contents, mean))


def main() -> None:
    """Export, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", default="driqa,driqa:driqa-patches-3,nariqa,nriqa")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=Path("runs/exports"), help="of the graphs, which are kept")
    parser.add_argument("--rated", nargs=2, metavar=("SET", "FOLDER"), help="rated images; their test part is scored")
    add_output(parser)
    options = parser.parse_args()
    compared, lost = [], []
    for given in options.metrics.split(","):
        name, _, weights = given.partition(":")
        metric = create(name, **({"weights": weights} if weights else {}))
        path = _exported(metric, options.folder / f"{given.replace(':', '-')}.onnx")
        compared.append({"metric": given, **parity(metric, path, options.images)})
        note(f"{given}: {compared[-1]}")
        if options.rated:
            small = [pair if metric.needs_reference else pair[:1] for pair in example.pairs()]
            quantised = path.with_suffix(".int8.onnx")
            quantise(path, quantised, small)
            rated = read_opinions(options.rated[0], Path(options.rated[1]), "test")
            row = loss_in_8_bits(metric, quantised, rated)
            lost.append({"metric": given, **row, "bytes": path.stat().st_size})
    show(Table(PARITY, compared, f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"))
    if lost:
        report(Table(LOSS, lost, f"{options.rated[0]}, test"), options.output)


if __name__ == "__main__":
    main()
