"""Lines that want a setting of their own: a shell, a plug-in, a training, a stand-in for a package."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from drmetric import DRIQA, NARIQA, create
from drmetric.bench.fidelity.run import run as probe
from drmetric.bench.fidelity.settings import Settings
from drmetric.bench.judges import Entry, make_judges
from drmetric.bench.scores.subjects import Folders
from drmetric.checkpoints import WeightsFile, read_weights, write_weights
from drmetric.config import parse_toml
from drmetric.data.make.building import write_records
from drmetric.data.rated import read_opinions, read_triplets
from drmetric.distill.datasets.rated import Groups, RatedCrops
from drmetric.images import read_image, save_image
from drmetric.metrics.dists import DISTS
from drmetric.metrics.lpips import LPIPS
from drmetric.metrics.niqe import NIQE
from drmetric.networks.ckdn import CKDN, CKDNConfig
from tests.contract import photos
from tests.fixes import command_mends, covers, filled, fix_of, rerun
from tests.images.pictures import PHOTO, png_of
from tests.rated_set import write_biq2021, write_conditions

IMAGE = photos(64)[:1]

covers("bench/fidelity/run.py")


def test_a_tolerance_that_is_no_number(tmp_path: Path) -> None:
    save_image(IMAGE[0], tmp_path / "a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "images/a.png")
    folders = Folders(tmp_path / "images", None, tmp_path / "images")

    def probed(tolerance: float) -> Any:
        return probe(Settings(metrics=["psnr"], folders=folders, tolerance=tolerance, n_bootstrap=10), tmp_path / "out")

    fix = fix_of("bench/fidelity/run.py", lambda: probed(float("nan")))
    assert probed(float(rerun([], fix)[1])).rows


covers("bench/judges.py: '[[metrics]]", "bench/judges.py: lack[1]")


def test_a_board_without_a_metric_or_without_its_image() -> None:
    def judged(text: str) -> Any:
        return make_judges([Entry.read(each, "") for each in parse_toml(text, "").get("metrics", [])], ["degraded"])

    text = fix_of("bench/judges.py: '[[metrics]]", lambda: judged(""))
    assert [judge.label for judge in judged(text)[0]] == ["driqa"]
    text = '[[metrics]]\nname = "psnr"'
    fix = fix_of("bench/judges.py: lack[1]", lambda: judged(text))
    assert judged(f"{text}\n{fix}")[0][0].reference == "degraded"


covers("checkpoints.py: _WRITE_AGAIN")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: {**state, "a": torch.tensor([1], dtype=torch.int8)},
        lambda state: {**state, "a": torch.tensor([float("nan")])},
    ],
    ids=["type", "nan"],
)
def test_weights_are_written_again(spoil: Callable[[Any], Any], tmp_path: Path) -> None:
    config = CKDNConfig(head_stages=1)
    path, state, metadata = tmp_path / "own.safetensors", CKDN(config).state_dict(), {"metric": "driqa"}
    for content in (b"no safetensors", None):
        if content is None:
            save_file(spoil(state), path, metadata | {"network": "{}"})
        else:
            path.write_bytes(content)
        fix = fix_of("checkpoints.py: _WRITE_AGAIN", lambda: read_weights(WeightsFile("own", path, ""), "driqa"))
        scope = {"path": path, "metric": "driqa", "network_config": config.as_dict(), "state": state}
        eval(fix, scope | {"write_weights": write_weights})
        assert DRIQA(path)(IMAGE, IMAGE).isfinite().all()


@pytest.mark.parametrize("network", [{}, {"network": "{"}, {"network": "[]"}])
def test_weights_that_do_not_describe_their_network_are_written_again(network: dict[str, str], tmp_path: Path) -> None:
    config = CKDNConfig(head_stages=1)
    path, state = tmp_path / "own.safetensors", CKDN(config).state_dict()
    save_file(state, path, {"metric": "driqa"} | network)
    fix = fix_of("checkpoints.py: _WRITE_AGAIN", lambda: read_weights(WeightsFile("own", path, ""), "driqa"))
    scope = {"path": path, "metric": "driqa", "network_config": config.as_dict(), "state": state}
    eval(fix, scope | {"write_weights": write_weights})
    assert DRIQA(path)(IMAGE, IMAGE).isfinite().all()


covers("images/files.py: f'\"{Path", "images/files.py: 'import PIL", "images/files.py: png.to_srgb")


def test_files_that_are_named_or_read_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = eval(fix_of("images/files.py: f'\"{Path", lambda: save_image(IMAGE[0], "photo.jpg")))
    save_image(IMAGE[0], name)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    exec(fix_of("images/files.py: 'import PIL", lambda: read_image("photo.png")), {})
    assert torch.allclose(read_image("photo.png"), IMAGE[0], atol=0.01)


def test_a_picture_in_linear_light_is_brought_to_srgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    srgb = PHOTO / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    PIL.Image.fromarray((linear * 255).round().astype(np.uint8)).save("whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    chunk = png_of((b"gAMA", (100_000).to_bytes(4, "big")))[8:-12]
    (tmp_path / "linear.png").write_bytes(data[:33] + chunk + data[33:])
    exec(fix_of("images/files.py: png.to_srgb", lambda: read_image("linear.png")), {})
    difference = (read_image("linear_srgb.png") - torch.from_numpy(srgb).permute(2, 0, 1)).abs()
    assert difference.median() < 0.01


def cmyk(folder: Path) -> Path:
    PIL.Image.fromarray(PHOTO).convert("CMYK").save(folder / "ink.jpg")
    return folder / "ink.jpg"


def pages(folder: Path) -> Path:
    first, second = (PIL.Image.fromarray(each) for each in (PHOTO, PHOTO[::-1]))
    first.save(folder / "pages.tif", save_all=True, append_images=[second])
    return folder / "pages.tif"


def unread(folder: Path) -> Path:
    PIL.Image.fromarray(PHOTO).save(folder / "photo.pcx")
    return folder / "photo.pcx"


def wide(folder: Path) -> Path:
    tifffile = pytest.importorskip("tifffile", reason="comes with scikit-image")
    tifffile.imwrite(folder / "wide.tif", PHOTO[..., 0].astype(np.uint32) * 0x01010101)
    return folder / "wide.tif"


PICTURES = [
    ("images/files.py: f'magick", cmyk, "rgb.png", PHOTO),
    ("images/files.py: f'save each", pages, "pages_001.png", PHOTO[::-1]),
    ("images/files.py: f'save it", unread, "photo.png", PHOTO),
    ("images/samples.py", wide, "rgb.png", PHOTO[..., :1].repeat(3, axis=2)),
]
covers(*(site for site, *_ in PICTURES))


def has_imagemagick() -> bool:
    """Whether a program of that name is ImageMagick's."""
    program = shutil.which("magick") or shutil.which("convert")
    return (
        program is not None
        and "ImageMagick" in subprocess.run([program, "-version"], capture_output=True, text=True).stdout
    )


@pytest.mark.skipif(not has_imagemagick(), reason="ImageMagick is not installed")
@pytest.mark.parametrize(("site", "write", "made", "wanted"), PICTURES, ids=lambda each: getattr(each, "__name__", ""))
def test_pictures_are_converted(
    site: str, write: Callable[[Path], Path], made: str, wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if not shutil.which("magick"):  # ImageMagick 6 calls it so
        (tmp_path / "magick").symlink_to(str(shutil.which("convert")))
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = write(tmp_path)
    fix = fix_of(site, lambda: read_image(path)).removeprefix("save each as a file of its own: ")
    subprocess.run(fix.removeprefix("save it as PNG: "), shell=True, check=True)
    difference = (read_image(made) - torch.from_numpy(wanted.copy()).permute(2, 0, 1) / 255).abs()
    assert difference.median() < 0.04


covers(
    "metrics/learned.py: f'metric = ",
    "metrics/nariqa.py: 'metric",
    "metrics/opinions.py: 'metric(image)  #",
    "metrics/niqe.py: FIT",
    "metrics/imagenet.py: f'{metric}",
    "metrics/dists.py",
)


def test_a_metric_is_made_before_weights_go_to_meta() -> None:
    register = nn.Module.register_buffer

    def register_empty(module: nn.Module, name: str, tensor: Any, persistent: bool = True) -> None:
        register(module, name, tensor.to("meta"), persistent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "register_buffer", register_empty)
        fix = fix_of("metrics/learned.py: f'metric = ", NARIQA)
    scope: dict[str, Any] = {"NARIQA": NARIQA}
    exec(fix, scope)
    assert scope["metric"](IMAGE).isfinite().all()


def test_references_where_no_bank_is_in_the_weights() -> None:
    metric = NARIQA()
    metric._has_bank = False
    fix = fix_of("metrics/nariqa.py: 'metric", lambda: metric(IMAGE))
    assert eval(fix, {"metric": metric, "image": IMAGE, "references": photos(96)}).shape == (1,)


def test_weights_without_calibrated_uncertainty() -> None:
    metric = NARIQA()
    metric.is_calibrated = False
    fix = fix_of("metrics/opinions.py: 'metric(image)  #", lambda: metric(IMAGE, return_uncertainty=True))
    assert eval(fix, {"metric": metric, "image": IMAGE}).shape == (1,)


def test_a_model_of_niqe_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        (tmp_path / "clean").mkdir(exist_ok=True)
        image = torch.rand(3, 384, 384, generator=torch.Generator().manual_seed(number))
        save_image(image, tmp_path / f"clean/{number}.png")
    save_image(photos(192)[0], tmp_path / "photo.png")
    command_mends("metrics/niqe.py: FIT", ["score", "photo.png", "--metric", "niqe"], PHOTOGRAPHS="clean")
    assert NIQE(weights="niqe.safetensors")(photos(192)).isfinite().all()


def test_a_backbone_of_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision.models", exc_type=ImportError)
    pytest.importorskip("lpips", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    save_file(models.alexnet(weights=None).state_dict(), tmp_path / "alexnet.safetensors")
    save_file(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet1_1.safetensors")
    fix = fix_of("metrics/imagenet.py: f'{metric}", lambda: LPIPS(backbone="alexnet.safetensors"))
    assert eval(fix, {"LPIPS": LPIPS})(IMAGE, IMAGE) == 0


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("broken", [False, True])
def test_weights_of_dists_are_fetched(broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision.models", exc_type=ImportError)
    pytest.importorskip("piq", exc_type=ImportError)
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.save(dict.fromkeys(("alpha", "beta"), torch.rand(1, 1475, 1, 1)), tmp_path / "published.pt")
    monkeypatch.setattr("drmetric.metrics.dists.WEIGHTS_URL", (tmp_path / "published.pt").as_uri())
    backbone = tmp_path / "vgg16.safetensors"
    features = models.vgg16(weights=None).features.state_dict()
    save_file({f"features.{key}": value for key, value in features.items()}, backbone)
    if broken:
        (tmp_path / "home").mkdir()
        torch.save({"alpha": torch.zeros(3)}, tmp_path / "home/dists_weights.pt")
    fix = fix_of("metrics/dists.py", lambda: DISTS(backbone=backbone))
    subprocess.run(fix, shell=True, check=True)
    assert DISTS(backbone=backbone)(IMAGE, IMAGE) == pytest.approx(0, abs=1e-5)


covers("metrics/pyiqa_metric.py: 'create(")


class Pairs(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(image) if image.mean() < 0 else 2, 1)


class Musiq(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean((1, 2, 3))


def test_another_metric_of_pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    from drmetric.metrics.pyiqa_metric import pyiqa_class

    pyiqa, configs = ModuleType("pyiqa"), ModuleType("pyiqa.default_model_configs")
    kinds = {"fid": "FID", "pairs": "Pairs", "musiq": "Musiq"}
    configs.DEFAULT_CONFIGS = {  # type: ignore[attr-defined]
        name: {"metric_opts": {"type": kind}, "metric_mode": "NR"} for name, kind in kinds.items()
    }
    pyiqa.__version__ = "0.0"
    pyiqa.create_metric = lambda name, device: {"pairs": Pairs, "musiq": Musiq}[name]()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", pyiqa)
    monkeypatch.setitem(sys.modules, "pyiqa.default_model_configs", configs)
    pyiqa_class.cache_clear()
    for name in ("fid", "pairs"):
        fix = fix_of("metrics/pyiqa_metric.py: 'create(", lambda name=name: create(f"pyiqa:{name}")(IMAGE))  # type: ignore[misc]
        assert eval(fix, {"create": create})(IMAGE).item() == pytest.approx(IMAGE.mean().item())
    pyiqa_class.cache_clear()


covers("metrics/registry.py: f'{plugin.name} = ")


def test_an_entry_point_names_a_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dim_package.py").write_text(
        "from drmetric.metrics.pixel import PSNR\n"
        "class Bright(PSNR):\n    name = 'bright'\n\ndef no_metric():\n    pass\n"
    )
    info = tmp_path / "dim_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dim-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[drmetric.metrics]\nbright = dim_package:no_metric\n")
    monkeypatch.syspath_prepend(tmp_path)
    fix = fix_of("metrics/registry.py: f'{plugin.name} = ", lambda: create("bright"))
    name, value = parse_toml(filled(fix, {"A_SUBCLASS_OF_METRIC": "Bright"}), "pyproject.toml").popitem()
    (info / "entry_points.txt").write_text(f"[drmetric.metrics]\n{name} = {value}\n")
    assert create("bright").name == "bright"


covers("data/rated.py: 'kind", "distill/datasets/rated.py: 'kind")


def test_a_set_that_has_what_is_wanted(tmp_path: Path) -> None:
    roots = {"biq2021": write_biq2021(tmp_path / "a", 4, 2), "conditions": write_conditions(tmp_path / "b")}
    roots["corpus"] = tmp_path
    save_image(IMAGE[0], tmp_path / "x.png")
    files = dict.fromkeys(("pristine", "degraded", "restored"), "x.png")
    write_records(tmp_path / "manifest.jsonl", [{"content": "x", "split": "train", "label": 0.5, **files}])
    fix = fix_of("data/rated.py: 'kind", lambda: read_triplets("biq2021", roots["biq2021"], "train"))
    kind = parse_toml(fix, "")["kind"]
    assert read_triplets(kind, roots[kind], "train")

    def pristine(kind: str) -> Any:
        batch = RatedCrops(read_opinions(kind, roots[kind], "train"), 40, pristine=True)[0]  # type: ignore[arg-type]
        return batch.needed_pristine()

    kind = parse_toml(fix_of("distill/datasets/rated.py: 'kind", lambda: pristine("biq2021")), "")["kind"]
    assert pristine(kind).shape == (3, 40, 40)


covers("distill/datasets/rated.py: fix if most", "distill/datasets/rated.py: f'batch")


def test_a_group_that_a_content_has(tmp_path: Path) -> None:
    crops = RatedCrops(read_opinions("conditions", write_conditions(tmp_path / "set"), "train"), 40)
    mended = parse_toml(fix_of("distill/datasets/rated.py: fix if most", lambda: Groups(crops, 4, 4)), "")
    size = mended["group"]
    assert Groups(crops, size, mended["batch"])[0].image.shape == (size, 3, 40, 40)


def test_a_batch_of_groups_that_there_are(tmp_path: Path) -> None:
    crops = RatedCrops(read_opinions("conditions", write_conditions(tmp_path / "set"), "train"), 40)
    fix = fix_of("distill/datasets/rated.py: f'batch", lambda: Groups(crops, 2, 2000))
    batch = parse_toml(fix, "")["batch"]
    assert len(Groups(crops, 2, batch)) * 2 == batch


covers("bench/engines/ray.py: '--device cpu'", "bench/engines/ray.py: '--device cuda'")


def test_devices_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = pytest.importorskip("drmetric.bench.engines.ray")
    for resources, wrong in (({"CPU": 2}, "cuda"), ({"CPU": 2, "GPU": 1}, "cuda:1")):
        monkeypatch.setattr(engine.ray, "cluster_resources", lambda resources=resources: resources)
        monkeypatch.setattr(engine.ray, "nodes", lambda resources=resources: [{"Alive": True, "Resources": resources}])
        site = f"bench/engines/ray.py: '--device {'cpu' if wrong == 'cuda' else 'cuda'}'"
        fix = fix_of(site, lambda wrong=wrong: engine._room(wrong, None))  # type: ignore[misc]
        _, device = rerun([], fix)
        assert engine._room(device, None).device == device


covers("adapters/lightning.py")


def test_a_lightning_trainer(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    from drmetric.adapters.lightning import QualityCallback
    from tests.adapters import test_lightning as runs

    class Silent(runs.Restorer):
        def validation_step(self, batch: Any, index: int) -> None:  # type: ignore[override]
            return None

    def trained(precision: str, silent: bool = False) -> Any:
        model = Silent() if silent else runs.Restorer()
        run = runs.trainer(tmp_path, QualityCallback([DRIQA("driqa-patches-3")]), precision=precision)
        run.validate(model, runs.loader(), verbose=False)
        return run

    fix = fix_of("adapters/lightning.py: 'Trainer", lambda: trained("16-true"))
    options: dict[str, Any] = {}
    eval(fix, {"Trainer": lambda **given: options.update(given)})
    assert options["precision"] in ("16-mixed", "bf16-mixed")
    assert trained("bf16-mixed").callback_metrics["quality/driqa"] > 0
    assert lightning
    fix = fix_of("adapters/lightning.py: _CALLS", lambda: trained("32-true", silent=True))
    scope: dict[str, Any] = {}
    exec(f"def validation_step(restored, degraded):\n    {fix}", scope)
    from drmetric.adapters.lightning import _by_name

    assert _by_name(scope["validation_step"](IMAGE, IMAGE), None).keys() == {"restored", "degraded"}


covers("adapters/__init__.py: calls")


def test_the_image_that_a_metric_needs_is_handed_over_as_the_framework_does() -> None:
    pytest.importorskip("torchmetrics")
    from drmetric.adapters.torchmetrics import QualityMetric

    names = {"preds": IMAGE, "degraded": IMAGE, "target": IMAGE}
    for metric in ("driqa", "psnr"):
        quality = QualityMetric(metric)
        fix = fix_of("adapters/__init__.py: calls", lambda quality=quality: quality.update(IMAGE))  # type: ignore[misc]
        eval(fix, {"quality": quality, **names})
        assert quality.compute() > 0.5


covers("adapters/__init__.py: f'QualityCallback")


def test_metrics_of_one_name_get_labels() -> None:
    pytest.importorskip("lightning")
    from drmetric.adapters.lightning import QualityCallback

    fix = fix_of(
        "adapters/__init__.py: f'QualityCallback",
        lambda: QualityCallback([create("psnr"), create("psnr", channel="y")]),
    )
    made = eval(fix.replace("...", 'create("psnr")'), {"QualityCallback": QualityCallback, "create": create})
    assert set(made.metrics) == {"psnr", "psnr_2"}
