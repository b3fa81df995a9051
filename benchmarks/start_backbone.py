"""Weights of NRIQA("mobile") to start a training from: the heads of trained ones on another backbone.

    python -m benchmarks.start_backbone nriqa-mobile-5 efficientnet_lite0 lite0.safetensors start.safetensors

The backbone's weights are what `backbone_weights` of a recipe takes. The local blocks, which fit the backbone's
channels, are as they are made; the rest begins with what it has learned, so a teacher of the same width
(`local_distillation`) soon sets them right.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from drmetric.checkpoints import find_weights, read_weights, write_weights
from drmetric.networks.backbones import load_backbone
from drmetric.networks.mobileiqa import MobileIQA, MobileIQAConfig

SYSTEM = "nriqa-mobile"


def heads_on(heads: str, backbone: str, weights: dict[str, Tensor]) -> MobileIQA:
    """A network on a backbone with these weights; all but the local blocks is that of `heads`."""
    described, state = read_weights(find_weights(SYSTEM, heads), SYSTEM)
    torch.manual_seed(0)
    network = MobileIQA(MobileIQAConfig(**{**described, "backbone": backbone}))
    load_backbone(backbone, network.backbone, weights)
    kept = {key: value for key, value in state.items() if not key.startswith(("backbone.", "local_blocks."))}
    network.load_state_dict({**network.state_dict(), **kept, "uncertainty": torch.zeros(2)})
    return network


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", help="weights of nriqa-mobile")
    parser.add_argument("backbone", help="its name")
    parser.add_argument("backbone_weights", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    network = heads_on(options.heads, options.backbone, load_file(options.backbone_weights))
    write_weights(options.output, SYSTEM, network.config.as_dict(), network.state_dict())
    print(options.output)


if __name__ == "__main__":
    main()
