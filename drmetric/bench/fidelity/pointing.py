"""Whether a quality map points at the changed region: the area under the ROC curve of its cells."""

import math

from torch import Tensor
from torch.nn import functional

from drmetric.statistics import auc

BY_MAP, BY_CHANGE = "auc", "auc_of_change"


def pointing(changed: Tensor, unchanged: Tensor, weight: Tensor) -> dict[str, float]:
    """How often a changed cell looks worse than an unchanged one; 0.5 by chance.

    Args:
        changed, unchanged: maps (1,1,h,w) of the two images, higher is better.
        weight: (1,1,H,W) of the change; a cell counts as changed where its mean is at least half of the largest.

    Returns:
        "auc" by the map of the changed image alone, as a user sees it, and "auc_of_change" by what the map loses;
        nothing where all cells are changed.
    """
    share = functional.adaptive_avg_pool2d(weight, (changed.shape[-2], changed.shape[-1])).flatten()
    is_changed = (share >= share.max() / 2).tolist()
    badness = {BY_MAP: -changed, BY_CHANGE: unchanged - changed}
    found = {name: auc(values.flatten().tolist(), is_changed) for name, values in badness.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}
