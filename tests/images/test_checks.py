"""The contract of a tensor of images: what passes, what is refused, and that each suggested fix mends its error."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drmetric.errors import InputError
from drmetric.images import as_doubles, check_batch, check_image, check_same_device
from tests.images.pictures import BATCH, PHOTO, mended


class TestCheckImage:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_floats_become_float32(self, dtype: torch.dtype) -> None:
        checked = check_image(BATCH.to(dtype))
        assert checked.dtype == torch.float32
        assert torch.equal(checked, BATCH.to(dtype).float())

    def test_float32_is_not_copied(self) -> None:
        assert check_image(BATCH).data_ptr() == BATCH.data_ptr()

    def test_grey_becomes_three_channels(self) -> None:
        assert torch.equal(check_image(BATCH[:, :1]), BATCH[:, :1].expand(-1, 3, -1, -1))

    def test_gradient_flows_even_where_slightly_out_of_range(self) -> None:
        image = BATCH[:, :1].clone()
        image[0, 0, 0, :2] = torch.tensor([-5e-4, 1.0005])
        image.requires_grad_()
        checked = check_image(image)
        assert checked[0, 0, 0, 1] > 1
        (gradient,) = torch.autograd.grad(checked.sum(), image)
        assert torch.equal(gradient, torch.full_like(image, 3.0))

    @pytest.mark.parametrize(
        ("image", "quoted"),
        [
            (BATCH * 255, "from"),
            (BATCH * 65535, "from"),
            (BATCH * 2 - 1, "from"),
            (BATCH * 1.2, "to 1.2"),
            (BATCH - 0.1, "from -0.1"),
            (BATCH.where(BATCH > 0.01, torch.nan), "NaN"),
            (BATCH.where(BATCH > 0.01, torch.inf), "infinite"),
            (torch.cat([BATCH, BATCH[:, :1]], dim=1), "(1, 4, 64, 96)"),
            (BATCH.permute(0, 2, 3, 1), "(1, 64, 96, 3)"),
            (torch.cat([BATCH, BATCH[:, :1]], dim=1).permute(0, 2, 3, 1)[..., :3], "(1, 64, 96, 3)"),
            (BATCH[0].permute(1, 2, 0), "(64, 96, 3)"),
            (BATCH[0], "(3, 64, 96)"),
            (BATCH[0, :1], "(1, 64, 96)"),
            (torch.cat([BATCH[0], BATCH[0, :1]]), "(4, 64, 96)"),
            (BATCH[0, 0], "(64, 96)"),
            (BATCH[0, 0].expand(5, -1, -1), "(5, 64, 96)"),
            (BATCH.expand(2, 5, -1, -1, -1), "(2, 5, 3, 64, 96)"),
            ((BATCH * 255).int(), "torch.int32"),
            ((BATCH * 65535).to(torch.int32).to(torch.uint16), "torch.uint16"),
            (BATCH > 0.5, "torch.bool"),
            (PHOTO, "NumPy array of shape (64, 96, 3) and type uint8"),
            (PHOTO[None], "NumPy array of shape (1, 64, 96, 3)"),
            (BATCH.numpy(), "NumPy array of shape (1, 3, 64, 96)"),
            (Image.fromarray(PHOTO), "PIL image of mode RGB"),
            ([BATCH[0], BATCH[0]], "list of 2 items"),
            (BATCH.tolist(), "list of 1 items"),
        ],
    )
    def test_refusal_quotes_the_input_and_its_fix_works(self, image: Any, quoted: str) -> None:
        with pytest.raises(InputError) as caught:
            check_image(image, "restored")
        assert caught.value.problem.startswith("restored ")
        assert quoted in caught.value.problem
        checked = check_image(mended(caught.value, restored=image), "restored")
        assert checked.shape[1:] == (3, 64, 96)

    def test_range_error_quotes_the_extremes(self) -> None:
        with pytest.raises(InputError, match=r"from 2 to 254.*\n.*image = image / 255"):
            check_image(torch.tensor([2.0, 254.0]).expand(1, 3, 8, 2))

    def test_fixes_restore_the_values(self) -> None:
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        normalised = (BATCH - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        for image in (BATCH * 255, BATCH * 2 - 1, normalised):
            with pytest.raises(InputError) as caught:
                check_image(image)
            torch.testing.assert_close(mended(caught.value, image=image), BATCH)

    @pytest.mark.parametrize("low", [-0.7, -0.1])
    def test_values_that_stay_far_from_minus_one_are_those_of_an_output(self, low: float) -> None:
        image = BATCH * (0.9 - low) + low
        with pytest.raises(InputError) as caught:
            check_image(image)
        torch.testing.assert_close(mended(caught.value, image=image), image.clamp(0, 1))
        assert ("if black is -1" in caught.value.fix) == (low < -0.2)

    def test_values_of_no_known_scale_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"from -700 to 900.*\n.*black"):
            check_image(torch.tensor([-700.0, 900.0]).expand(1, 3, 8, 2))

    def test_number_of_bad_values_is_told(self) -> None:
        image = BATCH.clone()
        image[0, 0, 0, :3] = torch.tensor([torch.nan, torch.nan, -torch.inf])
        with pytest.raises(InputError, match="2 NaN and 1 infinite values among 18432"):
            check_image(image)

    @pytest.mark.parametrize("channels", [2, 5])
    def test_other_channel_counts(self, channels: int) -> None:
        with pytest.raises(InputError, match=rf"\(1, {channels}, 8, 8\)"):
            check_image(torch.rand(1, channels, 8, 8))

    @pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 3, 0, 8), (1, 1, 8, 0)])
    def test_empty(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match="is empty"):
            check_image(torch.rand(shape))

    def test_too_small(self) -> None:
        assert check_image(BATCH, min_size=64).shape == BATCH.shape
        with pytest.raises(InputError, match="64 x 96 pixels; wanted at least 65 x 65"):
            check_image(BATCH, min_size=65)

    @pytest.mark.parametrize("given", ["photo.png", Path("photo.png")])
    def test_path(self, given: Any) -> None:
        with pytest.raises(InputError, match="read_image"):
            check_image(given)

    def test_other_objects(self) -> None:
        with pytest.raises(InputError, match="NoneType"):
            check_image(None)  # type: ignore[arg-type]

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
    def test_traced_graphs_skip_the_values_but_not_the_shape(self) -> None:
        compiled = torch.compile(check_image, backend="eager", fullgraph=True)
        assert torch.equal(compiled(BATCH[:, :1]), BATCH[:, :1].expand(-1, 3, -1, -1))
        traced = torch.jit.trace(lambda image: check_image(image) * 2, BATCH)  # type: ignore[no-untyped-call]
        assert torch.equal(traced(BATCH), BATCH * 2)
        assert check_image(BATCH.to("meta")).shape == BATCH.shape
        with pytest.raises(InputError):
            check_image(BATCH[0].to("meta"))

    @settings(max_examples=30, deadline=None)
    @given(
        count=st.integers(1, 3),
        channels=st.sampled_from([1, 3]),
        height=st.integers(5, 20),
        width=st.integers(5, 20),
    )
    def test_any_size_in_range_passes_unchanged(self, count: int, channels: int, height: int, width: int) -> None:
        image = torch.rand(count, channels, height, width)
        assert torch.equal(check_image(image), image.expand(-1, 3, -1, -1))


class TestPairs:
    @pytest.mark.parametrize(("count", "references"), [(1, 1), (4, 4), (4, 1)])
    def test_fitting_batches_pass(self, count: int, references: int) -> None:
        check_batch(BATCH.expand(count, -1, -1, -1), BATCH.expand(references, -1, -1, -1))

    @pytest.mark.parametrize(("count", "references"), [(1, 4), (4, 2)])
    def test_other_batches_are_refused(self, count: int, references: int) -> None:
        with pytest.raises(InputError, match=f"image is a batch of {count} but pristine of {references}"):
            check_batch(torch.rand(count, 3, 8, 8), torch.rand(references, 3, 8, 8), "image", "pristine")

    def test_devices_must_agree(self) -> None:
        with pytest.raises(InputError, match="restored is on cpu, degraded on meta") as caught:
            check_same_device(BATCH, BATCH.to("meta"))
        assert caught.value.fix == "degraded = degraded.to(restored.device)"


def test_the_fix_for_deep_values_takes_the_least_white_that_explains_them() -> None:
    for white in (255, 1023, 4095, 65535):
        for image in (BATCH * white, (BATCH * white).round().to(torch.int32)):
            with pytest.raises(InputError) as caught:
                check_image(image)
            names = {"image": image}
            exec(caught.value.fix, names)
            torch.testing.assert_close(names["image"], BATCH, atol=1 / 255, rtol=0)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.int8, torch.int32, torch.int64, torch.int16, torch.uint16, torch.float8_e4m3fn]
)
def test_the_fix_for_another_type_gives_the_image(dtype: torch.dtype) -> None:
    white = {torch.bool: 1, torch.int16: 32767, torch.uint16: 65535, torch.float8_e4m3fn: 1}.get(dtype, 255)
    wanted = torch.linspace(0, 1, 5).round() if dtype == torch.bool else torch.tensor([0, 0.25, 0.5, 0.75, 1])
    stored = wanted * white - (128 if dtype == torch.int8 else 0)
    image = (stored if dtype.is_floating_point else stored.round()).to(dtype).expand(1, 3, 5, 5)
    with pytest.raises(InputError) as caught:
        check_image(image)
    names = {"image": image, "torch": torch}
    exec(caught.value.fix, names)
    torch.testing.assert_close(check_image(names["image"])[0, 0, 0], wanted, atol=1 / 255, rtol=0)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (lambda: BATCH.to(torch.complex64), "torch.complex64"),
        (lambda: torch.quantize_per_tensor(BATCH, 1 / 255, 0, torch.quint8), "torch.quint8"),
        (lambda: BATCH.to_sparse(), "a sparse_coo tensor; wanted a dense one"),
        (lambda: BATCH.to_mkldnn(), "a _mkldnn tensor; wanted a dense one"),
        (lambda: torch.nested.nested_tensor([*BATCH]), "a nested tensor"),
        (lambda: torch.nested.nested_tensor([*BATCH], layout=torch.jagged), "a nested tensor"),
    ],
    ids=["complex", "quantised", "sparse", "mkldnn", "nested", "jagged"],
)
def test_a_tensor_of_another_kind_is_refused_with_the_way_to_the_image(
    stored: Callable[[], torch.Tensor], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        check_image(stored())
    names = {"image": stored(), "torch": torch}
    exec(caught.value.fix, names)
    torch.testing.assert_close(check_image(names["image"]), BATCH, atol=1 / 255, rtol=0)


def test_doubles_are_made_on_the_cpu_where_the_device_has_none() -> None:
    here = BATCH.float()
    there = SimpleNamespace(device=torch.device("mps"), cpu=lambda: here)
    assert torch.equal(as_doubles(there), here.double())  # type: ignore[arg-type]
