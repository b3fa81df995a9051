"""Whether a quality map points at the changed region: the area under the ROC curve of its cells."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from drmetric.statistics import auc


class Pointing(NamedTuple):
    """How often a changed cell looks worse than an unchanged one; 0.5 by chance.

    Attributes:
        auc: by the map of the changed image alone, as a user sees it.
        auc_of_change: by what the map loses against that of the unchanged image.
    """

    auc: float
    auc_of_change: float


def pointing(changed: Tensor, unchanged: Tensor, weight: Tensor) -> Pointing:
    """Of maps (1,1,h,w), higher is better, and the weight of the change (1,1,H,W).

    A cell counts as changed where its mean weight is at least half of the largest.
    """
    share = functional.adaptive_avg_pool2d(weight, (changed.shape[-2], changed.shape[-1])).flatten()
    is_changed = (share >= share.max() / 2).tolist()
    return Pointing(*(auc((-values).flatten().tolist(), is_changed) for values in (changed, changed - unchanged)))
