"""AKD-IQA: mixers, teacher and student, and the losses of inter-level distillation."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from drmetric.distill.akdiqa import LevelWeights, inter_level_loss, level_losses, paired_blocks, score_loss
from drmetric.distortions.redistort import redistort
from drmetric.errors import ConfigError
from drmetric.networks.akdiqa import (
    AKDIQA,
    PAPER_STUDENT,
    PAPER_TEACHER,
    AKDIQAConfig,
    CrossAttention,
    _merge_patches_early,
)
from drmetric.networks.backbones import create_backbone
from drmetric.networks.mixer import Mixer, MixerBlock
from tests.contract import photos, vivid
from tests.networks.counting import CLOSE, count, linear, mixer

SWIN = "timm:swin_tiny_patch4_window7_224"
LEVELS, TOKENS, WIDTH = 4, 49, 64


@pytest.fixture(scope="module")
def network():
    return vivid(AKDIQA()).eval()


class TestMixer:
    @torch.no_grad()
    def test_block_is_the_papers_two_equations(self):
        torch.manual_seed(0)
        block = MixerBlock(tokens=9, width=8)
        x = torch.randn(2, 9, 8)
        w1, b1, w2, b2 = (p for layer in (block.token_mlp[0], block.token_mlp[2]) for p in (layer.weight, layer.bias))
        normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        hidden = F.gelu(torch.einsum("ht,btc->bhc", w1, normed) + b1[:, None])
        u = x + torch.einsum("th,bhc->btc", w2, hidden) + b2[:, None]
        normed = (u - u.mean(-1, keepdim=True)) / (u.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        hidden = F.gelu(block.channel_mlp[0](normed))
        torch.testing.assert_close(block(x), u + block.channel_mlp[2](hidden), **CLOSE)

    @torch.no_grad()
    def test_stack_gives_every_block_and_the_norm_of_the_last(self):
        stack = Mixer(inputs=5, width=8, tokens=9, depth=3)
        features, outputs = stack(torch.randn(4, 2, 9, 5))
        assert features.shape == (4, 2, 9, 8)
        assert [output.shape for output in outputs] == 3 * [features.shape]
        torch.testing.assert_close(stack.blocks[1](outputs[0]), outputs[1])
        torch.testing.assert_close(F.layer_norm(outputs[-1], (8,)), features, **CLOSE)

    def test_counts_are_those_of_cvrkd(self):
        stacks = [Mixer(2560, 256, 49, depth) for depth in (18, 9)]
        assert [count(stack) for stack in stacks] == [mixer(2560, 256, 18), mixer(2560, 256, 9)]
        reductions = sum(linear(channels, 64) for channels in (256, 512, 1024, 2048))
        trainable = sum(map(count, stacks)) + reductions + linear(512, 256) + linear(256, 1)
        assert round(trainable / 1e6, 1) == 16.4


@pytest.fixture(scope="module")
def swin():
    pytest.importorskip("timm", reason="the paper's backbone comes from timm", exc_type=ImportError)
    torch.manual_seed(0)
    return create_backbone(SWIN, 4).eval()


class TestPaper:
    """The faithful configuration against the counts measured on the original, 30.1 M and 1.84 M trainable."""

    @pytest.fixture
    def skeletons(self):
        """Student and teacher without memory for their weights."""
        pytest.importorskip("timm", reason="the paper's backbone comes from timm", exc_type=ImportError)
        with torch.device("meta"):
            return AKDIQA(PAPER_STUDENT), AKDIQA(PAPER_TEACHER)

    def test_parameters_are_the_papers(self, skeletons):
        student, _ = skeletons
        reductions = sum(linear(channels, 64) for channels in (192, 384, 768, 768))
        mixers = mixer(640, 64, 18) + mixer(640, 64, 9)
        trainable = reductions + mixers + 3 * linear(256, 256) + linear(256, 1)
        assert count(student, trainable=True) == trainable == 1_840_880
        unused = linear(768, 1000) + 2 * 768  # Swin's classifier and the norm before it, part of the 30.1 M
        assert round((count(student) + unused) / 1e6, 1) == 30.1
        assert count(student) == 29_358_698

    def test_the_teacher_is_twice_as_deep(self, skeletons):
        student, teacher = skeletons
        blocks = mixer(640, 64, 36) - mixer(640, 64, 9)
        assert count(teacher, trainable=True) - count(student, trainable=True) == blocks
        assert (len(teacher.difference_mixer.blocks), len(teacher.image_mixer.blocks)) == (36, 18)

    @torch.no_grad()
    def test_a_swin_backbone_gives_timms_features_channels_first(self, swin):
        import timm

        torch.manual_seed(0)
        theirs = timm.create_model(SWIN.removeprefix("timm:"), features_only=True, pretrained=False).eval()
        got = photos(224)[:1]
        for stage, expected in zip(swin.stages, theirs(got), strict=True):
            got = stage(got)
            torch.testing.assert_close(got, expected.permute(0, 3, 1, 2))

    @torch.no_grad()
    def test_taps_come_after_patch_merging_which_changes_no_other_feature(self, swin):
        merged = copy.deepcopy(swin)
        _merge_patches_early(merged)
        assert merged.strides == [8, 16, 32, 32]
        got = expected = photos(224)[:1]
        sides = 28, 14, 7, 7
        for stage, plain, channels, side in zip(merged.stages, swin.stages, merged.channels, sides, strict=True):
            got, expected = stage(got), plain(expected)
            assert got.shape == (1, channels, side, side)
        torch.testing.assert_close(got, expected)

    def test_crops_are_folded_and_the_backbone_is_frozen(self, skeletons):
        student = AKDIQA(replace(PAPER_STUDENT, folded_crops=2)).train()
        assert student.backbone.channels == skeletons[0].backbone.channels == [192, 384, 768, 768]
        crops = photos(224)[None, :2]
        branches = student.branches(crops, crops.flip(-1))
        assert branches.logits.shape == (1, 1, 1, 1)
        assert [len(level) for level in branches.differences] == LEVELS * [18]
        assert branches.differences[3][17].shape == (1, TOKENS, WIDTH)
        branches.logits.sum().backward()
        assert not any(module.training for module in student.backbone.modules())
        assert all(p.grad is None for p in student.backbone.parameters())
        assert all(reduction.weight.grad.abs().sum() > 0 for reduction in student.reductions)
        assert student.difference_mixer.training


class TestNetwork:
    def test_parameters_of_the_default(self, network):
        reductions = sum(linear(channels, 64) for channels in (24, 32, 96, 320))
        head = mixer(64, 64, 6) + mixer(64, 64, 3) + 3 * linear(256, 256) + linear(256, 1)
        assert count(network) == count(create_backbone("mobilenetv2", 5)) + reductions + head
        assert count(network) == count(network, trainable=True) < 4e6

    @pytest.mark.parametrize(("size", "tiles"), [((32, 33), (1, 1)), ((224, 224), (1, 1)), ((224, 500), (1, 2))])
    @torch.no_grad()
    def test_an_image_of_any_size_is_scored_by_tiles(self, network, size, tiles):
        image = F.interpolate(photos(96)[:2], size)
        assert network(image, image.flip(0)).shape == (2, 1, *tiles)

    @torch.no_grad()
    def test_photographs_get_scores_of_their_own(self, network):
        images = photos(224)
        scores = network(images, redistort(images)).mean((1, 2, 3))
        assert scores.std() > 1e-2

    @torch.no_grad()
    def test_an_images_score_does_not_depend_on_its_batch(self, network):
        images = photos(96)
        references = redistort(images)
        together = network(images, references)
        torch.testing.assert_close(network(images[1:2], references[1:2]), together[1:2], **CLOSE)

    @torch.no_grad()
    def test_tiles_are_read_row_by_row(self):
        network = vivid(AKDIQA(AKDIQAConfig(tile=64))).eval()
        image = photos(288)[:1, :, :128, :192]
        plain = network(image, image.flip(-1))
        spoilt = image.clone()
        spoilt[..., 64:, 128:] = 0.5
        changed = (network(spoilt, image.flip(-1)) - plain).abs()[0, 0]
        assert plain.shape == (1, 1, 2, 3)
        assert changed.argmax() == 5, "the tile that was spoilt"

    @torch.no_grad()
    def test_tokens_are_the_pooled_features_of_their_tile(self, network):
        image = photos(288)[:2, :, :224, :224].repeat(1, 1, 2, 1)
        tokens = network._tokens(network.pooled(image))
        assert tokens.shape == (LEVELS, 2 * 2, TOKENS, WIDTH)
        features = network.backbone.normalise(image)
        for stage in network.backbone.stages[:3]:
            features = stage(features)
        lower = network.reductions[1](features)[1, :, 28:]  # stride 8: 56 rows are two tiles
        expected = lower.reshape(WIDTH, 7, 4, 7, 4).mean((2, 4)).flatten(1).T
        torch.testing.assert_close(tokens[1, 3], expected, **CLOSE)

    @torch.no_grad()
    def test_folded_crops_lie_side_by_side_in_the_channels(self):
        torch.manual_seed(0)
        folded = AKDIQA(AKDIQAConfig(folded_crops=3)).eval()
        single = AKDIQA(AKDIQAConfig()).eval()
        parts = {k: v for k, v in folded.state_dict().items() if k.startswith(("backbone", "reductions"))}
        single.load_state_dict(parts, strict=False)
        crops = torch.stack([photos(64), photos(64).flip(0)])
        tokens = folded._tokens(folded.pooled(crops))
        assert tokens.shape == (LEVELS, 2, TOKENS, 3 * WIDTH)
        expected = single._tokens(single.pooled(crops)).unflatten(1, (2, 3)).transpose(2, 3).flatten(3)
        torch.testing.assert_close(tokens, expected, **CLOSE)

    @torch.no_grad()
    def test_number_and_order_of_crops_do_not_matter(self, network):
        crops = photos(64)[None]
        references = redistort(crops[0])[None]
        logits = network(crops, references)
        assert logits.shape == (1, 3, 1, 1)
        order = [2, 0, 1]
        shuffled = network(crops[:, order], references[:, order])
        torch.testing.assert_close(shuffled, logits[:, order], **CLOSE)
        torch.testing.assert_close(shuffled.mean(), logits.mean(), **CLOSE)
        twice = network(crops.repeat(1, 2, 1, 1, 1), references.repeat(1, 2, 1, 1, 1))
        torch.testing.assert_close(twice.mean(), logits.mean(), **CLOSE)
        alone = network(crops[0], references[0])
        torch.testing.assert_close(alone.flatten(), logits.flatten(), **CLOSE)

    @torch.no_grad()
    def test_branches_give_the_score_and_every_block_at_every_level(self, network):
        images = photos(64)
        references = redistort(images)
        branches = network.branches(images, references)
        assert torch.equal(branches.logits, network(images, references))
        assert [len(level) for level in branches.differences] == LEVELS * [6]
        assert {block.shape for level in branches.differences for block in level} == {(3, TOKENS, WIDTH)}
        difference = network._tokens(network.pooled(references)) - network._tokens(network.pooled(images))
        for level in range(LEVELS):
            _, blocks = network.difference_mixer(difference[level])
            for got, expected in zip(branches.differences[level], blocks, strict=True):
                torch.testing.assert_close(got, expected, **CLOSE)

    @torch.no_grad()
    def test_cross_attention_is_torchs_without_its_output_projection(self):
        ours = CrossAttention(16, heads=8)
        theirs = nn.MultiheadAttention(16, 8, batch_first=True)
        parts = ours.query, ours.key, ours.value
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.weight.copy_(torch.eye(16))
        query, context = torch.randn(2, 49, 16), torch.randn(2, 49, 16)
        torch.testing.assert_close(ours(query, context), theirs(query, context, context)[0], **CLOSE)

    def test_training_reaches_every_parameter_and_both_images(self):
        network = vivid(AKDIQA()).train()
        images = photos(64).requires_grad_()
        references = redistort(photos(64)).requires_grad_()
        network(images, references).square().mean().backward()
        assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        for gradient in (images.grad, references.grad):
            assert gradient.isfinite().all()
            assert gradient.abs().sum() > 0

    def test_a_students_score_has_finite_gradients_through_its_reference(self, network):
        images = photos(64).requires_grad_()
        network(images, redistort(images)).sum().backward()
        through_both = images.grad.clone()
        images.grad = None
        network(images, redistort(images.detach())).sum().backward()
        assert through_both.isfinite().all()
        assert (through_both - images.grad).abs().max() > 0

    def test_the_config_survives_json(self):
        read = json.loads(json.dumps(PAPER_TEACHER.as_dict()))
        assert AKDIQAConfig(**{**read, "taps": tuple(read["taps"])}) == PAPER_TEACHER
        assert replace(PAPER_TEACHER, difference_depth=18, image_depth=9) == PAPER_STUDENT


def features(blocks, seed):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(2, 9, 8, generator=generator) for _ in range(blocks)] for _ in range(LEVELS)]


class TestLosses:
    def test_score_loss_is_quadratic_near_and_linear_far(self):
        score, target = torch.tensor([0.1, 3.0]), torch.zeros(2)
        assert score_loss(score, target) == pytest.approx((0.5 * 0.1**2 + 3 - 0.5) / 2)
        assert score_loss(score[:1], target[:1], beta=0.05) == pytest.approx(0.1 - 0.025)

    def test_pairing_rules_of_the_paper(self):
        assert paired_blocks(36, 18, "every_second") == list(range(1, 36, 2))
        assert paired_blocks(36, 18, "last") == list(range(18, 36))
        assert paired_blocks(6, 6, "every_second") == paired_blocks(6, 6, "last") == list(range(6))

    @pytest.mark.parametrize(("teacher", "pairing"), [(5, "last"), (5, "every_second"), (7, "every_second")])
    def test_depths_that_do_not_pair_are_quoted(self, teacher, pairing):
        with pytest.raises(ConfigError, match=f"{teacher} teacher blocks cannot supervise 6 .*{pairing}") as caught:
            paired_blocks(teacher, 6, pairing)
        assert "12 blocks" in caught.value.fix

    @pytest.mark.parametrize(("pairing", "chosen"), [("every_second", (1, 3, 5)), ("last", (3, 4, 5))])
    def test_levels_sum_their_blocks_distances_from_the_paired_ones(self, pairing, chosen):
        student, teacher = features(3, seed=0), features(6, seed=1)
        expected = [
            sum(((student[level][k] - teacher[level][m]) ** 2).mean() for k, m in enumerate(chosen))
            for level in range(LEVELS)
        ]
        got = level_losses(student, teacher, pairing)
        torch.testing.assert_close(got, torch.stack(expected))
        weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
        total = inter_level_loss(student, teacher, weights, factor=5, pairing=pairing)
        torch.testing.assert_close(total, 5 * sum(w * loss for w, loss in zip(weights, expected, strict=True)))

    def test_a_student_like_its_teacher_loses_nothing(self):
        teacher = features(6, seed=0)
        student = [[level[1], level[3], level[5]] for level in teacher]
        assert inter_level_loss(student, teacher, LevelWeights()()) == 0

    def test_gradients_reach_student_and_weights_but_not_the_teacher(self):
        student, teacher = features(3, seed=0), features(6, seed=1)
        for block in (*student[2], *teacher[2]):
            block.requires_grad_()
        weights = LevelWeights()
        inter_level_loss(student, teacher, weights()).backward()
        assert all(block.grad.abs().sum() > 0 for block in student[2])
        assert all(block.grad is None for block in teacher[2])
        assert weights.logits.grad.abs().sum() > 0

    @torch.no_grad()
    def test_distillation_of_networks(self):
        student = AKDIQA(AKDIQAConfig(difference_depth=2, image_depth=1)).eval()
        teacher = AKDIQA(AKDIQAConfig(difference_depth=4, image_depth=2)).eval()
        images = photos(64)
        ours = student.branches(images, redistort(images)).differences
        theirs = teacher.branches(images, photos(64).flip(0)).differences
        losses = level_losses(ours, theirs)
        assert losses.shape == (LEVELS,)
        assert (losses > 0).all()


class TestLevelWeights:
    def train(self, floor, steps=300):
        """The weights after training beside levels that stay as far apart as they are, the second one easy."""
        weights = LevelWeights(LEVELS, floor)
        optimiser = torch.optim.Adam(weights.parameters(), lr=0.1)
        for _ in range(steps):
            optimiser.zero_grad()
            (weights() * torch.tensor([1.0, 0.2, 1.0, 0.8])).sum().backward()
            optimiser.step()
        return weights().detach()

    def test_a_free_softmax_collapses_to_the_easy_level(self):
        weights = self.train(floor=0)
        assert weights[1] > 0.99
        assert weights.min() < 0.003

    def test_guarded_weights_do_not(self):
        weights = self.train(floor=0.5)
        assert weights.min() >= 0.5 / LEVELS
        assert weights.argmax() == 1
        assert weights.sum() == pytest.approx(1)

    @pytest.mark.parametrize("floor", [0.0, 0.3, 1.0])
    def test_no_weight_falls_below_the_floor_whatever_was_learned(self, floor):
        weights = LevelWeights(LEVELS, floor)
        nn.init.constant_(weights.logits, -1e9)
        with torch.no_grad():
            weights.logits[2] = 1e9
            assert weights().min() == pytest.approx(floor / LEVELS)
            assert weights().sum() == pytest.approx(1)

    def test_a_floor_of_one_fixes_equal_weights(self):
        assert torch.equal(self.train(floor=1), torch.full((LEVELS,), 1 / LEVELS))

    @pytest.mark.parametrize("floor", [-0.1, 1.1, math.nan])
    def test_a_floor_out_of_range_is_refused(self, floor):
        with pytest.raises(ConfigError, match="floor"):
            LevelWeights(LEVELS, floor)
