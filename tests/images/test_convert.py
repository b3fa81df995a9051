"""What frameworks hold becomes the same tensor, whichever of their forms it came in."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch
from PIL import Image

import drmetric
from drmetric import as_image, read_image
from drmetric.errors import InputError, RangeWarning
from tests.images.pictures import BATCH, PHOTO

BGR = np.ascontiguousarray(PHOTO[..., ::-1])
HALF = 0.5 / 255
"""The most that rounding to 8 bits changes."""


@pytest.mark.parametrize(
    ("image", "options"),
    [
        pytest.param(PHOTO, {}, id="array HWC uint8"),
        pytest.param(PHOTO[None], {}, id="array NHWC uint8"),
        pytest.param(PHOTO.transpose(2, 0, 1), {}, id="array CHW uint8"),
        pytest.param(BGR, {"channels": "bgr"}, id="array HWC BGR, as OpenCV reads"),
        pytest.param(PHOTO[..., ::-1], {"channels": "bgr"}, id="array of negative strides"),
        pytest.param(PHOTO.astype(np.uint16) * 257, {}, id="array of 16 bits"),
        pytest.param(PHOTO.astype(np.float64), {"input_range": (0, 255)}, id="array of floats 0..255"),
        pytest.param(Image.fromarray(PHOTO), {}, id="PIL RGB"),
        pytest.param(Image.fromarray(PHOTO), {"channels": "bgr"}, id="PIL is RGB whatever is said"),
        pytest.param(Image.fromarray(PHOTO).convert("RGBA"), {}, id="PIL with opaque alpha"),
        pytest.param([Image.fromarray(PHOTO)], {}, id="list of PIL, as diffusers returns"),
        pytest.param(BATCH, {}, id="tensor of the contract"),
        pytest.param(BATCH[0], {}, id="tensor CHW"),
        pytest.param(BATCH[0].permute(1, 2, 0), {}, id="tensor HWC"),
        pytest.param(BATCH * 2 - 1, {"input_range": (-1, 1)}, id="tensor in -1..1"),
        pytest.param((BATCH * 2 - 1).double(), {"input_range": (-1, 1)}, id="tensor of doubles in -1..1"),
        pytest.param(torch.from_numpy(PHOTO), {"input_range": (-1, 1)}, id="uint8 is 0..255 whatever is said"),
        pytest.param(torch.from_numpy(PHOTO).int(), {"input_range": (0, 255)}, id="integers with their range"),
    ],
)
def test_all_forms_of_an_image_are_one(image: Any, options: dict[str, Any]) -> None:
    converted = as_image(image, **options)
    assert converted.dtype == torch.float32
    torch.testing.assert_close(converted, BATCH, rtol=0, atol=1e-6)


def test_grey_becomes_three_channels() -> None:
    grey = PHOTO[..., 0]
    for image in (grey, grey[..., None], Image.fromarray(grey), torch.from_numpy(grey)[None]):
        torch.testing.assert_close(as_image(image), BATCH[:, :1].expand(-1, 3, -1, -1))


def test_a_list_is_a_batch() -> None:
    assert as_image([PHOTO, Image.fromarray(PHOTO), BATCH]).shape == (3, 3, 64, 96)


def test_a_list_of_other_sizes_is_refused() -> None:
    with pytest.raises(InputError, match="64 x 96, 32 x 96; wanted one size"):
        as_image([PHOTO, PHOTO[:32]])


def test_gradients_flow_through() -> None:
    image = (BATCH * 2 - 1).requires_grad_()
    as_image(image, input_range=(-1, 1), channels="bgr").sum().backward()
    assert torch.equal(image.grad, torch.full_like(image, 0.5))


@pytest.mark.parametrize("shape", [(3, 64, 3), (1, 64, 1), (2, 3, 64, 3)])
def test_a_shape_that_reads_two_ways_is_refused_and_the_fix_works(shape: tuple[int, ...]) -> None:
    image = torch.rand(shape)
    with pytest.raises(InputError, match="could be CHW or HWC") as caught:
        as_image(image)
    scope = {"drmetric": drmetric, "image": image}
    exec(caught.value.fix, scope)
    assert torch.equal(scope["image"][0, 0], image[0] if len(shape) == 3 else image[0, 0])
    assert as_image(image, layout="HWC").shape[-2:] == shape[-3:-1]


def test_transparency_is_refused_and_the_fix_works() -> None:
    image = Image.fromarray(PHOTO).convert("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    with pytest.raises(InputError, match="not opaque") as caught:
        as_image(image)
    scope = {"PIL": PIL, "image": image}
    exec(caught.value.fix, scope)
    assert as_image(scope["image"])[0, :, 0, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (PHOTO.astype(np.float32), {}, r"from 0 to 255; wanted \[0, 1\]"),
        (BATCH * 2 - 1, {}, r"wanted \[0, 1\]"),
        (BATCH * 1.1, {}, r"to 1.1; wanted \[0, 1\]"),
        (BATCH * 255, {"clamp": True}, r"from 0 to 255"),
        (BATCH.where(BATCH > 0.01, torch.nan), {"clamp": True}, "NaN"),
        (torch.from_numpy(PHOTO).int(), {}, "torch.int32"),
        (PHOTO.astype(np.int64), {}, "type int64; wanted floats, uint8 or uint16"),
        (PHOTO > 99, {}, "type bool"),
        (PHOTO.astype(object), {}, "type object"),
        (np.zeros((8, 8, 3), "M8[s]"), {}, r"type datetime64\[s\]"),
        (np.ma.masked_less(PHOTO, 9), {}, "a masked array"),
        (np.dstack([PHOTO, PHOTO[..., :1]]), {}, r"\(64, 96, 4\), with transparency"),
        (torch.rand(4, 64, 96), {}, r"\(4, 64, 96\)"),
        (torch.rand(64, 96, 4), {}, r"\(64, 96, 4\)"),
        (torch.rand(2, 3, 4, 64, 96), {}, r"\(2, 3, 4, 64, 96\)"),
        (Image.fromarray(PHOTO).convert("CMYK"), {}, "mode CMYK"),
        ("photo.png", {}, "the path 'photo.png'"),
        (None, {}, "NoneType"),
        ([], {}, "an empty list"),
        (PHOTO, {"channels": "rgba"}, "'rgba'; wanted 'rgb' or 'bgr'"),
        (PHOTO, {"layout": "HCW"}, "'HCW'; wanted 'CHW' or 'HWC'"),
        (PHOTO, {"input_range": (1, 1)}, "wanted \\(black, white\\)"),
        (PHOTO, {"input_range": None}, "input_range is None; wanted \\(black, white\\)"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        as_image(image, **options)


def test_clamp_takes_what_a_network_puts_out() -> None:
    converted = as_image(BATCH * 1.4 - 0.2, clamp=True)
    assert torch.equal(converted, (BATCH * 1.4 - 0.2).clamp(0, 1))
    with pytest.warns(RangeWarning, match="values of preds lie far outside"):
        as_image(BATCH * 2 - 1, clamp=True, name="preds")


def test_errors_use_the_name_that_is_given() -> None:
    with pytest.raises(InputError, match="restored"):
        as_image(BATCH * 255, name="restored")


@pytest.mark.parametrize("kind", [">f4", ">f8", "<f2", "longdouble"])
def test_neither_the_width_nor_the_byte_order_of_floats_counts(kind: str) -> None:
    image = (PHOTO / 255).astype(kind)
    torch.testing.assert_close(as_image(image), as_image(PHOTO), atol=1e-3, rtol=0)


def test_words_of_another_byte_order_are_the_same_words() -> None:
    assert torch.equal(as_image((PHOTO.astype(np.uint16) * 257).astype(">u2")), as_image(PHOTO))


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_wide_grey_of_pil_is_not_cut_at_255(mode: str) -> None:
    grey = PHOTO[..., 0]
    image = Image.fromarray(grey.astype(np.uint16) * 257 if mode == "I;16" else grey.astype(np.float32) / 255)
    with pytest.raises(InputError, match=f"mode {mode}") as caught:
        as_image(image)
    scope = {"np": np, "image": image}
    exec(caught.value.fix, scope)
    torch.testing.assert_close(as_image(scope["image"]), as_image(grey))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_its_exif_turns_is_refused_and_the_fix_turns_it(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(PHOTO).save(tmp_path / "photo.png", exif=exif)
    scope = {"PIL": PIL, "image": Image.open(tmp_path / "photo.png")}
    if orientation > 1:
        with pytest.raises(InputError, match=f"its EXIF orientation is {orientation}") as caught:
            as_image(scope["image"])
        exec(caught.value.fix, scope)
    assert torch.equal(as_image(scope["image"])[0], read_image(tmp_path / "photo.png"))


def test_values_beyond_another_range_are_named_in_its_units() -> None:
    noisy = {"noisy": 2 * BATCH - 1}
    noisy["noisy"][0, 0, 0, 0] = 1.3
    with pytest.raises(InputError, match=r"to 1.3; wanted \[-1, 1\]") as caught:
        as_image(noisy["noisy"], input_range=(-1, 1), name="noisy")
    exec(caught.value.fix, noisy)
    unit = as_image(noisy["noisy"], input_range=(-1, 1))
    torch.testing.assert_close(unit[0, :, 1:], BATCH[0, :, 1:])
