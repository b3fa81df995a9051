"""KADID-10k's conditions made again by `drmetric conditions` on your own photographs.

Layout: ``manifest.jsonl`` and the images that it names, as `drmetric.data.make.conditions` makes them.
Score: the label, which is the mean opinion of the condition, 1..5, to 0..1, moved within its spread over contents.
Subset: the type of distortion.
Split: that of the photograph.
Terms: those of the photographs.
"""

from pathlib import Path

from drmetric.data.make.building import read_manifest
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.errors import ConfigError


def read(root: Path) -> Rated:
    """The distorted images with their pristine ones; a photograph is one content.

    Raises:
        ConfigError: no manifest, or an image without a label.
    """
    manifest = root / "manifest.jsonl"
    for record in read_manifest(manifest):
        if "label" not in record:
            raise ConfigError(f"{manifest} has no labels", f"drmetric conditions CONFIG.toml --output {root}")
        image = RatedImage(
            image=root / record["image"],
            score=record["label"],
            content=record["content"],
            reference=root / record["reference"],
            subset=record["condition"].rpartition("-")[0],
        )
        yield image, record["split"]


SET = RatedSet(read)
