"""A fidelity report of a metric on images in memory, for a training script that wants to know how its weights do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from drmetric.bench.fidelity.probes import LEVELS, PROBES, Level, Probe
from drmetric.bench.fidelity.run import FidelityReport, probe
from drmetric.bench.fidelity.settings import Settings
from drmetric.bench.judges import REFERENCES, Judge
from drmetric.bench.scores.store import ScoreFile
from drmetric.bench.scores.subjects import Images, Kind
from drmetric.errors import InputError
from drmetric.metrics.base import Metric


@dataclass(frozen=True)
class Held:
    """Images in memory, each of its own content."""

    name: str
    images: Images
    paths: Mapping[Kind, Path] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """Its own."""
        return self.name

    def read(self, device: str) -> Images:
        """The images."""
        return {kind: image.to(device) for kind, image in self.images.items()}


def probe_tensors(
    metric: Metric,
    restored: Sequence[Tensor],
    degraded: Sequence[Tensor] | None = None,
    truth: Sequence[Tensor] | None = None,
    *,
    names: Sequence[str] = (),
    probes: Sequence[Probe] = PROBES,
    levels: Sequence[Level] = LEVELS,
    tolerance: float = Settings.tolerance,
    seed: int = 0,
    n_bootstrap: int = 1000,
) -> FidelityReport:
    """Probe a metric on images, each of a content of its own.

    Args:
        metric: it meets the image that boards let its mode meet; it goes to the device of the images, and the
            reference that was set is forgotten.
        restored: images (3,H,W) or (1,3,H,W) in [0, 1].
        degraded: their inputs, in the same order.
        truth: their ground truth, likewise.
        names: of the images, by which places and directions are drawn; their numbers by default.
        probes: as `Settings`, like what follows.
        levels: as `Settings`.
        tolerance: as `Settings`.
        seed: as `Settings`.
        n_bootstrap: as `Settings`.

    Returns:
        The report, for `drmetric.bench.fidelity.figures.lines` and `drmetric.bench.fidelity.tables.tables`.

    Raises:
        InputError: lists of different lengths, or without the images that the metric meets; a name given twice.
    """
    given = {"untouched": restored, "degraded": degraded, "truth": truth}
    lists = {kind: list(images) for kind, images in given.items() if images is not None}
    reference = REFERENCES[metric.mode][0]
    if reference not in ("none", *lists):
        raise InputError(f"{metric.name} meets the {reference} image, and there is none", f"{reference}=images")
    if len({len(images) for images in lists.values()}) != 1 or not restored:
        counts = ", ".join(f"{len(images)} {kind}" for kind, images in lists.items())
        raise InputError(f"there are {counts} images; wanted as many of each, at least one", "restored=images")
    names = names or [str(number) for number in range(len(restored))]
    if len(set(names)) != len(restored):
        raise InputError(f"{len(restored)} images have {len(set(names))} names", "names=()  # numbers")
    batches = {kind: [each.reshape(1, *each.shape[-3:]) for each in images] for kind, images in lists.items()}
    scenes = [Held(name, {kind: images[place] for kind, images in batches.items()}) for place, name in enumerate(names)]
    settings = Settings(
        probes=probes,
        levels=levels,
        tolerance=tolerance,
        seed=seed,
        n_bootstrap=n_bootstrap,
        device=str(restored[0].device),
    )
    return probe(settings, scenes, [Judge(metric.name, reference, metric)], ScoreFile(None))
