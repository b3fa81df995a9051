"""Make the bundled example: three photographs, degraded in three ways, each restored well, too softly, too sharply.

    python -m benchmarks.pictures.example

The photographs are scikit-image's astronaut (NASA, public domain), coffee (Rachel Michetti, CC0) and chelsea
(Stefan van der Walt, CC0).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from skimage import data, filters, restoration

from drmetric.data.make.restorers import Picture, enlarge
from drmetric.distortions.degrade import Step, anisotropic_kernel, degrade
from drmetric.images import save_image

FOLDER = Path(__file__).resolve().parents[2] / "drmetric" / "example"
SIZE = 192

SCENES: dict[str, tuple[Picture, list[Step]]] = {
    "astronaut": (
        data.astronaut()[20 : 20 + SIZE, 130 : 130 + SIZE],
        [{"op": "anisotropic_blur", "sigma_x": 1.4, "sigma_y": 1.4, "angle": 0.0}],
    ),
    "chelsea": (data.chelsea()[60 : 60 + SIZE, 110 : 110 + SIZE], [{"op": "gaussian_noise", "sigma": 0.08}]),
    "coffee": (data.coffee()[100 : 100 + SIZE, 300 : 300 + SIZE], [{"op": "downscale", "scale": 2}]),
}


def _deconvolved(image: Picture, iterations: int) -> Picture:
    kernel = anisotropic_kernel(1.4, 1.4, 0.0).numpy()
    padded = np.pad(image, ((16, 16), (16, 16), (0, 0)), mode="reflect")
    channels = [restoration.richardson_lucy(padded[..., c], kernel, num_iter=iterations) for c in range(3)]
    return np.stack(channels, axis=-1)[16:-16, 16:-16]


def _sharp(scene: str, image: Picture) -> Picture:
    if scene == "astronaut":
        return _deconvolved(image, iterations=12)
    if scene == "chelsea":
        return restoration.denoise_nl_means(image, h=0.045, sigma=0.07, patch_size=5, fast_mode=True, channel_axis=2)
    return filters.unsharp_mask(image, radius=1.0, amount=0.8, channel_axis=2)


def main() -> None:
    """Write degraded/<scene>.png and restored/<scene>_<kind>.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder (default: drmetric/example)")
    folder = parser.parse_args().output
    for scene, (photograph, steps) in SCENES.items():
        pristine = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float() / 255
        degraded = degrade(pristine, steps, seed=0)
        _save(degraded[0].permute(1, 2, 0).numpy(), folder / f"degraded/{scene}.png")
        image = enlarge(degraded[0].permute(1, 2, 0).numpy(), (SIZE, SIZE))
        sharp = _sharp(scene, image).astype(np.float32)
        _save(sharp, folder / f"restored/{scene}_sharp.png")
        _save(filters.gaussian(sharp, 2.0, channel_axis=2), folder / f"restored/{scene}_blurred.png")
        _save(
            filters.unsharp_mask(sharp, radius=1.5, amount=5.0, channel_axis=2),
            folder / f"restored/{scene}_oversharpened.png",
        )


def _save(picture: Picture, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32)).permute(2, 0, 1).clamp(0, 1), path)


if __name__ == "__main__":
    main()
