"""KADID-10k's conditions made again: every type as often, labels by hand, splits by content, resumable."""

import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from drmetric.cli.app import app
from drmetric.data.make.building import read_manifest
from drmetric.data.make.conditions import Condition, build, drawn, read_conditions
from drmetric.data.rated import read_opinions
from drmetric.distortions.kadid.types import KADID10K, distort
from drmetric.errors import ConfigError, DrmetricError
from drmetric.images import read_image

PHOTOS = {"astronaut": data.astronaut()[40:140, 150:270], "chelsea": data.chelsea()[80:180, 140:260]}


@pytest.fixture
def opinions(tmp_path: Path) -> Path:
    path = tmp_path / "opinions.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["type_id", "type", "level", "mean", "sd_over_contents"])
        writer.writerows(
            [n, KADID10K[n].name, level, 5.2 - 0.8 * level, 0.4] for n in KADID10K for level in range(1, 6)
        )
    return path


def write_config(folder: Path, opinions: Path, **settings: Any) -> Path:
    photos = folder / "photos"
    photos.mkdir(exist_ok=True)
    for name, pixels in PHOTOS.items():
        Image.fromarray(pixels).save(photos / f"{name}.png")
    (folder / "blur.py").write_text("def blur(noisy):\n    return noisy\n")
    settings = {"crop": 64, "conditions_per_content": 25, "denoiser": "blur:blur", "opinions": str(opinions)} | settings
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    lines += ["[[sources]]", 'name = "photos"', f"folder = {json.dumps(str(photos))}", 'split = "test"']
    path = folder / "conditions.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(autouse=True)
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)


def test_every_type_is_drawn_as_often_and_no_condition_twice() -> None:
    conditions = tuple(Condition(t, level, 3, 0.1) for t in KADID10K for level in range(1, 6))
    for count, per_type in ((25, {1}), (60, {2, 3}), (125, {5}), (500, {5})):
        chosen = drawn(conditions, count, random.Random(0))
        assert len(chosen) == len(set(chosen)) == min(count, 125)
        assert set(Counter(each.type for each in chosen).values()) == per_type


def test_images_are_the_distorted_reference_with_the_label_of_their_condition(tmp_path: Path, opinions: Path) -> None:
    manifest = build(write_config(tmp_path, opinions, feature=""), tmp_path / "out")
    records = read_manifest(manifest)
    assert len(records) == 50
    for record in records[::7]:
        assert record["label"] == pytest.approx((4.2 - 0.8 * record["level"]) / 4)
        reference = read_image(tmp_path / "out" / record["reference"])[None]
        assert (reference.min(), reference.max()) == (0, 1)
        wanted = distort(
            reference, record["type"], record["level"], record["seed"], stretch=True, denoiser=lambda noisy: noisy
        )
        made = read_image(tmp_path / "out" / record["image"])[None]
        torch.testing.assert_close(made, wanted, atol=0.51 / 255, rtol=0)


def test_labels_move_within_a_condition_by_the_feature(tmp_path: Path, opinions: Path) -> None:
    pytest.importorskip("piq")
    config = write_config(tmp_path, opinions, conditions_per_content=125, share_within=0.5)
    records = read_manifest(build(config, tmp_path / "out"))
    for condition in ("gaussian_blur-3", "white_noise-2"):
        better, worse = sorted((r for r in records if r["condition"] == condition), key=lambda r: r["feature"])
        mean = (4.2 - 0.8 * better["level"]) / 4
        assert better["label"] == pytest.approx(mean + 0.5 * 0.4 / 4, abs=1e-5)
        assert worse["label"] == pytest.approx(mean - 0.5 * 0.4 / 4, abs=1e-5)


def test_built_contents_are_not_made_again_and_the_folder_reads_as_rated_images(tmp_path: Path, opinions: Path) -> None:
    config = write_config(tmp_path, opinions, conditions_per_content=4, feature="")
    first = build(config, tmp_path / "out").read_text()
    image = next((tmp_path / "out" / "images").rglob("*-*.png"))
    image.write_bytes(b"kept")
    assert build(config, tmp_path / "out").read_text() == first
    assert image.read_bytes() == b"kept"
    rated = read_opinions("conditions", tmp_path / "out", "test")
    assert {each.content for each in rated} == {"photos-astronaut", "photos-chelsea"}
    assert all(each.reference and each.reference.is_file() and each.image.is_file() for each in rated)
    assert {each.subset for each in rated} <= {each.name for each in KADID10K.values()}
    with pytest.raises(ConfigError, match="other settings"):
        build(write_config(tmp_path, opinions, conditions_per_content=5, feature=""), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": "driqa"}, "'driqa'"),
        ({"denoiser": "blur:sharp"}, "denoiser = 'blur:sharp'"),
        ({"level": 3}, "'level'"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, opinions: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(write_config(tmp_path, opinions, **change), tmp_path / "out")


def test_tables_that_hold_no_opinions_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("type,mean\n1,2\n")
    for path in ("t.csv", "absent.csv"):
        with pytest.raises(ConfigError, match=path):
            read_conditions(str(tmp_path / path))


@pytest.mark.parametrize("row", ["26,1,3,0.4", "1,9,3,0.4", "1,1,nan,0.4", "1,1,3,-1", "1,1"])
def test_rows_that_are_no_condition_are_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.csv").write_text(f"type_id,level,mean,sd_over_contents\n{row}\n")
    with pytest.raises(ConfigError, match="no table of opinions"):
        read_conditions(str(tmp_path / "t.csv"))


def test_a_photograph_that_cannot_be_read_leaves_the_labels_of_the_others(tmp_path: Path, opinions: Path) -> None:
    config = write_config(tmp_path, opinions, conditions_per_content=4, feature="")
    build(config, tmp_path / "out")
    bad = next(tmp_path.rglob("astronaut.png")).with_name("bad.png")
    bad.write_bytes(b"broken")
    with pytest.raises(DrmetricError, match="1 of 3 contents failed") as caught:
        build(config, tmp_path / "out")
    assert "delete these files" in caught.value.fix
    assert len(read_opinions("conditions", tmp_path / "out", "test")) == 8
    bad.unlink()
    build(config, tmp_path / "out")


def test_command_prints_the_manifest(tmp_path: Path, opinions: Path) -> None:
    config = write_config(tmp_path, opinions, conditions_per_content=2, feature="")
    result = CliRunner().invoke(app, ["conditions", str(config), "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert result.output.strip().endswith("manifest.jsonl")
