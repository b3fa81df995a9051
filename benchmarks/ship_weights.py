"""Put a trained weights file into weights/ and its hash into the manifest.

python benchmarks/ship_weights.py driqa runs/driqa-mobilenetv2/driqa-mobilenetv2.safetensors driqa-mobilenetv2-1
python benchmarks/ship_weights.py driqa runs/driqa-guarded-1/driqa-guarded-1.safetensors driqa-guarded-1 --beside
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


def ship(metric: str, source: Path, name: str, *, default: bool) -> None:
    """Copy `source` to weights/<name>.safetensors, and make it the default of `metric` if wanted."""
    target = WEIGHTS / f"{name}.safetensors"
    shutil.copyfile(source, target)
    manifest_path = WEIGHTS / "manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    entry = manifest.setdefault(metric, {"default": name, "weights": {}})
    if default:
        entry["default"] = name
    entry["weights"][name] = {
        "file": target.name,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "licence": "Apache-2.0",
        "card": f"{name}.md",
    }
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    print(f"{target.name}: {target.stat().st_size / 1e6:.2f} MB, {metric}'s default is {entry['default']}")


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--beside"]
    if len(given) != 3:
        sys.exit(__doc__)
    ship(given[0], Path(given[1]), given[2], default="--beside" not in sys.argv)
