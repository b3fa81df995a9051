"""deepinv's Trainer trains and validates with drmetric, and each metric meets the image that it should."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from drmetric import DRIQA, create
from drmetric.errors import InputError
from tests.adapters.restorers import WEIGHTS, Upscaler, pairs

pytestmark = pytest.mark.slow
deepinv = pytest.importorskip("deepinv", reason="deepinv is not installed", exc_type=ImportError)

from drmetric.adapters.deepinv import as_loss, as_score  # noqa: E402

TRUTH, DEGRADED = pairs(2)


class Reconstructor(deepinv.models.Reconstructor):
    def __init__(self) -> None:
        super().__init__()
        self.network = Upscaler()

    def forward(self, y: torch.Tensor, physics: object, **options: object) -> torch.Tensor:
        return self.network(y) * 1.2 - 0.1  # overshoots


def test_a_trainer_trains_and_validates(tmp_path: Path) -> None:
    model = Reconstructor()
    before = model.network.layer.weight.detach().clone()
    trainer = deepinv.Trainer(
        model=model,
        physics=deepinv.physics.Downsampling(img_size=(3, 64, 64), factor=2, filter="bicubic"),
        optimizer=torch.optim.Adam(model.parameters(), 1e-4),
        train_dataloader=DataLoader(TensorDataset(TRUTH, DEGRADED), batch_size=2),
        eval_dataloader=DataLoader(TensorDataset(TRUTH, DEGRADED), batch_size=1),
        epochs=1,
        losses=[deepinv.loss.SupLoss(), as_loss("driqa", weights=WEIGHTS, weight=0.1)],
        metrics=[as_score("driqa", weights=WEIGHTS), as_score("psnr")],
        device="cpu",
        save_path=str(tmp_path),
        show_progress_bar=False,
        verbose=False,
    )
    trainer.train()
    assert not torch.equal(before, model.network.layer.weight)
    found = trainer.test(DataLoader(TensorDataset(TRUTH, DEGRADED), batch_size=1))
    with torch.no_grad():
        restored = model(DEGRADED, None).clamp(0, 1)
    assert found["DRIQA"] == pytest.approx(DRIQA(WEIGHTS)(restored, DEGRADED).mean().item(), abs=1e-4)
    assert found["PSNR"] == pytest.approx(create("psnr")(restored, TRUTH).mean().item(), abs=1e-3)


def test_direction() -> None:
    assert not as_score("driqa", weights=WEIGHTS).lower_better
    assert as_score("gmsd").lower_better


def test_a_measurement_that_is_no_image_is_named() -> None:
    with pytest.raises(InputError, match=r"y has the shape \(2, 100, 7, 5, 4\)"):
        as_score("driqa", weights=WEIGHTS)(x_net=TRUTH, x=TRUTH, y=torch.rand(2, 100, 7, 5, 4))


def test_a_noisy_measurement_that_leaves_the_range_is_met_by_loss_and_score() -> None:
    noisy = DEGRADED + 0.1 * torch.randn(DEGRADED.shape, generator=torch.Generator().manual_seed(0))
    assert noisy.min() < 0
    loss = as_loss("driqa", weights=WEIGHTS)(x_net=TRUTH, x=TRUTH, y=noisy, physics=None, model=None)
    score = as_score("driqa", weights=WEIGHTS)(x_net=TRUTH, x=TRUTH, y=noisy)
    assert loss.mean().item() == pytest.approx(1 - score.mean().item(), abs=0.2)  # the loss looks at another view
