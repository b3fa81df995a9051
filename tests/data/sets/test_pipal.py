"""PIPAL in its official layout in miniature, as rated images and as triplets of the degraded-reference protocol."""

import shutil
from pathlib import Path

import pytest

from drmetric.data.rated import read_opinions, read_triplets
from drmetric.data.sets.pipal import TRAINING_CODES, VALIDATION_CODES
from drmetric.data.splits import Split
from drmetric.errors import ConfigError
from tests.data.sets.layouts import check, rated, share, touch

LABELS = "Train_Label/*.txt"
VARIANTS = {0: 12, 1: 16, 2: 10, 3: 24, 4: 13, 5: 14, 6: 27}
"""How many distortions each of the seven categories has, 116 in all."""
VALIDATION = {0: range(2, 8), 1: range(9, 16), 3: [*range(5, 11), *range(17, 24)], 4: range(8), 5: [4, 5, 6, 7, 13]}
"""The distortions that the protocol keeps for validation; it trains on the others of categories 0 to 5."""
CONTENTS = [f"A{number:04d}" for number in (1, 2, 3, 23, 27, 33)]


def held_out(content: str) -> bool:
    return share("pipal", content) < 25 / 200


def code_of(category: int, variant: int) -> str:
    return f"{category:02d}_{variant:02d}"


def elo_of(content: str, category: int, variant: int) -> float:
    return 1000 + 10 * CONTENTS.index(content) + 100 * category + variant + 0.0625


def write(root: Path, *, one_folder: bool = False) -> None:
    """With or without the official folders."""

    def inside(folder: str) -> str:
        return "" if one_folder else f"{folder}/"

    (root / inside("Train_Label")).mkdir(parents=True)
    for content in CONTENTS:
        codes = [(category, variant) for category, count in VARIANTS.items() for variant in range(count)]
        names = {f"{content}_{code_of(*code)}.bmp": code for code in codes}
        lines = [f"{name},{elo_of(content, *code)}\n" for name, code in names.items()]
        (root / f"{inside('Train_Label')}{content}.txt").write_text("".join(lines))
        touch(root, [f"{inside('Train_Ref')}{content}.bmp"])
        touch(root, [f"{inside(f'Train_Dist/Distortion_{c % 4 + 1}')}{name}" for name, (c, _) in names.items()])
        touch(root, [f"{inside('Matched_Degraded')}ref_{name}" for name in names])


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("official") / "pipal"
    write(root)
    return root


def test_images_scores_and_contents(official: Path) -> None:
    check(
        "pipal",
        official,
        6 * 116,
        rated(
            "Train_Dist/Distortion_3/A0002_06_01.bmp",
            0.7110625,
            "A0002",
            reference="Train_Ref/A0002.bmp",
            subset="traditional_distortion",
            degraded="Matched_Degraded/ref_A0002_06_01.bmp",
        ),
    )


def test_an_eighth_of_the_contents_is_for_validation(official: Path) -> None:
    assert all(held_out(each.content) for each in read_opinions("pipal", official, "validation"))
    assert not any(held_out(each.content) for each in read_opinions("pipal", official, "train"))


def test_without_matched_inputs_there_are_none_and_with_some_all_are_wanted(tmp_path: Path) -> None:
    write(tmp_path / "pipal")
    inputs = sorted((tmp_path / "pipal/Matched_Degraded").iterdir())
    inputs[0].unlink()
    with pytest.raises(ConfigError, match=rf"1 of the \d+ pipal images are missing.*{inputs[0].name}"):
        read_opinions("pipal", tmp_path / "pipal")
    for file in inputs[1:]:
        file.unlink()
    assert {each.degraded for each in read_opinions("pipal", tmp_path / "pipal")} == {None}
    with pytest.raises(ConfigError, match=r"no degraded input of A0001_00_00\.bmp"):
        read_triplets("pipal", tmp_path / "pipal", "train")


def test_codes_are_50_for_training_and_39_for_validation_without_category_six() -> None:
    validation = {code_of(category, variant) for category, variants in VALIDATION.items() for variant in variants}
    everything = {code_of(c, v) for c, count in VARIANTS.items() if c != 6 for v in range(count)}
    assert validation == VALIDATION_CODES
    assert everything - validation == TRAINING_CODES
    assert (len(TRAINING_CODES), len(VALIDATION_CODES)) == (50, 39)


@pytest.mark.parametrize(("split", "codes"), [("train", TRAINING_CODES), ("validation", VALIDATION_CODES)])
def test_triplets_have_the_codes_and_contents_of_the_split(official: Path, split: Split, codes: frozenset[str]) -> None:
    triplets = read_triplets("pipal", official, split)
    contents = [c for c in CONTENTS if held_out(c) == (split == "validation")]
    assert len(contents) == 3
    assert {t.restored.stem for t in triplets} == {f"{content}_{code}" for content in contents for code in codes}


def test_triplets_match_images_and_scores(official: Path) -> None:
    for triplet in read_triplets("pipal", official, "train") + read_triplets("pipal", official, "validation"):
        content, category, variant = triplet.restored.stem.split("_")
        assert triplet.content == triplet.group == content
        assert triplet.score == pytest.approx((elo_of(content, int(category), int(variant)) - 900) / 1000)
        assert triplet.degraded == official / "Matched_Degraded" / f"ref_{triplet.restored.name}"
        assert triplet.pristine == official / "Train_Ref" / f"{content}.bmp"
        assert triplet.restored.parent.parent == official / "Train_Dist"


def test_one_folder_reads_the_same(official: Path, tmp_path: Path) -> None:
    write(tmp_path / "flat", one_folder=True)

    def described(root: Path) -> list[tuple[str, str, str, float]]:
        triplets = read_triplets("pipal", root, "train")
        return [(t.restored.name, t.degraded.name, t.pristine.name, t.score) for t in triplets]

    assert described(tmp_path / "flat") == described(official)


@pytest.mark.parametrize("name", ["A0001.bmp", "A0001_00_00.bmp", "ref_A0001_00_00.bmp"])
def test_missing_image_of_a_triplet_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "pipal", one_folder=True)
    (tmp_path / "pipal" / name).unlink()
    with pytest.raises(ConfigError, match=f"missing.* {name}"):
        read_triplets("pipal", tmp_path / "pipal", "train")
    assert read_triplets("pipal", tmp_path / "pipal", "validation"), "the other split does not need it"


def test_text_files_without_labels_say_how_labels_look(tmp_path: Path) -> None:
    (tmp_path / "A0001_00_00.bmp").touch()
    (tmp_path / "readme.txt").write_text("A0001, a content\n\nunrelated\n")
    with pytest.raises(ConfigError, match=r"no PIPAL labels.*A0001_00_00\.bmp,1520"):
        read_opinions("pipal", tmp_path)


def test_there_is_no_test_split(official: Path) -> None:
    with pytest.raises(ConfigError, match="no test images"):
        read_triplets("pipal", official, "test")


def test_a_text_file_in_another_encoding_is_no_label(official: Path, tmp_path: Path) -> None:
    shutil.copytree(official, tmp_path / "pipal")
    (tmp_path / "pipal/readme.txt").write_bytes("größe".encode("latin-1"))
    assert len(read_opinions("pipal", tmp_path / "pipal")) == 6 * 116
