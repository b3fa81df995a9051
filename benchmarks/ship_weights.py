"""Put trained weights, their card and their recipe into weights/, and take out those that they replace.

    python -m benchmarks.ship_weights driqa driqa-mobilenetv2-13 --model mean.safetensors --card card.md \
        --recipe recipe.toml --default --retire driqa-mobilenetv2-12=0.4.0

`--retire NAME=RELEASE` removes a folder; asking for that name then says that RELEASE was the last to have it.
`--backbone-in nriqa-mobile:nriqa-mobile-5` leaves the backbone out of the file, because those weights hold the same.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import safe_open

from drmetric.checkpoints import WeightsFile, read_weights, write_weights

DESCRIBED = ("format", "metric", "network", "backbone")
"""What `write_weights` writes of itself."""

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


def ship(entry: dict[str, Any], name: str, files: dict[str, Path], folder: Path) -> None:
    """Copy "model.safetensors", "card.md" and "recipe.toml" of `files` to folder/name and list them in `entry`."""
    (folder / name).mkdir(exist_ok=True)
    for target, source in files.items():
        shutil.copyfile(source, folder / name / target)
    entry["weights"][name] = {
        "file": f"{name}/model.safetensors",
        "sha256": hashlib.sha256((folder / name / "model.safetensors").read_bytes()).hexdigest(),
        "licence": "Apache-2.0",
        "card": f"{name}/card.md",
        "recipe": f"{name}/recipe.toml",
    }


def retire(entry: dict[str, Any], name: str, release: str, folder: Path) -> None:
    """Remove folder/name, and let the manifest say that `release` was the last with it."""
    del entry["weights"][name]
    entry["retired"][name] = release
    shutil.rmtree(folder / name)


def without_backbone(model: Path, metric: str, holder: tuple[str, str], target: Path) -> Path:
    """Write weights again without the backbone that those of `holder`, metric and name, have too."""
    file = WeightsFile(model.stem, model, "")
    network, state = read_weights(file, metric)
    write_weights(target, metric, network, state, notes_of(model), holder)
    return target


def notes_of(model: Path) -> dict[str, str]:
    """What `write_weights` was given as notes, such as the names of a bank's photographs."""
    with safe_open(model, "pt") as opened:
        return {key: text for key, text in opened.metadata().items() if key not in DESCRIBED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metric", help="metric in the manifest, such as driqa or nriqa-mobile")
    parser.add_argument("name", help="name of the weights, such as driqa-mobilenetv2-12")
    parser.add_argument("--model", type=Path, required=True, help="safetensors file of drmetric train")
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--default", action="store_true", help="make them the metric's default")
    parser.add_argument("--retire", nargs="*", default=[], metavar="NAME=RELEASE")
    parser.add_argument("--backbone-in", metavar="METRIC:NAME", help="bundled weights that hold the same backbone")
    parser.add_argument("--folder", type=Path, default=WEIGHTS, help="folder of manifest.json (default: weights/)")
    options = parser.parse_args()
    path = options.folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    entry = manifest.setdefault(options.metric, {"default": options.name, "weights": {}, "retired": {}})
    with TemporaryDirectory() as folder:
        model = options.model
        if options.backbone_in:
            holder, _, held = options.backbone_in.partition(":")
            model = without_backbone(model, options.metric, (holder, held), Path(folder) / model.name)
        files = {"model.safetensors": model, "card.md": options.card, "recipe.toml": options.recipe}
        ship(entry, options.name, files, options.folder)
    if options.default:
        entry["default"] = options.name
    for each in options.retire:
        retire(entry, *each.split("=", 1), options.folder)
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    print(f"{options.metric}'s default is {entry['default']}; bundled are {', '.join(entry['weights'])}")


if __name__ == "__main__":
    main()
