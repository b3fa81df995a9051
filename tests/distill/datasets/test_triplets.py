"""What DRIQA trains on: pairs of restorations, alike in crop and turn, and whole images to validate on."""

from pathlib import Path

import pytest
import torch
from skimage import data

from drmetric.data.rated import RatedTriplet
from drmetric.distill.datasets.triplets import TrainingPairs, TripletBatch, ValidationImages
from drmetric.errors import ConfigError
from drmetric.images import save_image


def triplet(folder: Path, name: str, image: torch.Tensor, *, group: str = "g", score: float = 0.5) -> RatedTriplet:
    path = folder / f"{name}.png"
    save_image(image, path)
    return RatedTriplet(path, path, path, content=group, group=group, score=score)


def test_pairs_are_two_restorations_of_one_group_with_their_scores(tmp_path: Path) -> None:
    triplets = []
    for group in range(3):
        for member in range(3):
            level = 0.1 + 0.3 * group + 0.08 * member
            image = torch.full((3, 48, 48), level)
            triplets.append(triplet(tmp_path, f"{group}{member}", image, group=str(group), score=level))
    pairs = TrainingPairs(triplets, patch=32)
    assert len(pairs) == 3
    seen = set()
    for _ in range(12):
        for index in range(3):
            pair = pairs[index]
            assert pair.a.shape == pair.b.shape == pair.degraded.shape == pair.pristine.shape == (3, 32, 32)
            assert pair.a.mean().item() == pytest.approx(pair.score_a.item(), abs=0.003)
            assert pair.b.mean().item() == pytest.approx(pair.score_b.item(), abs=0.003)
            assert pair.score_a != pair.score_b
            groups = {int((score.item() - 0.05) / 0.3) for score in (pair.score_a, pair.score_b)}
            assert groups == {index}
            seen.add((index, round(pair.score_a.item(), 2), round(pair.score_b.item(), 2)))
    assert len(seen) > 9, "pairs are drawn anew"


def test_all_four_images_get_the_same_crop_flip_and_turn(tmp_path: Path) -> None:
    photo = torch.from_numpy(data.astronaut()[:64, 160:224].copy()).permute(2, 0, 1) / 255
    alike = [triplet(tmp_path, name, photo) for name in "ab"]
    whole, crops = TrainingPairs(alike, patch=64), TrainingPairs(alike, patch=40)
    for _ in range(20):
        a, b, degraded, pristine, *_ = crops[0]
        assert torch.equal(a, b)
        assert torch.equal(a, degraded)
        assert torch.equal(a, pristine)
    views = [torch.rot90(view, turns, (-2, -1)) for view in (photo, photo.flip(-1)) for turns in range(4)]
    seen = {i for _ in range(80) for i, view in enumerate(views) if torch.allclose(whole[0].a, view, atol=0.003)}
    assert seen == set(range(8))
    assert len({crops[0].a.mean().item() for _ in range(20)}) > 10, "crops are drawn anew"


def test_smaller_degraded_images_are_brought_to_the_restored_size(tmp_path: Path) -> None:
    photo = torch.from_numpy(data.astronaut()[:64, 160:224].copy()).permute(2, 0, 1) / 255
    one, other = triplet(tmp_path, "a", photo), triplet(tmp_path, "b", photo)
    save_image(photo[:, ::4, ::4], tmp_path / "small.png")
    small = [RatedTriplet(t.restored, tmp_path / "small.png", t.pristine, "c", "g", 0.5) for t in (one, other)]
    assert TrainingPairs(small, patch=64)[0].degraded.shape == (3, 64, 64)
    assert ValidationImages(small)[0].degraded.shape == (3, 64, 64)


def test_a_share_of_the_degraded_images_is_reduced_first(tmp_path: Path) -> None:
    photo = torch.from_numpy(data.astronaut()[:64, 160:224].copy()).permute(2, 0, 1) / 255
    alike = [triplet(tmp_path, name, photo) for name in "ab"]

    def detail_lost(pair: TripletBatch) -> float:
        assert torch.equal(pair.a, pair.pristine)
        return float((pair.degraded - pair.pristine).square().mean())

    assert {detail_lost(TrainingPairs(alike, patch=64)[0]) for _ in range(10)} == {0.0}
    reduced = TrainingPairs(alike, patch=64, reduced_share=1.0)
    losses = {detail_lost(reduced[0]) for _ in range(10)}
    assert len(losses) > 5, "the size is drawn anew"
    assert 1e-5 < max(losses) < 0.02
    half = TrainingPairs(alike, patch=64, reduced_share=0.5)
    assert 5 < sum(detail_lost(half[0]) == 0 for _ in range(40)) < 35


def test_grey_crops_have_the_luma_of_the_coloured_ones(tmp_path: Path) -> None:
    photo = torch.from_numpy(data.astronaut()[:64, 160:224].copy()).permute(2, 0, 1) / 255
    pairs = TrainingPairs([triplet(tmp_path, name, photo) for name in "ab"], patch=64, grey_share=1.0)
    for image in pairs[0][:4]:
        assert torch.equal(image[0], image[1])
        assert torch.equal(image[0], image[2])
        luma = 0.299 * photo[0] + 0.587 * photo[1] + 0.114 * photo[2]
        assert image.mean().item() == pytest.approx(luma.mean().item(), abs=0.003)


def test_kept_images_are_read_from_disk_once(tmp_path: Path) -> None:
    alike = [triplet(tmp_path, name, torch.full((3, 40, 40), 0.4)) for name in "ab"]
    pairs = TrainingPairs(alike, patch=32, keep=True)
    before = pairs[0]
    for file in tmp_path.rglob("*.png"):
        file.unlink()
    after = pairs[0]
    assert all(torch.equal(x, y) for x, y in zip(before[:4], after[:4], strict=True))


def test_images_smaller_than_the_patch_and_lonely_images_are_refused(tmp_path: Path) -> None:
    small = [triplet(tmp_path, name, torch.rand(3, 40, 56)) for name in "ab"]
    with pytest.raises(ConfigError, match=r"(?s)40 x 56.*patch = 40"):
        TrainingPairs(small, patch=48)[0]
    apart = [triplet(tmp_path, name, torch.rand(3, 40, 56), group=name) for name in "ab"]
    with pytest.raises(ConfigError, match="no pair"):
        TrainingPairs(apart, patch=32)


def test_validation_sees_every_image_whole_and_in_order(tmp_path: Path) -> None:
    triplets = [
        triplet(tmp_path, name, torch.full((3, 40, 56), score), group=group, score=score)
        for name, group, score in (("a", "y", 0.2), ("b", "x", 0.4), ("c", "y", 0.6))
    ]
    items = list(map(ValidationImages(triplets).__getitem__, range(3)))
    assert [item.content.item() for item in items] == [1, 0, 1]
    for item, score in zip(items, (0.2, 0.4, 0.6), strict=True):
        assert item.score.item() == pytest.approx(score)
        for image in (item.restored, item.degraded, item.pristine):
            assert image.shape == (3, 40, 56)
            assert image.mean().item() == pytest.approx(score, abs=0.003)
