"""CVRKD-IQA: the paper's counts, tiles and patches, reference features, and the losses of its distillation."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from drmetric.distill.cvrkd import difference_loss, score_loss
from drmetric.errors import ConfigError
from drmetric.networks.backbones import create_backbone
from drmetric.networks.cvrkd import CVRKD, PAPER, CVRKDConfig, summary
from tests.contract import photos, vivid
from tests.networks.counting import CLOSE, count, linear, mixer

TOKENS = 49
SMALL = CVRKDConfig(width=8, mixer_width=16, difference_depth=2, image_depth=1, tile=64)


@pytest.fixture(scope="module")
def network():
    return vivid(CVRKD()).eval()


@pytest.fixture(scope="module")
def small():
    return vivid(CVRKD(SMALL)).eval()


class TestPaper:
    """The faithful configuration against the counts measured on the original, 42 M and 16.4 M trainable."""

    @pytest.fixture
    def skeleton(self):
        """Without memory for its weights."""
        pytest.importorskip("timm", reason="the paper's backbone comes from timm", exc_type=ImportError)
        with torch.device("meta"):
            return CVRKD(PAPER)

    def test_parameters_are_the_papers(self, skeleton):
        reductions = sum(linear(channels, 64) for channels in (256, 512, 1024, 2048))
        mixers = mixer(2560, 256, 18) + mixer(2560, 256, 9)
        trainable = reductions + mixers + linear(512, 256) + linear(256, 1)
        assert count(skeleton, trainable=True) == trainable
        assert round(trainable / 1e6, 1) == 16.4
        classifier = linear(2048, 1000)  # ResNet-50's, part of the 42 M
        assert round((count(skeleton) + classifier) / 1e6) == 42

    def test_ten_patches_of_7_x_7_tokens_are_folded(self, skeleton):
        patches = torch.empty(2, 10, 3, 224, 224, device="meta")
        tokens = skeleton.tokens(patches)
        assert tokens.shape == (2, 1, 1, 1, TOKENS, 2560)
        branches = skeleton.compare(tokens, skeleton.reference_features(patches[:1]))
        assert branches.logits.shape == (2, 1, 7, 7)
        assert [block.shape for block in branches.differences] == 18 * [(2, 1, 1, 1, TOKENS, 256)]

    @torch.no_grad()
    def test_the_affine_head_scores_the_mean_token(self):
        plain = vivid(CVRKD(replace(SMALL, affine_head=True))).eval()
        image, reference = photos(64), photos(64).flip(0)
        tokens, features = plain.tokens(image), plain.reference_features(reference)
        difference = plain.difference_mixer(features - tokens)[0]
        content = plain.image_mixer(tokens)[0]
        expected = plain.score_head(torch.cat([difference.mean(-2), content.mean(-2)], -1)).flatten()
        torch.testing.assert_close(plain(image, reference).mean((1, 2, 3)), expected, **CLOSE)

    def test_the_backbone_is_frozen(self):
        frozen = CVRKD(replace(SMALL, frozen_backbone=True)).train()
        frozen(photos(64), photos(64).flip(0)).sum().backward()
        assert not any(module.training for module in frozen.backbone.modules())
        assert all(p.grad is None for p in frozen.backbone.parameters())
        assert all(reduction.weight.grad.abs().sum() > 0 for reduction in frozen.reductions)

    def test_config_survives_json(self):
        read = json.loads(json.dumps(PAPER.as_dict()))
        assert CVRKDConfig(**{**read, "taps": tuple(read["taps"])}) == PAPER


class TestNetwork:
    def test_parameters_of_the_default(self, network):
        reductions = sum(linear(channels, 64) for channels in (24, 32, 96, 320))
        head = mixer(256, 128, 6) + mixer(256, 128, 3) + linear(256, 128) + linear(128, 1)
        assert count(network) == count(create_backbone("mobilenetv2", 5)) + reductions + head
        assert count(network) == count(network, trainable=True) < 4e6

    @pytest.mark.parametrize(("size", "tiles"), [((32, 33), (1, 1)), ((224, 224), (1, 1)), ((224, 500), (1, 2))])
    @torch.no_grad()
    def test_an_image_of_any_size_is_scored_beside_a_reference_of_any_size(self, network, size, tiles):
        image, reference = F.interpolate(photos(96)[:2], size), photos(80)[2:]
        assert network(image, reference).shape == (2, 1, 7 * tiles[0], 7 * tiles[1])

    @torch.no_grad()
    def test_photographs_get_scores_of_their_own(self, network):
        scores = network(photos(224), photos(224)[:1]).mean((1, 2, 3))
        assert scores.std() > 1e-2

    @torch.no_grad()
    def test_an_images_score_does_not_depend_on_its_batch(self, network):
        images, features = photos(96), network.reference_features(photos(96)[:1])
        torch.testing.assert_close(network.score(images[1:2], features), network.score(images, features)[1:2], **CLOSE)

    @torch.no_grad()
    def test_the_map_lies_as_the_image_does(self, small):
        image, reference = photos(288)[:1, :, :128, :192], photos(64)[1:2]
        plain = small(image, reference)
        spoilt = image.clone()
        spoilt[..., 64:, 128:] = 0.5
        changed = (small(spoilt, reference) - plain).abs()
        assert plain.shape == (1, 1, 14, 21)
        assert F.avg_pool2d(changed, 7).argmax() == 5, "the tile that was spoilt"

    @torch.no_grad()
    def test_tokens_are_the_pooled_features_of_their_tile(self, network):
        image = photos(288)[:2, :, :224, :224].repeat(1, 1, 2, 1)
        tokens = network.tokens(image)
        assert tokens.shape == (2, 1, 2, 1, TOKENS, 256)
        lower = network.reductions[1](network.backbone.features(image)[2])[1, :, 28:]  # stride 8: 56 rows, two tiles
        expected = lower.reshape(64, 7, 4, 7, 4).mean((2, 4)).flatten(1).T
        torch.testing.assert_close(tokens[1, 0, 1, 0, :, 64:128], expected, **CLOSE)

    @torch.no_grad()
    def test_folded_patches_lie_side_by_side_in_every_level(self, small):
        folded = CVRKD(replace(SMALL, folded_patches=3)).eval()
        parts = {k: v for k, v in small.state_dict().items() if k.startswith(("backbone", "reductions"))}
        folded.load_state_dict(parts, strict=False)
        patches = torch.stack([photos(64), photos(64).flip(0)])
        tokens = folded.tokens(patches)
        assert tokens.shape == (2, 1, 1, 1, TOKENS, 3 * 32)
        expected = small.tokens(patches).unflatten(-1, (4, 8))[:, :, 0, 0].permute(0, 2, 3, 1, 4).flatten(2)
        torch.testing.assert_close(tokens[:, 0, 0, 0], expected, **CLOSE)

    @torch.no_grad()
    def test_number_and_order_of_patches_do_not_matter(self, small):
        patches, references = photos(64)[None], photos(96)[None]
        expected = small(patches, references)
        order = [2, 0, 1]
        torch.testing.assert_close(small(patches[:, order], references)[:, [1, 2, 0]], expected, **CLOSE)
        torch.testing.assert_close(small(patches, references[:, order]), expected, **CLOSE)
        torch.testing.assert_close(small(patches, references.repeat(1, 2, 1, 1, 1)), expected, **CLOSE)
        twice = small(patches.repeat(1, 2, 1, 1, 1), references)
        torch.testing.assert_close(twice.mean(), expected.mean(), **CLOSE)

    @torch.no_grad()
    def test_features_of_references_average_their_tiles_and_each_other(self, small):
        references = photos(128)
        features = small.reference_features(references)
        assert features.shape == (3, 1, 1, 1, TOKENS, 32) == (3, *small.bank.shape[1:])
        torch.testing.assert_close(features[1, 0, 0, 0], small.tokens(references)[1, 0].mean((0, 1)), **CLOSE)
        as_patches = small.reference_features(references[None])
        torch.testing.assert_close(as_patches, features.mean(0, keepdim=True), **CLOSE)

    @torch.no_grad()
    def test_branches_give_the_score_and_every_block(self, small):
        image, pristine = photos(128), photos(128).flip(-1)
        aligned = small.tokens(pristine)
        branches = small.branches(image, aligned)
        assert torch.equal(branches.logits, small.score(image, aligned))
        _, blocks = small.difference_mixer(aligned - small.tokens(image))
        assert len(branches.differences) == len(blocks) == 2
        for got, expected in zip(branches.differences, blocks, strict=True):
            assert got.shape == (3, 1, 2, 2, TOKENS, 16)
            torch.testing.assert_close(got, expected, **CLOSE)
        assert not torch.allclose(branches.logits, small.score(image, summary(aligned)), **CLOSE), "tile by tile"

    @torch.no_grad()
    def test_a_blind_network_does_not_look_at_the_reference(self):
        blind = vivid(CVRKD(replace(SMALL, blind=True))).eval()
        images = photos(64)
        assert torch.equal(blind(images, images), blind(images, torch.rand(1, 3, 80, 80)))
        assert blind(images, images).std() > 0


def blocks(count, seed, width=8):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 1, 1, 1, TOKENS, width, generator=generator) for _ in range(count)]


class TestLosses:
    def test_score_loss_is_the_mean_distance(self):
        assert score_loss(torch.tensor([0.1, 0.9]), torch.tensor([0.3, 0.5])) == pytest.approx(0.3)

    def test_all_blocks_are_distilled(self):
        student, teacher = blocks(18, seed=0), blocks(18, seed=1)
        expected = sum(((ours - theirs) ** 2).mean() for ours, theirs in zip(student, teacher, strict=True))
        torch.testing.assert_close(difference_loss(student, teacher), expected)
        assert difference_loss(teacher, teacher) == 0

    @pytest.mark.parametrize("other", [blocks(11, seed=0), blocks(18, seed=0, width=4)])
    def test_mixers_of_unequal_shape_are_refused(self, other):
        with pytest.raises(ConfigError, match="18 blocks") as caught:
            difference_loss(other, blocks(18, seed=1))
        assert "difference_depth" in caught.value.fix

    def test_gradients_reach_every_block_of_the_student_but_none_of_the_teacher(self):
        student, teacher = blocks(3, seed=0), blocks(3, seed=1)
        for block in (*student, *teacher):
            block.requires_grad_()
        difference_loss(student, teacher).backward()
        assert all(block.grad.abs().sum() > 0 for block in student)
        assert all(block.grad is None for block in teacher)
