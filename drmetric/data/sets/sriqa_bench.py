"""SRIQA-Bench: 1,000 images, ten super-resolvers (x4) on 100 scenes.

Paper: Chen, Wu, Ma and Zhang, CVPR 2025.
Layout: ``MOS/<scene>.txt`` with lines ``<scene>_SwinIRx4.png,85.0``, ``images/<method>/``, the pristine images in
``images/Original/`` and the degraded inputs in ``LRImages/``, both named ``<scene>_Original.png``.
Score: the MOS, 0..100, divided by 100; its authors scaled it to the full range within each scene. Subset: "regression"
or "generation".
Split: all images are test images.
Terms: non-commercial research only.

The 100 pristine images were rated too, and not always best; they are left out here, whereas the accuracies that the
authors publish count pairs with them.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, number, read_words
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.errors import ConfigError

REGRESSION = ("SwinIR", "RealESRNet")
"""The super-resolvers that the authors call regression-based; the other eight are generative."""


def read(root: Path) -> Rated:
    """The super-resolved images with their pristine images and inputs."""
    folder = SetFolder(root)
    label_files = sorted((root / "MOS").glob("*.txt"))
    if not label_files:
        raise ConfigError(
            f"no MOS/*.txt in {root}",
            f"unpack SRIQA-Bench so that {root / 'MOS'} exists, or give the folder where it does",
        )
    for path in label_files:
        scene = path.stem
        for row in read_words(path, ("name", "MOS")):
            method = _method(row["name"], scene, path)
            if method == "Original":
                continue
            rated = RatedImage(
                image=folder.image(f"images/{method}/{row['name']}", f"images/{method}x4/{row['name']}"),
                score=number(row, "MOS", path) / 100,
                content=scene,
                reference=folder.image(f"images/Original/{scene}_Original.png"),
                subset="regression" if method in REGRESSION else "generation",
                degraded=folder.image(f"LRImages/{scene}_Original.png"),
            )
            yield rated, "test"


def _method(name: str, scene: str, path: Path) -> str:
    if not (name.startswith(f"{scene}_") and name.endswith(".png")):
        raise ConfigError(f"{path}: {name!r} is no image of the scene {scene!r}", f"download {path.name} again")
    return name.removeprefix(f"{scene}_").removesuffix(".png").removesuffix("x4")


SET = RatedSet(read)
