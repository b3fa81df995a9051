"""Labels: the fusion by hand, monotone in quality, the same for all splits, and resumable."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import piq
import pytest
import torch
from skimage import data

from drmetric.data.make import labels
from drmetric.data.make.building import read_manifest, write_records
from drmetric.data.make.labels import Fusion, Term, bundled_fusion, distance, label, measure
from drmetric.distortions.kadid.types import distort, stretched
from drmetric.errors import ConfigError
from drmetric.images import read_image, save_image
from tests.contract import photos

FEATURES = ("haarpsi", "mdsi")
FUSION = Fusion({"haarpsi": Term(0.5, 1.0), "mdsi": Term(2.0, 0.5)}, elo_per_point=200)
SHARES = (0.0, 0.3, 0.6, 0.9, 1.0)
CONTENTS = {"a": "train", "b": "train", "c": "validation", "d": "test"}


def make_corpus(folder: Path, contents: dict[str, str] = CONTENTS) -> Path:
    """Contents of a noisy 64 px photograph, restored by mixing in SHARES of the pristine one."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    records = []
    for index, (name, split) in enumerate(contents.items()):
        images = folder / "images" / name
        images.mkdir(parents=True)
        pristine = photo[:, 60 + 48 * index : 124 + 48 * index, 160:224]
        noise = torch.randn(pristine.shape, generator=torch.Generator().manual_seed(index))
        degraded = (pristine + 0.15 * noise).clamp(0, 1)
        save_image(pristine, images / "pristine.png")
        for r, share in enumerate(SHARES):
            save_image(degraded + share * (pristine - degraded), images / f"d0_r{r}.png")
            records.append(
                {
                    "id": f"{name}/d0_r{r}",
                    "content": name,
                    "split": split,
                    "pristine": f"images/{name}/pristine.png",
                    "restored": f"images/{name}/d0_r{r}.png",
                }
            )
    write_records(folder / "manifest.jsonl", records)
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled corpus; nobody may change it."""
    corpus = make_corpus(tmp_path_factory.mktemp("labelled") / "corpus")
    assert label(corpus, FUSION) == corpus / "manifest.jsonl"
    return corpus


def records_of(corpus: Path) -> list[dict[str, Any]]:
    return read_manifest(corpus / "manifest.jsonl")


def test_opinion_and_label_by_hand() -> None:
    row = {"id": "x", "haarpsi": 0.36, "mdsi": 0.25}
    exponent = 0.5 * 0.64 + 2.0 * 0.5
    assert FUSION.opinion(row) == pytest.approx(1 + 4 * math.exp(-exponent))
    assert FUSION.label(row) == pytest.approx(1 - 0.2 * (5 - FUSION.opinion(row)))


def test_pristine_images_have_the_best_label_and_ruined_ones_no_less_than_none() -> None:
    assert FUSION.opinion({"haarpsi": 1.000004, "mdsi": -1e-9}) == 5
    assert FUSION.label({"haarpsi": 1.0, "mdsi": 0.0}) == 1
    steep = Fusion({"mdsi": Term(50.0, 1.0)}, elo_per_point=400)
    assert steep.label({"mdsi": 1.0}) == 0


def test_labels_of_a_batch_are_those_of_its_measured_features() -> None:
    pristine = torch.from_numpy(data.astronaut()[:64, 140:204].copy()).permute(2, 0, 1)[None] / 255
    images = torch.cat([pristine, (pristine + 0.1).clamp(0, 1), pristine.flip(-1)])
    labels = FUSION.label_of(images, pristine)
    rows = [{name: measure(name, image[None], pristine).item() for name in FEATURES} for image in images]
    assert labels.tolist() == pytest.approx([FUSION.label(row) for row in rows], abs=5e-5)
    assert labels[0] == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(FUSION.label_of(images, pristine.expand_as(images)), labels)


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        ("psnr", 100.0, 0.0),
        ("psnr", 30.0, 0.7),
        ("ssim", 1.0, 0.0),
        ("ssim", -1.0, 1.0),
        ("haarpsi", 0.25, 0.75),
        ("vif", 0.25, 0.75),
        ("vif", 1.5, 0.0),
        ("mdsi", 0.3, 0.3),
        ("gmsd", -1e-6, 0.0),
        ("softening", 0.4, 0.4),
    ],
)
def test_distances_start_at_the_best_end_of_the_metrics_range(feature: str, value: float, expected: float) -> None:
    assert distance(feature, torch.tensor([value])).tolist() == pytest.approx([expected])


@pytest.mark.skipif(
    "DRMETRIC_LPIPS_BACKBONE" not in os.environ, reason="no SqueezeNet 1.1: set DRMETRIC_LPIPS_BACKBONE"
)
@pytest.mark.parametrize("fault", ["white_noise", "pixelate", "color_saturation_lab", "high_sharpen", "gaussian_blur"])
def test_bundled_fusion_orders_more_of_a_fault_below_less_of_it(fault: str) -> None:
    pristine = stretched(photos(96)[:1])
    images = torch.cat([pristine, *(distort(pristine, fault, level, seed=0) for level in (2, 3, 5))])
    labels = bundled_fusion().label_of(images, pristine).tolist()
    assert labels == sorted(labels, reverse=True)
    assert labels[0] == pytest.approx(1, abs=0.01)
    assert labels[0] > labels[1] > labels[3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "is no fusion"),
        ("no json", "is no fusion"),
        ('{"terms": {"lpips": {"weight": 1}}, "elo_per_point": 250}', "is no fusion"),
        ('{"terms": {"driqa": {"weight": 1, "power": 1}}, "elo_per_point": 250}', "not a full-reference metric"),
    ],
)
def test_files_that_are_no_fusion_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "fusion.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Fusion.read(tmp_path / "fusion.json")


def test_labels_rise_with_the_share_of_the_pristine_image(labelled: Path) -> None:
    for content in CONTENTS:
        labels = [r["label"] for r in records_of(labelled) if r["content"] == content]
        assert len(labels) == len(SHARES)
        assert labels == sorted(labels)
        assert len(set(labels)) == len(labels)
        assert 0 < labels[0] < labels[-1] <= 1


def test_features_are_piqs_figures_against_the_pristine_image(labelled: Path) -> None:
    for record in records_of(labelled):
        restored, pristine = (read_image(labelled / record[kind])[None] for kind in ("restored", "pristine"))
        assert set(record["features"]) == set(FEATURES)
        assert record["features"]["haarpsi"] == pytest.approx(piq.haarpsi(restored, pristine).item(), abs=1e-5)
        assert record["features"]["mdsi"] == pytest.approx(piq.mdsi(restored, pristine).item(), abs=1e-5)


def test_labels_follow_from_the_features_of_the_manifest(labelled: Path) -> None:
    for record in records_of(labelled):
        assert record["label"] == pytest.approx(FUSION.label(record["features"]), abs=1e-5)


def test_splits_do_not_shape_the_labels(labelled: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", {"a": "test", "b": "train"})
    label(corpus, FUSION)
    alone = {r["id"]: r["label"] for r in records_of(corpus)}
    assert alone == {r["id"]: r["label"] for r in records_of(labelled) if r["content"] in "ab"}


def test_damaged_features_are_measured_again_when_they_are_deleted(labelled: Path, tmp_path: Path) -> None:
    corpus = shutil.copytree(labelled, tmp_path / "corpus")
    damaged = corpus / "features/a.jsonl"
    damaged.write_text("{")
    with pytest.raises(ConfigError) as caught:
        label(corpus, FUSION)
    assert caught.value.fix == f"rm {damaged}  # and run the same command again"
    damaged.unlink()
    assert label(corpus, FUSION).read_bytes() == (labelled / "manifest.jsonl").read_bytes()


def test_labelling_keeps_the_records_and_pins_the_metrics(labelled: Path) -> None:
    for record in records_of(labelled):
        assert record["restored"] == f"images/{record['id']}.png"
        assert record["split"] == CONTENTS[record["content"]]
    pinned = json.loads((labelled / "label.json").read_text())
    assert set(pinned["features"]) == set(FEATURES)
    assert all("piq:" in signature for signature in pinned["features"].values())


def test_two_workers_give_the_same_labels(labelled: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    assert label(corpus, FUSION, workers=2).read_bytes() == (labelled / "manifest.jsonl").read_bytes()


def test_labelling_goes_on_where_measurements_are_missing(labelled: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    manifest = label(corpus, FUSION)
    (corpus / "features" / "b.jsonl").unlink()
    kept = {name: (corpus / f"features/{name}.jsonl").stat().st_mtime_ns for name in "acd"}
    assert label(corpus, FUSION) == manifest
    assert manifest.read_bytes() == (labelled / "manifest.jsonl").read_bytes()
    assert (corpus / "features" / "b.jsonl").is_file()
    assert {name: (corpus / f"features/{name}.jsonl").stat().st_mtime_ns for name in "acd"} == kept


def test_missing_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no manifest"):
        label(tmp_path, FUSION)


def test_another_feature_is_measured_in_a_labelled_corpus(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", {"a": "train"})
    label(corpus, Fusion({"mdsi": Term(1.0, 1.0)}, 200))
    label(corpus, FUSION)
    assert all(set(r["features"]) == set(FEATURES) for r in records_of(corpus))


def test_what_another_version_measured_is_measured_again(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    signature = labels.signature_of
    monkeypatch.setattr(labels, "signature_of", lambda name: signature(name).replace("drmetric:", "drmetric:older-"))
    label(corpus, FUSION)
    for file in (corpus / "features").iterdir():
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps({**row, "mdsi": 0.5}) + "\n" for row in rows))
    monkeypatch.setattr(labels, "signature_of", signature)
    assert label(corpus, FUSION).read_bytes() == (labelled / "manifest.jsonl").read_bytes()
