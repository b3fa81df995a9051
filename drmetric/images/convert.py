"""What frameworks hold - NumPy HWC, BGR, [-1, 1], PIL - brought to the one contract: (N, 3, H, W) RGB in [0, 1]."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from drmetric.errors import InputError
from drmetric.images.checks import check_image, check_input_range, in_range, range_error, warn_if_outside
from drmetric.images.files import EXIF_ORIENTATION
from drmetric.images.outputs import OVERSHOOT

__all__ = ["Channels", "Layout", "as_image"]

Channels = Literal["rgb", "bgr"]
Layout = Literal["CHW", "HWC"]

_CHANNELS = (1, 3)
_WHITE = {torch.uint8: 255, torch.uint16: 65535}


def as_image(
    image: Any,
    *,
    channels: Channels = "rgb",
    input_range: tuple[float, float] = (0.0, 1.0),
    layout: Layout | None = None,
    clamp: bool = False,
    name: str = "image",
) -> Tensor:
    """Bring what a framework holds to the contract of all metrics.

    Nothing is guessed: the order of the channels and the range of floats are said, and a layout that could be read in
    two ways is an error. Gradients flow through, and tensors stay on their device.

    Args:
        image: a tensor or a NumPy array (H, W), (H, W, C), (C, H, W), (N, H, W, C) or (N, C, H, W) with C of 1 or 3,
            a PIL image without transparency, or a list of any of these of one size.
        channels: "bgr" for what OpenCV and BasicSR hold; PIL images are RGB in any case.
        input_range: black and white of floats, such as (-1, 1) or (0, 255). uint8 is 0..255 and uint16 0..65535 in
            any case.
        layout: "CHW" or "HWC" where the shape does not tell, as of (3, 64, 3).
        clamp: clamp to the range, as saving does, what a network puts out up to `drmetric.images.OVERSHOOT` beyond it.
        name: what to call the image in errors.

    Returns:
        (N, 3, H, W) float32 in [0, 1].

    Raises:
        InputError: another type, shape or range; transparency; a layout that could be read in two ways; a PIL image
            that its EXIF orientation turns.

    Examples:
        >>> import numpy
        >>> blue = numpy.zeros((2, 4, 3), numpy.uint8) + numpy.array([255, 0, 0], numpy.uint8)
        >>> as_image(blue, channels="bgr")[0, :, 0, 0]
        tensor([0., 0., 1.])
    """
    if channels not in get_args(Channels):
        raise InputError(f"channels is {channels!r}; wanted 'rgb' or 'bgr'", 'channels="bgr"')
    if isinstance(image, Sequence) and not isinstance(image, str):
        each = [
            as_image(
                item, channels=channels, input_range=input_range, layout=layout, clamp=clamp, name=f"{name}[{index}]"
            )
            for index, item in enumerate(image)
        ]
        return _joined(each, name)
    if isinstance(image, Image.Image):
        return check_image(_channels_first(_of_pil(image, name), "HWC", name), name)
    tensor = _of_array(image, name) if isinstance(image, np.ndarray) else image
    if not isinstance(tensor, Tensor):
        return check_image(tensor, name)  # says what came instead
    batch = _in_unit_range(_channels_first(tensor, layout, name), input_range, clamp, name)
    return check_image(batch.flip(1) if channels == "bgr" else batch, name)


def _joined(images: list[Tensor], name: str) -> Tensor:
    if not images:
        raise InputError(f"{name} is an empty list; wanted one image or more", f"{name} = [image]")
    if len({image.shape[-2:] for image in images}) != 1:
        sizes = ", ".join(f"{image.shape[-2]} x {image.shape[-1]}" for image in images)
        raise InputError(
            f"{name} is a list of {len(images)} images of the sizes {sizes}; wanted one size",
            f"{name} = {name}[:1]  # one call for each size",
        )
    return torch.cat(images)


def _of_array(image: np.ndarray, name: str) -> Tensor:
    """The tensor of an array of floats, uint8 or uint16, whatever its byte order."""
    if isinstance(image, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; wanted all pixels", f"{name} = {name}.filled(0)")
    kind = image.dtype.newbyteorder("=")
    if not (kind.kind == "f" or kind in (np.uint8, np.uint16)):
        codes = 'astype("uint8")  # if 255 is white'
        floats = codes if kind.kind in "iu" else 'astype("float32")'
        raise InputError(
            f"{name} is a NumPy array of type {kind}; wanted floats, uint8 or uint16", f"{name} = {name}.{floats}"
        )
    return torch.from_numpy(np.ascontiguousarray(image, np.float64 if kind.itemsize > 8 else kind))


def _of_pil(image: Image.Image, name: str) -> Tensor:
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if 2 <= orientation <= 8:
        raise InputError(
            f"{name} is a PIL image that lies as it is stored, and its EXIF orientation is {orientation}",
            f"{name} = PIL.ImageOps.exif_transpose({name})",
        )
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise InputError(
            f"{name} is a PIL image of mode {image.mode} with pixels that are not opaque",
            f'{name} = PIL.Image.alpha_composite(PIL.Image.new("RGBA", {name}.size, "white"), {name}.convert("RGBA"))',
        )
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"):
        wide = {"F": "float32", "I": "uint16"}.get(image.mode[:1], "")
        raise InputError(
            f"{name} is a PIL image of mode {image.mode}; wanted RGB or grey of 8 bits",
            f'{name} = np.array({name}).astype("{wide}")  # convert would cut its values at 255'
            if wide
            else f'{name} = {name}.convert("RGB")',
        )
    return torch.from_numpy(np.array(image.convert("RGB")))


def _channels_first(image: Tensor, layout: Layout | None, name: str) -> Tensor:
    """(N, C, H, W) of any accepted shape; other shapes pass, for `check_image` to refuse."""
    if layout is not None and layout not in get_args(Layout):
        raise InputError(f"layout is {layout!r}; wanted 'CHW' or 'HWC'", 'layout="HWC"')
    if image.ndim == 2:
        return image[None, None]
    if image.ndim not in (3, 4):
        return image
    batch = image[None] if image.ndim == 3 else image
    if 4 in (batch.shape[1], batch.shape[-1]) and not {batch.shape[1], batch.shape[-1]} & set(_CHANNELS):
        colours = "..., :3" if batch.shape[-1] == 4 else "..., :3, :, :"
        raise InputError(
            f"{name} has the shape {tuple(image.shape)}, with transparency",
            f"{name} = {name}[{colours}]  # alpha is not accepted: this drops it",
        )
    first, last = batch.shape[1] in _CHANNELS, batch.shape[-1] in _CHANNELS
    if layout is None and first and last:
        raise InputError(
            f"{name} has the shape {tuple(image.shape)}, which could be CHW or HWC",
            f'{name} = drmetric.as_image({name}, layout="CHW")  # or "HWC"',
        )
    if layout == "HWC" or (layout is None and last):
        return batch.movedim(-1, 1)
    return batch if first else image


def _in_unit_range(image: Tensor, input_range: tuple[float, float], clamp: bool, name: str) -> Tensor:
    black, white = check_input_range(input_range)
    if image.dtype in _WHITE:
        return image.float() / _WHITE[image.dtype]
    if (black, white) != (0, 1):
        image = (image.float() - black) / (white - black)
    if (clamp or (black, white) != (0, 1)) and image.is_floating_point() and image.numel() and not image.is_meta:
        beyond = OVERSHOOT if clamp else 0.0
        least, most = image.detach().float().aminmax()
        if not in_range(float(least) + beyond, float(most) - beyond):
            raise range_error(image, float(least), float(most), name, input_range)
        if clamp and not in_range(float(least), float(most)):
            warn_if_outside(image, name, input_range)
        image = image.clamp(0, 1) if clamp else image
    return image
