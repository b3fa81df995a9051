"""What turns a restoration into one of something else: colours, places, patches and details that are not the input's.

Every entry of `UNFAITHFUL` is a function of images (N,3,H,W) in [0, 1], a strength in [0, 1], a random state, and,
where `needs_other` says so, other photographs of the same size. At strength 0 it changes nothing, at a tenth it is
hardly seen, at 1 it is a plain fault. It returns the changed images, not clipped, and the weight of the change,
(N,1,H,W): 1 where all was changed, 0 where nothing was. Use `make_unfaithful`, which checks and clips.

What is drawn (place, direction, sign, noise) depends on the random state alone, not on the strength, so that equal
states give one fault growing with the strength. Draws are made on the CPU: they do not depend on the device.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from kornia.color import rgb_to_grayscale
from kornia.filters import spatial_gradient
from torch import Tensor

from drmetric.errors import InputError

Unfaithful = tuple[Tensor, Tensor]
"""The changed images (N,3,H,W) and the weight of the change (N,1,H,W)."""

LARGEST_PATCH = 0.5
"""Side of a changed patch at strength 1, of the image's shorter side."""
CAST, OCTAVES_OF_GAMMA, SHIFT, WARP = 0.2, 1.0, 12.0, 12.0
"""At strength 1: length of a cast in RGB, log2 of gamma, pixels of a shift, pixels of the largest displacement."""


def colour_cast(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """A random colour of no luma added to all pixels."""
    colour = torch.randn(len(image), 3, 1, 1, generator=generator).to(image)
    colour = colour - rgb_to_grayscale(colour)
    return image + strength * CAST * colour / colour.norm(dim=1, keepdim=True), _everywhere(image)


def tone_curve(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """Gamma 2 ** strength, or its reciprocal."""
    gamma = 2 ** (strength * OCTAVES_OF_GAMMA * _signs(image, generator))
    return image.clamp_min(1e-6) ** gamma if strength else image, _everywhere(image)


def saturation(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """Distance from grey multiplied by 1 - strength, or by 1 + strength."""
    grey = rgb_to_grayscale(image)
    return image + strength * _signs(image, generator) * (image - grey), _everywhere(image)


def shift(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """The whole image moved in a random direction by `SHIFT` pixels times strength; mirrored at the border."""
    angle = 2 * math.pi * torch.rand(len(image), generator=generator)
    offset = SHIFT * strength * torch.stack([angle.cos(), angle.sin()], dim=1).to(image)
    return _moved(image, offset[:, :, None, None].expand(-1, -1, *image.shape[-2:])), _everywhere(image)


def warp(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """An elastic deformation of the whole image, smooth over a sixth of its side."""
    return _moved(image, WARP * strength * _elastic(image, generator, knots=6)), _everywhere(image)


def local_warp(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """An elastic deformation inside one patch."""
    weight = _patch(image, strength, _random_centres(image, generator))
    return _moved(image, WARP * weight * _elastic(image, generator, knots=12)), weight


def patch_replaced(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """A patch of another photograph in place of its own."""
    assert other is not None
    weight = _patch(image, strength, _random_centres(image, generator))
    return torch.lerp(image, other.expand_as(image), weight), weight


def patch_mirrored(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """A patch mirrored left to right about its centre."""
    centres = _random_centres(image, generator)
    weight = _patch(image, strength, centres)
    columns = torch.arange(image.shape[-1], device=image.device)
    source = (2 * centres[:, 1, None] - columns).clamp(0, image.shape[-1] - 1)
    mirrored = image.gather(3, source[:, None, None, :].expand_as(image))
    return torch.lerp(image, mirrored, weight), weight


def patch_erased(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """A patch without anything that is smaller than an eighth of the image."""
    weight = _patch(image, strength, _random_centres(image, generator))
    height, width = image.shape[-2:]
    return torch.lerp(image, _resized(_resized(image, (8, 8)), (height, width)), weight), weight


def patch_swapped(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """Two patches, half an image apart in height and width, exchanged."""
    weight = _patch(image, strength, _random_centres(image, generator), largest=LARGEST_PATCH / 2)
    half = (image.shape[-2] // 2, image.shape[-1] // 2)
    back = (image.shape[-2] - half[0], image.shape[-1] - half[1])
    twin = weight.roll(half, (-2, -1))
    changed = torch.lerp(image, image.roll(back, (-2, -1)), weight)
    return torch.lerp(changed, image.roll(half, (-2, -1)), twin), weight + twin


def text_garbled(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """The cells of the patch with the strongest edges shuffled, each a twentieth of the image's shorter side.

    It stands for garbled text: strokes keep their look and lose their order. No text is looked for; on photographs
    without any it garbles the most detailed place.
    """
    weight = _patch(image, strength, _strongest_edges(image))
    cell = max(2, min(image.shape[-2:]) // 20)
    rows, columns = image.shape[-2] // cell, image.shape[-1] // cell
    whole = image[..., : rows * cell, : columns * cell]
    cells = whole.reshape(*image.shape[:2], rows, cell, columns, cell).transpose(-2, -3)
    # Each cell comes from a random neighbour, at most two cells away.
    steps = torch.randint(-2, 3, (2, rows, columns), generator=generator).to(image.device)
    row = (torch.arange(rows, device=image.device)[:, None] + steps[0]).clamp(0, rows - 1)
    column = (torch.arange(columns, device=image.device) + steps[1]).clamp(0, columns - 1)
    shuffled = image.clone()
    shuffled[..., : rows * cell, : columns * cell] = cells[:, :, row, column].transpose(-2, -3).reshape_as(whole)
    return torch.lerp(image, shuffled, weight), weight


def face_garbled(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """The patch with the strongest edges pulled about, over distances smaller than itself.

    It stands for garbled faces: parts stay sharp and lose their proportions. No face is looked for.
    """
    weight = _patch(image, strength, _strongest_edges(image))
    return _moved(image, WARP * weight * _elastic(image, generator, knots=16)), weight


def other_detail(
    image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None, scale: int = 4
) -> Unfaithful:
    """Fine detail of another photograph added: what of it a reduction by `scale` does not keep, twice at strength 1."""
    assert other is not None
    height, width = image.shape[-2:]
    small = _resized(other, (max(1, height // scale), max(1, width // scale)))
    return image + 2 * strength * (other - _resized(small, (height, width))), _everywhere(image)


def other_image(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """Another photograph, cross-faded: at strength 1 a restoration of another input."""
    assert other is not None
    return torch.lerp(image, other.expand_as(image), strength), _everywhere(image)


def mirrored(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """The image mirrored left to right, cross-faded: at strength 1 the mirrored input's restoration."""
    return torch.lerp(image, image.flip(-1), strength), _everywhere(image)


def black(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """Fading to black."""
    return (1 - strength) * image, _everywhere(image)


def flat(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """Fading to the image's mean colour."""
    return torch.lerp(image, image.mean((2, 3), keepdim=True).expand_as(image), strength), _everywhere(image)


def noise(image: Tensor, strength: float, generator: torch.Generator, other: Tensor | None) -> Unfaithful:
    """Fading to uniform noise."""
    return torch.lerp(image, torch.rand(image.shape, generator=generator).to(image), strength), _everywhere(image)


UNFAITHFUL: dict[str, Callable[..., Unfaithful]] = {
    function.__name__: function
    for function in (
        colour_cast, tone_curve, saturation, shift, warp, local_warp, patch_replaced, patch_mirrored, patch_erased,
        patch_swapped, text_garbled, face_garbled, other_detail, other_image, mirrored, black, flat, noise,
    )
}  # fmt: skip
"""Name to function; all have the parameters of `make_unfaithful`."""

LOCAL = ("local_warp", "patch_replaced", "patch_mirrored", "patch_erased", "patch_swapped", "text_garbled",
         "face_garbled")  # fmt: skip
"""The names whose change is in one or two patches; the weight of all others is 1 everywhere."""


def needs_other(name: str) -> bool:
    """Whether a function of `UNFAITHFUL` wants other photographs."""
    return name in ("patch_replaced", "other_detail", "other_image")


def make_unfaithful(
    image: Tensor, name: str, strength: float, generator: torch.Generator, other: Tensor | None = None, **options: int
) -> Unfaithful:
    """Change images so that they are no longer restorations of their inputs.

    Args:
        image: (N,3,H,W) floats in [0, 1], at least 32 pixels in height and width.
        name: of `UNFAITHFUL`.
        strength: 0 (unchanged) to 1 (a plain fault).
        generator: of all draws; every image has its own.
        other: (N,3,H,W) or (1,3,H,W), other photographs in [0, 1], where `needs_other`.
        options: ``scale`` of `other_detail`: the factor by which the input was reduced, 4 if not given.

    Returns:
        The changed images, clipped to [0, 1], and the weight of the change (N,1,H,W) in [0, 1].

    Raises:
        InputError: an unknown name, a strength outside [0, 1], or other photographs missing or of another size.
    """
    if name not in UNFAITHFUL:
        raise InputError(f"unknown change {name!r}; known: {', '.join(UNFAITHFUL)}", 'name="shift"')
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength}; wanted 0 to 1", "strength=0.5")
    if needs_other(name) and (other is None or other.shape[1:] != image.shape[1:] or len(other) not in (1, len(image))):
        came = "nothing" if other is None else str(tuple(other.shape))
        raise InputError(
            f"{name} wants other photographs, of {tuple(image.shape)}, and got {came}",
            f"other=images.roll(1, 0)  # {name} takes from the next image of the batch",
        )
    changed, weight = UNFAITHFUL[name](image, strength, generator, other, **options)
    return changed.clamp(0, 1), weight


def _everywhere(image: Tensor) -> Tensor:
    return torch.ones_like(image[:, :1])


def _signs(image: Tensor, generator: torch.Generator) -> Tensor:
    """(N,1,1,1) of -1 and 1."""
    return (torch.randint(0, 2, (len(image), 1, 1, 1), generator=generator) * 2 - 1).to(image)


def _random_centres(image: Tensor, generator: torch.Generator) -> Tensor:
    """(N,2) whole rows and columns in the middle half of the image."""
    size = torch.tensor(image.shape[-2:])
    return (size * (0.25 + 0.5 * torch.rand(len(image), 2, generator=generator))).long().to(image.device)


def _strongest_edges(image: Tensor) -> Tensor:
    """(N,2) the row and column, an eighth of the image off its border or more, about which the gradient is greatest."""
    height, width = image.shape[-2:]
    window = max(1, min(height, width) // 8)
    gradient = spatial_gradient(rgb_to_grayscale(image)).norm(dim=2)
    energy = F.avg_pool2d(gradient, 2 * window, stride=1)
    place = energy.flatten(1).argmax(1)
    return torch.stack([place // energy.shape[-1], place % energy.shape[-1]], dim=1) + window


def _patch(image: Tensor, strength: float, centres: Tensor, largest: float = LARGEST_PATCH) -> Tensor:
    """(N,1,H,W) weight of a square about each centre, whose side is strength times `largest` of the image's.

    1 inside and falling to 0, linearly, over the outer quarter of the way from the centre to the rim.
    """
    height, width = image.shape[-2:]
    half = max(strength * largest * min(height, width) / 2, 1e-9)
    rows = (torch.arange(height, device=image.device) - centres[:, 0, None]).abs()
    columns = (torch.arange(width, device=image.device) - centres[:, 1, None]).abs()
    away = torch.maximum(rows[:, :, None], columns[:, None, :])[:, None].to(image) / half
    return (4 * (1 - away)).clamp(0, 1) if strength else torch.zeros_like(image[:, :1])


def _elastic(image: Tensor, generator: torch.Generator, knots: int) -> Tensor:
    """(N,2,H,W) displacements, x then y, of about 1 at most: noise on `knots` x `knots` points, smoothly enlarged."""
    coarse = torch.rand(len(image), 2, knots, knots, generator=generator).to(image) * 2 - 1
    return F.interpolate(coarse, size=image.shape[-2:], mode="bicubic", align_corners=True)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)


def _moved(image: Tensor, displacement: Tensor) -> Tensor:
    """The image fetched from places off by (N,2,H,W) pixels, x then y; bicubic, mirrored at the border."""
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing="ij"
    )
    x, y = 2 * (x + displacement[:, 0]) / (width - 1) - 1, 2 * (y + displacement[:, 1]) / (height - 1) - 1
    fetched = F.grid_sample(
        image, torch.stack([x, y], dim=-1), mode="bicubic", padding_mode="reflection", align_corners=True
    )
    still = (displacement == 0).all(dim=1, keepdim=True)
    return torch.where(still, image, fetched)
