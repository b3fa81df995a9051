"""Three photographs, degraded and then restored in three ways each, for first steps and for examples.

``degraded/`` holds astronaut (blurred), chelsea (noisy) and coffee (half the size); ``restored/`` holds each as
``NAME_sharp``, ``NAME_blurred`` and ``NAME_oversharpened``. benchmarks/pictures/example.py made them.
"""

from pathlib import Path
from shutil import copytree

from torch import Tensor

from drmetric.images import read_image

FOLDER = Path(__file__).parent


def image(name: str) -> Tensor:
    """One of the images, such as "restored/coffee_sharp": (1, 3, H, W) in [0, 1].

    >>> image("degraded/coffee").shape
    torch.Size([1, 3, 96, 96])

    Raises:
        ImageFileError: there is none of that name.
    """
    return read_image(FOLDER / f"{name}.png")[None]


def pairs() -> list[tuple[Tensor, Tensor]]:
    """Every restored image with its degraded one, both (1, 3, H, W)."""
    restored = sorted(path.stem for path in (FOLDER / "restored").glob("*.png"))
    return [(image(f"restored/{name}"), image(f"degraded/{name.split('_')[0]}")) for name in restored]


def copy(folder: Path) -> None:
    """Copy the images to degraded/ and restored/ in a folder."""
    for part in ("degraded", "restored"):
        copytree(FOLDER / part, folder / part, dirs_exist_ok=True)
