"""Pairs are made by name: every rule, every refusal, and nothing lost whatever the names."""

import re
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drmetric.bench.scores.pairing import INPUT_TAGS, SCALE_TAGS, SEPARATORS, match, pair
from drmetric.errors import ImageFileError, PairingError
from tests.bench.scores.folders import write_image

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def write(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1, 1)).save(file)
    return folder


@pytest.mark.parametrize(
    ("restored", "degraded", "rule"),
    [
        ("0001.png", "0001.png", "same name"),
        ("0001.png", "0001.JPG", "same name"),
        ("Image.png", "image.png", "same name"),
        ("my photo.png", "my photo.jpg", "same name"),
        (f"{COMPOSED}.png", f"{DECOMPOSED}.png", "same name"),
        ("0001_x4_SwinIR.png", "0001.png", "tag"),
        ("0001-SwinIR.png", "0001.png", "tag"),
        ("0001.SwinIR.png", "0001.png", "tag"),
        ("my photo SwinIR.png", "my photo.png", "tag"),
        (f"{DECOMPOSED}_out.png", f"{COMPOSED}.png", "tag"),
        ("0001x4_SwinIR.png", "0001x4.png", "tag"),
        ("0001.png", "0001x4.png", "input tag"),
        ("0001_SwinIR.png", "0001x4.png", "input tag"),
        ("0001_x4_SwinIR.png", "0001x4.png", "input tag"),
        ("Canon_001_HR.png", "Canon_001_LR4.png", "input tag"),
        ("0001.png", "0001_LR_x4.png", "input tag"),
        *((("0001.png", f"0001_{tag}.png", "input tag")) for tag in INPUT_TAGS),
        *((("0001.png", f"0001-{tag.upper()}.png", "input tag")) for tag in INPUT_TAGS),
    ],
)
def test_rule_pairs(restored: str, degraded: str, rule: str) -> None:
    assert match([restored], [degraded]) == {restored: (rule, [degraded])}


@pytest.mark.parametrize(
    ("restored", "degraded"),
    [
        ("0001.png", "0002.png"),
        ("00011.png", "0001.png"),
        ("0001_.png", "0001.png"),
        ("0001.png", "0001_SwinIR.png"),
        ("0001.png", "0001lr.png"),
        ("x4.png", "_x4.png"),
    ],
)
def test_other_names_do_not_pair(restored: str, degraded: str) -> None:
    assert match([restored], [degraded])[restored].degraded == []


@pytest.mark.parametrize(
    ("restored", "degraded", "chosen"),
    [
        ("0001_2_SwinIR.png", ["0001.png", "0001_2.png"], "0001_2.png"),
        ("img_1.png", ["img.png", "img_1_lr.png"], "img_1_lr.png"),
        ("0001.png", ["0001.png", "0001x4.png"], "0001.png"),
        ("0001_noisy_net.png", ["0001_noisy_x4.png", "0001_blur_x4.png"], "0001_noisy_x4.png"),
        ("a_net.png", ["A.png", "a.png"], "a.png"),
    ],
)
def test_longest_and_closest_name_wins(restored: str, degraded: list[str], chosen: str) -> None:
    assert match([restored], degraded)[restored].degraded == [chosen]


@pytest.mark.parametrize(
    ("restored", "degraded", "chosen"),
    [
        ("set5/0001.png", ["set5/0001.png", "set14/0001.png"], ["set5/0001.png"]),
        ("methodA/0001.png", ["0001.png", "0002.png"], ["0001.png"]),
        ("methodA/set5/0001.png", ["set5/0001.png", "set14/0001.png"], ["set5/0001.png"]),
        ("0001.png", ["LR/X4/0001x4.png"], ["LR/X4/0001x4.png"]),
        ("001/00000000.png", ["000/00000000.png"], []),
        ("001/00000000.png", ["000/00000000.png", "002/00000000.png"], []),
        ("set5/0001.png", ["set5/0002.png", "set14/0001.png"], []),
    ],
)
def test_sub_folders(restored: str, degraded: list[str], chosen: list[str]) -> None:
    assert match([restored], degraded)[restored].degraded == chosen


def test_pairing_of_folders_names_what_is_left_over(tmp_path: Path) -> None:
    restored = write(tmp_path / "restored", "a/0002.png", "b/0002_net.png", "a/0003.png")
    degraded = write(tmp_path / "degraded", "0001.png", "0002.jpg")
    found = pair(restored, degraded)
    assert [(each.name, each.degraded_name) for each in found.pairs] == [
        ("a/0002.png", "0002.jpg"),
        ("b/0002_net.png", "0002.jpg"),
    ]
    assert found.pairs[0].restored == restored / "a/0002.png"
    assert found.pairs[0].degraded == degraded / "0002.jpg"
    assert (found.missing, found.extra) == (["a/0003.png"], ["0001.png"])


def test_order_is_never_what_pairs(tmp_path: Path) -> None:
    restored = write(tmp_path / "restored", "b.png", "c.png", "d.png")
    degraded = write(tmp_path / "degraded", "a.png", "c.png", "d.png")
    found = pair(restored, degraded)
    assert all(each.name == each.degraded_name for each in found.pairs)
    assert (found.missing, found.extra) == (["b.png"], ["a.png"])


def test_two_single_files_pair_whatever_their_names(tmp_path: Path) -> None:
    write(tmp_path, "out.png", "photo.jpg")
    (only,) = pair(tmp_path / "out.png", tmp_path / "photo.jpg").pairs
    assert (only.name, only.degraded_name, only.rule) == ("out.png", "photo.jpg", "two files")


def test_a_folder_and_a_file_pair_by_name(tmp_path: Path) -> None:
    restored = write(tmp_path / "restored", "a_net1.png", "a_net2.png", "b.png")
    degraded = write(tmp_path / "degraded", "a.png") / "a.png"
    found = pair(restored, degraded)
    assert [each.name for each in found.pairs] == ["a_net1.png", "a_net2.png"]
    assert found.missing == ["b.png"]


def test_no_degraded_wanted(tmp_path: Path) -> None:
    found = pair(write(tmp_path, "b.png", "a.png"), None)
    assert [(each.name, each.degraded) for each in found.pairs] == [("a.png", None), ("b.png", None)]


def test_duplicates_are_refused_by_name(tmp_path: Path) -> None:
    restored = write(tmp_path / "restored", "0001.png", "0002.png")
    degraded = write(tmp_path / "degraded", "0001.png", "0001.jpg", "0002.png", "0002.tif")
    with pytest.raises(PairingError) as caught:
        pair(restored, degraded)
    assert "'0001.jpg', '0001.png'" in caught.value.problem
    assert "1 more" in caught.value.problem
    assert str(degraded) in caught.value.problem
    assert str(degraded) in caught.value.fix


def test_duplicates_that_no_restored_image_wants_are_extra(tmp_path: Path) -> None:
    restored = write(tmp_path / "restored", "0002.png")
    degraded = write(tmp_path / "degraded", "0001.png", "0001.jpg", "0002.png")
    assert pair(restored, degraded).extra == ["0001.jpg", "0001.png"]


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    full = write(tmp_path / "full", "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PairingError, match=r"restored path .*nowhere.* does not exist"):
        pair(tmp_path / "nowhere", full)
    with pytest.raises(ImageFileError, match="empty holds no image"):
        pair(full, tmp_path / "empty")


def fold(name: str) -> str:
    return unicodedata.normalize("NFC", PurePosixPath(name).stem.casefold())


def matched_length(restored: str, degraded: str) -> int:
    """The oracle: length of the longest part of the degraded name that the rules allow to match, or 0."""
    a, b = fold(restored), fold(degraded)
    separators = f"[{re.escape(SEPARATORS)}]"
    tags = rf"(?:{separators}?(?:{'|'.join(SCALE_TAGS)})|{separators}(?:{'|'.join(INPUT_TAGS)}))*"
    for end in range(len(b), 0, -1):
        follows = a[end:] == "" or (a[end] in SEPARATORS and len(a) > end + 1)
        if a.startswith(b[:end]) and follows and re.fullmatch(tags, b[end:], re.DOTALL):
            return end
    return 0


STEMS = st.lists(
    st.sampled_from(["0", "1", "x4", "_", "-", ".", " ", "lr", "LQ", "A", "a", "\u00e9", "e\u0301", "ß", "猫"]),
    min_size=1,
    max_size=6,
).map("".join)
NAMES = st.builds(str.__add__, STEMS, st.sampled_from([".png", ".PNG", ".jpg", ".tiff"]))


@settings(deadline=None)
@given(st.sets(NAMES, max_size=8), st.sets(NAMES, max_size=8))
def test_whatever_the_names_the_rules_hold_and_nothing_is_lost(restored: set[str], degraded: set[str]) -> None:
    found = match(restored, degraded)
    assert set(found) == restored
    for name, (rule, chosen) in found.items():
        lengths = {other: matched_length(name, other) for other in degraded}
        longest = max(lengths.values(), default=0)
        assert all(lengths[other] == longest > 0 for other in chosen)
        assert bool(chosen) == (longest > 0)
        if chosen and rule == "same name":
            assert all(fold(other) == fold(name) for other in chosen)
        if chosen and rule != "input tag":
            assert all(len(fold(other)) == longest for other in chosen)


@settings(deadline=None)
@given(st.lists(STEMS, max_size=8, unique_by=lambda stem: fold(f"{stem}.png")))
def test_every_image_finds_the_input_of_its_own_name(stems: list[str]) -> None:
    found = match([f"{stem}.png" for stem in stems], [f"{stem}.jpg" for stem in stems])
    assert found == {f"{stem}.png": ("same name", [f"{stem}.jpg"]) for stem in stems}


def test_a_sequence_without_inputs_is_missing_and_not_paired_with_another(tmp_path: Path) -> None:
    for name in ("out/000/0.png", "out/001/0.png", "deg/000/0.png"):
        write_image(tmp_path / name, 1)
    pairing = pair(tmp_path / "out", tmp_path / "deg")
    assert [each.name for each in pairing.pairs] == ["000/0.png"]
    assert pairing.missing == ["001/0.png"]


def test_links_are_followed_and_broken_ones_are_not_lost(tmp_path: Path) -> None:
    write_image(tmp_path / "store/0.png", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/linked").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store/round").symlink_to(tmp_path / "out", target_is_directory=True)
    (tmp_path / "out/1.png").symlink_to(tmp_path / "store/0.png")
    (tmp_path / "out/2.png").symlink_to(tmp_path / "gone.png")
    names = [each.name for each in pair(tmp_path / "out", None).pairs]
    assert names == ["1.png", "2.png", "linked/0.png"]


def test_files_that_are_not_read_are_counted_by_suffix(tmp_path: Path) -> None:
    write_image(tmp_path / "out/0.png", 1)
    for name in ("1.heic", "2.HEIC", "3.jp2", ".hidden.heic"):
        (tmp_path / "out" / name).write_bytes(b"x")
    assert pair(tmp_path / "out", None).unread == "2 .heic, 1 .jp2"
