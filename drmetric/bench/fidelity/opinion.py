"""How plainly a change is seen: what people would say of it, as the label of corpora predicts."""

from typing import ClassVar

import torch
from torch import Tensor

from drmetric.data.make.labels import bundled_fusion
from drmetric.metrics.base import FullReference


class Opinion(FullReference):
    """The label of `drmetric.data.make.labels`, in [0, 1]: 1 where no difference is seen, and 0.1 lower for 100 Elo.

    100 Elo: of two images people prefer the better in 64 % of the cases; 300: in 85 %. It is fitted to the opinions of
    KADID-10k, where whole images are distorted, and a prediction.

    Raises:
        MissingDependencyError, WeightsError: what measures the image is not installed.
    """

    name: ClassVar[str] = "opinion"
    settings: ClassVar[str] = "bundled fusion"
    differentiable: ClassVar[bool] = False
    min_size: ClassVar[int] = 32

    def __init__(self) -> None:
        super().__init__()
        self.fusion = bundled_fusion()
        self.fusion.label_of(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))  # says now what is not installed

    def _compare(self, image: Tensor, reference: Tensor) -> Tensor:
        return self.fusion.label_of(image, reference)
