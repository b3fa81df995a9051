"""A callback of Lightning that scores a validation set and logs images with their quality maps.

    from drmetric.adapters.lightning import QualityCallback

    trainer = lightning.Trainer(callbacks=[QualityCallback(["driqa", "nriqa"])])

What `validation_step` returns, or else the batch, must hold the images by name: ``{"restored": ..., "degraded": ...}``,
and "truth" for full-reference metrics. Scores are logged as ``quality/driqa``, so that checkpoints can follow them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from drmetric.adapters import by_label, framework_class, map_pictures, score
from drmetric.errors import InputError
from drmetric.images import as_image
from drmetric.metrics.base import Metric
from drmetric.text import printable

__all__ = ["QualityCallback"]

_Base: Any = framework_class("lightning.pytorch:Callback", "a callback of Lightning")
_NAMES = ("restored", "degraded", "truth")
_CALL = 'return {"restored": restored, "%s": %s}  # at the end of validation_step, or read=...'
_CALLS = {mode: _CALL % (name, name) for mode, name in (("dr", "degraded"), ("fr", "truth"))}

Read = Callable[[Any, Any], Mapping[str, Tensor]]
"""From the outputs of `validation_step` and the batch to images by the names "restored", "degraded", "truth"."""


def _by_name(outputs: Any, batch: Any) -> Mapping[str, Tensor]:
    found: dict[str, Tensor] = {}
    for source in (batch, outputs):
        if isinstance(source, Mapping):
            found.update({name: source[name] for name in _NAMES if name in source})
    if "restored" not in found:
        said = f"validation_step returned {type(outputs).__name__} without 'restored', and the batch has none either"
        raise InputError(said, _CALLS["dr"])
    return found


class QualityCallback(_Base):  # type: ignore[misc]
    """Scores of the validation set at the end of each epoch.

    Args:
        metrics: one of drmetric, or several, or their names; where two have one name, a dictionary of metrics by what
            the log is to call them.
        read: how to find the images, where they are not in dictionaries by name.
        input_range: black and white of the images, such as (-1, 1).
        maps: how many images of the first batch to log each epoch, with their quality maps side by side, to loggers
            that take images (TensorBoard's does).
        prefix: of the names in the log.

    Raises:
        InputError: two metrics of one name, of which the log would hold the mean; the trainer's precision is "16-true".
    """

    def __init__(
        self,
        metrics: Metric | str | Sequence[Metric | str] | Mapping[str, Metric | str] = "driqa",
        *,
        read: Read = _by_name,
        input_range: tuple[float, float] = (0.0, 1.0),
        maps: int = 0,
        prefix: str = "quality/",
    ) -> None:
        self.metrics = by_label(metrics)
        self.read = read
        self.input_range = input_range
        self.maps = maps
        self.prefix = prefix

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Move the metrics to the device of the model; refuse a precision in which images do not survive."""
        if trainer.precision == "16-true":
            raise InputError(
                "the trainer's precision is '16-true': nothing scales the loss there, and the gradients that a score "
                "sends to single pixels, the smaller the larger the image, fall below what half precision resolves "
                "(6e-5); nor is a step skipped whose numbers overflow",
                'Trainer(precision="16-mixed")  # or "bf16-mixed"',
            )
        self.metrics = {label: metric.to(pl_module.device) for label, metric in self.metrics.items()}

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Score a batch; Lightning averages over batches, weighted by their sizes, and over processes."""
        images = {
            name: as_image(image.detach(), input_range=self.input_range, clamp=True, name=name).to(pl_module.device)
            for name, image in self.read(outputs, batch).items()
        }
        degraded, truth = images.get("degraded"), images.get("truth")
        restored = images["restored"]
        with torch.no_grad():
            for label, metric in self.metrics.items():
                scores = score(metric.to(restored.device), restored, degraded, truth, _CALLS)
                pl_module.log(
                    printable(f"{self.prefix}{label}"),
                    scores.mean(),
                    on_step=False,
                    on_epoch=True,
                    batch_size=len(scores),
                    sync_dist=trainer.world_size > 1,
                )
        if batch_idx == 0 and self.maps:
            self._log_maps(
                trainer, *(None if each is None else each[: self.maps] for each in (restored, degraded, truth))
            )

    def _log_maps(self, trainer: Any, restored: Tensor | None, degraded: Tensor | None, truth: Tensor | None) -> None:
        assert restored is not None
        boards = [logger.experiment for logger in trainer.loggers if hasattr(logger.experiment, "add_image")]
        for label, metric in self.metrics.items() if boards else []:
            for index, picture in enumerate(map_pictures(metric, restored, degraded, truth)):
                for board in boards:
                    board.add_image(printable(f"{self.prefix}{label}/{index}"), picture, trainer.global_step)
