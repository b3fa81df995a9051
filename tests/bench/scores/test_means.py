"""Which outputs are of one method: by sub folder, and by the tag that their names add to those of their inputs."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from drmetric.bench.scores.folder import score_folder
from drmetric.bench.scores.means import methods, table
from drmetric.bench.scores.pairing import Pair, match
from tests.bench.scores.folders import Distance, write_image


def grouped(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, list[str]]:
    found = match(outputs, inputs)
    return methods([Pair(name, Path(name), Path(each.degraded[0]), each.degraded[0]) for name, each in found.items()])


def test_the_case_of_a_name_splits_no_method() -> None:
    outputs = [f"{name}_{tag}.png" for name in ("Baby", "BIRD", "Head", "woman") for tag in ("bicubic", "near")]
    found = grouped(["baby.png", "bird.png", "head.png", "woman.png"], outputs)
    assert found == {"*_bicubic": outputs[::2], "*_near": outputs[1::2]}


def test_the_case_of_a_tag_counts_where_nothing_else_tells_methods_apart() -> None:
    inputs = ["0.png", "1.png"]
    assert grouped(inputs, ["0_A.png", "0_b.png", "1_a.png", "1_B.png"]) == {
        "*_A": ["0_A.png", "1_a.png"],
        "*_b": ["0_b.png", "1_B.png"],
    }
    assert list(grouped(inputs, ["0_A.png", "0_a.png", "1_A.png", "1_a.png"])) == ["*_A", "*_a"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_the_unicode_form_of_a_name_splits_no_method(forms: tuple[str, str]) -> None:
    of_input, of_output = forms
    inputs = [unicodedata.normalize(of_input, name) for name in ("éte.png", "über.png", "x.png")]
    stems = [name.removesuffix(".png") for name in inputs]
    outputs = [unicodedata.normalize(of_output, f"{stem}_{tag}.png") for stem in stems for tag in ("a", "né")]
    assert grouped(inputs, outputs) == {"*_a": outputs[::2], "*_né": outputs[1::2]}


def test_letters_that_fold_to_several_end_the_input_where_it_ends() -> None:
    assert list(grouped(["straße.png"], ["STRASSE_a.png", "Straße-b.png"])) == ["*_a", "*-b"]


def test_the_tag_of_an_input_takes_nothing_from_the_name_of_a_method() -> None:
    outputs = [f"{name}_{tag}.png" for name in ("baby", "bird") for tag in ("lanczos", "lrnear", "near")]
    found = grouped(["baby_lr.png", "bird_lr.png"], outputs)
    assert found == {"*_lanczos": outputs[::3], "*_lrnear": outputs[1::3], "*_near": outputs[2::3]}


def test_the_tag_of_an_input_counts_where_nothing_else_tells_methods_apart() -> None:
    outputs = ["baby_lr_near.png", "baby_near.png", "bird_lr_near.png", "bird_near.png"]
    assert grouped(["baby_lr.png", "bird_lr.png"], outputs) == {"*_lr_near": outputs[::2], "*_near": outputs[1::2]}
    mixed = ["baby_lr_near.png", "baby_lr_far.png", "birdx4_near.png", "birdx4_far.png"]
    assert grouped(["baby_lr.png", "birdx4.png"], mixed) == {"*_near": mixed[::2], "*_far": mixed[1::2]}


def test_an_output_without_an_input_is_of_the_method_in_whose_tag_it_ends() -> None:
    pairs = [Pair(f"0_{tag}.png", Path(), Path(), "0.png") for tag in ("a", "b", "b_a")]
    found = methods([*pairs, *(Pair(name, Path()) for name in ("1_A.png", "1_b_a.png", "1_c.png"))])
    assert found == {
        "*_a": ["0_a.png", "1_A.png"],
        "*_b": ["0_b.png"],
        "*_b_a": ["0_b_a.png", "1_b_a.png"],
        "*1_c": ["1_c.png"],
    }


def test_the_suffix_of_a_file_counts_where_nothing_else_tells_methods_apart() -> None:
    outputs = ["0_a.jpg", "0_a.png", "1_a.jpg", "1_a.png"]
    assert grouped(["0.png", "1.png"], outputs) == {"*_a.jpg": outputs[::2], "*_a.png": outputs[1::2]}
    assert grouped(["0.png"], ["0.jpg", "0.png"]) == {"*.jpg": ["0.jpg"], "*.png": ["0.png"]}


def test_the_mean_of_a_method_is_that_of_all_its_outputs(tmp_path: Path) -> None:
    for number, name in enumerate(("Baby", "woman")):
        write_image(tmp_path / f"in/{name.lower()}_lr.png", number)
        for seed, tag in enumerate(("lanczos", "lrnear", "near")):
            write_image(tmp_path / f"out/{name}_{tag}.png", 2 + 3 * number + seed)
    scores = score_folder(Distance(), tmp_path / "out", tmp_path / "in")
    for line in table(scores, with_images=False).records:
        tag = line["image"].removeprefix("mean of *")
        of_method = [scores.scores[f"{name}{tag}.png"] for name in ("Baby", "woman")]
        assert line["0"] == pytest.approx(sum(of_method) / 2)
