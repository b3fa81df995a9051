"""Rated images for training: crops, whole images, references of other contents."""

from pathlib import Path

import pytest
import torch

from drmetric.data.rated import read_opinions
from drmetric.distill.datasets.rated import Groups, RatedCrops, WholeImages, references_of, ungrouped
from drmetric.errors import ConfigError
from drmetric.images import read_image
from tests.rated_set import write_biq2021, write_conditions


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_biq2021(tmp_path_factory.mktemp("set") / "biq2021")


@pytest.fixture(scope="module")
def conditions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conditions(tmp_path_factory.mktemp("set") / "conditions")


def test_crops_keep_their_scores_and_are_drawn_anew(root: Path) -> None:
    rated = read_opinions("biq2021", root, "train")
    crops = RatedCrops(rated, 40)
    for index in (0, 1, 5):
        crop = crops[index]
        assert crop.image.shape == (3, 40, 40)
        assert crop.score.item() == pytest.approx(rated[index].score)
    assert len({crops[0].image.mean().item() for _ in range(10)}) > 5


def test_images_smaller_than_the_patch_are_continued_by_their_mirror_image(root: Path) -> None:
    rated = read_opinions("biq2021", root, "train")[:1]
    whole = read_image(rated[0].image)
    for keep in (False, True):
        crop = RatedCrops(rated, 70, keep=keep)[0].image
        assert crop.shape == (3, 70, 70)
        assert any(torch.allclose(view[:, :64, :64], whole, atol=0.003) for view in (crop, crop.flip(-1)))
        assert torch.equal(crop[:, 64:], crop[:, 57:63].flip(1))
    with pytest.raises(ConfigError, match=r"(?s)64 x 64.*patch = 64"):
        RatedCrops(rated, 128)[0]


def test_kept_images_are_read_from_disk_once(root: Path) -> None:
    rated = read_opinions("biq2021", root, "train")[:1]
    kept, read = RatedCrops(rated, 64, keep=True), RatedCrops(rated, 64)
    kept[0]
    again, fresh = kept[0].image, read[0].image
    assert any(torch.allclose(fresh, image, atol=0.003) for image in (again, again.flip(-1)))


def test_references_show_other_contents(conditions: Path) -> None:
    rated = read_opinions("conditions", conditions, "train")
    references = references_of(rated, "")
    assert set(references) == {each.content for each in rated}
    one = {each: file for each, file in references.items() if each in (rated[0].content, rated[-1].content)}
    crops = RatedCrops(rated, 64, references=one)
    with_own, other = crops[0].reference, WholeImages([rated[-1]])[0].pristine
    torch.testing.assert_close(with_own, other)
    with pytest.raises(ConfigError, match=rated[0].content):
        RatedCrops(rated, 48, references={rated[0].content: references[rated[0].content]})[0]


def test_groups_are_images_of_one_content_on_one_crop(conditions: Path) -> None:
    rated = read_opinions("conditions", conditions, "train")
    groups = Groups(RatedCrops(rated, 40, pristine=True), 2, 4)
    assert len(groups) == len({each.content for each in rated})
    scores = {each.score for each in rated}
    for index in range(len(groups)):
        group = groups[index]
        assert group.image.shape == (2, 3, 40, 40)
        assert torch.equal(group.pristine[0], group.pristine[1])
        assert len(set(group.score.tolist())) == 2
        assert all(min(abs(score - each) for each in scores) < 1e-6 for score in group.score.tolist())
    batch = ungrouped([groups[0], groups[1]])
    assert batch.image.shape == (4, 3, 40, 40)
    assert batch.reference.shape == (4, 0)
    assert not torch.equal(batch.pristine[0], batch.pristine[2])


def test_a_group_is_no_larger_than_a_content(conditions: Path) -> None:
    rated = read_opinions("conditions", conditions, "train")
    with pytest.raises(ConfigError, match=r"(?s)no content has 4 images; the most are 3.*group = 3\nbatch = 6"):
        Groups(RatedCrops(rated, 40), 4, 8)


def test_contents_with_too_few_images_are_left_out_and_counted(
    conditions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rated = read_opinions("conditions", conditions, "train")
    contents = {each.content for each in rated}
    first = [each for each in rated if each.content == rated[0].content]
    others = [next(each for each in rated if each.content == content) for content in contents - {rated[0].content}]
    assert len(Groups(RatedCrops([*first, *others], 40), 2, 2)) == 1
    assert f"{len(others)} of {len(contents)} contents have fewer than 2 images" in caplog.text
    with pytest.raises(ConfigError, match=r"(?s)batch is 8 in groups of 2, but only 1 contents.*batch = 2"):
        Groups(RatedCrops([*first, *others], 40), 2, 8)
    with pytest.raises(ConfigError, match=r"(?s)the most are 1.*group = 1\nbatch = 8\nwithin = 0.0"):
        Groups(RatedCrops(others, 40), 2, 8)


def test_validation_always_sees_the_same_reference(conditions: Path) -> None:
    rated = read_opinions("conditions", conditions, "validation")
    whole = WholeImages(rated, references_of(rated, ""), patch=40)
    assert whole[0].reference.shape == (3, 40, 40)
    assert all(torch.equal(whole[i].reference, whole[i].reference) for i in range(3))


def test_a_set_without_pristine_images_needs_a_folder(tmp_path: Path) -> None:
    rated = read_opinions("biq2021", write_biq2021(tmp_path / "biq2021"), "train")
    with pytest.raises(ConfigError, match="without pristine images") as caught:
        references_of(rated, "")
    assert "references" in caught.value.fix
