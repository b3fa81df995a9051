"""Averages over a grid, for sizes that are known and in a program for all sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from drmetric.networks.pooling import average_to


class Averages(nn.Module):
    """Averages over as many rows and columns as two vectors have places."""

    def forward(self, features: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return average_to(features, (rows.shape[0], columns.shape[0]))


@pytest.mark.skipif(TorchVersion(torch.__version__) < "2.6", reason="torch exports this from 2.6 on")
def test_a_program_for_all_sizes_averages_as_torch_does() -> None:
    automatic = torch.export.Dim.AUTO
    program = torch.export.export(
        Averages(),
        (torch.rand(2, 3, 17, 23), torch.zeros(7), torch.zeros(5)),
        dynamic_shapes=({2: automatic, 3: automatic}, {0: automatic}, {0: automatic}),
        strict=False,
    ).module()
    for height, width, rows, columns in ((17, 23, 7, 5), (21, 25, 7, 5), (6, 40, 9, 11), (64, 64, 8, 8)):
        features = torch.rand(2, 3, height, width)
        averaged = program(features, torch.zeros(rows), torch.zeros(columns))
        torch.testing.assert_close(averaged, F.adaptive_avg_pool2d(features, (rows, columns)))
