"""Images as tensors: the contract check, the one documented resize, and tiles; `read_image` reads files.

Values are code values in [0, 1] as stored in the file (almost always sRGB); nothing here linearises them.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from drmetric.errors import InputError
from drmetric.image_files import IMAGE_SUFFIXES, list_images, read_image

__all__ = [
    "IMAGE_SUFFIXES",
    "RANGE_TOLERANCE",
    "Tile",
    "check_batch",
    "check_image",
    "check_same_device",
    "list_images",
    "read_image",
    "resize",
    "save_image",
    "tiles",
]

RANGE_TOLERANCE = 1e-3
"""How far a value may lie outside [0, 1], as the outputs of networks do. Such values are not clamped."""

_FLOAT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WANTED = "wanted a tensor (N, 3, H, W) or (N, 1, H, W) in [0, 1]"


def check_image(image: torch.Tensor, name: str = "image", min_size: int = 1) -> torch.Tensor:
    """Check an image batch against the contract and bring it to float32 with three channels.

    Gradients flow through and no value is clamped. While a graph is traced (torch.compile, torch.export,
    torch.jit.trace, ONNX) and on the meta device, values are unknown: only type, shape and size are checked.

    Args:
        image: (N, 3, H, W) RGB or (N, 1, H, W) grey; floats of any width in [0, 1] within `RANGE_TOLERANCE`,
            or uint8, which is divided by 255.
        name: what to call the image in the error.
        min_size: the least height and width in pixels.

    Returns:
        (N, 3, H, W) float32; the channels of a grey image share memory.

    Raises:
        InputError: not a tensor, or of another layout, type, size or range.
    """
    if not isinstance(image, torch.Tensor):
        raise _not_a_tensor(image, name)
    _check_layout(image, name)
    _check_size(image, name, min_size)
    if image.dtype == torch.uint8:
        image = image.float() / 255
    elif image.dtype in _FLOAT_TYPES:
        image = image.float()
        if _values_are_known(image):
            _check_range(image, name)
    else:
        raise _wrong_dtype(image, name)
    return image.expand(-1, 3, -1, -1)


def check_same_device(
    image: torch.Tensor,
    reference: torch.Tensor,
    image_name: str = "restored",
    reference_name: str = "degraded",
) -> None:
    """Raise an `InputError` unless both tensors are on one device."""
    if image.device != reference.device:
        raise InputError(
            f"{image_name} is on {image.device}, {reference_name} on {reference.device}; wanted one device",
            f"{reference_name} = {reference_name}.to({image_name}.device)",
        )


def check_batch(
    image: torch.Tensor,
    reference: torch.Tensor,
    image_name: str = "restored",
    reference_name: str = "degraded",
) -> None:
    """Raise an `InputError` unless both are on one device and the reference batch is as large or 1."""
    check_same_device(image, reference, image_name, reference_name)
    count, reference_count = image.shape[0], reference.shape[0]
    if reference_count not in (count, 1):
        raise InputError(
            f"{image_name} is a batch of {count} but {reference_name} of {reference_count}; wanted {count} or 1",
            f"pass a {reference_name} for each {image_name}, or one for all: {reference_name}[:1]",
        )


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Float32 arithmetic on the device; "meta" knows no autocast, and `torch.autocast` fails there."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def resize(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The one resize of the package: bicubic with anti-aliasing, computed in float32 and clamped to [0, 1].

    It is `torch.nn.functional.interpolate(mode="bicubic", antialias=True, align_corners=False)`, which agrees
    with Pillow's BICUBIC on float images to about 1e-6. Differentiable, save where the clamp acts.

    Args:
        image: (N, C, H, W), float.
        size: the wanted height and width in pixels.

    Returns:
        (N, C, *size) float32; the same tensor, untouched, if it has that size already.

    Raises:
        InputError: `size` is not two positive whole numbers.
    """
    if len(size) != 2 or any(isinstance(side, float) or side < 1 for side in size):
        raise InputError(f"size is {size}; wanted a height and a width of at least one pixel", "size=(256, 256)")
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    with without_autocast(image.device):
        resized = functional.interpolate(image.float(), size=size, mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 1)


def save_image(image: torch.Tensor, path: str | Path) -> None:
    """Write an image (3, H, W) or (1, H, W) in [0, 1] as an 8-bit RGB PNG, values rounded to the nearest.

    Raises:
        InputError: an image that `check_image` refuses, or a path that does not end in ``.png``.
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"{path} does not end in .png, the one format written", f'"{Path(path).stem}.png"')
    if image.ndim != 3:
        raise InputError(f"image has the shape {tuple(image.shape)}; wanted (3, H, W)", "save_image(image[0], path)")
    rgb = check_image(image.detach().unsqueeze(0))[0]
    codes = rgb.clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    Image.fromarray(codes.permute(1, 2, 0).contiguous().numpy()).save(path, format="PNG")


@dataclass(frozen=True)
class Tile:
    """A part of an image in pixels: the core, which no other tile covers, within the outer box to compute.

    Bottom and right are exclusive: ``image[..., tile.top:tile.bottom, tile.left:tile.right]`` is the core.
    """

    outer_top: int
    outer_left: int
    outer_bottom: int
    outer_right: int
    top: int
    left: int
    bottom: int
    right: int


def tiles(height: int, width: int, size: int, overlap: int, stride: int) -> list[Tile]:
    """Cut an image into tiles of about equal size whose cores partition it, row by row.

    All origins are multiples of `stride`, so that a convolutional network of that stride computes its
    features on the grid of the whole image; ends are too, except at the border of the image. No core of a
    divided side is narrower than `overlap`.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        size: the most pixels along a side of a core: a multiple of `stride`, at least 2 (overlap + stride).
        overlap: the least pixels that the outer box adds on each side, up to the border of the image.
        stride: the grid in pixels.

    Raises:
        InputError: an argument out of these bounds.
    """
    _check_tiling(height, width, size, overlap, stride)
    rows = _spans(height, size, overlap, stride)
    columns = _spans(width, size, overlap, stride)
    return [
        Tile(outer_top, outer_left, outer_bottom, outer_right, top, left, bottom, right)
        for outer_top, top, bottom, outer_bottom in rows
        for outer_left, left, right, outer_right in columns
    ]


def _spans(length: int, size: int, overlap: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Outer start, core start, core end and outer end of the tiles along one side."""
    count = math.ceil(length / size)
    cuts = [stride * math.ceil(k * length / (count * stride)) for k in range(count)]
    return [
        (
            max(0, (start - overlap) // stride * stride),
            start,
            end,
            min(length, math.ceil((end + overlap) / stride) * stride),
        )
        for start, end in pairwise([*cuts, length])
    ]


def _check_tiling(height: int, width: int, size: int, overlap: int, stride: int) -> None:
    if height < 1 or width < 1:
        raise InputError(f"the image is {height} x {width} pixels; wanted at least 1 x 1")
    if stride < 1 or overlap < 0:
        raise InputError(f"stride is {stride} and overlap {overlap}; wanted stride >= 1 and overlap >= 0")
    least = 2 * (overlap + stride)
    if size < least or size % stride:
        raise InputError(
            f"size is {size}; wanted a multiple of the stride {stride}, at least 2 (overlap + stride) = {least}",
            f"size={stride * math.ceil(max(size, least) / stride)}",
        )


def _values_are_known(image: torch.Tensor) -> bool:
    traced = torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return not (traced or image.is_meta)


def _check_range(image: torch.Tensor, name: str) -> None:
    low, high = torch.stack(image.detach().aminmax()).tolist()  # NaN propagates
    if low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE:
        return
    if math.isfinite(low) and math.isfinite(high):
        raise InputError(f"{name} has values from {low:.4g} to {high:.4g}; wanted [0, 1]", _range_fix(name, low, high))
    nan, infinite = int(image.isnan().sum()), int(image.isinf().sum())
    raise InputError(
        f"{name} has {nan} NaN and {infinite} infinite values among {image.numel()}; wanted all in [0, 1]",
        f"{name} = {name}.nan_to_num(0.0).clamp(0, 1)  # better: mend what produced them",
    )


def _range_fix(name: str, low: float, high: float) -> str:
    """The line that most likely brings the values to [0, 1], judged by where they lie."""
    if high > 2 and low > -0.1 * high:
        return f"{name} = {name} / {255 if high <= 300 else 65535}"
    if -2.2 <= low < -1.05 and high <= 2.7:
        return (
            f"{name} = {name} * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1).to({name})"
            f" + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1).to({name})  # undo ImageNet's"
        )
    if -1.05 <= low < -0.2 and high <= 1.05:
        return f"{name} = ({name} + 1) / 2"
    if low >= -1 and high <= 2:
        return f"{name} = {name}.clamp(0, 1)"
    return f"{name} = ({name} - black) / (white - black)  # black and white: the values that stand for 0 and 1"


def _check_layout(image: torch.Tensor, name: str) -> None:
    if image.ndim == 4 and image.shape[1] in (1, 3):
        return
    raise InputError(f"{name} has the shape {tuple(image.shape)}; {_WANTED}", _layout_fix(name, tuple(image.shape)))


def _layout_fix(name: str, shape: Sequence[int]) -> str:
    colour, with_alpha = (1, 3), (1, 3, 4)
    drop_alpha = (
        f"  # alpha is not accepted: this drops it; over white: {name}[:, :3] * {name}[:, 3:] + 1 - {name}[:, 3:]"
    )
    match len(shape):
        case 2:
            return f"{name} = {name}[None, None]"
        case 3 if shape[0] in colour:
            return f"{name} = {name}.unsqueeze(0)"
        case 3 if shape[-1] in with_alpha:
            return f"{name} = {name}.permute(2, 0, 1).unsqueeze(0)"
        case 3 if shape[0] == 4:
            return f"{name} = {name}.unsqueeze(0)[:, :3]{drop_alpha}"
        case 3:
            return f"{name} = {name}.unsqueeze(1)  # if it is a batch of grey images"
        case 4 if shape[-1] in with_alpha and shape[1] != 4:
            return f"{name} = {name}.permute(0, 3, 1, 2)"
        case 4 if shape[1] == 4:
            return f"{name} = {name}[:, :3]{drop_alpha}"
        case 5:
            return f"{name} = {name}.flatten(0, 1)  # frames into the batch"
        case _:
            return f"pick three channels: {name} = {name}[:, [red, green, blue]]"


def _check_size(image: torch.Tensor, name: str, min_size: int) -> None:
    count, _, height, width = image.shape
    if count == 0 or height == 0 or width == 0:
        raise InputError(f"{name} is empty: its shape is {tuple(image.shape)}", "pass at least one image")
    if height < min_size or width < min_size:
        raise InputError(
            f"{name} is {height} x {width} pixels; wanted at least {min_size} x {min_size}",
            "pass the whole image or a larger crop; do not enlarge it, which would change the score",
        )


def _wrong_dtype(image: torch.Tensor, name: str) -> InputError:
    white = {torch.bool: "", torch.int16: " / 32767", torch.uint16: " / 65535"}.get(image.dtype, " / 255")
    return InputError(
        f"{name} is of type {image.dtype}; wanted a float tensor in [0, 1] or torch.uint8",
        f"{name} = {name}.float(){white}",
    )


def _not_a_tensor(image: object, name: str) -> InputError:
    match image:
        case np.ndarray():
            fix = f"{name} = torch.from_numpy({name})"
            if image.ndim == 3 and image.shape[-1] in (1, 3, 4):
                fix += ".permute(2, 0, 1).unsqueeze(0)"
            elif image.ndim == 4 and image.shape[-1] in (1, 3, 4):
                fix += ".permute(0, 3, 1, 2)"
            given = f"a NumPy array of shape {image.shape} and type {image.dtype}"
        case Image.Image():
            fix = f'{name} = torch.from_numpy(numpy.array({name}.convert("RGB"))).permute(2, 0, 1).unsqueeze(0)'
            given = f"a PIL image of mode {image.mode} and size {image.size}"
        case str() | Path():
            fix = f"{name} = drmetric.images.read_image({name}).unsqueeze(0)"
            given = f"the path {str(image)!r}"
        case list() | tuple():
            tensors = bool(image) and all(isinstance(item, torch.Tensor) for item in image)
            fix = f"{name} = torch.{'stack' if tensors else 'tensor'}({name})"
            given = f"a {type(image).__name__} of {len(image)} items"
        case _:
            fix, given = "", f"{type(image).__name__}"
    return InputError(f"{name} is {given}; {_WANTED}", fix)
