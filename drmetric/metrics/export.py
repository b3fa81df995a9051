"""A metric as an ONNX file, for programs that have no PyTorch: browsers, phones, C++, C#.

The graph takes batches of any size of images of any height and width, as the metric does:

* ``restored`` (N,3,H,W), float32 RGB in [0, 1]; ``image`` where the metric judges it alone;
* ``degraded`` (N,3,h,w) for degraded-reference metrics: as large as the restored image, or smaller; the resize is part
  of the graph. ``reference`` (N,3,H,W) for full-reference ones.

It puts out ``score`` (N,) and, where the metric has one, ``map`` (N,1,h',w'). Nothing in it checks its input. The
bank or the references that are set when NARIQA is exported become constants of the graph.

Every file is compared with its metric before it gets its name: what cannot be exported, or scores differently, is an
`ExportError`.
"""

import copy
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from drmetric.errors import ExportError, InputError, optional
from drmetric.metrics.base import Metric
from drmetric.metrics.nariqa import NARIQA
from drmetric.metrics.nriqa import NRIQA
from drmetric.networks.mobileiqa import MobileIQA
from drmetric.writing import room_for, write_whole

__all__ = ["TOLERANCE", "Exported", "Pair", "check_packages", "export_onnx", "quantise"]

TOLERANCE = 1e-4
"""How far a graph may score from its metric, times the score where that is above 1."""
Pair = tuple[Tensor, ...]
"""What a metric scores: one image, or an image and its reference, (N,3,H,W)."""

_CHECKED = ((2, 97, 131, 2), (1, 64, 64, 1), (3, 33, 48, 1), (1, 250, 75, 3), (1, 40, 465, 1))
"""Batch, height and width of images that a graph is checked with, and how many times smaller their references are."""
_WHOLE = 2**16
_SQUARE_GRID = """
    side = Constant <value = double[1] {{{tile}}}> ()
    rows_of_cells = Div (height, side)
    columns_of_cells = Div (width, side)
    row_count = Round (rows_of_cells)
    column_count = Round (columns_of_cells)
"""
_CELLS_GRID = """
    cells = Constant <value = double[1] {{{tokens}}}> ()
    scaled_height = Mul (cells, height)
    squared_rows = Div (scaled_height, width)
    rows_of_cells = Sqrt (squared_rows)
    rounded_rows = Round (rows_of_cells)
    some_rows = Max (rounded_rows, one_cell)
    scaled_width = Mul (some_rows, width)
    columns_of_cells = Div (scaled_width, height)
    row_count = Round (rows_of_cells)
    column_count = Round (columns_of_cells)
"""
_GRID = """
grid (float[N,3,H,W] image) => (int64[R] rows, int64[C] columns) {{
    one_cell = Constant <value = double[1] {{1.0}}> ()
    image_size = Shape <start = 2> (image)
    image_sides = Cast <to = 11> (image_size)
    height, width = Split <axis = 0, num_outputs = 2> (image_sides)
{counts}
    enough_rows = Max (row_count, one_cell)
    enough_columns = Max (column_count, one_cell)
    whole_rows = Cast <to = 7> (enough_rows)
    whole_columns = Cast <to = 7> (enough_columns)
    rows = ConstantOfShape <value = int64[1] {{0}}> (whole_rows)
    columns = ConstantOfShape <value = int64[1] {{0}}> (whole_columns)
}}
"""
"""Vectors as long as the grid of an image has rows and columns, in double precision as Python computes them."""


class Exported(NamedTuple):
    """What was written, and how far its scores were from the metric's on the images that it was checked with."""

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    largest_difference: float


class _Clamp(nn.Module):
    """What ReLU6 is."""

    def forward(self, features: Tensor) -> Tensor:
        return features.clamp(0, 6)


class _Graph(nn.Module):
    """What is traced: the scores, and the maps where there are some."""

    def __init__(self, metric: Metric, has_map: bool) -> None:
        super().__init__()
        self.metric, self.has_map = metric, has_map
        self.network = getattr(metric, "network", None)

    def forward(self, image: Tensor, reference: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        score = self.metric._score_with_map if self.has_map else self.metric._score
        return score(image, self.metric._reference if reference is None else reference)


class _GridGraph(_Graph):
    """The same of a network that looks at an image on a grid, whose rows and columns are inputs of the graph."""

    def forward(self, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # type: ignore[override]
        self.metric.network.grid = lambda height, width: (rows.shape[0], columns.shape[0])  # type: ignore[union-attr]
        return super().forward(image)


def export_onnx(metric: Metric, path: str | Path, *, calibration: Iterable[Pair] | None = None) -> Exported:
    """Write a metric as an ONNX file that scores as it does, within `TOLERANCE`.

    Args:
        metric: one of drmetric's; other metrics where their code allows.
        path: of the file.
        calibration: images to `quantise` the graph by; scores then differ by more than the tolerance.

    Returns:
        What was written; its difference is that of the 8-bit graph where there is one.

    Raises:
        ExportError: no graph can score as the metric does; nothing is written then.
        MissingDependencyError: the extra "onnx" is not installed.
        OutputError: the file cannot be written.
    """
    check_packages()
    _refuse(metric)
    path = Path(path)
    room_for(path)
    examples = [_example(metric, *each) for each in _CHECKED]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "metric.onnx"
        inputs, outputs = _write(metric, examples[0], written)
        try:
            differences = {output: _largest_difference(metric, written, examples, output) for output in outputs}
        except Exception as error:  # of onnxruntime, whose errors have no common class of their own
            raise ExportError(f"the graph of {metric.name} does not run at all sizes: {error}", _ANOTHER) from error
        for output, difference in differences.items():
            if not difference <= TOLERANCE:
                problem = f"the {output}s of the graph of {metric.name} are up to {difference:.2g} from the metric's"
                raise ExportError(problem, _ANOTHER)
        if calibration is not None:
            quantise(written, written, calibration)
            differences["score"] = _largest_difference(metric, written, examples, "score")
        write_whole(path, written.read_bytes())
    return Exported(path, inputs, outputs, differences["score"])


def check_packages() -> None:
    """Raise a `MissingDependencyError` unless the packages that `export_onnx` needs are installed."""
    for package in ("onnxscript", "onnx", "onnxruntime"):
        optional(package, "onnx", "export")


_ANOTHER = "drmetric export driqa --onnx driqa.onnx  # driqa, nariqa and nriqa export"


def _refuse(metric: Metric) -> None:
    if isinstance(metric, NRIQA) and not isinstance(metric.network, MobileIQA):
        raise ExportError(
            'NRIQA("akd") compares an image with itself after JPEG and after noise that depends on the image\'s size; '
            "a graph of fixed operations has neither",
            "drmetric export nriqa --onnx nriqa.onnx  # the other system",
        )


def _example(metric: Metric, count: int, height: int, width: int, smaller: int) -> Pair:
    """Smooth random images of a size, the same for every call, with references where the metric takes some."""
    generator = torch.Generator().manual_seed(height * width)
    height, width = max(height, metric.min_size), max(width, metric.min_size)

    def smooth(size: tuple[int, int]) -> Tensor:
        coarse = torch.rand(count, 3, 9, 9, generator=generator)
        return functional.interpolate(coarse, size=size, mode="bilinear") * 0.9 + 0.1 * torch.rand(
            count, 3, *size, generator=generator
        )

    if not metric.needs_reference:
        return (smooth((height, width)),)
    smaller = 1 if metric.mode == "fr" else smaller
    return smooth((height, width)), smooth((-(-height // smaller), -(-width // smaller)))


def _write(metric: Metric, example: Pair, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Trace a metric and write its graph; returns the names of its inputs and outputs."""
    traced = _traceable(metric)
    with torch.no_grad():
        has_map = _has_map(metric, example)
    names: tuple[str, ...] = ("restored", metric.reference_name) if metric.needs_reference else ("image",)
    size = "" if metric.mode == "fr" else f"{names[-1]}_"
    shapes: list[dict[int, str]] = [
        {0: "batch", 2: "height", 3: "width"},
        {0: "batch", 2: f"{size}height", 3: f"{size}width"},
    ][: len(names)]
    outputs = ("score", "map") if has_map else ("score",)
    grid = _grid_of(metric)
    graph: nn.Module = _Graph(traced, has_map)
    given: tuple[Tensor, ...] = example
    arguments = names
    if grid:
        graph = _GridGraph(traced, has_map)
        given = (*example, torch.zeros(5, dtype=torch.int64), torch.zeros(6, dtype=torch.int64))
        arguments, shapes = (*names, "rows", "columns"), [*shapes, {0: "rows"}, {0: "columns"}]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.eval(),
                given,
                input_names=arguments,
                output_names=outputs,
                dynamic_shapes=tuple(shapes),
                dynamo=True,
                optimize=False,  # its passes fail on attention; onnxruntime has its own
                verbose=False,
            )
    except Exception as error:  # of whatever kind the tracer or the metric raises
        first, *_ = [*str(error.__cause__ or error).strip().splitlines(), type(error).__name__]
        raise ExportError(f"{metric.name} cannot be traced for images of all sizes: {first}", _ANOTHER) from error
    assert program is not None
    _save(program.model_proto, metric, grid, path)
    return names, outputs


def _traceable(metric: Metric) -> Any:
    """A copy that runs whole images, without the ReLU6 of torch, each of which takes the tracer seconds."""
    traced: Any = copy.deepcopy(metric)
    if hasattr(traced, "tile"):
        traced.tile = _WHOLE
    for module in list(traced.network.modules()) if hasattr(traced, "network") else ():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, _Clamp())
    return traced


def _has_map(metric: Metric, example: Pair) -> bool:
    try:
        metric(*example, return_map=True)
    except InputError:
        return False
    return True


def _grid_of(metric: Metric) -> str:
    """The nodes that make the grid of a metric that has one, or nothing."""
    if isinstance(metric, NARIQA):
        return _GRID.format(counts=_SQUARE_GRID.format(tile=float(metric.network.config.tile)))
    if isinstance(metric, NRIQA) and isinstance(metric.network, MobileIQA) and not metric.network.config.full_attention:
        return _GRID.format(counts=_CELLS_GRID.format(tokens=float(metric.network.config.tokens)))
    return ""


def _save(model: Any, metric: Metric, grid: str, path: Path) -> None:
    """Write the graph with its grid, and with what its scores mean."""
    import onnx

    if grid:
        nodes = onnx.parser.parse_graph(grid).node
        kept = [each for each in model.graph.input if each.name not in ("rows", "columns")]
        after = list(model.graph.node)
        del model.graph.node[:], model.graph.input[:]
        model.graph.node.extend([*nodes, *after])
        model.graph.input.extend(kept)
    notes = {
        "metric": metric.name,
        "signature": metric.signature,
        "better": "higher" if metric.higher_is_better else "lower",
        "min_size": str(metric.min_size),
        "input": "float32 RGB in [0, 1], (batch, 3, height, width)",
    }
    onnx.helper.set_model_props(model, notes)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _largest_difference(metric: Metric, path: Path, examples: Sequence[Pair], output: str) -> float:
    """How far the scores or maps of a graph are from the metric's, relative to those above 1; NaN where one is."""
    run = _session(path, output)
    differences = []
    for example in examples:
        with torch.no_grad():
            wanted = metric(*example) if output == "score" else metric(*example, return_map=True)[1]
        found = torch.from_numpy(run(_arrays(example)))
        differences.append(((found - wanted).abs() / wanted.abs().clamp_min(1)).flatten())
    return float(torch.cat(differences).max())


def _session(path: Path, output: str) -> Callable[[list[Any]], Any]:
    """The output of that name that a file gives to its inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda arrays: session.run([output], dict(zip(names, arrays, strict=True)))[0]


def _arrays(images: Pair) -> list[Any]:
    return [image.numpy() for image in images]


def quantise(source: str | Path, target: str | Path, calibration: Iterable[Pair]) -> None:
    """Write a graph again with convolutions and products of matrices in 8 bits; source and target may be one file.

    Weights take 7 of the 8 bits, for processors on which the sums would overflow otherwise.

    Args:
        source: a file of `export_onnx`.
        target: the file to write.
        calibration: images, with their references where the metric takes some; the ranges that are seen on these
            are those of the 8 bits.

    Raises:
        MissingDependencyError: the extra "onnx" is not installed.
    """
    onnx = optional("onnx", "onnx", "quantising")
    quantization = optional("onnxruntime.quantization", "onnx", "quantising")
    names = [each.name for each in onnx.load(source).graph.input]
    feeds = (dict(zip(names, _arrays(pair), strict=True)) for pair in calibration)

    class Reader:
        def get_next(self) -> dict[str, Any] | None:
            return next(feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        quantised = Path(folder) / "int8.onnx"
        kinds = ["Conv", "MatMul", "Gemm"]
        quantization.quantize_static(
            source, quantised, Reader(), per_channel=True, reduce_range=True, op_types_to_quantize=kinds
        )
        write_whole(Path(target), quantised.read_bytes())
