"""What a gaming report was asked, and what its witnesses say of an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from drmetric.bench.judges import Judge
from drmetric.bench.scores.subjects import Folders, Images


@dataclass(frozen=True)
class Settings:
    """What `drmetric bench gaming` was asked.

    Attributes:
        metrics: names, with options as in "niqe(weights=niqe.safetensors)".
        images, degraded, truth: folders that pair by name; without `images` those that come with drmetric.
        witnesses: names of metrics that look at the attacked images too.
        psnrs: of the attacked image to the untouched one, in dB.
        spreads: files of scores over a human-rated set; see `drmetric.bench.scores.spread`.
        steps: of the iterated attack and of the training of the universal one.
        seed: of the noise, of the halves of the universal perturbation and of the resamples.
        n_bootstrap: resamples of each interval and test.
    """

    metrics: Sequence[str]
    images: Path | None = None
    degraded: Path | None = None
    truth: Path | None = None
    witnesses: Sequence[str] = ("psnr", "ssim", "lpips", "vif")
    psnrs: Sequence[float] = (40.0, 35.0)
    spreads: Sequence[Path] = ()
    steps: int = 10
    seed: int = 0
    n_bootstrap: int = 1000
    device: str = "cpu"

    @property
    def folders(self) -> Folders:
        """Of the images."""
        return Folders(self.images, self.degraded, self.truth)


def heading(witness: Judge) -> str:
    """What a witness' figures are: values against the untouched image, or changes, with the better direction."""
    what = f"{witness.label} to the untouched" if witness.reference == "untouched" else f"change of {witness.label}"
    return f"{what} {'↑' if witness.metric.higher_is_better else '↓'}"


@torch.no_grad()
def ask_witnesses(witnesses: Sequence[Judge], image: Tensor, images: Images) -> dict[str, float | str]:
    """What each witness says of an image: its score, or why there is none."""
    said: dict[str, float | str] = {}
    for witness in witnesses:
        try:
            score = float(witness.rate(image, images))
            said[witness.label] = score if math.isfinite(score) else f"the score is {score}"
        except Exception as error:
            said[witness.label] = f"{type(error).__name__}: {error}".partition("\n")[0]
    return said
