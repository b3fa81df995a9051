"""Finding, checking and reading weights: from the wheel, a path or ``$DRMETRIC_HOME``; never from the network.

A weights file is a safetensors file, possibly in float16, whose metadata holds the network's shape as JSON.
Bundled files are listed in manifest.json with their SHA-256, and a changed file is refused. Weights on the same frozen
backbone may hold it once: then the others name the file that has it, by its SHA-256.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from drmetric.errors import InputError, WeightsError
from drmetric.writing import write_whole

__all__ = ["WeightsFile", "bundled_folder", "find_weights", "home", "manifest", "read_weights", "write_weights"]

_WRITE_AGAIN = "write_weights(path, metric, network_config, state)  # of the trained network, once more"
_BACKBONE_KEY = "backbone"
_STORED_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64)


@dataclass(frozen=True)
class WeightsFile:
    """One weights file: its name in signatures, where it is, and its SHA-256 (hex)."""

    name: str
    path: Path
    sha256: str


def bundled_folder() -> Path:
    """The folder of bundled weights: inside the installed package, or beside it in a checkout."""
    package = Path(str(files("drmetric")))
    installed = package / "weights"
    return installed if (installed / "manifest.json").is_file() else package.parent / "weights"


@cache
def manifest() -> dict[str, Any]:
    """The bundled manifest, by metric: its "default", its "weights" by name, and its "retired" names.

    An entry of "weights" holds the paths "file", "card" and "recipe" below `bundled_folder()`, "sha256" and "licence".
    "retired" maps a name to the last release that had it.

    Raises:
        WeightsError: it is missing or broken.
    """
    path = bundled_folder() / "manifest.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for entry in content.values():
            entry["default"], entry["retired"]
            for listed in entry["weights"].values():
                listed["file"], listed["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is no manifest of weights: {error!r}", "pip install --force-reinstall drmetric"
        ) from error
    return content


def home() -> Path:
    """The user's own weights: ``$DRMETRIC_HOME``, else ~/.cache/drmetric; read at every call."""
    return Path(os.environ.get("DRMETRIC_HOME") or "~/.cache/drmetric").expanduser()


_OF = {
    "driqa": 'DRIQA(weights="{}")',
    "nriqa-mobile": 'NRIQA(weights="{}")',
    "nriqa-akd": 'NRIQA("akd", weights="{}")',
    "nariqa": 'NARIQA(weights="{}")',
}
"""How weights of each metric of the manifest are asked for."""


def find_weights(metric: str, weights: str | Path = "default") -> WeightsFile:
    """Find a weights file and check it.

    Args:
        metric: name of the metric, such as "driqa".
        weights: "default", a name in the manifest, the stem of a file in `home()`, or a path.

    Raises:
        InputError: a number, as that of a loss's `weight`.
        WeightsError: nothing has that name, only an earlier release had it, or a bundled file's SHA-256 is not the
            manifest's.
    """
    if isinstance(weights, int | float):
        raise InputError(
            f"weights is {weights!r}; wanted a name or the path of a file",
            f"weight={float(weights)}  # the factor of a loss; weights are those of its network",
        )
    entry = manifest().get(metric, {"default": None, "weights": {}, "retired": {}})
    if weights == "default" and entry["default"] is None:
        raise WeightsError(f"no weights are bundled for {metric!r}", 'weights="FILE.safetensors"  # of drmetric train')
    name = entry["default"] if weights == "default" else str(weights)
    if name in entry["weights"]:
        return _bundled(name, entry["weights"][name])
    own = home() / f"{name}.safetensors"
    for path in (Path(name).expanduser(), own):
        if path.is_file():
            return WeightsFile(path.stem, path, _sha256(path))
    bundled = ", ".join(entry["weights"]) or "none"
    if name in entry["retired"]:
        release = entry["retired"][name]
        raise WeightsError(
            f"the weights {name!r} left drmetric after release {release}; bundled are {bundled}",
            f"pip install drmetric=={release}  # or put that release's file at {own}",
        )
    problem = f"no weights {name!r} for {metric!r}: bundled are {bundled}; no such file, and none in {home()}"
    if near := get_close_matches(name, entry["weights"], 1, cutoff=0.75):
        raise WeightsError(problem, f'weights="{near[0]}"  # or put your file at {own}')
    if holder := next((other for other, listed in manifest().items() if name in listed["weights"]), None):
        raise WeightsError(f"the weights {name!r} are those of {holder!r}, not of {metric!r}", _OF[holder].format(name))
    if Path(name).name != name or name.endswith(".safetensors"):
        raise WeightsError(problem, "pass the path of a file that is there")
    raise WeightsError(problem, f"put the file at {own}, or pass its path")


def _bundled(name: str, listed: dict[str, str]) -> WeightsFile:
    found = WeightsFile(name, bundled_folder() / listed["file"], _sha256(bundled_folder() / listed["file"]))
    if found.sha256 != listed["sha256"]:
        raise WeightsError(
            f"{found.path} has SHA-256 {found.sha256[:12]}..., the manifest says {listed['sha256'][:12]}...",
            "pip install --force-reinstall drmetric",
        )
    return found


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise WeightsError(f"{path} is missing", "pip install --force-reinstall drmetric")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_weights(file: WeightsFile, metric: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the network's shape and its float32 state out of a file that `write_weights` wrote.

    Raises:
        WeightsError: not a safetensors file, one of another metric, one that does not describe its network, one
            with values that are not finite or of a type that no network here has, or one whose backbone is in a file
            that is missing or another.
    """
    metadata, state = _read(file)
    if metadata.get("metric") != metric:
        raise WeightsError(
            f"{file.path} holds weights of {metadata.get('metric')!r}, not of {metric!r}",
            f"write_weights(path, {metric!r}, network_config, state)",
        )
    if _BACKBONE_KEY in metadata:
        state |= _backbone_elsewhere(file, metadata[_BACKBONE_KEY])
    return _description(file, metadata), state


def _read(file: WeightsFile) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and float32 state of a file alone."""
    try:
        with safe_open(file.path, "pt") as opened:
            metadata = opened.metadata() or {}
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file.path} is not a safetensors file: {error}", _WRITE_AGAIN) from error
    return metadata, {key: _checked(file, key, tensor) for key, tensor in state.items()}


def _backbone_elsewhere(file: WeightsFile, described: str) -> dict[str, Tensor]:
    """The backbone that a file's metadata names: metric, weights and SHA-256 of the file that has it."""
    try:
        metric, weights, sha256 = map(str, json.loads(described))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{file.path} does not describe its backbone: {described!r}", _WRITE_AGAIN) from error
    holder = find_weights(metric, weights)
    if holder.sha256 != sha256:
        raise WeightsError(
            f"{file.path} needs the backbone of {weights} with SHA-256 {sha256[:12]}..., but {holder.path} has "
            f"{holder.sha256[:12]}...",
            "pip install --force-reinstall drmetric",
        )
    return _backbone(_read(holder)[1])


def _backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.startswith("backbone.")}


def _description(file: WeightsFile, metadata: dict[str, str]) -> dict[str, Any]:
    """The shape of the network out of the metadata."""
    try:
        network = json.loads(metadata["network"])
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{file.path} does not describe its network: {error!r}", _WRITE_AGAIN) from error
    if not isinstance(network, dict):
        raise WeightsError(f"{file.path} describes its network as {network!r}; wanted a JSON object", _WRITE_AGAIN)
    return network


def _checked(file: WeightsFile, key: str, tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it counts."""
    if tensor.dtype not in _STORED_TYPES:
        raise WeightsError(
            f"{file.path} holds {key} as {tensor.dtype}; wanted floats of 16 bits or more, or int64 counters",
            _WRITE_AGAIN,
        )
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    if not torch.isfinite(tensor).all():
        raise WeightsError(f"{file.path} holds values of {key} that are not finite", _WRITE_AGAIN)
    return tensor


def write_weights(
    path: Path,
    metric: str,
    network: dict[str, Any],
    state: dict[str, Tensor],
    notes: dict[str, str] | None = None,
    backbone_in: tuple[str, str] | None = None,
) -> str:
    """Write a network's shape and state in float16.

    Args:
        path: the file.
        metric: as in the manifest.
        network: the shape.
        state: the state.
        notes: texts for the file's metadata.
        backbone_in: metric and name of weights that hold the same backbone, as `find_weights` finds them; it is then
            not written here, and `read_weights` takes it from there.

    Returns:
        The file's SHA-256.

    Raises:
        WeightsError: values that float16 cannot hold, or a backbone that is not the one in `backbone_in`.
    """
    halves = {
        key: (value.half() if value.is_floating_point() else value).detach().contiguous()
        for key, value in state.items()
    }
    if bad := [key for key, value in halves.items() if not torch.isfinite(value).all()]:
        raise WeightsError(f"{', '.join(bad)} do not fit float16 (not finite)", "train with a lower rate")
    described = {"format": "pt", "metric": metric, "network": json.dumps(network)}
    if backbone_in is not None:
        holder = find_weights(*backbone_in)
        ours, theirs = _backbone(halves), _backbone(_read(holder)[1])
        if ours.keys() != theirs.keys() or any(not torch.equal(ours[key].float(), theirs[key]) for key in ours):
            raise WeightsError(f"the backbone of {holder.name} is another one; wanted the same one", _WRITE_AGAIN)
        described[_BACKBONE_KEY] = json.dumps([*backbone_in, holder.sha256])
        halves = {key: value for key, value in halves.items() if key not in ours}
    write_whole(path, _with_sorted_header(save(halves, {**(notes or {}), **described})))
    return _sha256(path)


def _with_sorted_header(content: bytes) -> bytes:
    """With sorted metadata, which safetensors writes in random order: equal weights then have equal hashes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(end - 8)
    return content[:8] + text + content[end:]
