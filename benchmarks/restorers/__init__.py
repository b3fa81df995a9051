"""Small pretrained restoration networks, to make and to judge restored images with.

    export DRMETRIC_RESTORERS=/folder/of/the/safetensors/files
    from benchmarks.restorers import load, names
    restorer = load(names("super_resolution", scale=4)[0])
    restored = restorer(image, scale=4)          # (N,3,h,w) in [0, 1] -> (N,3,4h,4w) in [0, 1]

The weights are not part of drmetric; `RESTORERS` says for each where it was published, its SHA-256 and its licence.
Where the publisher states no licence, none was granted: measure with those weights, do not pass them on.
"""

from benchmarks.restorers.catalogue import RESTORERS, Restorer, names
from benchmarks.restorers.loading import LoadedRestorer, load

__all__ = ["RESTORERS", "LoadedRestorer", "Restorer", "load", "names"]
