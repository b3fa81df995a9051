"""How a full-reference metric brings image and reference to one size: not at all, unless it is asked to."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from drmetric.errors import InputError
from drmetric.images import check_scale, resize
from drmetric.images.scale import pixels, size_of

__all__ = ["MOST_CROPPED", "Alignment", "Crop"]

Crop = Literal["none", "common"]

MOST_CROPPED = 16
"""Pixels of a side that ``crop="common"`` may leave out; what differs by more is another picture."""


@dataclass(frozen=True)
class Alignment:
    """What a metric does where image and reference differ in size.

    Args:
        crop: "none" refuses them; "common" cuts both at the bottom and on the right to the rows and columns that both
            have, for outputs that lack a few pixels because a side is no multiple of the scale.
        upscale: bring a smaller reference, such as the degraded input of a super-resolver, to the image's size by
            `drmetric.images.resize`. The figure is then "to the enlarged input" and not one of quality.

    Raises:
        InputError: another `crop`, or both at once.
    """

    crop: Crop = "none"
    upscale: bool = False

    def __post_init__(self) -> None:
        if self.crop not in ("none", "common") or (self.crop == "common" and self.upscale):
            raise InputError(
                f"crop is {self.crop!r} and upscale {self.upscale}; wanted crop 'none' or 'common', or upscale alone",
                'crop="common"',
            )

    @property
    def settings(self) -> dict[str, str]:
        """What a signature says of it."""
        return ({"resize": "bicubic-aa"} if self.upscale else {}) | ({"crop": self.crop} if self.crop != "none" else {})

    def __call__(self, image: Tensor, reference: Tensor, min_size: int) -> tuple[Tensor, Tensor]:
        """Both (N,3,H,W), at one size.

        Raises:
            InputError: sizes that differ, and by more than was allowed, or of which both have less than `min_size`.
        """
        if self.upscale:
            check_scale(image, reference, "image", "reference")
            return image, resize(reference, size_of(image)).expand_as(image)
        sizes = size_of(image), size_of(reference)
        if sizes[0] != sizes[1]:
            if self.crop == "none" or _difference(*sizes) > MOST_CROPPED:
                raise _refusal(*sizes, self.crop)
            height, width = map(min, zip(*sizes, strict=True))
            if min(height, width) < min_size:
                raise InputError(
                    f"image and reference both have {pixels((height, width))}; wanted {pixels((min_size, min_size))}",
                    "pass whole images or larger crops; do not enlarge them, which would change the score",
                )
            image, reference = image[..., :height, :width], reference[..., :height, :width]
        return image, reference.expand_as(image)


def _difference(size: tuple[int, int], other: tuple[int, int]) -> int:
    """The most pixels by which a side differs."""
    return max(abs(a - b) for a, b in zip(size, other, strict=True))


def _refusal(size: tuple[int, int], other: tuple[int, int], crop: Crop) -> InputError:
    difference = _difference(size, other)
    wanted = "one size" if crop == "none" else f"sizes that differ by at most {MOST_CROPPED} pixels"
    if crop == "none" and difference <= MOST_CROPPED:
        wanted += ", or an option of the metric to compare the rows and columns that both have"
        fix = 'crop="common"'
    elif size == other[::-1]:
        fix = "turn one of them: EXIF orientations are applied, so the output must be upright as well"
    else:
        fix = "pass the ground truth of this very output, uncropped and of its size"
    return InputError(f"image is {pixels(size)}, its reference {pixels(other)}; wanted {wanted}", fix)
