"""What a fidelity report was asked, and what it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from drmetric.bench.fidelity.probes import LEVELS, PROBES, Level, Probe
from drmetric.bench.scores.subjects import Folders, Images, Kind


@dataclass(frozen=True)
class Settings:
    """What a fidelity report was asked.

    Attributes:
        metrics: names, with options as in "niqe(weights=niqe.safetensors)".
        folders: of the images.
        spreads: files of scores over a human-rated set; see `drmetric.bench.scores.spread`.
        opinion: measure also how plainly each change is seen, by `Opinion`.
        probes, levels: the changes to make.
        tolerance: a score that moves by less has not fallen; in the metric's own spread.
        seed: of the changes and of the resamples.
        n_bootstrap: resamples of each interval.
    """

    metrics: Sequence[str] = ()
    folders: Folders = field(default_factory=Folders)
    spreads: Sequence[Path] = ()
    opinion: bool = False
    probes: Sequence[Probe] = PROBES
    levels: Sequence[Level] = LEVELS
    tolerance: float = 0.025
    seed: int = 0
    n_bootstrap: int = 1000
    device: str = "cpu"


class Scene(Protocol):
    """One image to change and what belongs to it, in files or in memory; see `Subject`."""

    @property
    def name(self) -> str: ...
    @property
    def content(self) -> str: ...
    @property
    def paths(self) -> Mapping[Kind, Path]: ...
    @property
    def sha256(self) -> Mapping[str, str]: ...
    def read(self, device: str) -> Images: ...
