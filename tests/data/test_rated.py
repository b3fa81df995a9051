"""The registry of rated sets: one file adds a set; what `read_opinions` and `read_triplets` refuse."""

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
