"""What every rated set keeps: documentation, files that exist, splits by content, and errors that name the file.

Each set has a ``test_<set>.py`` beside this file with ``write``, which makes a miniature in a folder, and ``LABELS``, a
pattern of its label files.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drmetric.data.rated import rated_sets, read_opinions
from drmetric.data.splits import SPLITS
from drmetric.errors import ConfigError
from tests.data.sets.layouts import share

SHARING = ("biq2021",)
"""Sets whose official split divides contents between test and training."""


@pytest.fixture(params=rated_sets())
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def miniature(kind: str) -> ModuleType:
    return import_module(f"tests.data.sets.test_{kind}")


@pytest.fixture
def root(kind: str, miniature: ModuleType, tmp_path: Path) -> Path:
    miniature.write(tmp_path / kind)
    return tmp_path / kind


def description(kind: str) -> str:
    return import_module(f"drmetric.data.sets.{kind}").__doc__ or ""


def test_docstring_tells_layout_score_split_and_terms(kind: str) -> None:
    lines = description(kind).splitlines()
    for heading in ("Layout:", "Score", "Split:", "Terms:"):
        assert any(line.startswith(heading) for line in lines), heading


def test_images_are_sorted_and_exist_with_scores_of_0_to_1(kind: str, root: Path) -> None:
    images = read_opinions(kind, root)
    files = [each.image for each in images]
    assert files == sorted(set(files))
    assert all(file.is_file() for each in images for file in each.files)
    assert all(0 <= each.score <= 1 and each.content for each in images)
    assert len({each.score for each in images}) > 1


def test_splits_make_up_the_set_and_share_no_content(kind: str, root: Path) -> None:
    whole = read_opinions(kind, root)
    used = {split for _, split in rated_sets()[kind].read(root)}
    parts = {split: read_opinions(kind, root, split) if split in used else [] for split in SPLITS}
    assert sorted((each for part in parts.values() for each in part), key=lambda each: each.image) == whole
    contents = {split: {each.content for each in part} for split, part in parts.items()}
    assert not contents["train"] & contents["validation"]
    if kind not in SHARING:
        assert not contents["test"] & (contents["train"] | contents["validation"])


def test_sets_without_official_split_are_drawn_by_content(kind: str, root: Path) -> None:
    if "drawn 70/10/20 by a hash" not in description(kind):
        return
    for split, low, high in (("train", 0, 0.7), ("validation", 0.7, 0.8), ("test", 0.8, 1)):
        images = read_opinions(kind, root, split)  # type: ignore[arg-type]
        assert all(low <= share(kind, each.content) < high for each in images)


def test_missing_images_are_counted_and_named(kind: str, root: Path) -> None:
    images = read_opinions(kind, root)
    wanted = {file for each in images for file in each.files}
    images[0].image.unlink()
    with pytest.raises(ConfigError, match=f"1 of the {len(wanted)} {kind} images are missing") as caught:
        read_opinions(kind, root)
    assert images[0].image.stem.lower() in str(caught.value).lower()


def test_missing_label_files_are_named_with_a_fix(kind: str, miniature: ModuleType, root: Path) -> None:
    for file in root.glob(miniature.LABELS):
        file.unlink()
    with pytest.raises(ConfigError, match=r"(?s)no .*fix: (unpack|drmetric)") as caught:
        read_opinions(kind, root)
    assert Path(miniature.LABELS).name in str(caught.value)


def test_broken_label_files_are_named(kind: str, miniature: ModuleType, root: Path) -> None:
    for file in root.glob(miniature.LABELS):
        file.write_text("nothing of the kind\n")
    with pytest.raises(ConfigError) as caught:
        read_opinions(kind, root)
    assert any(file.name in str(caught.value) for file in [*root.glob(miniature.LABELS), Path(miniature.LABELS)])
