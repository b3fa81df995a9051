"""The page as a folder: its files, the graphs of the metrics, onnxruntime-web, and images to try it on.

onnxruntime-web (MIT) is fetched once, from npm's registry, as the one version that is pinned here by its hash; the
page itself fetches nothing from elsewhere.
"""

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from drmetric import __version__, example
from drmetric.checkpoints import home
from drmetric.errors import ExportError, quoted
from drmetric.metrics.base import Metric
from drmetric.metrics.consistency import DOUBTFUL
from drmetric.metrics.driqa import DRIQA
from drmetric.metrics.export import check_packages, export_onnx
from drmetric.metrics.registry import create
from drmetric.writing import sole_writer, write_whole

__all__ = ["RUNTIME", "build", "built_folder", "command"]

RUNTIME = "onnxruntime-web@1.30.0"
_INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_EXAMPLES = ("degraded/coffee.png", *(f"restored/coffee_{kind}.png" for kind in ("sharp", "blurred", "oversharpened")))


@dataclass(frozen=True)
class Shown:
    """How a metric stands in the page's table."""

    label: str
    unit: str
    digits: int
    meaning: str


SHOWN: Mapping[str, Shown] = {
    "driqa": Shown("DRIQA", "0 to 1", 3, "Quality as a restoration of this input; higher is better."),
    "nriqa": Shown("NRIQA", "0 to 1", 3, "Quality of the output alone; higher is better."),
    "low_band_psnr": Shown("Low band", "dB", 1, "PSNR of the coarse content to the input's; higher is more like it."),
    "colour_difference": Shown("Colour", "ΔE", 2, "Difference of colours from the input's; lower is more like it."),
}


def built_folder() -> Path:
    """Where the page is built unless another folder is given."""
    return home() / "page"


def command(folder: Path, *options: str) -> str:
    """What serves the page of a folder, or with --build makes it there."""
    where = [] if folder == built_folder() else ["--folder", quoted(folder)]
    return " ".join(["drmetric app", *options, *where])


def build(folder: Path, runtime: Path | None = None, metrics: Mapping[str, Metric] | None = None) -> None:
    """Make the page in a folder, which any web server can serve.

    Args:
        folder: may exist; files of an earlier build are replaced.
        runtime: the tarball of `RUNTIME`, if it is here; else ``npm pack`` fetches it.
        metrics: for each name in `SHOWN` its metric; the defaults of `create` where there are none.

    Raises:
        ExportError: the tarball cannot be fetched or is another one.
        MissingDependencyError: the extra "onnx" is not installed.
        OutputError: another process builds the page there.
    """
    check_packages()
    metrics = {name: create(name) for name in SHOWN} if metrics is None else metrics
    with sole_writer(folder):
        (folder / "page.json").unlink(missing_ok=True)  # it is of the graphs that are replaced now
        with tempfile.TemporaryDirectory() as scratch:
            _unpack(runtime or _fetched(Path(scratch), folder), folder)
        for page in files("drmetric.browser").joinpath("page").iterdir():
            write_whole(folder / page.name, page.read_bytes())
        (folder / "example").mkdir(exist_ok=True)
        for name in _EXAMPLES:
            write_whole(folder / "example" / Path(name).name, (example.FOLDER / name).read_bytes())
        listed = [_exported(name, metric, folder) for name, metric in metrics.items()]
        page_json = {"version": __version__, "metrics": listed, "example": [Path(name).name for name in _EXAMPLES]}
        write_whole(folder / "page.json", json.dumps(page_json, indent=1, ensure_ascii=False).encode())


def _exported(name: str, metric: Metric, folder: Path) -> dict[str, object]:
    """Write the graph of a metric; what the page has to know of it."""
    written = export_onnx(metric, folder / f"{name}.onnx")
    listed = {
        "name": name,
        "file": written.path.name,
        "inputs": written.inputs,
        "signature": metric.signature,
        "higher_is_better": metric.higher_is_better,
        **asdict(SHOWN[name]),
    }
    if name in DOUBTFUL:
        listed["doubtful"] = DOUBTFUL[name]
    if isinstance(metric, DRIQA):
        listed |= {"calibration": metric.network.config.calibration, "stride": metric.network.stride}
    return listed


def _fetched(scratch: Path, folder: Path) -> Path:
    """The tarball of the runtime, from npm's registry or the mirror that npm is set to, for the page in a folder."""
    pack = ["npm", "pack", RUNTIME, "--silent", "--pack-destination", str(scratch)]
    try:
        subprocess.run(pack, check=True, capture_output=True, text=True, cwd=scratch)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or error
        raise ExportError(
            f"npm cannot fetch {RUNTIME}: {str(reason).strip()}",
            f"{command(folder, '--build', '--runtime FILE.tgz')}  # the tarball of that version, packed elsewhere",
        ) from error
    return next(scratch.glob("*.tgz"))


def _unpack(tarball: Path, folder: Path) -> None:
    """Take the files that the page needs out of the tarball, if it is the pinned one."""
    found = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if found != _INTEGRITY:
        raise ExportError(
            f"{tarball} has SHA-512 {found[:12]}..., {RUNTIME} {_INTEGRITY[:12]}...", f"npm pack {RUNTIME}"
        )
    with tarfile.open(tarball) as archive:
        for name in _RUNTIME_FILES:
            packed = archive.extractfile(f"package/dist/{name}")
            assert packed is not None
            write_whole(folder / name, packed.read())
