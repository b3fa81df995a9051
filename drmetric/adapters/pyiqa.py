"""DRIQA, NARIQA and NRIQA in pyiqa: importing this file registers them for ``create_metric``.

    import pyiqa
    import drmetric.adapters.pyiqa

    driqa = pyiqa.create_metric("driqa")
    score = driqa(restored, degraded)            # tensors or paths; the degraded image is pyiqa's ref

``python -m drmetric.adapters.pyiqa driqa -t restored/ -r degraded/`` is pyiqa's command line with them. With
``as_loss=True`` pyiqa returns the score, as it does of all its metrics: minimise ``1 - driqa(restored, degraded)``.
Outputs that overshoot are then pulled back, as `drmetric.Metric.loss` does.
"""

from typing import Any

import torch
from torch import Tensor, nn

from drmetric.adapters import installed
from drmetric.errors import optional
from drmetric.metrics.registry import create, metric_class

__all__ = ["NAMES", "register"]

NAMES = ("driqa", "nariqa", "nriqa")
_MODES = {"dr": "FR", "nar": "NR", "nr": "NR"}
"""What pyiqa calls them: its FR is a metric that needs a second image."""


class _Network(nn.Module):
    """What pyiqa calls a network: it returns (N,) scores."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.metric = create(name, **options)

    def forward(self, image: Tensor, reference: Any = None, **options: Any) -> Tensor | tuple[Tensor, Tensor]:
        """Scores; with gradients, in pyiqa a loss, images may overshoot."""
        if torch.is_grad_enabled() and not options:
            return self.metric.score_range[1] - self.metric.loss(image, reference, reduction="none")
        scores: Tensor | tuple[Tensor, Tensor] = self.metric(image, reference, **options)
        return scores


def register() -> None:
    """Register the metrics, once; importing this file does it where pyiqa is installed.

    Raises:
        MissingDependencyError: pyiqa is not installed, or does not import.
    """
    configs = optional("pyiqa.default_model_configs", "pyiqa", "a metric in pyiqa").DEFAULT_CONFIGS
    archs = optional("pyiqa.utils.registry", "pyiqa", "a metric in pyiqa").ARCH_REGISTRY
    for name in NAMES:
        if name not in configs:
            archs.register(_maker(name), name=f"drmetric.{name}")
            configs[name] = {
                "metric_opts": {"type": f"drmetric.{name}"},
                "metric_mode": _MODES[metric_class(name).mode],
                "score_range": "0, 1",
            }


def _maker(name: str) -> Any:
    def network(**options: Any) -> _Network:
        return _Network(name, options)

    return network


if installed("pyiqa"):
    register()

if __name__ == "__main__":
    optional("pyiqa.pyiqa_cmd", "pyiqa", "pyiqa's command line").main()
