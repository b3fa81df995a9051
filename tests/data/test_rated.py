"""The registry of rated sets: one file adds a set; what `read_opinions` and `read_triplets` refuse."""

import json
from pathlib import Path

import pytest

from drmetric.data import sets
from drmetric.data.rated import rated_sets, read_opinions, read_triplets
from drmetric.errors import ConfigError
from tests.data.sets import test_koniq10k, test_uhd_iqa
from tests.data.sets.layouts import touch, write_csv

NEW_SET = """
from drmetric.data.rated import RatedImage, RatedSet

def read(root):
    for place, file in enumerate(sorted(root.glob("*.png"))):
        yield RatedImage(file, place / 2, file.stem), "test"

SET = RatedSet(read)
"""


def test_one_file_adds_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/mine.py").write_text(NEW_SET)
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path / "modules")])
    touch(tmp_path / "images", ["a.png", "b.png", "c.png"])
    assert "mine" in rated_sets()
    images = read_opinions("mine", tmp_path / "images", "test")
    assert [(each.content, each.score) for each in images] == [("a", 0), ("b", 0.5), ("c", 1)]
    assert read_opinions("mine", str(tmp_path / "images")) == images


def test_only_the_images_of_the_split_must_be_there(tmp_path: Path) -> None:
    test_koniq10k.write(tmp_path)
    (tmp_path / "1024x768/3.jpg").unlink()
    assert read_opinions("koniq10k", tmp_path, "train")
    with pytest.raises(ConfigError, match=r"1 of the 1 koniq10k images are missing below .*: 1024x768/3\.jpg\n"):
        read_opinions("koniq10k", tmp_path, "test")


@pytest.mark.parametrize("read", [read_opinions, read_triplets])
def test_unknown_sets_and_splits_are_refused(tmp_path: Path, read: type[read_opinions]) -> None:
    test_koniq10k.write(tmp_path)
    with pytest.raises(ConfigError, match=r"(?s)'koniq'.*one of: agiqa3k, .*koniq10k, "):
        read("koniq", tmp_path, "train")
    with pytest.raises(ConfigError, match=r"(?s)'val'.*one of: train, validation, test"):
        read("koniq10k", tmp_path, "val")


def test_triplets_need_pristine_images_and_inputs(tmp_path: Path) -> None:
    test_koniq10k.write(tmp_path)
    with pytest.raises(ConfigError, match=r"koniq10k at .* has no pristine image of 1\.jpg"):
        read_triplets("koniq10k", tmp_path, "train")


def test_splits_without_images_are_refused(tmp_path: Path) -> None:
    test_uhd_iqa.write(tmp_path)
    write_csv(
        tmp_path / test_uhd_iqa.LABELS,
        [("image_name", "quality_mos", "set", "subset"), ("1.jpg", 0.5, "training", "")],
    )
    with pytest.raises(ConfigError, match="no validation images"):
        read_opinions("uhd_iqa", tmp_path, "validation")


def test_scores_on_another_scale_are_refused(tmp_path: Path) -> None:
    write_csv(
        tmp_path / test_uhd_iqa.LABELS,
        [("image_name", "quality_mos", "set", "subset"), ("1.jpg", 76, "training", "")],
    )
    touch(tmp_path, ["training/1.jpg"])
    with pytest.raises(ConfigError, match=r"(?s)1\.jpg in uhd_iqa.*is 76; wanted 0\.\.1.*official"):
        read_opinions("uhd_iqa", tmp_path)


def test_an_image_that_is_rated_twice_is_refused(tmp_path: Path) -> None:
    rows = [("1.jpg", 0.5, "training", ""), ("2.jpg", 0.7, "training", ""), ("1.jpg", 0.6, "test", "")]
    write_csv(tmp_path / test_uhd_iqa.LABELS, [("image_name", "quality_mos", "set", "subset"), *rows])
    touch(tmp_path, ["training/1.jpg", "training/2.jpg", "test/1.jpg"])
    assert len(read_opinions("uhd_iqa", tmp_path)) == 3
    write_csv(tmp_path / test_uhd_iqa.LABELS, [("image_name", "quality_mos", "set", "subset"), *rows, rows[1]])
    with pytest.raises(ConfigError, match=r"1 images of uhd_iqa .* are rated more than once, such as 2\.jpg"):
        read_opinions("uhd_iqa", tmp_path)


RECORD = {
    "content": "a",
    "split": "test",
    "label": 0.5,
    "image": "a.png",
    "reference": "a.png",
    "condition": "blur-1",
}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (json.dumps([RECORD]), "no manifest: a line is no object"),
        ("null", "no manifest: a line is no object"),
        ("{}", "has no labels"),
        (json.dumps({"label": 0.5}), "cannot be read: KeyError: 'image'"),
        (json.dumps(RECORD | {"label": "0.5"}), r"is '0\.5'; wanted 0\.\.1"),
        (json.dumps(RECORD | {"label": True}), r"is True; wanted 0\.\.1"),
        (json.dumps(RECORD | {"condition": 3}), "cannot be read: AttributeError"),
        (json.dumps(RECORD | {"image": 3}), "cannot be read: TypeError"),
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path: Path, manifest: str, said: str) -> None:
    (tmp_path / "manifest.jsonl").write_text(manifest)
    touch(tmp_path, ["a.png"])
    with pytest.raises(ConfigError, match=said) as caught:
        read_opinions("conditions", tmp_path)
    assert caught.value.fix


def test_labels_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / test_uhd_iqa.LABELS, [("image_name", "quality_mos", "set", "subset"), ("1.jpg", 0.5, "", "")])
    path = tmp_path / test_uhd_iqa.LABELS
    path.write_bytes(path.read_bytes() + b"\xff.jpg")
    with pytest.raises(ConfigError, match=r"the label files of uhd_iqa at .* cannot be read: UnicodeDecodeError"):
        read_opinions("uhd_iqa", tmp_path)
