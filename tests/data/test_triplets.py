"""Readers: a labelled corpus, and PIPAL in its official layout in miniature."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from drmetric.data.triplets import PIPAL_TRAINING_CODES, PIPAL_VALIDATION_CODES, pipal, read_triplets
from drmetric.errors import ConfigError

VARIANTS = {0: 12, 1: 16, 2: 10, 3: 24, 4: 13, 5: 14, 6: 27}
"""PIPAL: how many distortions each of its seven categories has, 116 in all."""
VALIDATION = {0: range(2, 8), 1: range(9, 16), 3: [*range(5, 11), *range(17, 24)], 4: range(8), 5: [4, 5, 6, 7, 13]}
"""The distortions that the protocol keeps for validation; it trains on the others of categories 0 to 5."""
CONTENTS = [f"A{number:04d}" for number in (1, 2, 3, 23, 27, 33)]


def held_out(content: str) -> bool:
    return zlib.crc32(f"pipal/{content}".encode()) < 2**32 * 25 / 200


def code_of(category: int, variant: int) -> str:
    return f"{category:02d}_{variant:02d}"


def elo_of(content: str, category: int, variant: int) -> float:
    return 1000 + 10 * CONTENTS.index(content) + 100 * category + variant + 0.0625


def write_pipal(root: Path, *, one_folder: bool) -> Path:
    """Empty images (readers only list them) and labels; with or without the official folders."""

    def folder(name: str) -> Path:
        path = root if one_folder else root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    labels, pristine, degraded = folder("Train_Label"), folder("Train_Ref"), folder("Matched_Degraded")
    for content in CONTENTS:
        (pristine / f"{content}.bmp").touch()
        lines = []
        for category, count in VARIANTS.items():
            for variant in range(count):
                name = f"{content}_{code_of(category, variant)}.bmp"
                (folder(f"Train_Dist/Distortion_{category % 4 + 1}") / name).touch()
                (degraded / f"ref_{name}").touch()
                lines.append(f"{name},{elo_of(content, category, variant)}")
        (labels / f"{content}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipal(tmp_path_factory.mktemp("official"), one_folder=False)


def write_corpus(root: Path, records: list[dict[str, Any]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "manifest.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return root


def corpus_record(content: str, split: str, **more: Any) -> dict[str, Any]:
    images = {kind: f"images/{content}/{kind}.png" for kind in ("restored", "degraded", "pristine")}
    return {"id": content, "content": content, "split": split, **images, **more}


def test_codes_are_50_for_training_and_39_for_validation_without_category_six() -> None:
    validation = {code_of(category, variant) for category, variants in VALIDATION.items() for variant in variants}
    everything = {code_of(c, v) for c, count in VARIANTS.items() if c != 6 for v in range(count)}
    assert validation == PIPAL_VALIDATION_CODES
    assert everything - validation == PIPAL_TRAINING_CODES
    assert (len(PIPAL_TRAINING_CODES), len(PIPAL_VALIDATION_CODES)) == (50, 39)


@pytest.mark.parametrize(("split", "codes"), [("train", 50), ("validation", 39)])
def test_pipal_lists_the_codes_of_the_split_for_its_contents(official: Path, split: str, codes: int) -> None:
    triplets = read_triplets("pipal", official, split)  # type: ignore[arg-type]
    contents = [c for c in CONTENTS if held_out(c) == (split == "validation")]
    assert len(contents) == 3
    assert len(triplets) == codes * 3
    for content in contents:
        names = {t.restored.stem for t in triplets if t.content == content}
        expected = PIPAL_TRAINING_CODES if split == "train" else PIPAL_VALIDATION_CODES
        assert names == {f"{content}_{code}" for code in expected}


def test_pipal_matches_images_and_scores(official: Path) -> None:
    for triplet in pipal(official, "train") + pipal(official, "validation"):
        content, category, variant = triplet.restored.stem.split("_")
        assert triplet.content == triplet.group == content
        assert triplet.score == pytest.approx((elo_of(content, int(category), int(variant)) - 900) / 1000)
        assert triplet.degraded == official / "Matched_Degraded" / f"ref_{triplet.restored.name}"
        assert triplet.pristine == official / "Train_Ref" / f"{content}.bmp"
        assert triplet.restored.parent.parent == official / "Train_Dist"


def test_pipal_splits_share_neither_contents_nor_codes(official: Path) -> None:
    train, validation = pipal(official, "train"), pipal(official, "validation")
    assert not {t.content for t in train} & {t.content for t in validation}
    assert not {t.restored.stem[6:] for t in train} & {t.restored.stem[6:] for t in validation}
    assert not any(t.restored.stem[6:].startswith("06") for t in train + validation)


def test_pipal_in_one_folder_reads_the_same(official: Path, tmp_path: Path) -> None:
    flat = write_pipal(tmp_path / "flat", one_folder=True)

    def described(root: Path) -> list[tuple[str, str, str, float]]:
        return [(t.restored.name, t.degraded.name, t.pristine.name, t.score) for t in pipal(root, "train")]

    assert described(flat) == described(official)


@pytest.mark.parametrize("name", ["A0001.bmp", "A0001_00_00.bmp", "ref_A0001_00_00.bmp"])
def test_missing_pipal_image_is_named(tmp_path: Path, name: str) -> None:
    root = write_pipal(tmp_path / "pipal", one_folder=True)
    (root / name).unlink()
    with pytest.raises(ConfigError, match=f"missing.* {name}"):
        pipal(root, "train")
    assert pipal(root, "validation"), "the other split does not need it"


def test_pipal_without_labels_says_how_they_look(tmp_path: Path) -> None:
    (tmp_path / "A0001_00_00.bmp").touch()
    (tmp_path / "readme.txt").write_text("A0001, a content\n\nunrelated\n")
    with pytest.raises(ConfigError, match=r"no PIPAL labels.*A0001_00_00\.bmp,1520"):
        pipal(tmp_path, "train")


def test_pipal_has_no_test_split(official: Path) -> None:
    with pytest.raises(ConfigError, match="no test images"):
        read_triplets("pipal", official, "test")


def test_corpus_lists_one_split_with_its_labels(tmp_path: Path) -> None:
    records = [
        corpus_record("a", "train", label=0.25),
        corpus_record("b", "validation", label=0.5),
        corpus_record("c", "train", label=0.75),
    ]
    root = write_corpus(tmp_path, records)
    triplets = read_triplets("corpus", root, "train")
    assert [(t.content, t.score) for t in triplets] == [("a", 0.25), ("c", 0.75)]
    assert triplets[0].restored == root / "images/a/restored.png"
    assert triplets[0].degraded == root / "images/a/degraded.png"
    assert triplets[0].pristine == root / "images/a/pristine.png"
    assert [t.content for t in read_triplets("corpus", root, "validation")] == ["b"]


def test_corpus_groups_are_images_of_one_degraded_input(tmp_path: Path) -> None:
    records = [
        {**corpus_record("a", "train", label=0.1 * i), "degraded": f"images/a/d{i // 2}.png", "id": f"a{i}"}
        for i in range(4)
    ]
    groups = [t.group for t in read_triplets("corpus", write_corpus(tmp_path, records), "train")]
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_groups_of_two_corpora_stay_apart(tmp_path: Path) -> None:
    roots = [write_corpus(tmp_path / name, [corpus_record("a", "train", label=0.5)]) for name in ("one", "two")]
    one, two = (read_triplets("corpus", root, "train")[0].group for root in roots)
    assert one != two


def test_corpus_without_labels_says_how_to_make_them(tmp_path: Path) -> None:
    root = write_corpus(tmp_path, [corpus_record("a", "train"), corpus_record("b", "test", label=0.5)])
    with pytest.raises(ConfigError, match=rf"(?s)no labels.*drmetric corpus .*{root}"):
        read_triplets("corpus", root, "train")


def test_empty_split_missing_manifest_and_unknown_kind_are_refused(tmp_path: Path) -> None:
    root = write_corpus(tmp_path, [corpus_record("a", "train", label=0.5)])
    with pytest.raises(ConfigError, match="no validation images"):
        read_triplets("corpus", root, "validation")
    with pytest.raises(ConfigError, match="no manifest"):
        read_triplets("corpus", root / "nowhere", "train")
    with pytest.raises(ConfigError, match=r"(?s)'tid'.*corpus, pipal"):
        read_triplets("tid", root, "train")
