"""BasicSR and traiNNer-redux, started by the launcher, train with the loss and validate with the metric."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from drmetric import DRIQA, as_image, read_image
from drmetric.adapters import installed
from drmetric.images import rounded_to_8_bit, save_image
from tests.adapters.restorers import WEIGHTS, pairs

pytestmark = pytest.mark.slow

OPTIONS = """
name: trial
model_type: SRModel
scale: 2
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: crops
    type: PairedImageDataset
    dataroot_gt: images/truth
    dataroot_lq: images/degraded
    io_backend: { type: disk }
    gt_size: 64
    use_hflip: false
    use_rot: false
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
    dataset_enlarge_ratio: 1
    prefetch_mode: ~
  val:
    name: held_out
    type: PairedImageDataset
    dataroot_gt: images/truth
    dataroot_lq: images/degraded
    io_backend: { type: disk }
network_g: { type: MSRResNet, num_in_ch: 3, num_out_ch: 3, num_feat: 4, num_block: 1, upscale: 2 }
path: { pretrain_network_g: ~, strict_load_g: true, resume_state: ~ }
train:
  optim_g: { type: Adam, lr: !!float 1e-4 }
  scheduler: { type: MultiStepLR, milestones: [10], gamma: 0.5 }
  total_iter: 2
  warmup_iter: -1
  pixel_opt: { type: L1Loss, loss_weight: 1.0, reduction: mean }
  perceptual_opt: { type: DRIQALoss, loss_weight: 0.1, weights: WEIGHTS }
val:
  val_freq: !!float 2
  save_img: true
  metrics:
    driqa: { type: calculate_driqa, weights: WEIGHTS, better: higher }
logger: { print_freq: 1, save_checkpoint_freq: !!float 100, use_tb_logger: false }
dist_params: { backend: nccl, port: 29500 }
""".replace("WEIGHTS", WEIGHTS)
TRAIN = "import os\nfrom basicsr.train import train_pipeline\ntrain_pipeline(os.getcwd())\n"
TRAINNER_OPTIONS = """
name: trial
scale: 2
use_amp: false
use_channels_last: false
fast_matmul: false
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: crops
    type: pairedimagedataset
    dataroot_gt: [images/truth]
    dataroot_lq: [images/degraded]
    gt_size: 64
    use_hflip: false
    use_rot: false
    batch_size_per_gpu: 2
  val: { name: held_out, type: pairedimagedataset, dataroot_gt: [images/truth], dataroot_lq: [images/degraded] }
network_g: { type: compact, num_feat: 4, num_conv: 1 }
path: { strict_load_g: true }
train:
  ema_decay: 0
  optim_g: { type: adamw, lr: !!float 1e-4 }
  scheduler: { type: multisteplr, milestones: [10], gamma: 0.5 }
  total_iter: 2
  warmup_iter: -1
  losses:
    - { type: l1loss, loss_weight: 1.0 }
    - { type: driqaloss, loss_weight: 0.1, weights: WEIGHTS }
val:
  val_enabled: true
  val_freq: 2
  save_img: true
  metrics_enabled: true
  metrics:
    driqa: { type: calculate_driqa, weights: WEIGHTS, better: higher }
logger: { print_freq: 1, save_checkpoint_freq: 100, use_tb_logger: false }
""".replace("WEIGHTS", WEIGHTS)
TRAINNER = """
import os
from torch.utils.data import DataLoader
from traiNNer.data import build_dataset
from traiNNer.models import build_model
from traiNNer.utils.config import Config

options, _ = Config.load_config_from_file(os.getcwd(), is_train=True)
options.path.visualization = "written"
model = build_model(options)
train, held_out = (build_dataset(options.datasets[phase]) for phase in ("train", "val"))
for step in (1, 2):
    for batch in DataLoader(train, batch_size=2):
        model.feed_data(batch)
        model.optimize_parameters(step, 0, apply_gradient=True)
    print("l_g_driqa:", model.get_current_log()["l_g_driqa"].item())
model.nondist_validation(DataLoader(held_out), 2, None, save_img=True, multi_val_datasets=False)
print("score:", model.metric_results["driqa"])
"""
"""What traiNNer's train.py does in its loop; it does not start without CUDA."""


def images(folder: Path) -> None:
    truth, degraded = pairs(2)
    for kind, batch in (("truth", truth), ("degraded", degraded)):
        (folder / "images" / kind).mkdir(parents=True)
        for index, image in enumerate(batch):
            save_image(image, folder / "images" / kind / f"{index}.png")


def launched(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "drmetric.adapters.basicsr", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.skipif(not installed("basicsr"), reason="basicsr is not installed")
def test_basicsr_trains_and_validates(tmp_path: Path) -> None:
    images(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "train.yml").write_text(OPTIONS)
    log = launched(tmp_path, "train.py", "-opt", "train.yml")
    losses = [float(value) for value in re.findall(r"l_percep: ([\d.e+-]+)", log)]
    assert len(losses) == 2
    assert all(0 < loss < 0.1 for loss in losses)
    validated = float(re.findall(r"# driqa: ([\d.]+)", log)[-1])
    written = sorted((tmp_path / "experiments/trial/visualization").rglob("*_2.png"))
    assert validated == pytest.approx(score_of(written), abs=2e-4)


@pytest.mark.skipif(not installed("traiNNer"), reason="traiNNer-redux is not on the path")
def test_trainner_trains_and_validates(tmp_path: Path) -> None:
    images(tmp_path)
    (tmp_path / "train.py").write_text(TRAINNER)
    (tmp_path / "train.yml").write_text(TRAINNER_OPTIONS)
    log = launched(tmp_path, "train.py", "-opt", "train.yml")
    losses = [float(value) for value in re.findall(r"l_g_driqa: ([\d.e+-]+)", log)]
    assert len(losses) == 2
    assert all(0 < loss < 0.1 for loss in losses)
    validated = float(re.findall(r"score: ([\d.]+)", log)[-1])
    assert validated == pytest.approx(score_of(sorted((tmp_path / "written").rglob("*_000002.png"))), abs=1e-5)


def score_of(written: list[Path]) -> float:
    """DRIQA's mean over the images that a validation wrote, beside what they were made from."""
    assert len(written) == 2
    _, degraded = pairs(2)
    scores = [
        DRIQA(WEIGHTS)(read_image(path)[None], rounded_to_8_bit(degraded[i : i + 1])) for i, path in enumerate(written)
    ]
    return torch.cat(scores).mean().item()


def test_order_of_channels_and_form_of_losses_in_each_family() -> None:
    from drmetric.adapters import basicsr

    truth, degraded = pairs(1)
    photo = (truth[0].permute(1, 2, 0) * 255).round().byte().numpy()

    class Model:
        lq = degraded

        def feed_data(self, data: object) -> None: ...

    basicsr.keeps_degraded(Model)
    Model().feed_data({})
    expected = DRIQA(WEIGHTS)(as_image(photo), degraded).item()
    of_basicsr, of_trainner = (basicsr._metric("driqa", basicsr.FAMILY[each]) for each in ("basicsr", "traiNNer"))
    assert of_basicsr(np.ascontiguousarray(photo[..., ::-1]), weights=WEIGHTS) == pytest.approx(expected, abs=1e-5)
    assert of_trainner(photo, None, weights=WEIGHTS, device=torch.device("cpu")) == pytest.approx(expected, abs=1e-5)
    pair = basicsr._loss("driqa", paired=True)(loss_weight=0.5, weights=WEIGHTS)(truth, truth)
    alone = basicsr._loss("driqa", paired=False)(loss_weight=0.5, weights=WEIGHTS)(truth, truth)
    assert pair[1] is None
    torch.testing.assert_close(pair[0], 0.5 * alone)  # traiNNer multiplies by loss_weight itself
    torch.testing.assert_close(alone, DRIQA(WEIGHTS).loss(truth, degraded))
