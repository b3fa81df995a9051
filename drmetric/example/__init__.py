"""Three photographs, degraded and then restored in three ways each, for first steps and for examples.

``degraded/`` holds astronaut (blurred), chelsea (noisy) and coffee (half the size); ``restored/`` holds each as
``NAME_sharp``, ``NAME_blurred`` and ``NAME_oversharpened``. benchmarks/pictures/example.py made them.
"""

from filecmp import cmpfiles
from pathlib import Path
from shutil import copytree, rmtree

from torch import Tensor

from drmetric.errors import OutputError
from drmetric.images import read_image
from drmetric.writing import sole_writer

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


def copy(folder: str | Path) -> None:
    """Copy the images to degraded/ and restored/ in a folder, each whole or not at all.

    What a killed run left is done again, and a copy that is there stays.

    Raises:
        OutputError: one of the two is there without all of these images as they are here, another run is copying to the
            folder, or it cannot be written.
    """
    folder = Path(folder)
    with sole_writer(folder):
        for part in ("degraded", "restored"):
            _copy_part(FOLDER / part, folder / part)


def _copy_part(source: Path, target: Path) -> None:
    passing = target.with_name(f"{target.name}.tmp")
    if target.exists():
        names = [path.name for path in source.iterdir()]
        if cmpfiles(source, target, names, shallow=False)[0] != names:
            raise OutputError(
                f"{str(target)!r} is there, and is no copy of the images that come with drmetric",
                "give a new folder",
            )
        return
    try:
        rmtree(passing, ignore_errors=True)
        copytree(source, passing)
        passing.rename(target)
    except OSError as error:
        rmtree(passing, ignore_errors=True)
        raise OutputError(
            f"cannot write {str(target)!r}: {error.strerror or error}", "give a folder that you may write to"
        ) from error
