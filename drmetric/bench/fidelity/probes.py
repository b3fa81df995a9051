"""The probes of a fidelity report: changes after which an image is no restoration of its input, or less so.

`PROBES` is the one table of them. Each is made at two strengths: hardly visible, and plainly. What that means is
measured: docs/boards/fidelity.md has for every strength the PSNR to the unchanged image and the label that people's
opinions of distortions give it (`drmetric.bench.fidelity.opinion`), which is near 1 for the one and not for the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal
from zlib import crc32

import torch
from torch import Tensor
from torch.nn import functional

from drmetric.bench.judges import UNTOUCHED
from drmetric.bench.scores.subjects import Images
from drmetric.distortions.kadid.spatial import smoothed
from drmetric.distortions.unfaithful import (
    CAST,
    LARGEST_PATCH,
    LOCAL,
    OCTAVES_OF_GAMMA,
    SHIFT,
    WARP,
    make_unfaithful,
    needs_other,
)
from drmetric.errors import NotApplicableError
from drmetric.images import resize

Level = Literal["hardly", "plainly"]
LEVELS: tuple[Level, ...] = ("hardly", "plainly")
ENLARGED: Final = "input, bicubic"
"""What changed images are compared with: the restored image, or the bicubically enlarged input."""
LEAST = 1e-6
"""Mean squared change of the changed region (60 dB) below which it counts as none: saturation of a grey image."""
SIGMA = 2.0
"""Of the Gaussian that the probe "sharpened" subtracts, pixels."""


@dataclass(frozen=True)
class Changed:
    """What a probe made.

    Attributes:
        image: (1,3,H,W) in [0, 1], to be scored.
        images: what else there is; the input may be another than the subject's.
        weight: (1,1,H,W), 1 where the image (or the input) was changed and 0 where it was not.
    """

    image: Tensor
    images: Images
    weight: Tensor


Other = Callable[[], Images]
"""The images of another scene."""
Make = Callable[[Images, float, Other, torch.Generator], Changed]
"""From the images of a subject, a strength in [0, 1] or an amount, another scene, and the state of all draws."""


@dataclass(frozen=True)
class Probe:
    """One change of the output, or of the input that it is said to come from.

    Attributes:
        name, group: what the report calls it, and what it is about.
        hardly, plainly: how much of it, in units; see `unit`.
        make: changes the images.
        full: how many units the strength 1 of `make` is.
        is_local: whether a part of the image is changed, at which a map can point.
        of_input: whether the input is changed, and the output stays as it is.
        base: what the changed image is compared with.
    """

    name: str
    group: str
    hardly: float
    plainly: float
    unit: str
    make: Make
    full: float = 1.0
    is_local: bool = False
    of_input: bool = False
    base: str = UNTOUCHED

    def amount(self, level: Level) -> float:
        """How much of it, in units."""
        return self.hardly if level == "hardly" else self.plainly

    def changed(self, level: Level, images: Images, other: Other, seed: int) -> Changed:
        """Change the images of a subject; the levels of one seed are one change that grows.

        Raises:
            NotApplicableError: these images cannot be changed so.
        """
        made = self.make(images, self.amount(level) / self.full, other, torch.Generator().manual_seed(seed))
        before = images["degraded"] if self.of_input else base_image(self.base, images)
        after = made.images["degraded"] if self.of_input else made.image
        if (after - before).square().mean() < LEAST * made.weight.mean():
            raise NotApplicableError("it leaves this image as it is")
        return made


def seed_of(change: str, image: str, seed: int) -> int:
    """Of the draws of a change of an image, by their names: no other change and no other image has a part in it."""
    return seed + crc32(f"{change}\n{image}".encode("utf-8", "surrogateescape"))


def base_image(base: str, images: Images) -> Tensor:
    """What the changed images of a probe are compared with; raises what `enlarged` does."""
    return enlarged(images) if base == ENLARGED else images["untouched"]


def enlarged(images: Images, nearest: bool = False) -> Tensor:
    """The input at the size of the output, bicubically or by the nearest pixel.

    Raises:
        NotApplicableError: there is no input, or it is as large.
    """
    size = images["untouched"].shape[-2:]
    if "degraded" not in images or images["degraded"].shape[-2:] == size:
        raise NotApplicableError("no input is smaller than the output")
    if nearest:
        return functional.interpolate(images["degraded"], size=size, mode="nearest-exact")
    return resize(images["degraded"], (size[0], size[1])).clamp(0, 1)


def _output(images: Images, strength: float, other: Other, generator: torch.Generator, change: str) -> Changed:
    """The output changed by one of `UNFAITHFUL`; another photograph is the truth of another scene if there is one."""
    image, options = images["untouched"], {}
    if change == "other_detail" and "degraded" in images:
        # Detail above what the input holds; of inputs as large as the output, above a quarter of its resolution.
        scale = round(image.shape[-1] / images["degraded"].shape[-1])
        options = {"scale": scale} if scale > 1 else {}

    def photograph() -> Tensor:
        found = other()
        return found.get("truth", found["untouched"])

    made, weight = _unfaithful(image, change, strength, generator, photograph, options)
    return Changed(made, images, weight)


def _input(images: Images, strength: float, other: Other, generator: torch.Generator, change: str) -> Changed:
    """The input changed by one of `UNFAITHFUL`, beside the output as it is."""
    if "degraded" not in images:
        raise NotApplicableError("there is no input")
    made, _ = _unfaithful(images["degraded"], change, strength, generator, lambda: other()["degraded"], {})
    return Changed(images["untouched"], {**images, "degraded": made}, torch.ones_like(images["untouched"][:, :1]))


def _unfaithful(
    image: Tensor,
    change: str,
    strength: float,
    generator: torch.Generator,
    photograph: Callable[[], Tensor],
    options: dict[str, int],
) -> tuple[Tensor, Tensor]:
    size = image.shape[-2], image.shape[-1]
    other = _fitted(photograph(), size) if needs_other(change) else None
    return make_unfaithful(image, change, strength, generator, other, **options)


def _fitted(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of an image, of that size; a smaller image is enlarged until it covers it."""
    height, width = image.shape[-2:]
    factor = max(size[0] / height, size[1] / width, 1.0)
    if factor > 1:
        height, width = max(size[0], round(factor * height)), max(size[1], round(factor * width))
        image = resize(image, (height, width)).clamp(0, 1)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return image[..., top : top + size[0], left : left + size[1]]


def _sharpened(images: Images, amount: float, other: Other, generator: torch.Generator) -> Changed:
    image = images["untouched"]
    made = (image + amount * (image - smoothed(image, SIGMA))).clamp(0, 1)
    return Changed(made, images, torch.ones_like(image[:, :1]))


def _nearest(images: Images, strength: float, other: Other, generator: torch.Generator) -> Changed:
    made = torch.lerp(enlarged(images), enlarged(images, nearest=True), strength)
    return Changed(made, images, torch.ones_like(made[:, :1]))


def _probe(name: str, group: str, change: str, hardly: float, plainly: float, unit: str, full: float = 1.0) -> Probe:
    """Of the output, by one of `UNFAITHFUL`."""
    return Probe(name, group, hardly, plainly, unit, partial(_output, change=change), full, change in LOCAL)


_SIDE, _FADE = "of the shorter side", "faded"
PROBES = (
    _probe("colour cast", "colour", "colour_cast", 0.015, 0.06, "RGB", CAST),
    _probe("tone curve", "colour", "tone_curve", 0.1, 0.6, "octaves of gamma", OCTAVES_OF_GAMMA),
    _probe("saturation", "colour", "saturation", 0.1, 0.5, "more or less"),
    _probe("shift", "place", "shift", 0.5, 4, "px", SHIFT),
    _probe("warp", "place", "warp", 0.75, 4, "px", WARP),
    _probe("local warp", "patch", "local_warp", 0.1, 0.375, _SIDE, LARGEST_PATCH),
    _probe("patch replaced", "patch", "patch_replaced", 0.025, 0.375, _SIDE, LARGEST_PATCH),
    _probe("patch mirrored", "patch", "patch_mirrored", 0.1, 0.375, _SIDE, LARGEST_PATCH),
    _probe("patch erased", "patch", "patch_erased", 0.1, 0.375, _SIDE, LARGEST_PATCH),
    _probe("patches swapped", "patch", "patch_swapped", 0.025, 0.25, _SIDE, LARGEST_PATCH / 2),
    _probe("text garbled", "patch", "text_garbled", 0.06, 0.375, _SIDE, LARGEST_PATCH),
    _probe("face garbled", "patch", "face_garbled", 0.06, 0.375, _SIDE, LARGEST_PATCH),
    _probe("detail of another scene", "detail", "other_detail", 0.05, 0.6, "of it", 2.0),
    Probe("sharpened", "detail", 0.5, 3, f"times what a blur of {SIGMA:g} px takes", _sharpened),
    Probe("nearest for bicubic", "detail", 0.2, 1, _FADE, _nearest, base=ENLARGED),
    _probe("another scene", "scene", "other_image", 0.03, 1, _FADE),
    _probe("mirrored", "scene", "mirrored", 0.05, 1, _FADE),
    _probe("black", "nothing", "black", 0.05, 1, _FADE),
    _probe("flat", "nothing", "flat", 0.05, 1, _FADE),
    _probe("noise", "nothing", "noise", 0.02, 1, _FADE),
    Probe("input of another scene", "input", 0.1, 1, _FADE, partial(_input, change="other_image"), of_input=True),
    Probe("input mirrored", "input", 0.1, 1, _FADE, partial(_input, change="mirrored"), of_input=True),
)
"""All probes, in the order of the report."""
