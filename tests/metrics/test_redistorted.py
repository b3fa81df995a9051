"""A distorted image, window by window."""

import pytest
import torch
from skimage import data

from drmetric.distortions.redistort import redistort
from drmetric.images import Whole
from drmetric.metrics import redistorted
from drmetric.metrics.redistorted import Redistorted, rows_of_draws


@pytest.mark.parametrize("draw", [torch.randn, torch.rand])
@pytest.mark.parametrize(("counts", "width"), [([16, 16, 18], 37), ([64], 32), ([32, 45], 41), ([16, 32], 48)])
def test_draws_in_pieces_are_those_of_one_call(draw: redistorted.Draw, counts: list[int], width: int) -> None:
    one, many = (torch.Generator().manual_seed(3) for _ in range(2))
    whole = draw((1, 3, sum(counts), width), generator=one)
    assert torch.equal(torch.cat(list(rows_of_draws(draw, many, counts, width)), -2), whole)
    assert torch.equal(one.get_state(), many.get_state())


@pytest.mark.parametrize("size", [(400, 600), (399, 597), (333, 251), (37, 600)])
def test_windows_are_those_of_the_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redistorted, "BAND", 20_000)
    image = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None, :, : size[0], : size[1]]
    images = torch.cat([image, image.flip(-1)])
    whole, source = redistort(images / 255), Redistorted(Whole(images))
    assert source.size == size
    for rows, columns in ((slice(0, size[0]), slice(0, size[1])), (slice(7, 30), slice(101, 222))):
        torch.testing.assert_close(source.window(rows, columns), whole[..., rows, columns], atol=1e-5, rtol=0)
