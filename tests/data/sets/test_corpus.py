"""A labelled corpus as a set of rated images."""

from pathlib import Path
from typing import Any

import pytest

from drmetric.data.make.building import write_records
from drmetric.data.rated import read_opinions
from drmetric.errors import ConfigError


def write_corpus(root: Path, *records: dict[str, Any]) -> Path:
    """A corpus of these records, with empty image files: the reader only lists them."""
    write_records(root / "manifest.jsonl", records)
    for record in records:
        for kind in ("restored", "degraded", "pristine"):
            (root / record[kind]).parent.mkdir(parents=True, exist_ok=True)
            (root / record[kind]).touch()
    return root


def record_of(content: str, split: str, **more: Any) -> dict[str, Any]:
    """A record of a content's one restoration."""
    images = {kind: f"images/{content}/{kind}.png" for kind in ("restored", "degraded", "pristine")}
    return {"id": content, "content": content, "split": split, **images, **more}


def test_images_have_label_content_pristine_and_degraded(tmp_path: Path) -> None:
    degradation = {"family": "blur", "steps": [], "seed": 1}
    root = write_corpus(
        tmp_path, record_of("a", "test", label=0.25, degradation=degradation), record_of("b", "train", label=0.5)
    )
    (image,) = read_opinions("corpus", root, "test")
    assert (image.image, image.score, image.content) == (root / "images/a/restored.png", 0.25, "a")
    assert (image.reference, image.degraded) == (root / "images/a/pristine.png", root / "images/a/degraded.png")
    assert image.subset == "blur"
    assert [each.content for each in read_opinions("corpus", root)] == ["a", "b"]


def test_unlabelled_corpus_says_how_to_label_it(tmp_path: Path) -> None:
    root = write_corpus(tmp_path, record_of("a", "train", label=0.5), record_of("b", "test"))
    with pytest.raises(ConfigError, match=rf"(?s)no labels.*drmetric corpus .*{root}"):
        read_opinions("corpus", root)


def test_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no manifest"):
        read_opinions("corpus", tmp_path)
