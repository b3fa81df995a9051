"""Lines of Python: run where the failed call was, with its variables, and the result is right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from skimage import data as pictures
from torch import Tensor

import drmetric
from drmetric import DRIQA, NARIQA, NRIQA, DRIQALoss, create
from drmetric.bench.fidelity.tensors import probe_tensors
from drmetric.bench.scores.run import score_tasks
from drmetric.checkpoints import WeightsFile, find_weights, read_weights, write_weights
from drmetric.data.rated import RatedImage, rated_sets, read_opinions
from drmetric.data.sets.bapps import read_preferences
from drmetric.data.splits import check_split
from drmetric.distill.akdiqa import LevelWeights
from drmetric.distill.datasets.rated import RatedCrops, others, references_of
from drmetric.distill.datasets.reading import loader
from drmetric.distill.datasets.triplets import TrainingPairs
from drmetric.distill.game import Game, GameConfig
from drmetric.distortions.kadid.spatial import BLOCK
from drmetric.distortions.kadid.types import distort
from drmetric.images import as_image, list_images, read_image, save_image
from drmetric.images.checks import check_image, check_same_device
from drmetric.images.geometry import tiles
from drmetric.metrics.base import Metric
from drmetric.metrics.lpips import LPIPS
from drmetric.metrics.niqe import fit_niqe
from drmetric.networks.backbones import create_backbone, load_backbone
from drmetric.networks.ckdn import CKDN, CKDNConfig
from drmetric.statistics import auc, bootstrap_mean, paired_bootstrap, srcc, worst_for_missing
from tests.contract import photos
from tests.distill.datasets.test_triplets import triplet
from tests.fixes import covers, filled, fix_of
from tests.images.pictures import PHOTO
from tests.rated_set import write_bapps, write_biq2021

Names = dict[str, Any]
IMAGE = photos(64)[:1]
HALF = photos(32)[:1]
PAIRS = torch.rand(2, 3, 64, 64)


@dataclass(frozen=True)
class Case:
    """A call with variables, and how its fix is run: "=" before it, "(" in its place, "," as its keywords.

    What is filled in may name the {folder} of the test.
    """

    site: str
    form: str
    call: Callable[[Names], Any]
    names: Callable[[Path], Names] = lambda folder: {}
    filling: Mapping[str, str] = field(default_factory=dict)
    right: Callable[[Any], object] = lambda result: True


def keywords(call: Callable[..., Any], **given: Any) -> Callable[[Names], Any]:
    """A call with the keywords `given`, which those of the fix replace."""
    return lambda names: call(**(given | names))


def is_nriqa(result: object) -> bool:
    return isinstance(result, NRIQA)


def saved(folder: Path) -> Names:
    """A photograph in a file, one that is transparent, and a folder of four."""
    save_image(IMAGE[0], folder / "photo.png")
    (folder / "more").mkdir()
    for number in range(4):
        save_image(photos(96)[number % 3], folder / f"more/{number}.png")
    clear = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 99, np.uint8)])
    PIL.Image.fromarray(clear).save(folder / "clear.png")
    return {"folder": folder, "read_image": read_image, "save_image": save_image, "list_images": list_images}


def own_weights(folder: Path) -> Names:
    """Weights of a small DRIQA, written as those of another metric."""
    config = CKDNConfig(head_stages=1)
    path, state = folder / "own.safetensors", CKDN(config).state_dict()
    write_weights(path, "nriqa-mobile", config.as_dict(), state)
    return {"path": path, "network_config": config.as_dict(), "state": state, "write_weights": write_weights}


def read_own(names: Names) -> Any:
    return read_weights(WeightsFile("own", names["path"], ""), "driqa")


def near(wanted: Tensor, within: float = 0.01) -> Callable[[Any], bool]:
    return lambda found: torch.allclose(torch.as_tensor(found).float(), wanted.float(), atol=within)


COLOUR = pictures.astronaut()[:48, :48]
TRANSPARENT = PIL.Image.fromarray(np.dstack([COLOUR, np.full((48, 48), 99, np.uint8)]))
WIDE = PIL.Image.fromarray(COLOUR[..., 0].astype(np.uint16) * 257)
TURNED = PIL.Image.fromarray(COLOUR)
TURNED.getexif()[274] = 6
WHERE = {
    "drmetric": drmetric,
    "torch": torch,
    "torchvision": torchvision,
    "np": np,
    "PIL": PIL,
    "DRIQA": DRIQA,
    "DRIQALoss": DRIQALoss,
    "NRIQA": NRIQA,
    "create": create,
    "LPIPS": LPIPS,
    "fit_niqe": fit_niqe,
    "worst_for_missing": worst_for_missing,
    "distort": distort,
    "true": True,
    "false": False,
    "IMAGE": IMAGE,
}
"""What has been imported where the lines are run."""


def alone(folder: Path) -> Names:
    saved(folder)
    (folder / "alone").mkdir()
    photo = (folder / "photo.png").rename(folder / "alone/photo.png")
    return {"references": str(photo.parent), "photo": photo}


def clean(folder: Path) -> Names:
    """Photographs, enough of them for a model of NIQE; a file of that model."""
    generator = torch.Generator().manual_seed(0)
    more = [torch.rand(1, 3, 384, 384, generator=generator) for _ in range(3)]
    fit_niqe(more).save(folder / "model.safetensors")
    return {"photographs": more[:1], "more_clean_photographs": more}


def squeezenet(home: Path) -> Path:
    """A random SqueezeNet where LPIPS looks for one."""
    home.mkdir()
    save_file(torchvision.models.squeezenet1_1(weights=None).state_dict(), home / "squeezenet1_1.safetensors")
    return home / "squeezenet1_1.safetensors"


def blind(folder: Path) -> Metric:
    clean(folder)
    return create("niqe", weights=folder / "model.safetensors")


def mobilenet() -> Mapping[str, Tensor]:
    state: Mapping[str, Tensor] = torchvision.models.mobilenet_v2(weights=None).features.state_dict()
    return state


def game_of(patch: int, photographs: Sequence[str]) -> Game:
    return Game(GameConfig(tuple(photographs), contents=2, patch=patch), seed=0)


UNREFERENCED = [RatedImage(Path("a.png"), 0.5, "a")]


class Gray:
    """A denoiser that is right but for the shape of what it returns."""

    def __call__(self, gray: Tensor) -> Tensor:
        return gray.flatten(1)


CASES = [
    # scoring
    Case("bench/scores/run.py", ",", keywords(lambda **k: list(score_tasks([], [], **k)), device="cpu", batch=0)),
    Case(
        "bench/fidelity/tensors.py: 'names",
        ",",
        keywords(partial(probe_tensors, create("nriqa"), [IMAGE] * 2, probes=(), n_bootstrap=10), names=["a", "a"]),
    ),
    Case(
        "bench/fidelity/tensors.py: 'restored",
        ",",
        keywords(partial(probe_tensors, create("psnr"), probes=(), n_bootstrap=10), restored=[], truth=[IMAGE]),
        filling={"images": "[IMAGE]"},
    ),
    Case(
        "bench/fidelity/tensors.py: f'{reference}",
        ",",
        keywords(partial(probe_tensors, create("psnr"), [IMAGE], probes=(), n_bootstrap=10)),
        filling={"images": "[IMAGE]"},
    ),
    Case(
        "metrics/base.py: f'create",
        "(",
        lambda n: create("psnr")(n["image"], n["reference"], return_map=True),
        lambda folder: {"image": IMAGE, "reference": IMAGE},
    ),
    Case(
        'metrics/base.py: \'create("driqa").loss',
        "(",
        lambda n: n["metric"].loss(n["restored"]),
        lambda folder: {"restored": IMAGE, "degraded": HALF, "metric": blind(folder)},
        right=lambda loss: 0 < loss < 1,
    ),
    Case(
        "metrics/base.py: f'metric",
        "(",
        lambda n: n["metric"](n["image"]),
        lambda folder: {
            "image": photos(64)[:3],
            "reference": photos(64)[:3],
            "metric": create("psnr").set_reference(PAIRS),
        },
        right=lambda s: s.shape == (3,),
    ),
    Case("metrics/alignment.py", ",", keywords(lambda **k: create("psnr", **k)(IMAGE, IMAGE[..., :-1]))),
    Case("metrics/tiled.py: f'{type(self)", "(", lambda n: DRIQA(tile=1537)),
    Case("metrics/lpips.py", "(", lambda n: LPIPS("resnet"), lambda folder: squeezenet(folder / "home") and {}),
    Case(
        "metrics/nariqa.py: 'references",
        "=",
        lambda n: NARIQA()(IMAGE, n["references"]),
        lambda folder: {"references": [IMAGE[0], IMAGE[0]]},
        right=lambda s: s.shape == (1,),
    ),
    Case(
        "metrics/nariqa.py: 'references",
        "=",
        lambda n: NARIQA()(IMAGE, n["references"]),
        lambda folder: {"references": []},
        right=lambda s: s == NARIQA()(IMAGE),
    ),
    Case(
        "metrics/losses.py: f'{type(self)",
        "(",
        lambda n: DRIQALoss(max_gradient_norm=1.0)(n["restored"], n["degraded"]),
        lambda folder: {"restored": IMAGE.clone().requires_grad_(), "degraded": IMAGE.clone().requires_grad_()},
    ),
    Case("metrics/nriqa.py: fix", "(", lambda n: NRIQA(find_weights("nriqa-mobile").name), right=is_nriqa),
    Case("checkpoints.py: _OF", "(", lambda n: DRIQA(find_weights("nriqa-akd").name), right=is_nriqa),
    Case("metrics/niqe.py: 'fit_niqe", "(", lambda n: fit_niqe(n["photographs"]), clean),
    Case(
        "metrics/opinions.py: 'metric(image, return_map",
        "(",
        lambda n: n["metric"](n["image"], return_map=True, return_uncertainty=True),
        lambda folder: {"metric": NRIQA(), "image": IMAGE},
    ),
    Case(
        "metrics/learned.py: f'metric.to",
        "+",
        lambda n: n["metric"](n["image"]),
        lambda folder: {"metric": DRIQA("driqa-patches-3").set_reference(IMAGE), "image": IMAGE.to("meta")},
    ),
    Case(
        "statistics.py: f'{name} = [float",
        "=",
        lambda n: srcc(n["scores"], n["labels"]),
        lambda folder: {"scores": torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16), "labels": [1, 2, 3]},
        right=near(torch.tensor(1.0)),
    ),
    Case(
        "statistics.py: 'first = np.where",
        "=",
        lambda n: paired_bootstrap(n["first"], [1.0, 2.0, 3.0]).difference,
        lambda folder: {"first": np.array([2.0, np.inf, 4.0])},
        right=near(torch.tensor(1.0)),
    ),
    Case(
        "statistics.py: 'is_positive",
        "=",
        lambda n: auc([1, 2, 3, 4], n["is_positive"]),
        lambda folder: {"is_positive": [-1, -1, 1, 1]},
        right=near(torch.tensor(1.0)),
    ),
    Case(
        "statistics.py: 'n=1000'",
        ",",
        keywords(partial(bootstrap_mean, [1.0, 2.0]), n=0),
    ),
    Case(
        "statistics.py: 'scores = worst",
        "=",
        lambda n: srcc(n["scores"], n["labels"]),
        lambda folder: {"scores": np.array([1.0, np.nan, 3.0]), "labels": np.array([2.0, 1.0, 3.0])},
        right=lambda r: r == pytest.approx(1),
    ),
    Case(
        "statistics.py: 'scores, labels",
        "=",
        lambda n: srcc(n["scores"], n["labels"]),
        lambda folder: {"scores": np.array([1.0, 2.0, 3.0]), "labels": np.array([1.0, np.nan, 3.0])},
        right=lambda r: r == pytest.approx(1),
    ),
    # images
    Case(
        "images/checks.py: _layout_fix",
        "=",
        lambda n: check_image(n["image"]),
        lambda folder: {"image": IMAGE[0]},
        right=near(IMAGE),
    ),
    Case(
        "images/checks.py: _range_fix",
        "=",
        lambda n: check_image(n["image"]),
        lambda folder: {"image": IMAGE * 255},
        right=near(IMAGE),
    ),
    Case(
        "images/checks.py: f'{name} = {name}.nan",
        "=",
        lambda n: check_image(n["image"]),
        lambda folder: {"image": torch.where(IMAGE > 0.5, IMAGE, torch.nan)},
        right=near(torch.where(IMAGE > 0.5, IMAGE, 0)),
    ),
    Case(
        "images/convert.py: f'{name} = [image]",
        "=",
        lambda n: as_image(n["image"]),
        lambda folder: {"image": []},
        {"[image]": "[IMAGE]"},
        right=near(IMAGE),
    ),
    *(
        Case(
            "images/checks.py: f'{name} = {name}.{floats}",
            "=",
            lambda n: check_image(n["image"]),
            lambda folder, image=image: {"image": image},
            right=near(IMAGE, 0.04),
        )
        for image in (
            (IMAGE * 255 - 128).to(torch.int8),
            (IMAGE * 255).to(torch.int32),
            (IMAGE * 32767).to(torch.int16),
            IMAGE.to(torch.float8_e4m3fn),
            IMAGE.to(torch.complex64),
        )
    ),
    Case(
        "images/checks.py: f'{name} = {dense}",
        "=",
        lambda n: check_image(n["image"]),
        lambda folder: {"image": IMAGE.to_sparse()},
        right=near(IMAGE),
    ),
    Case(
        "images/checks.py: fix",
        "=",
        lambda n: check_image(n["image"]),
        lambda folder: {"image": [IMAGE[0], IMAGE[0]]},
        right=near(IMAGE.expand(2, -1, -1, -1)),
    ),
    Case(
        "images/checks.py: f'{reference_name}",
        "=",
        lambda n: check_same_device(n["restored"], n["degraded"]),
        lambda folder: {"restored": IMAGE.to("meta"), "degraded": IMAGE},
    ),
    Case(
        "images/convert.py: f'{name} = {name}[:1]",
        "=",
        lambda n: drmetric.as_image(n["image"]),
        lambda folder: {"image": [COLOUR, COLOUR[:40]]},
    ),
    Case(
        "images/convert.py: f'{name} = PIL",
        "=",
        lambda n: drmetric.as_image(n["image"]),
        lambda folder: {"image": TRANSPARENT},
    ),
    Case(
        "images/convert.py: f'{name} = np.array",
        "=",
        lambda n: drmetric.as_image(n["image"]),
        lambda folder: {"image": WIDE},
        right=near(drmetric.as_image(COLOUR[..., 0])),
    ),
    Case(
        "images/convert.py: f'{name} = PIL.ImageOps",
        "=",
        lambda n: drmetric.as_image(n["image"]),
        lambda folder: {"image": TURNED},
        right=near(drmetric.as_image(COLOUR).rot90(-1, (2, 3))),
    ),
    Case(
        "images/convert.py: f'{name} = {name}.filled",
        "=",
        lambda n: drmetric.as_image(n["image"]),
        lambda folder: {"image": np.ma.masked_less(COLOUR, 9)},
    ),
    Case(
        "images/convert.py: f'{name} = {name}.{floats}",
        "=",
        lambda n: drmetric.as_image(n["image"]),
        lambda folder: {"image": COLOUR.astype(np.int64)},
        right=near(drmetric.as_image(COLOUR)),
    ),
    Case(
        "images/convert.py: f'{name} = {name}[{colours}]",
        "=",
        lambda n: drmetric.as_image(n["image"]),
        lambda folder: {"image": np.dstack([COLOUR, COLOUR[..., :1]])},
        right=near(drmetric.as_image(COLOUR)),
    ),
    Case(
        "images/convert.py: f'{name} = drmetric",
        "=",
        lambda n: check_image(n["image"]) if isinstance(n["image"], Tensor) else drmetric.as_image(n["image"]),
        lambda folder: {"image": np.zeros((3, 16, 3), np.uint8)},
    ),
    Case(
        "images/files.py: f'read_image",
        "(",
        lambda n: read_image(n["folder"] / "clear.png"),
        saved,
        right=lambda image: image.shape == (3, *PHOTO.shape[:2]),
    ),
    Case(
        "images/files.py: 'save_image",
        "(",
        lambda n: save_image(n["image"], n["path"]),
        lambda folder: saved(folder) | {"image": IMAGE, "path": folder / "a.png"},
    ),
    Case(
        "images/files.py: f'list_images",
        "(",
        lambda n: read_image(n["folder"]),
        saved,
        right=lambda files: len(files) == 6,
    ),
    Case("images/geometry.py: f'size", ",", keywords(partial(tiles, 100, 100, overlap=8, stride=4), size=7)),
    # distortions
    Case(
        "distortions/kadid/noise.py: 'distort",
        "(",
        lambda n: distort(n["image"], 15, n["level"], n["seed"]),
        lambda folder: {"image": IMAGE, "level": 1, "seed": 0, "dncnn": lambda gray: gray},
    ),
    Case(
        "distortions/kadid/noise.py: 'denoiser",
        "=",
        lambda n: distort(IMAGE, 15, 1, 0, denoiser=n["denoiser"]),
        lambda folder: {"denoiser": Gray(), "dncnn": Gray()},
    ),
    Case(
        "distortions/kadid/spatial.py",
        "=",
        lambda n: distort(n["image"], "color_block", level=1, seed=0),
        lambda folder: {"image": IMAGE[..., : BLOCK - 1, :]},
    ),
    Case(
        "distortions/kadid/types.py: 'distort(image / 255",
        "(",
        lambda n: distort(n["image"], 1, level=1, seed=0),
        lambda folder: {"image": IMAGE * 255},
        {"...": "1, level=1, seed=0"},
    ),
    Case(
        "distortions/kadid/types.py: 'distort(image[None]",
        "(",
        lambda n: distort(n["image"], 1, level=1, seed=0),
        lambda folder: {"image": (IMAGE[0] * 255).byte()},
        {"...": "1, level=1, seed=0"},
    ),
    # weights and networks
    Case(
        "checkpoints.py: 'weights",
        ",",
        keywords(partial(find_weights, "niqe"), weights="default"),
        lambda folder: clean(folder) and {},
        {"FILE": "{folder}/model"},
    ),
    Case("checkpoints.py: f'write_weights", "(", read_own, own_weights),
    Case(
        'networks/backbones/__init__.py: \'backbone = "mobilenetv2"  # or "patches',
        ",",
        keywords(lambda backbone: create_backbone(backbone, 2), backbone="gone"),
    ),
    Case(
        "networks/backbones/__init__.py: 'backbone = \"mobilenetv2\"'",
        ",",
        keywords(lambda backbone: create_backbone(backbone, 5), backbone="patches"),
    ),
    Case(
        'networks/backbones/__init__.py: \'backbone = "mobilenetv2"  # or "resnet',
        ",",
        keywords(
            lambda backbone: load_backbone(backbone, create_backbone(backbone, 2), mobilenet()), backbone="patches"
        ),
    ),
    Case(
        "networks/backbones/mobilenetv2.py",
        "=",
        lambda n: load_backbone("mobilenetv2", create_backbone("mobilenetv2", 2), n["state"]),
        lambda folder: {"state": {}, "torchvision": __import__("torchvision")},
        {"'DEFAULT'": "None"},
    ),
    Case(
        "networks/backbones/resnet50v2.py",
        ",",
        keywords(
            lambda backbone: load_backbone(backbone, create_backbone(backbone, 2), mobilenet()), backbone="resnet50v2"
        ),
    ),
    Case(
        "networks/backbones/timm.py: choose",
        ",",
        keywords(lambda backbone: create_backbone(backbone, 2), backbone="timm:resnet5"),
    ),
    Case(
        "networks/backbones/timm.py: 'backbone",
        ",",
        keywords(lambda backbone: create_backbone(backbone, 4), backbone="timm:vit_tiny_patch16_224"),
    ),
    Case("networks/ckdn.py: fix", ",", keywords(lambda **k: CKDN(CKDNConfig(backbone="resnet50v2", **k)), beside=True)),
    # data and training
    Case(
        "data/rated.py: choose",
        ",",
        keywords(lambda kind, root: kind in rated_sets() or read_opinions(kind, root), kind="agiqa"),
        lambda folder: {"root": folder},
    ),
    Case(
        "data/sets/bapps.py",
        ",",
        keywords(lambda set, root: read_preferences(set, root, "validation"), set="babs"),
        lambda folder: {"root": write_bapps(folder / "bapps")},
    ),
    Case("data/splits.py", ",", keywords(check_split, split="val")),
    Case("distill/akdiqa.py", ",", keywords(LevelWeights, floor=2.0)),
    Case(
        "distill/datasets/rated.py: 'references = \"FOLDER\"  # in [train]'",
        ",",
        keywords(lambda references: references_of(UNREFERENCED, references), references=""),
        lambda folder: saved(folder) and {},
        {"FOLDER": "{folder}/more"},
    ),
    Case(
        'distill/datasets/rated.py: \'references = "FOLDER"  # in [train]: one',
        ",",
        lambda n: others([*references_of(UNREFERENCED, n["references"])], str(n["photo"])),
        alone,
        {"FOLDER": "{folder}/more"},
    ),
    Case(
        "distill/datasets/reading.py: f'batch",
        ",",
        keywords(lambda batch: loader(PAIRS, batch, 0, shuffle=True), batch=9),
    ),
    Case(
        "distill/datasets/reading.py: f'patch",
        ",",
        keywords(lambda patch, rated: RatedCrops(rated, patch)[0], patch=200),
        lambda folder: {"rated": read_opinions("biq2021", write_biq2021(folder / "a", 2, 2), "train")},
    ),
    Case(
        "distill/datasets/triplets.py: f'patch",
        ",",
        keywords(lambda patch, two: TrainingPairs(two, patch=patch)[0], patch=200),
        lambda folder: {"two": [triplet(folder, name, IMAGE[0]) for name in "ab"]},
    ),
    Case(
        "distill/game.py: 'patch",
        ",",
        keywords(game_of, patch=50),
        lambda folder: saved(folder) and {"photographs": [str(folder / "more")]},
    ),
    Case(
        "distill/game.py: 'photographs",
        ",",
        keywords(game_of, patch=48, photographs=()),
        lambda folder: saved(folder) and {},
        {"$DRMETRIC_DATA/cid22-training": "{folder}/more"},
    ),
]
covers(*(case.site for case in CASES))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.site)
def test_the_line_mends_the_call(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / "home"))
    names = case.names(tmp_path)
    fix = fix_of(case.site, lambda: case.call(names))
    fix = filled(fix, {word: value.format(folder=tmp_path) for word, value in case.filling.items()})
    scope = WHERE | names
    if case.form == "(":
        result = eval(fix, scope)
    elif case.form == ",":
        result = case.call(names | eval(f"dict({fix})", scope))
    else:
        exec(fix, scope)
        result = case.call({name: scope[name] for name in names})
    assert case.right(result)
