"""The benchmark's pretrained restorers: the catalogue without weights, and what the networks do with them."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from benchmarks.restorers import RESTORERS, LoadedRestorer, corpus, load, names, small
from benchmarks.restorers.corpus import networks
from benchmarks.restorers.measure import degrade, low_resolution, main
from benchmarks.restorers.small import SmallRestorer, load_small
from drmetric.distortions.degrade import from_pillow
from drmetric.errors import InputError, MissingDependencyError, WeightsError
from drmetric.images import resize
from drmetric.metrics.pixel import PSNR
from drmetric.metrics.registry import create

ROOT = Path(__file__).resolve().parents[2]

# Numbers in the published files, statistics of batch norms included but not their counters.
NUMBERS = {
    "imdn_x4": 893_936,
    "rfdn_x4": 433_448,
    "efdn_x4": 276_192,
    "rlfn_x4": 317_218,
    "bsrn_x4": 156_288,
    "fmen_x4": 341_066,
    "mobilesr_x4": 175_883,
    "scet_x4": 683_354,
    "lwfanet_x4": 831_831,
    "nasnetbn_x4": 321_571,
    "pcarn_m_l1_x234": 551_131,
    "pcarn_m_x234": 551_131,
    "fast_srgan_x4": 925_646,
    "srgan_lt_x4": 735_372,
    "srgan_lt_x2": 587_659,
    "realesr_general_x4v3": 1_213_296,
    "realesr_general_wdn_x4v3": 1_213_296,
    "lsdir_compact_c3_x4": 621_424,
    "realesr_animevideov3_x4": 621_424,
    "dncnn3_sr": 665_921,
    "dncnn_gray_s25": 555_137,
    "cdncnn_color_s15": 668_227,
    "cdncnn_color_s25": 668_227,
    "cdncnn_color_s50": 668_227,
    "dncnn3_denoise": 665_921,
    "dncnn3_jpeg": 665_921,
    "aodnet": 1_761,
    "prenet_rain100l": 168_963,
}


def weights_folder() -> Path | None:
    for folder in (os.environ.get("DRMETRIC_RESTORERS"), ROOT.parent / "shared/data/restorers"):
        if folder and (Path(folder) / "aodnet.safetensors").is_file():
            return Path(folder)
    return None


FOLDER = weights_folder()
with_weights = pytest.mark.skipif(FOLDER is None, reason="DRMETRIC_RESTORERS does not name the restorers' weights")


def untrained(name: str) -> LoadedRestorer:
    torch.manual_seed(0)
    try:
        return LoadedRestorer(RESTORERS[name], RESTORERS[name].build())
    except MissingDependencyError as error:
        pytest.skip(str(error))


def trained(name: str) -> LoadedRestorer:
    try:
        return load(name, FOLDER)
    except MissingDependencyError as error:
        pytest.skip(str(error))


def photograph(side: int = 96) -> Image.Image:
    return Image.fromarray(data.astronaut()[60 : 60 + side, 170 : 170 + side])


def quality(restored: Tensor, pristine: Tensor, scale: int = 1) -> float:
    return float(PSNR(channel="y", shave=scale)(restored, pristine))


def perceptual_distance(restored: Tensor, pristine: Tensor) -> float:
    try:
        return float(create("lpips")(restored, pristine))
    except (WeightsError, MissingDependencyError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", RESTORERS)
def test_networks_have_the_published_size(name: str) -> None:
    state = untrained(name).network.state_dict()
    assert sum(value.numel() for key, value in state.items() if "num_batches_tracked" not in key) == NUMBERS[name]


@pytest.mark.parametrize(("name", "scale"), [(r.name, scale) for r in RESTORERS.values() for scale in r.scales])
@pytest.mark.parametrize("size", [(17, 23), (5, 20)])
def test_odd_and_tiny_images_are_restored_whole(name: str, scale: int, size: tuple[int, int]) -> None:
    restored = untrained(name)(torch.rand(2, 3, *size), scale)
    assert restored.shape == (2, 3, size[0] * scale, size[1] * scale)
    assert restored.dtype == torch.float32
    assert not restored.requires_grad
    assert restored.min() >= 0
    assert restored.max() <= 1


@pytest.mark.parametrize("name", RESTORERS)
def test_catalogue_entries_are_consistent(name: str) -> None:
    entry = RESTORERS[name]
    assert entry.name == name
    assert entry.file.endswith(".safetensors")
    assert len(entry.sha256) == 16
    assert entry.paper
    assert entry.licence
    assert "@" in entry.origin
    assert (entry.scales == (1,)) == (entry.task != "super_resolution")
    if entry.twin:
        twin = RESTORERS[entry.twin]
        assert twin.twin == name
        assert twin.build == entry.build
        assert {twin.training, entry.training} == {"psnr", "gan"}


def test_names_are_chosen_by_task_and_scale() -> None:
    assert names() == list(RESTORERS)
    assert names("dehazing") == ["aodnet"]
    assert names("super_resolution", scale=2) == ["pcarn_m_l1_x234", "pcarn_m_x234", "srgan_lt_x2", "dncnn3_sr"]
    assert names(scale=3) == ["pcarn_m_l1_x234", "pcarn_m_x234", "dncnn3_sr"]
    assert names("jpeg", scale=4) == []
    assert len({entry.file for entry in RESTORERS.values()}) == 26


def test_one_channel_networks_treat_colours_as_stated() -> None:
    # inside [0.3, 0.7], so that the clamp does not act
    image = 0.3 + 0.4 * torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    separately = untrained("dncnn3_denoise")
    assert torch.allclose(separately(image).flip(1), separately(image.flip(1)), atol=1e-6)
    change = untrained("dncnn3_jpeg")(image) - image
    assert change.abs().max() > 1e-4
    assert torch.allclose(change[:, :1].expand_as(change), change, atol=1e-6)


def test_errors_name_what_mends_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown restorer 'imdn'"):
        load("imdn")
    monkeypatch.delenv("DRMETRIC_RESTORERS", raising=False)
    with pytest.raises(WeightsError, match="export DRMETRIC_RESTORERS="):
        load("imdn_x4")
    monkeypatch.setenv("DRMETRIC_RESTORERS", str(tmp_path))
    with pytest.raises(WeightsError, match="it is not in"):
        load("imdn_x4")
    (tmp_path / "imdn_x4.safetensors").write_bytes(b"another file")
    with pytest.raises(WeightsError, match="SHA-256"):
        load("imdn_x4")
    with pytest.raises(InputError, match=r"not restore at scale 1; it does at 2, 3, 4"):
        untrained("pcarn_m_x234")(torch.rand(1, 3, 20, 20))


def test_networks_of_spandrel_say_so_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel.architectures.DnCNN", None)
    with pytest.raises(MissingDependencyError, match=r"drmetric\[bench\]"):
        RESTORERS["dncnn3_jpeg"].build()


@with_weights
@pytest.mark.parametrize("name", RESTORERS)
def test_published_weights_load_and_images_do_not_depend_on_their_batch(name: str) -> None:
    restorer = trained(name)
    scale = restorer.restorer.scales[0]
    high, _ = low_resolution(photograph(), 1, 0)
    low = resize(high, (24, 26))
    batch = restorer(torch.cat((low, low.flip(-1))), scale)
    assert torch.allclose(batch[:1], restorer(low, scale), atol=1e-4)
    assert abs(float(batch[0].mean() - low.mean())) < 0.2, "of another brightness: a wrong range of values"


@with_weights
@pytest.mark.parametrize(
    ("name", "scale"),
    [(r.name, scale) for r in RESTORERS.values() if r.task == "super_resolution" for scale in r.scales],
)
def test_super_resolvers_beat_bicubic(name: str, scale: int) -> None:
    """In fidelity if trained for it, else in perceptual distance."""
    pristine, low = low_resolution(photograph(128), scale, 0)
    restored, bicubic = trained(name)(low, scale), resize(low, pristine.shape[-2:])
    if RESTORERS[name].training == "psnr":
        assert quality(restored, pristine, scale) > quality(bicubic, pristine, scale) + 1
    else:
        assert perceptual_distance(restored, pristine) < perceptual_distance(bicubic, pristine) - 0.05


@with_weights
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_adversarial_twin_looks_better_and_measures_worse(scale: int) -> None:
    pristine, low = low_resolution(photograph(), scale, 0)
    gan = trained("pcarn_m_x234")(low, scale)
    l1 = trained(RESTORERS["pcarn_m_x234"].twin)(low, scale)
    assert quality(gan, pristine, scale) < quality(l1, pristine, scale) - 0.5
    assert perceptual_distance(gan, pristine) < perceptual_distance(l1, pristine) - 0.02


@with_weights
@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("dncnn_gray_s25", 7),
        ("cdncnn_color_s15", 7),
        ("cdncnn_color_s25", 8),
        ("cdncnn_color_s50", 9),
        ("dncnn3_denoise", 6),
        ("dncnn3_jpeg", 0.5),
        ("aodnet", 4),
        ("prenet_rain100l", 5),
    ],
)
def test_restorers_undo_what_they_are_for(name: str, gain: float) -> None:
    pristine = photograph()
    degraded = from_pillow(degrade(pristine, RESTORERS[name]))
    restored = trained(name)(degraded)
    before, after = (float(PSNR()(image, from_pillow(pristine))) for image in (degraded, restored))
    assert after > before + gain


@with_weights
def test_the_measuring_command_writes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph(48).save(tmp_path / "colour.png")
    photograph(48).convert("L").save(tmp_path / "grey.png")
    monkeypatch.setenv("DRMETRIC_RESTORERS", str(FOLDER))
    monkeypatch.setattr(sys, "argv", ["measure", str(tmp_path), "--only", "pcarn_m_x234", "aodnet"])
    main()
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == "restorer,scale,psnr_before,psnr,lpips,images"
    assert [row.split(",")[:2] for row in rows] == [["pcarn_m_x234", s] for s in "234"] + [["aodnet", "1"]]
    assert all(row.endswith(",1") for row in rows)


@pytest.mark.parametrize(("kind", "scale"), [("x4", 4), ("same", 1)])
def test_small_restorers_start_near_the_enlarged_input(kind: str, scale: int) -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 20, 26)
    restored = SmallRestorer(kind)(image)
    assert restored.shape == (2, 3, 20 * scale, 26 * scale)
    assert (restored - resize(image, (20 * scale, 26 * scale))).abs().mean() < 0.3


def test_small_restorers_learn_are_saved_along_the_way_and_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "SAVED_AT", (1, 40))
    monkeypatch.setattr(small, "create", lambda name: create("psnr"))
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(data.astronaut()[:128, 120:248]).save(photos / "a.png")
    small.train(photos, tmp_path, "x4", "l1")
    states = load_small(tmp_path)
    assert set(states) == {"x4_l1_1", "x4_l1_40"}
    photo = torch.from_numpy(data.astronaut()[:128, 120:248].copy()).permute(2, 0, 1)[None] / 255
    low = resize(photo, (32, 32))
    errors = [(states[name](low) - photo).abs().mean() for name in ("x4_l1_1", "x4_l1_40")]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("steps", "among", "absent"),
    [
        ([{"op": "downscale", "scale": 4}], {"imdn_x4", "pcarn_m_x234"}, {"srgan_lt_x2", "cdncnn_color_s25"}),
        ([{"op": "box_downscale", "scale": 2}], {"srgan_lt_x2", "pcarn_m_l1_x234"}, {"imdn_x4"}),
        ([{"op": "gaussian_noise"}, {"op": "jpeg"}], {"cdncnn_color_s25", "dncnn3_jpeg"}, {"imdn_x4", "aodnet"}),
        ([{"op": "haze"}], {"aodnet"}, {"prenet_rain100l", "cdncnn_color_s25"}),
        ([{"op": "rain"}], {"prenet_rain100l"}, {"aodnet"}),
    ],
)
def test_a_corpus_gets_the_networks_that_undo_its_degradation(
    steps: list[dict[str, Any]], among: set[str], absent: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DRMETRIC_SMALL_RESTORERS", raising=False)
    found = set(networks(steps))
    assert among <= found
    assert not absent & found


def test_a_folder_without_small_restorers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRMETRIC_SMALL_RESTORERS", str(tmp_path / "none"))
    corpus._small.cache_clear()
    with pytest.raises(WeightsError, match=r"benchmarks\.restorers\.small") as refused:
        networks([{"op": "downscale", "scale": 4}])
    assert str(tmp_path / "none") in str(refused.value)
    corpus._small.cache_clear()
