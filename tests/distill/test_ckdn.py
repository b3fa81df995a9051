"""Distillation of CKDN: the four losses by hand, the two phases, ImageNet weights, and the student that comes out."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from skimage import data
from torch import Tensor, nn
from torch.nn.utils import parametrize

pytest.importorskip("lightning")
from drmetric.checkpoints import write_weights
from drmetric.distill.ckdn import (
    CKDNDistillation,
    CKDNRecipe,
    TripletBatch,
    distillation_loss,
    initialise_backbones,
    mean_srcc,
    ranking_loss,
    regression_loss,
    relative_loss,
    win_expectation,
)
from drmetric.distill.norms import fold_batch_norms
from drmetric.errors import ConfigError
from drmetric.networks.ckdn import CKDN, Branches, CKDNConfig

FOLDED = Path(__file__).parents[3] / "shared/data/backbones/mobilenetv2_folded.safetensors"

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")  # steps outside a Trainer


def distillation(network: dict[str, Any] | None = None, **train: Any) -> CKDNDistillation:
    """A small network with random weights."""
    torch.manual_seed(0)
    recipe = CKDNRecipe.from_dict(
        {
            "metric": "driqa",
            "data": {"kind": "corpus", "root": "nowhere"},
            "network": {"backbone": "mobilenetv2", "head_stages": 1, "hidden": [8], **(network or {})},
            "train": {"steps": 10, **train},
        }
    )
    return CKDNDistillation(recipe)


def batch_of(count: int, side: int = 48) -> TripletBatch:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, count, 3, side, side, generator=generator)
    return TripletBatch(*images, *torch.rand(2, count, generator=generator))


def enliven(network: nn.Module) -> None:
    """Give every parameter another value, at which images differ in their scores.

    The default start shrinks activations by 6 ** 0.5 a layer; here they keep their size.
    """
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            jitter = 0.8 + 0.4 * torch.rand(parameter.shape, generator=generator)
            if name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
            elif name.endswith("original1"):  # a direction under weight norm: its length has no effect
                parameter.mul_(jitter)
            else:
                parameter.mul_(6**0.5 * jitter)


def photographs(side: int = 64) -> TripletBatch:
    """Two noisy photographs, each restored well (a) and not at all (b)."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    pristine = torch.stack([photo[:, top : top + side, 160 : 160 + side] for top in (60, 130)])
    noise = torch.randn(pristine.shape, generator=torch.Generator().manual_seed(5))
    degraded = (pristine + 0.15 * noise).clamp(0, 1)
    scores = torch.tensor([0.9, 0.8]), torch.tensor([0.2, 0.3])
    return TripletBatch(0.9 * pristine + 0.1 * degraded, degraded, degraded, pristine, *scores)


def test_regression_loss_is_the_mean_squared_error() -> None:
    score, target = torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.5, 0.5, 0.5])
    assert regression_loss(score, target).item() == pytest.approx((0.3**2 + 0.4**2 + 0) / 3)


@pytest.mark.parametrize(
    ("points", "expected"), [(0, 0.5), (100, 0.640), (200, 0.760), (400, 10 / 11), (-200, 0.240), (-400, 1 / 11)]
)
def test_win_expectation_is_the_elo_table(points: float, expected: float) -> None:
    # Scores are (Elo - 900) / 1000.
    a, b = torch.tensor([0.5 + points / 1000]), torch.tensor([0.5])
    assert win_expectation(a, b).item() == pytest.approx(expected, abs=5e-4)
    assert (win_expectation(a, b) + win_expectation(b, a)).item() == pytest.approx(1)


def test_the_better_image_is_expected_to_win() -> None:
    better, worse = torch.rand(50) / 2 + 0.5, torch.rand(50) / 2
    assert (win_expectation(better, worse) > 0.5).all()
    assert (win_expectation(worse, better) < 0.5).all()


def test_relative_loss_is_half_the_squared_distance_from_the_expectation() -> None:
    preference = torch.tensor([0.9, 0.2])
    a, b = torch.tensor([0.7, 0.3]), torch.tensor([0.3, 0.4])
    expected = [1 / (1 + 10 ** ((0.3 - 0.7) * 1000 / 400)), 1 / (1 + 10 ** ((0.4 - 0.3) * 1000 / 400))]
    by_hand = 0.5 * ((0.9 - expected[0]) ** 2 + (0.2 - expected[1]) ** 2) / 2
    assert relative_loss(preference, a, b).item() == pytest.approx(by_hand, rel=1e-5)
    assert relative_loss(win_expectation(a, b), a, b).item() == 0


def test_distillation_loss_is_thirty_times_the_mean_squared_distance_and_pulls_both_embeddings() -> None:
    degraded = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    pristine = torch.tensor([[1.0, 0.0], [3.0, 3.0]], requires_grad=True)
    loss = distillation_loss(degraded, pristine)
    assert loss.item() == pytest.approx(30 * (4 + 1) / 4)
    loss.backward()
    pull = 30 * 2 * (degraded - pristine).detach() / 4
    torch.testing.assert_close(degraded.grad, pull)
    torch.testing.assert_close(pristine.grad, -pull)


def test_ranking_loss_is_least_where_scores_differ_as_their_targets() -> None:
    high, low = torch.tensor([0.7]), torch.tensor([0.5])
    right = ranking_loss(high, low, high, low)
    assert right < ranking_loss(high, high, high, low) < ranking_loss(low, high, high, low)
    assert right < ranking_loss(high + 0.2, low, high, low), "too sure of itself"
    torch.testing.assert_close(right, ranking_loss(high - 0.3, low - 0.3, high, low))


def test_more_elo_points_between_the_scores_make_ranking_care_about_near_images() -> None:
    def cost_of_swapping(difference: float, elo_range: float) -> float:
        high, low = torch.tensor([0.5 + difference]), torch.tensor([0.5])
        return float(ranking_loss(low, high, high, low, elo_range) - ranking_loss(high, low, high, low, elo_range))

    assert cost_of_swapping(0.02, 1000) < 0.01
    assert cost_of_swapping(0.02, 5000) > 20 * cost_of_swapping(0.02, 1000)
    near_to_far = {points: cost_of_swapping(0.02, points) / cost_of_swapping(0.3, points) for points in (1000, 5000)}
    assert near_to_far[5000] > 3 * near_to_far[1000]


def test_losses_of_a_step_by_hand() -> None:
    logits = {name: torch.randn(3) for name in ("student_a", "student_b", "teacher_a", "teacher_b", "relative")}
    embeddings = {name: torch.randn(3, 4, 2, 2) for name in ("degraded", "pristine")}
    score_a, score_b = torch.rand(3), torch.rand(3)
    losses = distillation().losses(Branches(**logits, **embeddings), score_a, score_b)

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    def by_hand(branch: str) -> float:
        errors = [
            (sigmoid(logit) - target) ** 2
            for side, scores in (("a", score_a), ("b", score_b))
            for logit, target in zip(logits[f"{branch}_{side}"].tolist(), scores.tolist(), strict=True)
        ]
        return sum(errors) / 6

    preferences = [
        (sigmoid(logit) - 1 / (1 + 10 ** (2.5 * (b - a)))) ** 2
        for logit, a, b in zip(logits["relative"].tolist(), score_a.tolist(), score_b.tolist(), strict=True)
    ]

    def cross_entropy(branch: str) -> float:
        chances = [
            1 / (1 + 10 ** (2.5 * (sigmoid(b) - sigmoid(a))))
            for a, b in zip(logits[f"{branch}_a"].tolist(), logits[f"{branch}_b"].tolist(), strict=True)
        ]
        wins = [1 / (1 + 10 ** (2.5 * (b - a))) for a, b in zip(score_a.tolist(), score_b.tolist(), strict=True)]
        terms = [-w * math.log(p) - (1 - w) * math.log(1 - p) for w, p in zip(wins, chances, strict=True)]
        return sum(terms) / 3

    distance = ((embeddings["degraded"] - embeddings["pristine"]) ** 2).sum().item() / (3 * 4 * 2 * 2)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        {
            "student": by_hand("student"),
            "teacher": by_hand("teacher"),
            "relative": 0.5 * sum(preferences) / 3,
            "distillation": 30 * distance,
            "ranking": (cross_entropy("student") + cross_entropy("teacher")) / 2,
        },
        rel=1e-4,
    )


def test_a_branch_that_is_not_trained_is_not_ranked_either() -> None:
    batch = batch_of(2)
    both = distillation(ranking=1.0)
    branches = both.network.branches(*batch[:4])
    ranked = {
        (student, teacher): distillation(student=student, teacher=teacher, ranking=1.0).losses(
            branches, batch.score_a, batch.score_b
        )
        for student, teacher in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
    }
    mean = (ranked[1.0, 0.0]["ranking"] + ranked[0.0, 1.0]["ranking"]) / 2
    torch.testing.assert_close(ranked[1.0, 1.0]["ranking"], mean)
    sides = branches.student_a.sigmoid(), branches.student_b.sigmoid()
    torch.testing.assert_close(ranked[1.0, 0.0]["ranking"], ranking_loss(*sides, batch.score_a, batch.score_b))
    assert "ranking" not in ranked[0.0, 0.0]


def test_the_recipe_says_how_finely_a_step_ranks() -> None:
    batch = batch_of(2)
    branches = distillation().network.branches(*batch[:4])
    fine = distillation(student=1.0, teacher=0.0, ranking=1.0, ranking_range=4000.0)
    sides = branches.student_a.sigmoid(), branches.student_b.sigmoid()
    torch.testing.assert_close(
        fine.losses(branches, batch.score_a, batch.score_b)["ranking"],
        ranking_loss(*sides, batch.score_a, batch.score_b, 4000.0),
    )


def test_a_step_s_loss_is_the_weighted_sum_after_the_relative_phase() -> None:
    module = distillation(student=1.0, teacher=0.5, relative=0.25, distillation=2.0)
    batch = batch_of(2)
    losses = module.losses(module.network.branches(*batch[:4]), batch.score_a, batch.score_b)
    expected = losses["student"] + 0.5 * losses["teacher"] + 0.25 * losses["relative"] + 2 * losses["distillation"]
    torch.testing.assert_close(module.training_step(batch, 0), expected, rtol=1e-5, atol=1e-6)


def test_a_step_can_see_its_first_images_attacked() -> None:
    batch = batch_of(2)
    calm, tried = (distillation(attack=size) for size in (0.0, 0.05))
    tried.network.load_state_dict(calm.network.state_dict())
    same = calm.training_step(batch, 0)
    torch.testing.assert_close(calm.training_step(batch, 0), same)
    assert not torch.isclose(tried.training_step(batch, 0), same, rtol=1e-6)


def test_a_step_can_count_scores_that_noise_does_not_lower() -> None:
    batch = batch_of(2)
    without, counted = (distillation(noise=weight) for weight in (0.0, 1.0))
    counted.network.load_state_dict(without.network.state_dict())
    added = counted.training_step(batch, 0) - without.training_step(batch, 0)
    assert 0 < added < 0.2


def gradient_norms(module: CKDNDistillation) -> dict[str, float]:
    module.training_step(batch_of(2), 0).backward()
    parts = ("restored_embedding", "reference_embedding", "score_head", "relative_head")
    return {
        part: math.sqrt(sum(float(p.grad.square().sum()) for p in getattr(module.network, part).parameters()))
        for part in parts
        if getattr(module.network, part) is not None
    }


def test_relative_phase_trains_the_restored_embedding_and_its_head_alone() -> None:
    norms = gradient_norms(distillation(relative_steps=5, relative=0.0))
    assert norms["restored_embedding"] > 0
    assert norms["relative_head"] > 0
    assert norms["reference_embedding"] == norms["score_head"] == 0


def test_without_a_relative_loss_there_is_no_relative_head() -> None:
    norms = gradient_norms(distillation(relative_steps=0, relative=0.0))
    assert norms.keys() == {"restored_embedding", "reference_embedding", "score_head"}
    assert min(norms.values()) > 0


def test_branches_are_the_network_on_either_reference() -> None:
    network = distillation().network.eval()
    enliven(network)
    batch = batch_of(2)
    branches = network.branches(*batch[:4])
    pairs = {
        "student_a": (batch.a, batch.degraded),
        "student_b": (batch.b, batch.degraded),
        "teacher_a": (batch.a, batch.pristine),
        "teacher_b": (batch.b, batch.pristine),
    }
    for name, (restored, reference) in pairs.items():
        expected = network(restored, reference).mean((1, 2, 3))
        torch.testing.assert_close(getattr(branches, name), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(branches.degraded, network.reference_embedding(batch.degraded), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(branches.pristine, network.reference_embedding(batch.pristine), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [{}, {"weight_norm": True}, {"batch_norm": True}], ids=str)
@pytest.mark.parametrize(
    "network", [{}, {"shared_embedding": True}, {"pool": "features"}, {"backbone": "patches"}], ids=str
)
def test_student_scores_as_the_trained_network_s_student_branch(network: dict[str, Any], norm: dict[str, bool]) -> None:
    module = distillation(network, **norm)
    enliven(module.network)
    batch = batch_of(2)
    if norm.get("batch_norm"):
        for _ in range(30):
            module.network.train().branches(*batch[:4])
    module.eval()
    with torch.no_grad():
        branch = module.network.branches(*batch[:4]).student_a
        student = module.student().eval()
        scores = student(batch.a, batch.degraded).mean((1, 2, 3))
    assert (branch[0] - branch[1]).abs() > 1e-3
    torch.testing.assert_close(scores, branch, rtol=0, atol=1e-5)
    assert not any(parametrize.is_parametrized(m) for m in student.modules())
    assert set(student.state_dict()) == set(CKDN(module.recipe.network).state_dict())


def test_training_goes_on_from_weights_of_the_same_network(tmp_path: Path) -> None:
    before = distillation()
    enliven(before.network)
    path = tmp_path / "before.safetensors"
    write_weights(path, "driqa", before.recipe.network.as_dict(), before.student().state_dict())
    after = distillation(start_from=str(path), weight_norm=True)
    first, second = before.student().state_dict(), after.student().state_dict()
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(second[key], value.half().float(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match="holds another network"):
        distillation({"hidden": [9]}, start_from=str(path))


def test_a_head_that_sees_more_goes_on_from_one_that_sees_the_residual(tmp_path: Path) -> None:
    before = distillation()
    enliven(before.network)
    path = tmp_path / "before.safetensors"
    write_weights(path, "driqa", before.recipe.network.as_dict(), before.student().state_dict())
    narrow, wide = (distillation({"beside": beside}, start_from=str(path)) for beside in (False, True))
    image, degraded = torch.rand(2, 3, 64, 64) * torch.tensor([0.1, 1.0])[:, None, None, None], torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        first, second = (each.student()(image, degraded) for each in (narrow, wide))
    torch.testing.assert_close(second, first)
    assert abs(first[0].mean() - first[1].mean()) > 0.05


def test_a_deeper_head_goes_on_from_a_shallower_one_but_for_its_mlp(tmp_path: Path) -> None:
    before = distillation()
    enliven(before.network)
    path = tmp_path / "before.safetensors"
    write_weights(path, "driqa", before.recipe.network.as_dict(), before.student().state_dict())
    deeper, own = (distillation({"head_stages": 2}, **options) for options in ({"start_from": str(path)}, {}))
    first, second = before.student().state_dict(), deeper.student().state_dict()
    taken = {key for key in first if not key.startswith("score_head.mlp.")}
    for key, value in second.items():
        wanted = first[key].half().float() if key in taken else own.student().state_dict()[key]
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match="holds another network"):
        distillation({"head_stages": 2, "backbone": "patches"}, start_from=str(path))


def test_two_kinds_of_norm_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="weight_norm and batch_norm"):
        distillation(weight_norm=True, batch_norm=True)


def test_batch_norms_stand_behind_all_convolutions_but_the_last_of_the_head_and_fold_away() -> None:
    module = distillation({"backbone": "patches"}, batch_norm=True)
    plain = distillation({"backbone": "patches"})
    count = sum(isinstance(m, nn.BatchNorm2d) for m in module.network.modules())
    assert count == sum(isinstance(m, nn.Conv2d) for m in plain.network.modules()) - 1
    fold_batch_norms(module.network.eval())
    assert set(module.network.state_dict()) == set(plain.network.state_dict())


def test_weight_norm_splits_every_convolution_into_direction_and_length() -> None:
    normed, plain = distillation(weight_norm=True), distillation(weight_norm=False)
    convolutions = [m for m in normed.network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) > 20
    assert all(parametrize.is_parametrized(m, "weight") for m in convolutions)
    assert not any(parametrize.is_parametrized(m) for m in plain.network.modules())
    for split, whole in zip(
        convolutions, (m for m in plain.network.modules() if isinstance(m, nn.Conv2d)), strict=True
    ):
        torch.testing.assert_close(split.weight, whole.weight)


def torchvision_features() -> nn.Sequential:
    """torchvision's MobileNetV2 without its classifier, every weight and statistic random."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(3)
    features: nn.Sequential = models.mobilenet_v2(weights=None).features.eval()
    for module in features.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return features


@pytest.mark.parametrize("head_stages", [1, 2])
def test_imagenet_weights_reach_the_right_stage_of_both_embeddings_and_both_heads(head_stages: int) -> None:
    features = torchvision_features()
    network = CKDN(CKDNConfig("mobilenetv2", head_stages=head_stages, hidden=(8,)), relative=True).eval()
    initialise_backbones(network, features.state_dict())
    image = torch.rand(1, 3, 64, 64)
    normalised = (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    last = {1: 7, 2: 14}[head_stages]
    with torch.no_grad():
        early, late = features[:4](normalised), features[4:last](features[:4](normalised))
        for embedding in (network.restored_embedding, network.reference_embedding):
            torch.testing.assert_close(embedding(image), early, rtol=1e-3, atol=1e-4)
        for head in (network.score_head, network.relative_head):
            torch.testing.assert_close(head.stages(early), late, rtol=1e-3, atol=1e-4)
    assert network.restored_embedding is not network.reference_embedding


def test_embeddings_start_equal_but_are_trained_apart() -> None:
    network = CKDN(CKDNConfig("mobilenetv2", head_stages=1), relative=True)
    initialise_backbones(network, torchvision_features().state_dict())
    first, second = network.restored_embedding.state_dict(), network.reference_embedding.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not {id(p) for p in network.restored_embedding.parameters()} & {
        id(p) for p in network.reference_embedding.parameters()
    }


def test_weights_of_another_network_are_refused() -> None:
    state: dict[str, Tensor] = torchvision_features().state_dict()
    with pytest.raises(ConfigError, match=r"0\.0\.weight has shape"):
        initialise_backbones(
            CKDN(CKDNConfig("mobilenetv2"), relative=True), {**state, "0.0.weight": torch.zeros(16, 3, 3, 3)}
        )


@pytest.mark.skipif(not FOLDED.is_file(), reason=f"{FOLDED.name} is not here")
def test_recipe_s_backbone_weights_are_loaded_before_weight_norm() -> None:
    module = distillation(backbone_weights=str(FOLDED), weight_norm=True)
    random_start = distillation(weight_norm=True)
    kernels = {
        name: [e.backbone.stages[0][0][0].weight for e in (m.network.restored_embedding, m.network.reference_embedding)]
        for name, m in (("loaded", module), ("random", random_start))
    }
    assert torch.equal(*kernels["loaded"])
    assert not torch.equal(kernels["loaded"][0], kernels["random"][0])


def test_mean_srcc_is_scipys_within_contents_then_their_mean() -> None:
    generator = torch.Generator().manual_seed(4)
    content = torch.tensor([0] * 7 + [5] * 9 + [2] * 4 + [9])  # the last content has one image and does not count
    order = torch.randperm(len(content), generator=generator)
    content = content[order]
    score = torch.rand(len(content), generator=generator)
    target = (torch.rand(len(content), generator=generator) * 4).round() / 4  # with ties
    expected = [
        stats.spearmanr(score[content == key].numpy(), target[content == key].numpy()).statistic for key in (0, 5, 2)
    ]
    assert mean_srcc(score, target, content) == pytest.approx(sum(expected) / 3, abs=1e-5)


def test_mean_srcc_does_not_pool_contents() -> None:
    score = torch.tensor([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    target = torch.tensor([0.3, 0.2, 0.1, 0.9, 0.8, 0.7])  # contents apart, each upside down
    assert mean_srcc(score, target, torch.tensor([0, 0, 0, 1, 1, 1])) == pytest.approx(-1, abs=1e-4)


def test_schedule_moves_the_rate_at_every_step() -> None:
    module = distillation(rate=0.01, warmup_steps=2)
    configured = module.configure_optimizers()
    optimiser, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(3):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates == pytest.approx([0.005, 0.01, 0.01])


def test_forty_steps_fit_one_batch() -> None:
    module = distillation({"hidden": [32]}, rate=1e-3, warmup_steps=1, steps=200, distillation=0.1, relative=0.5)
    enliven(module.network)
    configured = module.configure_optimizers()
    optimiser, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    batch = photographs()
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        scheduler.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    with torch.no_grad():
        branches = module.network.branches(*batch[:4])
    for branch in (branches.student_a, branches.teacher_a):
        torch.testing.assert_close(branch.sigmoid(), batch.score_a, atol=0.12, rtol=0)
    for branch in (branches.student_b, branches.teacher_b):
        torch.testing.assert_close(branch.sigmoid(), batch.score_b, atol=0.12, rtol=0)
    assert (branches.relative.sigmoid() > 0.8).all()


def test_validation_without_two_images_of_a_content_is_explained() -> None:
    with pytest.raises(ConfigError):
        mean_srcc(torch.rand(3), torch.rand(3), torch.arange(3))


def test_student_leaves_the_network_as_it_was() -> None:
    module = distillation(weight_norm=True)
    before = set(module.network.state_dict())
    module.student()
    assert set(module.network.state_dict()) == before
