"""A call fails and is repeated with its fix: keywords join those of the call, an expression takes its place."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import drmetric
from drmetric import DRIQA, NARIQA, NRIQA, as_image, create
from drmetric.data.duplicates import duplicate_pairs
from drmetric.distortions.degrade import degrade, sample_degradation
from drmetric.distortions.kadid.types import distort
from drmetric.distortions.unfaithful import make_unfaithful
from drmetric.errors import DrmetricError
from drmetric.images import read_image, resize
from drmetric.images.outputs import LossInputs, RangeWatch
from drmetric.metrics.consistency import LowBandPSNR
from drmetric.metrics.losses import DRIQALoss
from tests.fixes import bare

IMAGE, HALF, CODES = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 32, 32), np.zeros((64, 64, 3), np.uint8)
RNG, GENERATOR = random.Random(0), torch.Generator()
ONE_SIDE = np.ones((2, 256), np.float32) / 16


def whole(metric: NARIQA) -> NARIQA:
    """The metric as if its backbone were one of timm."""
    metric._is_local = False
    return metric


KEYWORDS: dict[str, Callable[..., object]] = {
    "as_image channels": lambda channels="gbr": as_image(CODES, channels=channels),
    "as_image layout": lambda layout="WHC": as_image(CODES, layout=layout),
    "as_image range": lambda input_range=(1, -1): as_image(CODES / 255.0, input_range=input_range),
    "loss range": lambda input_range=(1, -1): LossInputs(RangeWatch(), input_range),
    "read alpha": lambda alpha="grey": read_image(drmetric.example.FOLDER / "degraded/coffee.png", alpha=alpha),
    "resize": lambda size=(0, 4): resize(IMAGE, size),
    "crop": lambda crop="all": create("psnr", crop=crop),
    "channel": lambda channel="luma": create("psnr", channel=channel),
    "shave": lambda shave=-1: create("psnr", shave=shave),
    "reduction": lambda reduction="median": create("psnr").loss(IMAGE, IMAGE, reduction=reduction),
    "loss": lambda weight=-1.0, warmup_steps=0, start_step=0, max_gradient_norm=None: DRIQALoss(
        weight=weight, warmup_steps=warmup_steps, start_step=start_step, max_gradient_norm=max_gradient_norm
    ),
    "level": lambda level=9: distort(IMAGE, "lens_blur", level=level, seed=0),
    "seed": lambda seed=(1, 2, 3): distort(IMAGE, "lens_blur", level=3, seed=seed),
    "unfaithful name": lambda name="gone": make_unfaithful(IMAGE, name, 0.5, GENERATOR),
    "unfaithful strength": lambda strength=2.0: make_unfaithful(IMAGE, "shift", strength, GENERATOR),
    "unfaithful other": lambda other=None: make_unfaithful(IMAGE, "patch_replaced", 0.5, GENERATOR, other),
    "tiles of a backbone of timm": lambda tile=576: whole(NARIQA(tile=tile))(torch.zeros(1, 3, 1089, 1088)),
    "nearest weights": lambda weights="driqa-patches": DRIQA(weights),
    "weight as weights": lambda weight=None: DRIQALoss("default" if weight else 0.02, weight=weight or 0.0),
    "duplicates": lambda threshold=2.0: duplicate_pairs(ONE_SIDE, threshold),
}
EXPRESSIONS: dict[str, tuple[Callable[[], object], dict[str, Any]]] = {
    "driqa tile": (lambda: DRIQA(tile=1), {"DRIQA": DRIQA}),
    "nariqa tile": (lambda: NARIQA(tile=1), {"NARIQA": NARIQA}),
    "nriqa variant": (lambda: NRIQA("vit"), {"NRIQA": NRIQA}),
    "metric": (lambda: create("psrn"), {"create": create}),
    "device as an option": (lambda: create("psnr", device="cpu"), {"create": create}),
    "options": (lambda: create("psnr", chanel="y"), {"create": create}),
    "sigma": (lambda: LowBandPSNR(-1), {"LowBandPSNR": LowBandPSNR}),
    "not smaller": (lambda: create("lr_psnr")(IMAGE, IMAGE), {"create": create}),
    "missing reference": (
        lambda: create("psnr")(IMAGE),
        {"metric": create("psnr"), "image": IMAGE, "reference": IMAGE},
    ),
    "useless reference": (lambda: create("nriqa")(IMAGE, IMAGE), {"create": create, "image": IMAGE}),
    "degradation": (
        lambda: degrade(IMAGE, [{"op": "melt"}], 0),
        {"degrade": degrade, "image": IMAGE},
    ),
    "family": (
        lambda: sample_degradation("melting", RNG),
        {"sample_degradation": sample_degradation, "rng": RNG},
    ),
    "distortion": (lambda: distort(IMAGE, "melted", level=3, seed=0), {"distort": distort, "image": IMAGE}),
}


@pytest.mark.parametrize("case", KEYWORDS)
def test_keywords_mend_the_call(case: str) -> None:
    with pytest.raises(DrmetricError) as caught:
        KEYWORDS[case]()
    KEYWORDS[case](**eval(f"dict({bare(caught.value.fix)})", {"images": IMAGE}))


@pytest.mark.parametrize("case", EXPRESSIONS)
def test_an_expression_takes_the_place_of_the_call(case: str) -> None:
    call, names = EXPRESSIONS[case]
    with pytest.raises(DrmetricError) as caught:
        call()
    eval(bare(caught.value.fix), dict(names))
