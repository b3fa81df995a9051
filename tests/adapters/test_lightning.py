"""A Lightning trainer validates with the callback: scores, maps, and the precision that is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from drmetric import DRIQA, DRIQALoss, create
from drmetric.errors import InputError
from drmetric.metrics.pixel import PSNR
from tests.adapters.restorers import WEIGHTS, Upscaler, pairs

lightning = pytest.importorskip("lightning", reason="lightning is not installed")

from drmetric.adapters.lightning import QualityCallback  # noqa: E402

TRUTH, DEGRADED = pairs(3)


class Restorer(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = Upscaler()
        self.quality = DRIQALoss(WEIGHTS, weight=0.1)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        truth, degraded = batch
        restored = self.network(degraded)
        return (restored - truth).abs().mean() + self.quality(restored, degraded)

    def validation_step(self, batch: list[torch.Tensor], index: int) -> dict[str, torch.Tensor]:
        truth, degraded = batch
        return {"restored": self.network(degraded), "degraded": degraded, "truth": truth}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-4)


def trainer(folder: Path, callback: QualityCallback, **options: Any) -> Any:
    return lightning.Trainer(
        max_steps=2,
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=[callback],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"logger": False, "enable_checkpointing": False, **options},
    )


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(TRUTH, DEGRADED), batch_size=2)


def test_a_run_logs_the_mean_score_of_the_images(tmp_path: Path) -> None:
    model = Restorer()
    callback = QualityCallback([DRIQA(WEIGHTS), "psnr"])
    run = trainer(tmp_path, callback)
    run.fit(model, loader(), loader())
    with torch.no_grad():
        restored = model.network(DEGRADED).clamp(0, 1)
    expected = {"driqa": DRIQA(WEIGHTS)(restored, DEGRADED), "psnr": create("psnr")(restored, TRUTH)}
    for name, scores in expected.items():
        torch.testing.assert_close(run.callback_metrics[f"quality/{name}"], scores.mean(), rtol=1e-4, atol=1e-4)
    assert not any(key.startswith("quality") for key in model.state_dict())


def test_one_metric_needs_no_list() -> None:
    assert list(QualityCallback("psnr").metrics) == list(QualityCallback(PSNR()).metrics) == ["psnr"]
    assert list(QualityCallback().metrics) == ["driqa"]


def test_checkpoints_follow_a_score(tmp_path: Path) -> None:
    best = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, monitor="quality/driqa", mode="max")
    run = trainer(tmp_path, QualityCallback([DRIQA(WEIGHTS)]), enable_checkpointing=True)
    run.callbacks.append(best)
    run.fit(Restorer(), loader(), loader())
    assert 0 < best.best_model_score < 1


def test_maps_reach_a_logger_that_takes_images(tmp_path: Path) -> None:
    class Experiment:
        def __init__(self) -> None:
            self.images: dict[str, torch.Tensor] = {}

        def add_image(self, name: str, image: torch.Tensor, step: int) -> None:
            self.images[name] = image

    class Logger(lightning.pytorch.loggers.logger.DummyLogger):
        kept = Experiment()

        @property
        def experiment(self) -> Experiment:
            return self.kept

    run = trainer(tmp_path, QualityCallback([DRIQA(WEIGHTS), "psnr"], maps=1), logger=Logger())
    run.validate(Restorer(), loader(), verbose=False)
    assert {name: tuple(image.shape) for name, image in Logger.kept.images.items()} == {"quality/driqa/0": (3, 64, 128)}


def test_half_precision_throughout_is_refused_with_its_reason(tmp_path: Path) -> None:
    run = trainer(tmp_path, QualityCallback([DRIQA(WEIGHTS)]), precision="16-true")
    with pytest.raises(InputError, match="nothing scales the loss"):
        run.fit(Restorer(), loader(), loader())


def test_a_validation_step_that_returns_no_image_is_told_what_to_return(tmp_path: Path) -> None:
    class Silent(Restorer):
        def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
            return None

    with pytest.raises(InputError, match="return \\{") as caught:
        trainer(tmp_path, QualityCallback([DRIQA(WEIGHTS)])).validate(Silent(), loader(), verbose=False)
    assert "NoneType" in caught.value.problem


def test_the_name_of_a_metric_is_one_line_of_a_logger(tmp_path: Path) -> None:
    class Wicked(PSNR):
        name = "a\nb\x1b[1m"

    run = trainer(tmp_path, QualityCallback([Wicked()]))
    run.validate(Restorer(), loader(), verbose=False)
    assert set(run.callback_metrics) == {r"quality/a\nb\x1b[1m"}


def test_metrics_of_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="several metrics are called psnr"):
        QualityCallback([PSNR(), PSNR(channel="y"), "driqa"])
    callback = QualityCallback({"psnr": PSNR(), "psnr_y": PSNR(channel="y")})
    run = trainer(tmp_path, callback)
    run.validate(model := Restorer(), loader(), verbose=False)
    with torch.no_grad():
        restored = model.network(DEGRADED).clamp(0, 1)
    for label, metric in (("psnr", PSNR()), ("psnr_y", PSNR(channel="y"))):
        expected = float(metric(restored, TRUTH).mean())
        assert float(run.callback_metrics[f"quality/{label}"]) == pytest.approx(expected, abs=0.01)
