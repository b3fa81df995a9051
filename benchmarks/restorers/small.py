"""Small restorers of our own, trained with pixel, perceptual and adversarial losses and saved along the way.

    python -m benchmarks.restorers.small PHOTOGRAPHS OUTPUT     # OUTPUT/<kind>_<loss>_<steps>.safetensors

Half-trained and adversarial states make the artefacts (grids, false texture, colour drift) that rated sets of
restored images are full of. Two kinds: "x4" enlarges a bicubic or blurred, noisy input; "same" keeps the size and
undoes a mixture of blur, noise and JPEG.
"""

import argparse
import logging
import random
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from drmetric import create
from drmetric.distortions.degrade import degrade, sample_degradation
from drmetric.images import list_images, read_image, resize

log = logging.getLogger(__name__)

Kind = Literal["x4", "same"]
SCALE: dict[str, int] = {"x4": 4, "same": 1}
LOSSES = ("l1", "perceptual", "adversarial")
SAVED_AT = (60, 200, 700)
_PATCH = 96
_BATCH = 12


class SmallRestorer(nn.Module):
    """Seven convolutions on the low-resolution grid and a skip around them; "same" works on 2 x 2 pixels at once."""

    def __init__(self, kind: Kind, channels: int = 32, depth: int = 5) -> None:
        super().__init__()
        self.scale = SCALE[kind]
        self.fold = 2 if kind == "same" else 1
        layers: list[nn.Module] = [nn.PixelUnshuffle(self.fold), nn.Conv2d(3 * self.fold**2, channels, 3, 1, 1)]
        for _ in range(depth):
            layers += [nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(channels, channels, 3, 1, 1)]
        unfold = self.fold * self.scale
        layers += [
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(channels, 3 * unfold**2, 3, 1, 1),
            nn.PixelShuffle(unfold),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """(N,3,h,w) in [0, 1], sides even for "same", to (N,3,scale h,scale w), not clamped."""
        size = (image.shape[-2] * self.scale, image.shape[-1] * self.scale)
        restored: Tensor = resize(image, size) + self.layers(image)
        return restored


def _discriminator() -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (24, 48, 96):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Conv2d(inputs, 1, 3, 1, 1))


def _pair(photographs: list[Tensor], kind: Kind, rng: random.Random) -> tuple[Tensor, Tensor]:
    """(degraded, pristine) patch of a random photograph."""
    image = rng.choice(photographs)
    top, left = rng.randint(0, image.shape[-2] - _PATCH), rng.randint(0, image.shape[-1] - _PATCH)
    pristine = image[..., top : top + _PATCH, left : left + _PATCH]
    if kind == "x4":
        steps = [{"op": "downscale", "scale": 4}]
        if rng.random() < 0.5:
            steps = [*sample_degradation("blur", rng), *steps, {"op": "gaussian_noise", "sigma": rng.uniform(0, 0.05)}]
    else:
        steps = [
            step
            for family in ("blur", "noise", "jpeg")
            if rng.random() < 0.6
            for step in sample_degradation(family, rng)
        ]
    return degrade(pristine, steps, rng.getrandbits(31)), pristine


def train(photographs: Path, output: Path, kind: Kind, loss: str, seed: int = 0) -> None:
    """Train one restorer and save its state at `SAVED_AT` steps.

    Args:
        photographs: folder of pristine images, at least 96 pixels a side.
        output: where the states go.
        kind: "x4" or "same".
        loss: of `LOSSES`; "perceptual" adds LPIPS to L1, "adversarial" adds a patch discriminator to both.
        seed: of weights and patches.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    images = [read_image(path, alpha="white")[None] for path in list_images(photographs)]
    network, critic, lpips = SmallRestorer(kind), _discriminator(), create("lpips")
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    critic_optimiser = torch.optim.Adam(critic.parameters(), 2e-4, betas=(0.5, 0.9))
    for step in range(1, SAVED_AT[-1] + 1):
        pairs = [_pair(images, kind, rng) for _ in range(_BATCH)]
        degraded, pristine = (torch.cat(column) for column in zip(*pairs, strict=True))
        restored = network(degraded)
        total = F.l1_loss(restored, pristine)
        if loss != "l1":
            total = total + 0.3 * lpips.loss(restored.clamp(0, 1), pristine)
        if loss == "adversarial":
            hinge = F.relu(1 - critic(pristine)).mean() + F.relu(1 + critic(restored.detach())).mean()
            critic_optimiser.zero_grad()
            hinge.backward()
            critic_optimiser.step()
            total = total - 0.01 * critic(restored).mean()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        if step in SAVED_AT:
            save_file(network.state_dict(), output / f"{kind}_{loss}_{step}.safetensors")
            log.info("%s %s: step %d, loss %.4f", kind, loss, step, float(total.detach()))


def load_small(folder: Path) -> dict[str, SmallRestorer]:
    """All states in a folder that `train` wrote, by file name without suffix."""
    loaded = {}
    for file in sorted(folder.glob("*_*_*.safetensors")):
        network = SmallRestorer("x4" if file.name.startswith("x4") else "same")
        network.load_state_dict(load_file(file))
        loaded[file.stem] = network.eval().requires_grad_(False)
    return loaded


def main() -> None:
    """Train every kind with every loss; a state that exists is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.output.mkdir(parents=True, exist_ok=True)
    kinds: tuple[Kind, ...] = ("x4", "same")
    for kind in kinds:
        for loss in LOSSES:
            if not (options.output / f"{kind}_{loss}_{SAVED_AT[-1]}.safetensors").exists():
                train(options.photographs, options.output, kind, loss)


if __name__ == "__main__":
    main()
