"""A small board of three restoration methods on four photographs, for the tests of methods, reports and locks."""

import torch
from skimage import data

from drmetric.images import resize, save_image

PHOTOS = ("astronaut", "cat", "chelsea", "coffee")
ENOUGH = (*PHOTOS, "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
"""So many that methods can differ significantly."""
METHODS = ("blend", "bicubic", "noise")
CONFIG = """
[data]
degraded = "degraded"
truth = "truth"
[[methods]]
name = "blend"
folder = "blend"
[[methods]]
name = "bicubic"
folder = "all"
suffix = "_bicubic"
[[methods]]
name = "noise"
folder = "all"
suffix = "_noise"
"""
"""The better, the earlier by PSNR; without [[metrics]]."""


def metrics(*names):
    return "".join(f'[[metrics]]\nname = "{name}"\n' for name in names)


def write_images(folder, photos=PHOTOS, size=96):
    for seed, photo in enumerate(photos):
        pixels = getattr(data, photo)()[60 : 60 + size, 100 : 100 + size]
        truth = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        degraded = resize(truth[None], (size // 2, size // 2))
        bicubic = resize(degraded, (size, size))[0]
        noise = 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
        for path, image in {
            f"truth/{photo}.png": truth,
            f"degraded/{photo}x2.png": degraded[0],
            f"blend/{photo}.png": (truth + bicubic) / 2,
            f"all/{photo}_bicubic.png": bicubic,
            f"all/{photo}_noise.png": (bicubic + noise).clamp(0, 1),
        }.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            save_image(image, folder / path)


def write_board(folder, text="", photos=PHOTOS, config=CONFIG, size=96):
    """Write images and configuration; returns the configuration's path."""
    write_images(folder, photos, size)
    path = folder / "board.toml"
    path.write_text(config + (text or metrics("psnr", "ssim", "low_band_psnr")))
    return path
