"""Losses and metrics in BasicSR (basicsr-fixed), in what is built on it (Real-ESRGAN), and in traiNNer-redux.

Neither loads plugins: start with ``python -m drmetric.adapters.basicsr train.py -opt train.yml`` in place of
``python train.py -opt train.yml``, or call `register` in a script of your own. Options then know the losses
``DRIQALoss``, ``NARIQALoss`` and ``NRIQALoss`` (in BasicSR for ``perceptual_opt``), and ``calculate_driqa`` and so on.

Both hand the truth to losses and metrics, so models are made to keep what they are fed: see `keeps_degraded`.
"""

import runpy
import sys
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from drmetric.adapters import clamped, installed
from drmetric.errors import InputError, MissingDependencyError, optional
from drmetric.images import as_image
from drmetric.images.convert import Channels
from drmetric.metrics.base import Metric
from drmetric.metrics.losses import MetricLoss
from drmetric.metrics.registry import create

__all__ = ["keeps_degraded", "register"]

NAMES = {"driqa": "DRIQA", "nariqa": "NARIQA", "nriqa": "NRIQA"}
FAMILY: dict[str, Channels] = {"basicsr": "bgr", "traiNNer": "rgb"}
"""Packages, and the order of the channels of the images that their metrics get."""

_fed: dict[str, Tensor] = {}
"""The degraded images that the model of this process was fed last."""


def keeps_degraded(model: Any) -> Any:
    """A class decorator: a model's input ``lq`` is kept for losses and metrics; `register` does it to known models."""
    feed = model.feed_data

    def feed_data(self: Any, data: Any) -> None:
        feed(self, data)
        if getattr(self, "lq", None) is not None:
            _fed["lq"] = self.lq

    model.feed_data = feed_data
    return model


def register() -> None:
    """Register losses and metrics wherever one of the frameworks is installed, once.

    Raises:
        MissingDependencyError: neither is installed.
    """
    found = [package for package in FAMILY if installed(package)]
    if not found:
        raise MissingDependencyError("neither basicsr nor traiNNer is installed", "pip install basicsr-fixed")
    for package in found:
        registries = optional(f"{package}.utils.registry", "adapters", f"training with {package}")
        if "calculate_driqa" in registries.METRIC_REGISTRY:
            continue
        models = optional(f"{package}.models", "adapters", f"training with {package}")
        modules = [module for name, module in sys.modules.items() if name.startswith(f"{models.__name__}.")]
        for model in {each for module in modules for each in vars(module).values() if isinstance(each, type)}:
            if "feed_data" in vars(model):
                keeps_degraded(model)
        for name in NAMES:
            registries.LOSS_REGISTRY.register(_loss(name, paired=package == "basicsr"))
            registries.METRIC_REGISTRY.register(_metric(name, FAMILY[package]))


def _degraded(metric: Metric, input_range: tuple[float, float] = (0.0, 1.0)) -> Tensor | None:
    if metric.mode == "dr" and "lq" not in _fed:
        problem = f"{metric.name} needs the degraded image, and no model has kept one"
        raise InputError(problem, "@drmetric.adapters.basicsr.keeps_degraded  # above the class of the model")
    return clamped(_fed.get("lq") if metric.mode == "dr" else None, input_range, "lq")


def _loss(name: str, *, paired: bool) -> type:
    """The loss of a registry. BasicSR unpacks (perceptual, style); traiNNer multiplies by `loss_weight` itself."""

    def init(self: Any, loss_weight: float = 1.0, weights: str = "default", **settings: Any) -> None:
        nn.Module.__init__(self)
        self.loss_weight = loss_weight
        self.of = MetricLoss(create(name, weights=weights), weight=loss_weight if paired else 1.0, **settings)

    def forward(self: Any, restored: Tensor, target: Any = None, **_: Any) -> Any:
        loss = self.of(restored, _degraded(self.of.metric, self.of.input_range))
        return (loss, None) if paired else loss

    return type(f"{NAMES[name]}Loss", (nn.Module,), {"__init__": init, "forward": forward})


@cache
def _made(name: str, weights: str, device: str) -> Metric:
    return create(name, weights=weights).to(device)


def _metric(name: str, channels: Channels) -> Any:
    """The metric of a registry: uint8 (H, W, 3) in, the score as a float out."""

    def calculate(img: Any, img2: Any = None, *, weights: str = "default", device: Any = "cpu", **_: Any) -> float:
        metric = _made(name, weights, str(device))
        restored = as_image(img, channels=channels, name="img").to(device)
        degraded = _degraded(metric)
        return float(metric(restored, None if degraded is None else degraded.to(device)))

    calculate.__name__ = f"calculate_{name}"
    return calculate


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m drmetric.adapters.basicsr TRAIN.PY [its arguments]")
    sys.path.insert(0, str(Path(sys.argv[1]).parent))
    from drmetric.adapters.basicsr import register as register_once  # not of __main__: one table of what was fed

    register_once()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
