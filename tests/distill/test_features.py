"""Features of a frozen backbone that are kept on disk: what they hold, when they are made again, training from them."""

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.contract import photos
from tests.rated_set import write_biq2021, write_conditions

pytest.importorskip("lightning")
from drmetric import NARIQA, NRIQA
from drmetric.checkpoints import find_weights, read_weights
from drmetric.data.rated import RatedImage, read_opinions
from drmetric.distill import trainer
from drmetric.distill.datasets.rated import RatedBatch, mixed
from drmetric.distill.features import KeptFeatures, Photograph, RatedFeatures, Scores
from drmetric.distill.recipe import Recipe
from drmetric.distortions.redistort import redistort
from drmetric.errors import ConfigError
from drmetric.images import read_image, save_image

pytestmark = pytest.mark.filterwarnings("ignore:::lightning")

SIDE = 64


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conditions(tmp_path_factory.mktemp("set") / "conditions")


@pytest.fixture(scope="module")
def rated(root: Path) -> list[RatedImage]:
    return read_opinions("conditions", root, "train")


class Counting:
    """A network whose features are the mean colours of 8 x 8 cells; it counts the images that it sees."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.backbone = torch.nn.Linear(1, 1)
        self.decisive: list[str] = []
        self.seen = 0

    def pooled(self, image: torch.Tensor) -> torch.Tensor:
        self.seen += len(image)
        return F.adaptive_avg_pool2d(image, 8)


def photographs(rated: list[RatedImage]) -> list[Photograph]:
    return [Photograph(each.image, each.content) for each in rated]


@torch.no_grad()
def test_whole_images_give_their_features_and_the_second_view_is_mirrored(
    rated: list[RatedImage], tmp_path: Path
) -> None:
    network = Counting()
    views = KeptFeatures(tmp_path, network, patch=SIDE, views=2).of(photographs(rated))
    for index in (0, len(rated) - 1):
        image = read_image(rated[index].image)[None]
        for view, seen in zip(views, (image, image.flip(-1)), strict=True):
            expected = network.pooled(seen)[0]
            torch.testing.assert_close(torch.tensor(view[index]).float(), expected, atol=1e-3, rtol=0)


def test_features_are_made_once_and_again_for_another_patch_or_backbone(
    rated: list[RatedImage], tmp_path: Path
) -> None:
    network, other = Counting(), Counting(seed=1)
    for expected, judge, patch in ((True, network, 48), (False, network, 48), (True, network, 40), (True, other, 48)):
        judge.seen = 0
        KeptFeatures(tmp_path, judge, patch=patch, views=1).of(photographs(rated))
        assert (judge.seen >= len(rated)) is expected


def test_a_killed_run_goes_on_where_it_stopped(
    rated: list[RatedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    monkeypatch.setattr("drmetric.distill.features.BATCH", 4)
    monkeypatch.setattr("drmetric.distill.features.BATCHES_BETWEEN_NOTES", 2)
    network = Counting()
    whole = KeptFeatures(tmp_path / "whole", network, patch=48, views=1).of(photographs(rated))[0]
    pooled = network.pooled

    def failing(image: torch.Tensor) -> torch.Tensor:
        if network.seen >= 13:
            raise Killed
        return pooled(image)

    network.seen = 0
    monkeypatch.setattr(network, "pooled", failing)
    with pytest.raises(Killed):
        KeptFeatures(tmp_path / "killed", network, patch=48, views=1).of(photographs(rated))
    monkeypatch.setattr(network, "pooled", pooled)
    network.seen = 0
    resumed = KeptFeatures(tmp_path / "killed", network, patch=48, views=1).of(photographs(rated))[0]
    assert network.seen == len(rated) - 8
    assert (resumed == whole).all()


def test_of_two_trainings_one_makes_the_features_and_the_other_waits_for_them(
    rated: list[RatedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drmetric.distill.features.WAIT", 0.01)
    started, made = threading.Event(), []
    networks = Counting(), Counting()

    def make(network: Counting) -> None:
        made.append(KeptFeatures(tmp_path, network, patch=48, views=1).of(photographs(rated))[0])

    first, pooled = networks[0], networks[0].pooled

    def slow(image: torch.Tensor) -> torch.Tensor:
        started.set()
        time.sleep(0.3)
        return pooled(image)

    monkeypatch.setattr(first, "pooled", slow)
    threads = [threading.Thread(target=make, args=[each]) for each in networks]
    threads[0].start()
    started.wait()
    threads[1].start()
    for thread in threads:
        thread.join()
    assert networks[1].seen == 0
    assert (made[0] == made[1]).all()
    assert made[0].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("left", ["nothing", "no features"])
def test_features_that_were_deleted_are_made_again(rated: list[RatedImage], tmp_path: Path, left: str) -> None:
    network = Counting()
    kept = KeptFeatures(tmp_path, network, patch=48, views=1)
    before = np.array(kept.of(photographs(rated))[0])
    (path,) = tmp_path.glob("*.npy")
    path.unlink()
    if left == "no features":
        path.touch()
    assert (kept.of(photographs(rated))[0] == before).all()


def test_a_kill_while_deleted_features_are_made_again_leaves_no_zeros(
    rated: list[RatedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Counting()
    kept = KeptFeatures(tmp_path, network, patch=48, views=1)
    before = np.array(kept.of(photographs(rated))[0])
    (path,) = tmp_path.glob("*.npy")
    path.unlink()
    pooled = network.pooled

    def killed(image: torch.Tensor) -> torch.Tensor:
        if image.any():
            raise KeyboardInterrupt
        return pooled(image)

    monkeypatch.setattr(network, "pooled", killed)
    with pytest.raises(KeyboardInterrupt):
        kept.of(photographs(rated))
    monkeypatch.setattr(network, "pooled", pooled)
    assert (kept.of(photographs(rated))[0] == before).all()


def test_crops_of_an_image_its_original_and_what_became_of_it_lie_in_one_place(
    rated: list[RatedImage], tmp_path: Path
) -> None:
    same = [RatedImage(each.reference, each.score, each.content, reference=each.reference) for each in rated]
    kept = KeptFeatures(tmp_path, Counting(), patch=40, views=2)
    features = RatedFeatures(same, kept, pristine=True)
    for batch in (features[index] for index in range(4)):
        torch.testing.assert_close(batch.image, batch.pristine)
    unchanged = RatedFeatures(same, kept, change=_unchanged)[0]
    torch.testing.assert_close(unchanged.image, unchanged.reference)


@torch.no_grad()
def test_targets_take_a_share_of_what_a_judge_says_of_the_crop(rated: list[RatedImage], tmp_path: Path) -> None:
    kept, judged = (
        KeptFeatures(tmp_path, network, patch=SIDE, views=2) for network in (Counting(), Scores("nriqa-mobile-5"))
    )
    says = NRIQA(weights="nriqa-mobile-5")(read_image(rated[0].image)[None])[0]
    features = RatedFeatures(rated[:3], kept, judged=judged, share=0.25)
    batch = features.drawn(0, random.Random(0))
    assert batch.score.item() == pytest.approx(0.75 * rated[0].score + 0.25 * says.item(), abs=0.01)


def _unchanged(image: torch.Tensor, seed: int) -> torch.Tensor:
    return image


@torch.no_grad()
def test_the_students_reference_is_the_image_distorted_again(rated: list[RatedImage], tmp_path: Path) -> None:
    network = Counting()
    batch = RatedFeatures(rated, KeptFeatures(tmp_path, network, patch=SIDE, views=1), change=redistort)[0]
    expected = network.pooled(redistort(read_image(rated[0].image)[None], seed=0))[0]
    torch.testing.assert_close(batch.reference, expected, atol=1e-3, rtol=0)


def test_references_show_something_else(rated: list[RatedImage], tmp_path: Path) -> None:
    own = {each.content: each.reference for each in rated[:9] if each.reference}
    assert len(own) == 3
    kept = KeptFeatures(tmp_path, Counting(), patch=SIDE, views=1)
    features = RatedFeatures(rated, kept, pristine=True, references=own)
    for _ in range(20):
        batch = features[0]
        assert not torch.equal(batch.reference, batch.pristine)
    with pytest.raises(ConfigError, match="anything else"):
        RatedFeatures(rated, kept, references={rated[0].content: own[rated[0].content]})[0]


def test_mixup_mixes_images_references_and_scores_in_one_share() -> None:
    torch.manual_seed(0)
    values = torch.arange(4.0)
    images = values[:, None, None, None].expand(4, 3, 2, 2)
    batch = mixed(RatedBatch(images, values / 10, torch.empty(4, 0), images * 2), 0.5)
    torch.testing.assert_close(batch.image[:, 0, 0, 0], batch.score * 10)
    torch.testing.assert_close(batch.reference, batch.image * 2)
    assert batch.pristine.shape == (4, 0)
    assert not torch.equal(batch.image, images)
    assert batch.score.mean() == pytest.approx(values.mean().item() / 10)


def write_recipe(path: Path, metric: str, root: Path, more: str = "", **train: Any) -> Path:
    train = {"steps": 2, "warmup_steps": 1, "patch": 48, "validate_every": 2, "workers": 0, **train}
    path.write_text(
        f'metric = "{metric}"\n'
        f'[[data]]\nkind = "conditions"\nroot = {json.dumps(str(root))}\nbatch = 4\nvalidate = true\n{more}\n'
        f"[network]\nwidth = 8\ndifference_depth = 2\nimage_depth = 1\nfrozen_backbone = true\n[train]\n"
        + "\n".join(f"{key} = {json.dumps(value)}" for key, value in train.items())
    )
    return path


@pytest.mark.parametrize("metric", ["nariqa", "nriqa-akd"])
def test_teacher_and_student_train_on_kept_features_and_leave_the_backbone_alone(
    metric: str, root: Path, tmp_path: Path
) -> None:
    good = tmp_path / "good"
    good.mkdir()
    for index, photo in enumerate(photos(SIDE)):
        save_image(photo, good / f"{index}.png")
    kept = {"features": str(tmp_path / "features"), "views": 2, "mixup": 0.5}
    first = write_recipe(tmp_path / "teacher.toml", metric, root, full_reference=True, **kept)
    teacher = trainer.train(first, output=tmp_path / "teacher")
    photographs = write_biq2021(tmp_path / "biq2021")
    more = f'[[data]]\nkind = "biq2021"\nroot = {json.dumps(str(photographs))}\nbatch = 4'
    own = {"references": str(good)} if metric == "nariqa" else {}
    second = write_recipe(
        tmp_path / "student.toml",
        metric,
        root,
        more,
        teacher_weights=str(teacher),
        **own,
        **kept,
    )
    student = trainer.train(second, output=tmp_path / "student")
    (_, before), (_, after) = (read_weights(find_weights(metric, each), metric) for each in (teacher, student))
    assert all(torch.equal(value, after[key]) for key, value in before.items() if key.startswith("backbone"))
    assert any(not torch.equal(value, after[key]) for key, value in before.items())
    if metric == "nariqa":
        assert NARIQA(student)(photos(SIDE), photos(96)).shape == (3,)


def test_a_teacher_with_another_backbone_is_refused(root: Path, tmp_path: Path) -> None:
    teacher = trainer.train(write_recipe(tmp_path / "t.toml", "nariqa", root, seed=1), output=tmp_path / "teacher")
    recipe = write_recipe(
        tmp_path / "s.toml", "nariqa", root, teacher_weights=str(teacher), features=str(tmp_path / "features"), seed=2
    )
    with pytest.raises(ConfigError, match="another backbone"):
        trainer.train(recipe, output=tmp_path / "student")


def test_features_that_cannot_be_kept_are_refused(root: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "grey.toml", "nariqa", root, features="features", grey_share=0.1)
    with pytest.raises(ConfigError, match="grey_share"):
        Recipe.read(path)
    path = write_recipe(tmp_path / "trained.toml", "nariqa", root, features="features")
    path.write_text(path.read_text().replace("frozen_backbone = true", "frozen_backbone = false"))
    with pytest.raises(ConfigError, match="this one is trained"):
        Recipe.read(path)


def test_features_of_an_image_that_was_replaced_are_made_again(rated: list[RatedImage], tmp_path: Path) -> None:
    network, files = Counting(), [Photograph(tmp_path / f"{i}.bmp", str(i)) for i in range(2)]
    for value in (100, 200):
        for photograph in files:
            Image.new("RGB", (SIDE, SIDE), (value,) * 3).save(photograph.file)  # of one size in bytes
        kept = KeptFeatures(tmp_path / "kept", network, patch=SIDE, views=1).of(files)
        assert float(kept[0][0].mean()) == pytest.approx(value / 255, abs=1e-3)
