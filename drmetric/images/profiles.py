"""Embedded colour profiles: which are sRGB, and how pixels of another one become sRGB.

A profile is taken for sRGB where its transform moves no colour by more than `NEAR` codes, whatever it is called. Other
RGB and grey profiles of 8-bit files are converted by LittleCMS (`PIL.ImageCms`), relative colorimetric, to the nearest
code; colours beyond sRGB are clipped, as in every program that shows them.
"""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

__all__ = ["NEAR", "Profile", "read_profile"]

NEAR = 2
"""Codes of 255 by which a profile that is as good as sRGB may differ: those in use round their curves."""
_STEPS = 17
_EXACT = ImageCms.Flags.NOOPTIMIZE


@dataclass(frozen=True)
class Profile:
    """An embedded profile.

    Attributes:
        name: what it calls itself.
        problem: why pixels cannot be converted by it; empty where they can.
        transform: to sRGB, from `mode`; None where pixels stay as they are.
        mode: "RGB" or "L".
    """

    name: str
    problem: str = ""
    transform: ImageCms.ImageCmsTransform | None = None
    mode: str = "RGB"

    @property
    def is_srgb(self) -> bool:
        return not self.problem and self.transform is None

    def convert(self, picture: Image.Image) -> Image.Image:
        """An RGB picture of a picture in the colours of the profile."""
        if self.transform is None:
            return picture.convert("RGB")
        converted = ImageCms.applyTransform(picture.convert(self.mode), self.transform)
        assert converted is not None
        return converted


@lru_cache(maxsize=16)
def read_profile(data: bytes, is_grey: bool) -> Profile:
    """The profile of an image that is stored as grey, or in colours."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(data))
        name = ImageCms.getProfileDescription(profile).strip()
    except (ImageCms.PyCMSError, OSError) as error:
        return Profile("one that cannot be parsed", f"it cannot be parsed ({error})")
    space = profile.profile.xcolor_space.strip()
    mode = {"RGB": "RGB", "GRAY": "L"}.get(space)
    if mode is None or (mode == "L" and not is_grey):
        return Profile(name, f"it is one of {space}, and the pixels are {'grey' if is_grey else 'RGB'}")
    try:
        transform = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, _EXACT
        )
        found = Profile(name, transform=transform, mode=mode)
        chart = _chart(mode)
        moved = np.abs(np.asarray(found.convert(chart)).astype(int) - np.asarray(chart.convert("RGB")))
    except ImageCms.PyCMSError as error:
        return Profile(name, f"it has no transform to sRGB ({error})")
    return Profile(name) if moved.max() <= NEAR else found


def _chart(mode: str) -> Image.Image:
    """Colours on a grid of RGB, or all greys."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)
    return Image.fromarray(grid.reshape(_STEPS, -1, 3))
