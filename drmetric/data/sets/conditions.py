"""KADID-10k's conditions made again by `drmetric conditions` on your own photographs.

Layout: ``manifest.jsonl`` and the images that it names, as `drmetric.data.make.conditions` makes them.
Score: the label, which is the mean opinion of the condition, 1..5, to 0..1, moved within its spread over contents.
Subset: the type of distortion.
Split: that of the photograph.
Terms: those of the photographs.
"""

from pathlib import Path

from drmetric.data.make.building import labelled_records
from drmetric.data.rated import Rated, RatedImage, RatedSet


def read(root: Path) -> Rated:
    """The distorted images with their pristine ones; a photograph is one content.

    Raises:
        ConfigError: no manifest, or an image without a label.
    """
    for record in labelled_records(root, "conditions"):
        image = RatedImage(
            image=root / record["image"],
            score=record["label"],
            content=record["content"],
            reference=root / record["reference"],
            subset=record["condition"].rpartition("-")[0],
        )
        yield image, record["split"]


SET = RatedSet(read)
