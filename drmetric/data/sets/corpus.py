"""A corpus of `drmetric corpus`: restorations of degraded photographs, labelled by a fusion of metrics.

Layout: ``manifest.jsonl`` and the images that it names, as `drmetric.data.make.corpus` makes them.
Score: the label of `drmetric.data.make.labels`, 0..1.
Subset: the family of the degradation, with the scale where there is one.
Split: that of the photograph.
Terms: those of the photographs and of the restorers.
"""

from pathlib import Path
from typing import Any

from drmetric.data.make.building import labelled_records
from drmetric.data.rated import Rated, RatedImage, RatedSet


def read(root: Path) -> Rated:
    """The restored images with their pristine images and degraded inputs.

    Raises:
        ConfigError: no manifest, or an image without a label.
    """
    for record in labelled_records(root, "corpus"):
        image = RatedImage(
            image=root / record["restored"],
            score=record["label"],
            content=record["content"],
            reference=root / record["pristine"],
            subset=_family(record.get("degradation", {})),
            degraded=root / record["degraded"],
        )
        yield image, record["split"]


def _family(degradation: dict[str, Any]) -> str:
    """Such as "noise", or "super_resolution x4"."""
    family: str = degradation.get("family", "")
    scale = next((step["scale"] for step in degradation.get("steps", ()) if "scale" in step), 1)
    return family if scale == 1 else f"{family} x{scale}"


SET = RatedSet(read)
