"""The metrics in torch.hub, with their bundled weights; nothing needs to be installed but what they stand on.

metric = torch.hub.load("path/of/a/checkout", "driqa", source="local")
"""

from pathlib import Path
from typing import Any

from drmetric import DRIQA, NARIQA, NRIQA

dependencies = ["torch", "kornia", "numpy", "PIL", "safetensors"]


def driqa(weights: str | Path = "default", **options: Any) -> DRIQA:
    """Quality of a restored image, given the degraded image it was made from; see `drmetric.DRIQA`."""
    return DRIQA(weights, **options)


def nariqa(weights: str | Path = "default", **options: Any) -> NARIQA:
    """Quality of an image beside good images of any content; see `drmetric.NARIQA`."""
    return NARIQA(weights, **options)


def nriqa(system: str = "mobile", **options: Any) -> NRIQA:
    """Quality of an image alone; see `drmetric.NRIQA`."""
    return NRIQA(system, **options)
