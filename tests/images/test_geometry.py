"""The one resize, tiles, 8-bit rounding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from drmetric.errors import InputError
from drmetric.images import from_random_origin, random_view, resize, rounded_to_8_bit, tiles, to_8_bit
from tests.images.pictures import BATCH, PHOTO, as_tensor


class TestResize:
    @pytest.mark.parametrize("size", [(32, 48), (20, 31), (128, 192), (64, 40), (7, 200)])
    def test_agrees_with_pillow(self, size: tuple[int, int]) -> None:
        planes = [
            np.array(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC)) for plane in BATCH[0].numpy()
        ]
        expected = torch.from_numpy(np.stack(planes)).clamp(0, 1)
        torch.testing.assert_close(resize(BATCH, size)[0], expected, atol=2e-6, rtol=0)

    def test_same_size_is_the_same_tensor(self) -> None:
        assert resize(BATCH, (64, 96)) is BATCH

    def test_overshoot_is_clamped(self) -> None:
        edges = (BATCH > 0.5).float()
        larger = resize(edges, (150, 250))
        assert larger.min() == 0
        assert larger.max() == 1

    def test_float32_even_under_autocast(self) -> None:
        expected = resize(BATCH, (30, 40))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(resize(BATCH, (30, 40)), expected)

    def test_is_differentiable(self) -> None:
        image = (BATCH[..., :12, :12] * 0.5 + 0.25).requires_grad_()
        (gradient,) = torch.autograd.grad(resize(image, (7, 9)).mean(), image)
        assert torch.isfinite(gradient).all()
        assert gradient.sum() == pytest.approx(1, abs=1e-4)

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
    def test_size_of_another_image_can_be_traced(self) -> None:
        other = torch.rand(1, 3, 30, 40)
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            lambda image, other: resize(image, other.shape[-2:]), (BATCH, other)
        )
        assert torch.equal(traced(BATCH, other), resize(BATCH, (30, 40)))

    @pytest.mark.parametrize("size", [(0, 8), (8, -1), (8.0, 8), (8,)])
    def test_bad_size(self, size: tuple[int, int]) -> None:
        with pytest.raises(InputError, match="size is"):
            resize(BATCH, size)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    stride, overlap = draw(st.integers(1, 33)), draw(st.integers(0, 70))
    least = -(-2 * (overlap + stride) // stride)
    size = stride * draw(st.integers(least, least + 20))
    return draw(st.integers(1, 900)), draw(st.integers(1, 900)), size, overlap, stride


class TestTiles:
    @settings(max_examples=150, deadline=None)
    @given(tilings())
    def test_cores_partition_the_image_on_the_grid(self, tiling: tuple[int, int, int, int, int]) -> None:
        height, width, size, overlap, stride = tiling
        covered = np.zeros((height, width), np.int32)
        for tile in tiles(*tiling):
            covered[tile.top : tile.bottom, tile.left : tile.right] += 1
            spans = (
                (tile.outer_top, tile.top, tile.bottom, tile.outer_bottom, height),
                (tile.outer_left, tile.left, tile.right, tile.outer_right, width),
            )
            for outer_start, start, end, outer_end, length in spans:
                assert start % stride == outer_start % stride == 0
                assert end == length or end % stride == 0
                assert outer_end == length or outer_end % stride == 0
                assert 0 <= outer_start <= max(0, start - overlap)
                assert min(length, end + overlap) <= outer_end <= length
                assert 0 < end - start <= size
                assert end - start == length or end - start >= overlap
        assert (covered == 1).all()

    def test_small_image_is_one_tile(self) -> None:
        (tile,) = tiles(100, 200, 256, 32, 16)
        assert (tile.outer_bottom, tile.outer_right, tile.bottom, tile.right) == (100, 200, 100, 200)

    def test_sizes_are_balanced(self) -> None:
        heights = [tile.bottom - tile.top for tile in tiles(520, 100, 512, 32, 8)]
        assert heights == [264, 256]

    @pytest.mark.parametrize(
        ("tiling", "message"),
        [
            ((0, 10, 64, 8, 8), "0 x 10"),
            ((10, 10, 60, 8, 8), "size is 60"),
            ((10, 10, 24, 8, 8), "at least 2"),
            ((10, 10, 64, -1, 8), "overlap -1"),
            ((10, 10, 64, 8, 0), "stride is 0"),
        ],
    )
    def test_bad_arguments(self, tiling: tuple[int, int, int, int, int], message: str) -> None:
        with pytest.raises(InputError, match=message):
            tiles(*tiling)

    def test_the_suggested_size_is_accepted(self) -> None:
        with pytest.raises(InputError) as caught:
            tiles(100, 100, 45, 20, 16)
        assert tiles(100, 100, overlap=20, stride=16, **eval(f"dict({caught.value.fix})"))


class TestRandomOrigin:
    def test_images_move_alike_and_what_comes_into_sight_is_mirrored(self) -> None:
        image = as_tensor(data.coffee()[:40, :50])[None]
        torch.manual_seed(0)
        first, second = from_random_origin([image, image.flip(1)], 8)
        assert first.shape == image.shape
        assert torch.equal(first.flip(1), second)
        mirrored = torch.nn.functional.pad(image, (7, 0, 7, 0), mode="reflect")
        found = [
            (down, right)
            for down in range(8)
            for right in range(8)
            if torch.equal(mirrored[..., 7 - down : 47 - down, 7 - right : 57 - right], first)
        ]
        assert len(found) == 1

    def test_every_origin_within_reach_is_drawn(self) -> None:
        ramp = torch.arange(30.0).expand(1, 1, 30, 30)
        torch.manual_seed(0)
        assert {float(from_random_origin([ramp], 8)[0][0, 0, 0, -1]) for _ in range(200)} == set(range(22, 30))

    def test_a_reach_of_one_changes_nothing(self) -> None:
        assert torch.equal(from_random_origin([BATCH], 1)[0], BATCH)


class TestRandomView:
    IMAGE = as_tensor(data.coffee()[:40, :60])[None]

    def test_images_are_seen_alike_in_many_sizes_from_all_sides(self) -> None:
        torch.manual_seed(0)
        views = []
        for _ in range(60):
            first, second = random_view([self.IMAGE, 1 - self.IMAGE], 8, 32)
            torch.testing.assert_close(first, 1 - second, atol=1e-5, rtol=0)
            views.append(first)
        sizes = [tuple(view.shape[-2:]) for view in views]
        assert {height > width for height, width in sizes} == {True, False}
        areas = [height * width / (40 * 60) for height, width in sizes]
        assert min(areas) < 0.75
        assert max(areas) > 1.5
        assert min(min(size) for size in sizes) == 32

    def test_sides_below_the_least_are_not_reduced(self) -> None:
        torch.manual_seed(0)
        assert min(min(random_view([self.IMAGE], 8, 64)[0].shape[-2:]) for _ in range(20)) == 40

    def test_gradients_come_home(self) -> None:
        torch.manual_seed(0)
        image = self.IMAGE.clone().requires_grad_()
        random_view([image], 8, 32)[0].mean().backward()
        assert image.grad is not None
        assert image.grad.sum().item() == pytest.approx(1, abs=0.05)


class TestEightBits:
    def test_codes_of_a_file_are_kept(self) -> None:
        assert torch.equal(to_8_bit(BATCH)[0].permute(1, 2, 0), torch.from_numpy(PHOTO))
        assert torch.equal(rounded_to_8_bit(BATCH), BATCH)

    def test_values_are_clamped_and_rounded_to_the_nearest(self) -> None:
        values = torch.tensor([-0.1, 0.4 / 255, 0.6 / 255, 1.1])
        assert to_8_bit(values).tolist() == [0, 0, 1, 255]
        assert torch.equal(rounded_to_8_bit(values), torch.tensor([0, 0, 1, 255]) / 255)


def test_uint8_is_resized_as_floats_are() -> None:
    codes = torch.randint(256, (1, 3, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(resize(codes, (8, 8)), resize(codes.float() / 255, (8, 8)))
    assert resize(codes, (16, 16)).max() <= 1


def test_a_view_is_drawn_on_the_cpu_whatever_the_default_device() -> None:
    images = [torch.rand(1, 3, 64, 64)]
    torch.set_default_device("meta")
    try:
        view = random_view(images, 8, 32)
    finally:
        torch.set_default_device("cpu")
    assert view[0].isfinite().all()
