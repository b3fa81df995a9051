"""The contract of a tensor of images, checked: each error says what came, what is wanted, and how to mend it."""

import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from drmetric.errors import InputError, RangeWarning

__all__ = [
    "RANGE_TOLERANCE",
    "as_floats",
    "check_batch",
    "check_form",
    "check_image",
    "check_input_range",
    "check_pixels",
    "check_same_device",
    "extremes",
    "in_range",
    "range_error",
    "values_are_known",
    "warn_if_outside",
]

Range = tuple[float, float]

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
    return as_floats(_checked(image, name, min_size)).expand(-1, 3, -1, -1)


def check_pixels(image: torch.Tensor, name: str = "image", min_size: int = 1) -> torch.Tensor:
    """As `check_image`, but uint8 stays what it is."""
    return _checked(image, name, min_size).expand(-1, 3, -1, -1)


def check_form(image: torch.Tensor, name: str, min_size: int) -> torch.Tensor:
    """As `check_image`, for all but the values of floats."""
    return as_floats(_of_checked_form(image, name, min_size)).expand(-1, 3, -1, -1)


def as_floats(image: torch.Tensor) -> torch.Tensor:
    """Floats as they are, and uint8 divided by 255."""
    return image.float() / 255 if image.dtype == torch.uint8 else image


def as_doubles(values: torch.Tensor) -> torch.Tensor:
    """In float64, on the CPU where the device has no such numbers (MPS)."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _checked(image: torch.Tensor, name: str, min_size: int) -> torch.Tensor:
    """(N,1,H,W) or (N,3,H,W), uint8 or float32."""
    checked = _of_checked_form(image, name, min_size)
    if image.is_floating_point() and values_are_known(image):
        low, high = extremes(checked).tolist()
        if not in_range(low, high):
            raise range_error(image, low, high, name)
    return checked


def _of_checked_form(image: torch.Tensor, name: str, min_size: int) -> torch.Tensor:
    if not isinstance(image, torch.Tensor):
        raise _not_a_tensor(image, name)
    if image.is_nested or image.layout != torch.strided:
        raise _not_dense(image, name)
    _check_layout(image, name)
    _check_size(image, name, min_size)
    if image.dtype not in (torch.uint8, *_FLOAT_TYPES):
        raise _wrong_dtype(image, name)
    return image if image.dtype == torch.uint8 else image.float()


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
        wanted = f"{count} or 1" if count != 1 else "1"
        raise InputError(
            f"{image_name} is a batch of {count} but {reference_name} of {reference_count}; wanted {wanted}",
            f"pass a {reference_name} for each {image_name}, or one for all: {reference_name}[:1]",
        )


def values_are_known(image: torch.Tensor) -> bool:
    """Whether values can be looked at: not while a graph is traced, nor on the meta device."""
    traced = torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return not (traced or image.is_meta)


def extremes(image: torch.Tensor) -> torch.Tensor:
    """(2,) the least and the greatest value, on the image's device; NaN where any is NaN."""
    return torch.stack(image.detach().aminmax())


def in_range(low: float, high: float) -> bool:
    """Whether the least and the greatest value of an image lie in [0, 1] within the tolerance; not if one is NaN."""
    return low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE


def check_input_range(input_range: Range) -> Range:
    """Black and white of floats; raises `InputError` where they are none."""
    try:
        black, white = input_range
        valid = math.isfinite(black) and math.isfinite(white) and black < white
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise InputError(f"input_range is {input_range!r}; wanted (black, white)", "input_range=(-1, 1)")
    return black, white


def warn_if_outside(image: torch.Tensor, name: str, input_range: Range) -> None:
    """A `RangeWarning` where more than a tenth of the values lie outside [0, 1] by more than a tenth.

    Args:
        image: as it is after black and white were mapped to 0 and 1.
        name: what to call it.
        input_range: black and white of the caller.
    """
    if ((image.detach() - 0.5).abs() > 0.6).float().mean() > 0.1:
        black, white = input_range
        warnings.warn(
            f"more than a tenth of the values of {name} lie far outside [{black:g}, {white:g}], and count as black or "
            "white. The outputs of an untrained network may; those of a trained one are probably of another range. If "
            f"black is -1 in {name} alone, {name} = ({name} + 1) / 2; if it is in all images, input_range=(-1, 1)",
            RangeWarning,
            stacklevel=_depth_of_the_caller(),
        )


def _depth_of_the_caller() -> int:
    """Frames up from the function that calls this to the first one outside of this package and of torch."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("drmetric", "torch"):
        frame, depth = frame.f_back, depth + 1
    return depth


def range_error(
    image: torch.Tensor, low: float, high: float, name: str, input_range: Range | None = None
) -> InputError:
    """The error for an image whose least and greatest value are not `in_range`, in the units of the caller.

    Args:
        image: as it is after black and white were mapped to 0 and 1.
        low: the least value of it.
        high: the greatest value of it.
        name: what to call it.
        input_range: black and white of the caller, where the caller takes it.
    """
    black, white = input_range or (0.0, 1.0)
    wanted = f"[{black:g}, {white:g}]"
    if math.isfinite(low) and math.isfinite(high):
        least, most = (black + value * (white - black) for value in (low, high))
        return InputError(
            f"{name} has values from {least:.4g} to {most:.4g}; wanted {wanted}",
            _range_fix(name, low, high) if input_range is None else _fix_in(input_range, name, least, most),
        )
    nan, infinite = int(image.isnan().sum()), int(image.isinf().sum())
    return InputError(
        f"{name} has {nan} NaN and {infinite} infinite values among {image.numel()}; wanted all in {wanted}",
        f"{name} = {name}.nan_to_num({black}).clamp({black:g}, {white:g})  # better: mend what produced them",
    )


def _fix_in(input_range: Range, name: str, low: float, high: float) -> str:
    """As `_range_fix`, for a caller that takes an `input_range`, which holds for all images of a call."""
    black, white = input_range
    room = white - black
    if input_range == (0, 1):
        return "input_range=(-1, 1)  # of all images" if _is_centred(low, high) else _range_fix(name, low, high)
    if low >= black - room and high <= white + room:
        return f"{name} = {name}.clamp({black:g}, {white:g})"
    if high > 2 and low > -0.1 * high:
        return f"input_range=(0, {_white(high)})"
    return "input_range=(black, white)  # the values that stand for 0 and 1"


def _range_fix(name: str, low: float, high: float) -> str:
    """The line that most likely brings the values to [0, 1], judged by where they lie."""
    if high > 2 and low > -0.1 * high:
        return f"{name} = {name} / {_white(high)}"
    if -2.2 <= low < -1.05 and high <= 2.7:
        return (
            f"{name} = {name} * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1).to({name})"
            f" + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1).to({name})  # undo ImageNet's"
        )
    if _is_centred(low, high):
        return f"{name} = ({name} + 1) / 2"
    if low >= -1 and high <= 2:
        other = f"  # of a network's output; if black is -1: ({name} + 1) / 2" if low < -0.2 and high <= 1.05 else ""
        return f"{name} = {name}.clamp(0, 1){other}"
    return f"{name} = ({name} - black) / (white - black)  # black and white: the values that stand for 0 and 1"


def _is_centred(low: float, high: float) -> bool:
    """Whether black is most likely -1, and white 1."""
    return -1.05 <= low < -0.8 and high <= 1.05


def _white(high: float, greatest: int = 65535) -> str:
    """The least white of 8, 10, 12 or all bits that explains the greatest value, some overshoot allowed."""
    white = next((white for white in (255, 1023, 4095) if high <= 1.18 * white), greatest)
    return f"{white}" + ("" if white == 255 else "  # or whatever white is in your files")


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


def _not_dense(image: torch.Tensor, name: str) -> InputError:
    kind = "nested" if image.is_nested else str(image.layout).removeprefix("torch.")
    dense = f"torch.stack({name}.unbind())" if image.is_nested else f"{name}.to_dense()"
    more = "  # of images of one size; others go one by one" if image.is_nested else ""
    return InputError(f"{name} is a {kind} tensor; wanted a dense one", f"{name} = {dense}{more}")


def _wrong_dtype(image: torch.Tensor, name: str) -> InputError:
    white = "" if image.dtype.is_floating_point or image.dtype == torch.bool else " / 255"
    if image.dtype in (torch.int16, torch.uint16, torch.int32, torch.int64) and image.numel():
        greatest = 32767 if image.dtype == torch.int16 else 65535
        white = f" / {_white(float(image.to(torch.int64).max()), greatest)}"
    if image.dtype == torch.int8:
        white = ".add(128) / 255  # if -128 is black"
    floats = "dequantize()" if image.is_quantized else "real" if image.is_complex() else f"float(){white}"
    return InputError(
        f"{name} is of type {image.dtype}; wanted a float tensor in [0, 1] or torch.uint8", f"{name} = {name}.{floats}"
    )


def _not_a_tensor(image: object, name: str) -> InputError:
    match image:
        case np.ndarray():
            fix = f"{name} = drmetric.as_image({name})"
            given = f"a NumPy array of shape {image.shape} and type {image.dtype}"
        case Image.Image():
            fix = f"{name} = drmetric.as_image({name})"
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
