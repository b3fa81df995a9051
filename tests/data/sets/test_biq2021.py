"""BIQ2021 in miniature, and the published set where there is one."""

from pathlib import Path

from drmetric.data.rated import read_opinions
from drmetric.data.splits import SPLITS
from tests.data.sets.layouts import check, published, rated, share, touch, write_csv

LABELS = "Test (Images and MOS).csv"
TWINS = ("ss03 (5545).jpg", "ss03 (6785).jpg")
"""Two files that show the same photograph."""


def write(root: Path) -> None:
    train = [(f"ss01 ({n}).jpg", 0.25) for n in range(2100, 2140)] + [("ss02 (1014).jpg", 0.125), (TWINS[0], 0.75)]
    test = [(f"ss02 ({n}).jpg", 0.5) for n in range(2100, 2103)] + [(TWINS[1], 1)]
    write_csv(root / "Train (Images and MOS).csv", [("Image Name", "MOS", "", ""), *((*row, "", "") for row in train)])
    write_csv(root / "Test (Images and MOS).csv", [("Image Name", "MOS"), *test])
    names = [name for name, _ in train + test]
    touch(root, [f"Images/{name.replace('(1014).jpg', '(1014).JPG')}" for name in names])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "biq2021",
        tmp_path,
        46,
        rated("Images/ss02 (1014).JPG", 0.125, "ss02 (1014)", subset="ss02"),
        rated(f"Images/{TWINS[0]}", 0.75, "ss03 (5545)", subset="ss03"),
        rated(f"Images/{TWINS[1]}", 1, "ss03 (5545)", subset="ss03"),
    )


def test_validation_is_drawn_from_the_training_part(tmp_path: Path) -> None:
    write(tmp_path)
    train, validation, test = (read_opinions("biq2021", tmp_path, split) for split in SPLITS)
    assert (len(train) + len(validation), len(test)) == (42, 4)
    assert all(share("biq2021", each.content) < 0.1 for each in validation)
    assert all(share("biq2021", each.content) >= 0.1 for each in train)


def test_contents_tell_test_images_with_a_twin_in_the_training_part(tmp_path: Path) -> None:
    write(tmp_path)
    trained = {each.content for split in SPLITS[:2] for each in read_opinions("biq2021", tmp_path, split)}
    twins = [each for each in read_opinions("biq2021", tmp_path, "test") if each.content in trained]
    assert [each.image.name for each in twins] == [TWINS[1]]


def test_published_set() -> None:
    root = published("biq2021")
    test = read_opinions("biq2021", root, "test")
    assert (len(read_opinions("biq2021", root)), len(test)) == (12000, 2000)
    trained = {each.content for split in SPLITS[:2] for each in read_opinions("biq2021", root, split)}
    assert sum(each.content in trained for each in test) == 116
