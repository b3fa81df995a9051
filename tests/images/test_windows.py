"""Windows of images, whole and resized, and what is put together of tiles."""

import pytest
import torch
from skimage import data
from torch import Tensor, nn

from drmetric.images import Whole, mean_tiled, pool_tiled, resize, resized, run_tiled, to_8_bit
from drmetric.networks.pooling import average_to
from tests.images.pictures import as_tensor

IMAGE = as_tensor(data.coffee()[:301, :203])[None]


@pytest.mark.parametrize("size", [(602, 406), (1000, 350), (301, 609), (150, 101), (75, 41), (302, 203)])
def test_windows_of_a_resized_image_are_those_of_the_whole(size: tuple[int, int]) -> None:
    whole, source = resize(IMAGE, size), resized(to_8_bit(IMAGE), size)
    assert source.size == size
    for rows in (slice(0, size[0]), slice(size[0] // 3, size[0] // 2), slice(size[0] - 9, size[0])):
        for columns in (slice(0, 7), slice(size[1] // 2, size[1])):
            torch.testing.assert_close(source.window(rows, columns), whole[..., rows, columns], atol=1e-6, rtol=0)


def test_windows_of_bytes_are_floats() -> None:
    window = Whole(to_8_bit(IMAGE)).window(slice(3, 8), slice(20, 40))
    assert torch.equal(window, to_8_bit(IMAGE)[..., 3:8, 20:40] / 255)


class Network(nn.Module):
    """Maps of strides 2 and 4 of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(6, 4, 3, stride=2, padding=1), nn.Conv2d(4, 2, 3, stride=2, padding=1)

    def forward(self, image: Tensor, other: Tensor) -> list[Tensor]:
        fine = self.first(torch.cat([image, other], dim=1))
        return [fine, self.second(fine)]


@torch.no_grad()
def test_maps_of_every_stride_are_those_of_the_whole_images() -> None:
    network, images = Network(), (IMAGE, IMAGE.flip(1))
    maps = run_tiled(network, [Whole(each) for each in images], 64, 8, [2, 4])
    for tiled, whole in zip(maps, network(*images), strict=True):
        torch.testing.assert_close(tiled, whole)


@pytest.mark.parametrize("cells", [(1, 1), (7, 7), (10, 14), (76, 51)])
def test_pooled_maps_are_those_of_the_whole_images_with_their_gradients(cells: tuple[int, int]) -> None:
    network = Network()
    leaves = [IMAGE.clone().requires_grad_() for _ in range(2)]
    tiled = pool_tiled(network, [Whole(leaves[0]), Whole(leaves[0].flip(1))], 64, 8, [2, 4], cells)
    whole = [average_to(each, cells) for each in network(leaves[1], leaves[1].flip(1))]
    for found, expected in zip(tiled, whole, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    for maps in (tiled, whole):
        torch.stack([each.square().sum() for each in maps]).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, atol=1e-5, rtol=1e-4)


def test_the_mean_of_tiles_is_that_of_the_whole_images() -> None:
    images = torch.cat([IMAGE, IMAGE.flip(-1) / 2])
    found = mean_tiled(lambda each, other: (each - other).square(), [Whole(images), Whole(images.flip(1))], 64, 0)
    torch.testing.assert_close(found, (images - images.flip(1)).square().mean((1, 2, 3)))
