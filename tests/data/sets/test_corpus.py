"""A labelled corpus as a set of rated images and as triplets."""

from pathlib import Path
from typing import Any

import pytest

from drmetric.data.make.building import write_records
from drmetric.data.rated import read_opinions, read_triplets
from drmetric.errors import ConfigError
from tests.data.sets.layouts import check, rated, touch

LABELS = "manifest.jsonl"
KINDS = ("restored", "degraded", "pristine")


def write_corpus(root: Path, *records: dict[str, Any]) -> Path:
    write_records(root / "manifest.jsonl", records)
    touch(root, [record[kind] for record in records for kind in KINDS])
    return root


def record_of(content: str, split: str, restoration: int = 0, **more: Any) -> dict[str, Any]:
    """A record of a restoration; two at a time are of one degraded input."""
    files = (f"d{restoration // 2}_r{restoration % 2}.png", f"d{restoration // 2}.png", "pristine.png")
    images = {kind: f"images/{content}/{file}" for kind, file in zip(KINDS, files, strict=True)}
    degradation = {"family": "blur", "steps": [], "seed": 1}
    return {"id": content, "content": content, "split": split, "degradation": degradation, **images, **more}


def write(root: Path) -> None:
    splits = {"a": "train", "b": "validation", "c": "test"}
    records = (record_of(name, split, n, label=0.25 * n) for name, split in splits.items() for n in range(4))
    write_corpus(root, *records)


def test_images_have_label_content_pristine_and_degraded(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "corpus",
        tmp_path,
        12,
        rated(
            "images/b/d1_r0.png",
            0.5,
            "b",
            reference="images/b/pristine.png",
            degraded="images/b/d1.png",
            subset="blur",
        ),
    )
    assert {each.content for each in read_opinions("corpus", tmp_path, "test")} == {"c"}


def test_triplets_are_those_of_the_split_grouped_by_degraded_input(tmp_path: Path) -> None:
    write(tmp_path)
    triplets = read_triplets("corpus", tmp_path, "train")
    assert [(t.content, t.score) for t in triplets] == [("a", 0), ("a", 0.25), ("a", 0.5), ("a", 0.75)]
    assert triplets[3].restored == tmp_path / "images/a/d1_r1.png"
    assert triplets[3].degraded == tmp_path / "images/a/d1.png"
    assert triplets[3].pristine == tmp_path / "images/a/pristine.png"
    groups = [t.group for t in triplets]
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_groups_of_two_corpora_stay_apart(tmp_path: Path) -> None:
    roots = [write_corpus(tmp_path / name, record_of("a", "train", label=0.5)) for name in ("one", "two")]
    one, two = (read_triplets("corpus", root, "train")[0].group for root in roots)
    assert one != two


def test_unlabelled_corpus_says_how_to_label_it(tmp_path: Path) -> None:
    root = write_corpus(tmp_path, record_of("a", "train"), record_of("b", "test", label=0.5))
    for read in (read_opinions, read_triplets):
        with pytest.raises(ConfigError, match=rf"(?s)no labels.*drmetric corpus .*{root}"):
            read("corpus", root, "train")
