"""Labels: the fusion by hand, monotone in quality, shaped by training alone, and resumable."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

import piq
import pytest
import torch
from skimage import data

from drmetric.data.corpus import read_manifest, write_records
from drmetric.data.labels import fuse, label
from drmetric.errors import ConfigError, InputError
from drmetric.images import read_image, save_image

FEATURES = ("haarpsi", "mdsi")
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
    assert label(corpus, FEATURES) == corpus / "manifest.jsonl"
    return corpus


def records_of(corpus: Path) -> list[dict[str, Any]]:
    return read_manifest(corpus / "manifest.jsonl")


def test_fusion_by_hand() -> None:
    training = [{"good": 0.0, "bad": 1.0}, {"good": 2.0, "bad": 5.0}]  # means 1 and 3, deviations 1 and 2
    rows = [{"good": 2.0, "bad": 1.0}, {"good": 1.0, "bad": 3.0}, {"good": 0.0, "bad": 1.0}, {"good": 4.0, "bad": 9.0}]
    standard = [(1 + 1) / 2, 0.0, (-1 + 1) / 2, (3 - 3) / 2]
    expected = [1 / (1 + math.exp(-z)) for z in standard]
    assert fuse(rows, training, {"good": True, "bad": False}) == pytest.approx(expected)
    assert expected[0] == pytest.approx(0.7310586)


def test_fusion_ignores_other_keys_and_keeps_the_order() -> None:
    training = [{"id": 7, "good": 0.0}, {"id": 8, "good": 2.0}]
    labels = fuse([{"id": 1, "good": 3.0}, {"id": 2, "good": -1.0}], training, {"good": True})
    assert labels == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))])


def test_labels_rise_with_the_share_of_the_pristine_image(labelled: Path) -> None:
    for content in CONTENTS:
        labels = [r["label"] for r in records_of(labelled) if r["content"] == content]
        assert len(labels) == len(SHARES)
        assert labels == sorted(labels)
        assert len(set(labels)) == len(labels)
        assert 0 < labels[0] < labels[-1] < 1


def test_features_are_piqs_figures_against_the_pristine_image(labelled: Path) -> None:
    for record in records_of(labelled):
        restored, pristine = (read_image(labelled / record[kind])[None] for kind in ("restored", "pristine"))
        assert set(record["features"]) == set(FEATURES)
        assert record["features"]["haarpsi"] == pytest.approx(piq.haarpsi(restored, pristine).item(), abs=1e-5)
        assert record["features"]["mdsi"] == pytest.approx(piq.mdsi(restored, pristine).item(), abs=1e-5)


def test_labels_follow_from_the_training_rows_of_the_manifest(labelled: Path) -> None:
    records = records_of(labelled)
    training = [r["features"] for r in records if r["split"] == "train"]
    moments = {
        name: (statistics.fmean(f[name] for f in training), statistics.pstdev(f[name] for f in training))
        for name in FEATURES
    }
    for record in records:
        haarpsi, mdsi = ((record["features"][n] - moments[n][0]) / moments[n][1] for n in FEATURES)
        assert record["label"] == pytest.approx(1 / (1 + math.exp(-(haarpsi - mdsi) / 2)), abs=1e-5)


def test_other_splits_do_not_shape_the_labels(labelled: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", {"a": "train", "b": "train"})
    label(corpus, FEATURES)
    alone = {r["id"]: r["label"] for r in records_of(corpus)}
    assert alone == {r["id"]: r["label"] for r in records_of(labelled) if r["split"] == "train"}


def test_labelling_keeps_the_records_and_pins_the_metrics(labelled: Path) -> None:
    for record in records_of(labelled):
        assert record["restored"] == f"images/{record['id']}.png"
        assert record["split"] == CONTENTS[record["content"]]
    pinned = json.loads((labelled / "label.json").read_text())
    assert set(pinned["features"]) == set(FEATURES)
    assert all("piq:" in signature for signature in pinned["features"].values())


def test_two_workers_give_the_same_labels(labelled: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    assert label(corpus, FEATURES, workers=2).read_bytes() == (labelled / "manifest.jsonl").read_bytes()


def test_labelling_goes_on_where_measurements_are_missing(labelled: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    manifest = label(corpus, FEATURES)
    (corpus / "features" / "b.jsonl").unlink()
    kept = {name: (corpus / f"features/{name}.jsonl").stat().st_mtime_ns for name in "acd"}
    assert label(corpus, FEATURES) == manifest
    assert manifest.read_bytes() == (labelled / "manifest.jsonl").read_bytes()
    assert (corpus / "features" / "b.jsonl").is_file()
    assert {name: (corpus / f"features/{name}.jsonl").stat().st_mtime_ns for name in "acd"} == kept


@pytest.mark.parametrize("feature", ["driqa", "brisque"])
def test_only_full_reference_metrics_are_features(labelled: Path, feature: str) -> None:
    before = (labelled / "manifest.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=f"'{feature}' is not a full-reference metric"):
        label(labelled, ("haarpsi", feature))
    assert (labelled / "manifest.jsonl").read_bytes() == before


def test_unknown_feature_and_missing_corpus_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'sharpness'"):
        label(tmp_path, ("sharpness",))
    with pytest.raises(ConfigError, match="no manifest"):
        label(tmp_path, FEATURES)


def test_another_feature_is_measured_in_a_labelled_corpus(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", {"a": "train"})
    label(corpus, ("mdsi",))
    label(corpus, FEATURES)
    assert all(set(r["features"]) == set(FEATURES) for r in records_of(corpus))


def test_corpus_without_training_contents_is_refused(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", {"d": "test"})
    with pytest.raises(ConfigError, match="train"):
        label(corpus, ("mdsi",))


def test_feature_without_spread_carries_no_weight() -> None:
    training = [{"good": 0.0, "flat": 1.0}, {"good": 2.0, "flat": 1.0}]
    labels = fuse([{"good": 0.0, "flat": 1.0}, {"good": 2.0, "flat": 1.0}], training, {"good": True, "flat": True})
    assert labels[0] < 0.5 < labels[1]
