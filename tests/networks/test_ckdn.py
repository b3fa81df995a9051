"""Backbones and the CKDN network against shapes, counts and weights derived apart from them."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import fft
from torch import nn

from drmetric import errors
from drmetric.config import section
from drmetric.errors import ConfigError, MissingDependencyError
from drmetric.networks.backbones import IMAGENET_MEAN, IMAGENET_STD, create_backbone, load_backbone
from drmetric.networks.backbones.mobilenetv2 import load_torchvision_mobilenetv2, mobilenetv2
from drmetric.networks.backbones.patches import patch_cosines
from drmetric.networks.backbones.resnet50v2 import load_resnet50v2, resnet50v2
from drmetric.networks.ckdn import CKDN, PAPER, CKDNConfig
from tests.contract import lively, photos

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# --- counts from the papers' tables, by hand ---


def convolution(inputs, outputs, side, groups=1, bias=False):
    return inputs // groups * outputs * side**2 + bias * outputs


def with_norm(inputs, outputs, side, groups=1):
    """A convolution without bias and the gain and bias of its norm."""
    return convolution(inputs, outputs, side, groups) + 2 * outputs


def bottlenecks(inputs, width, blocks):
    """A stage of ResNet-50: `blocks` bottlenecks of 1x1, 3x3, 1x1, the first with a projection shortcut."""
    outputs = 4 * width
    first = with_norm(inputs, width, 1) + with_norm(inputs, outputs, 1)
    further = (blocks - 1) * with_norm(outputs, width, 1)
    return first + further + blocks * (with_norm(width, width, 3) + with_norm(width, outputs, 1))


def mlp(*widths):
    return sum(convolution(a, b, 1, bias=True) for a, b in pairwise(widths))


PAPER_EMBEDDING = with_norm(3, 64, 7) + bottlenecks(64, 64, 3)
PAPER_HEAD = bottlenecks(256, 128, 4) + mlp(512, 2048, 2048, 1)


def inverted_residual(inputs, outputs, expansion):
    """A block of MobileNetV2 whose norms are folded: each convolution has a bias instead."""
    hidden = inputs * expansion
    expand = convolution(inputs, hidden, 1, bias=True) if expansion > 1 else 0
    return expand + convolution(hidden, hidden, 3, hidden, bias=True) + convolution(hidden, outputs, 1, bias=True)


MOBILENETV2_STAGES = [
    convolution(3, 32, 3, bias=True) + inverted_residual(32, 16, 1),
    inverted_residual(16, 24, 6) + inverted_residual(24, 24, 6),
    inverted_residual(24, 32, 6) + 2 * inverted_residual(32, 32, 6),
    inverted_residual(32, 64, 6)
    + 3 * inverted_residual(64, 64, 6)
    + inverted_residual(64, 96, 6)
    + 2 * inverted_residual(96, 96, 6),
    inverted_residual(96, 160, 6) + 2 * inverted_residual(160, 160, 6) + inverted_residual(160, 320, 6),
]


@pytest.fixture(scope="module")
def paper():
    pytest.importorskip("timm", reason="the paper's backbone comes from timm", exc_type=ImportError)
    return CKDN(PAPER, relative=True).eval()


class TestPaper:
    @pytest.fixture
    def network(self, paper):
        return paper

    def test_parameters_are_the_papers(self, network):
        assert 2 * PAPER_EMBEDDING + PAPER_HEAD == 6_919_297  # what these helpers must give
        assert count(network) - count(network.relative_head) == 2 * PAPER_EMBEDDING + PAPER_HEAD
        assert count(network) == 2 * PAPER_EMBEDDING + 2 * PAPER_HEAD == 13_387_906
        assert count(network.restored_embedding) == count(network.reference_embedding) == PAPER_EMBEDDING

    @torch.no_grad()
    def test_shapes_at_the_papers_crop(self, network):
        image = photos(288)[:1]
        assert network.restored_embedding(image).shape == (1, 256, 72, 72)
        assert network.reference_embedding(image).shape == (1, 256, 72, 72)
        assert network(image, image).shape == (1, 1, 1, 1)
        assert network.stride == 8

    @torch.no_grad()
    def test_the_stem_keeps_its_norm_and_activation(self, network):
        stem = list(network.restored_embedding.backbone.stages[0])
        assert [type(layer).__name__ for layer in stem] == ["Conv2d", "BatchNorm2d", "ReLU"]
        assert network.restored_embedding.backbone.stages[0](photos(64)[:1] - 0.5).min() == 0

    @torch.no_grad()
    def test_features_are_pooled_before_the_mlp(self, network):
        a, b = photos(64)[:1], photos(64)[1:2]
        head = network.score_head
        residual = network.restored_embedding(a) - network.reference_embedding(b)
        expected = head.mlp(head.stages(residual).mean((2, 3), keepdim=True))
        torch.testing.assert_close(network(a, b), expected)

    def test_another_timm_backbone_of_stages_works(self):
        pytest.importorskip("timm", exc_type=ImportError)
        network = CKDN(replace(PAPER, backbone="timm:resnet18", hidden=(8,))).eval()
        assert network(photos(64)[:1], photos(64)[1:2]).shape == (1, 1, 1, 1)


class TestMobileNetV2:
    def test_parameters_are_those_of_the_papers_table(self):
        stages = mobilenetv2().stages
        assert [count(stage) for stage in stages] == MOBILENETV2_STAGES

    @pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 47), (65, 50), (32, 127)])
    @torch.no_grad()
    def test_each_stage_halves_and_rounds_up(self, height, width):
        backbone = mobilenetv2()
        assert backbone.channels == [16, 24, 32, 96, 320]
        assert backbone.strides == [2, 4, 8, 16, 32]
        features = torch.rand(1, 3, height, width)
        for stage, channels, stride in zip(backbone.stages, backbone.channels, backbone.strides, strict=True):
            features = stage(features)
            assert features.shape == (1, channels, math.ceil(height / stride), math.ceil(width / stride))

    def test_input_is_normalised_by_imagenets_statistics(self):
        image = photos(32)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        normalised = mobilenetv2(1).normalise(image)
        torch.testing.assert_close(normalised * std + mean, image)
        assert IMAGENET_MEAN == (0.485, 0.456, 0.406)
        assert IMAGENET_STD == (0.229, 0.224, 0.225)

    def test_statistics_are_not_state(self):
        assert not [key for key in mobilenetv2(1).state_dict() if key.startswith(("mean", "std"))]


@pytest.fixture(scope="module")
def theirs():
    """torchvision's network with statistics and gains that a wrong fold would not survive."""
    try:
        from torchvision.models import mobilenet_v2
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        pytest.skip(f"torchvision does not import: {error}")
    torch.manual_seed(0)
    network = mobilenet_v2(weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(1e-4, 2)
    return network


class TestFolding:
    """`load_torchvision_mobilenetv2` against torchvision's own network, norms and all."""

    @pytest.mark.parametrize("prefix", ["", "features."])
    @torch.no_grad()
    def test_features_are_torchvisions_at_every_stage(self, theirs, prefix):
        ours = mobilenetv2()
        load_torchvision_mobilenetv2(
            ours, {f"{prefix}{key}": value for key, value in theirs.features.state_dict().items()}
        )
        mine = other = ours.normalise(photos(96))
        ends = (2, 4, 7, 14, 18)
        for stage, start, end in zip(ours.stages, (0, *ends), ends, strict=False):
            mine, other = stage(mine), theirs.features[start:end](other)
            assert other.abs().max() > 0.01
            torch.testing.assert_close(mine, other, **CLOSE)

    @torch.no_grad()
    def test_a_whole_models_state_and_fewer_stages_are_taken(self, theirs):
        ours = mobilenetv2(2)
        load_torchvision_mobilenetv2(ours, theirs.state_dict())
        image = ours.normalise(photos(64))
        features = ours.stages[1](ours.stages[0](image))
        torch.testing.assert_close(features, theirs.features[:4](image), **CLOSE)

    def test_a_state_of_another_width_is_quoted(self, theirs):
        state = dict(theirs.features.state_dict())
        state["1.conv.1.weight"] = state["1.conv.1.weight"][:8]
        with pytest.raises(ConfigError, match=r"1\.conv\.1\.weight has shape \(8, 32, 1, 1\).*\(16, 32, 1, 1\)"):
            load_torchvision_mobilenetv2(mobilenetv2(), state)

    @pytest.mark.parametrize("kept", [0, 10])
    def test_a_state_that_ends_early_is_refused(self, theirs, kept):
        state = dict(list(theirs.features.state_dict().items())[: 6 * kept])
        with pytest.raises(ConfigError):
            load_torchvision_mobilenetv2(mobilenetv2(), state)


def normed(features, state, name):
    """A batch norm of fixed statistics, as torch has it."""
    statistics = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(features, *statistics, state.get(f"{name}.weight"), state.get(f"{name}.bias"))


def random_resnet50v2():
    """A state of random kernels and norms, in the published names."""
    state = {}

    def kernel(name, outputs, inputs, size):
        state[f"{name}.weight"] = torch.randn(outputs, inputs, size, size) / (inputs * size**2) ** 0.5

    def norm(name, channels, *, affine=True):
        state[f"{name}.running_mean"] = 0.2 * torch.randn(channels)
        state[f"{name}.running_var"] = 0.5 + torch.rand(channels)
        if affine:
            state[f"{name}.weight"], state[f"{name}.bias"] = 0.5 + torch.rand(channels), 0.2 * torch.randn(channels)

    norm("bn0", 3, affine=False)
    kernel("conv1", 64, 3, 7)
    norm("bn1", 64)
    inputs = 64
    for layer, (blocks, hidden) in enumerate(((3, 64), (4, 128), (6, 256)), 1):
        for block in range(blocks):
            at = f"layer{layer}.{block}"
            norm(f"{at}.bn1", inputs)
            kernel(f"{at}.conv1", hidden, inputs, 1)
            norm(f"{at}.bn2", hidden)
            kernel(f"{at}.conv2", hidden, hidden, 3)
            norm(f"{at}.bn3", hidden)
            kernel(f"{at}.conv3", 4 * hidden, hidden, 1)
            if block == 0:
                kernel(f"{at}.downsample", 4 * hidden, inputs, 1)
            inputs = 4 * hidden
    return state


def resnet50v2_stages(image, state):
    """The paper's equations on a normalised image, with norms where they stand in a training code."""
    features = F.conv2d(normed(image, state, "bn0"), state["conv1.weight"], stride=2, padding=3)
    features = F.relu(normed(features, state, "bn1"))
    yield features
    features = F.max_pool2d(features, 3, 2, 1)
    for layer, blocks in ((1, 3), (2, 4), (3, 6)):
        for block in range(blocks):
            at, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            active = F.relu(normed(features, state, f"{at}.bn1"))
            if block == 0:
                features = F.conv2d(active, state[f"{at}.downsample.weight"], stride=stride)
            hidden = F.relu(normed(F.conv2d(active, state[f"{at}.conv1.weight"]), state, f"{at}.bn2"))
            hidden = F.conv2d(hidden, state[f"{at}.conv2.weight"], stride=stride, padding=1)
            hidden = F.relu(normed(hidden, state, f"{at}.bn3"))
            features = features + F.conv2d(hidden, state[f"{at}.conv3.weight"])
        yield features


class TestResNet50v2:
    """`resnet50v2` and `load_resnet50v2` against the paper's equations, norms and all."""

    @torch.no_grad()
    def test_features_are_the_papers_at_every_stage(self):
        torch.manual_seed(0)
        state = random_resnet50v2()
        ours = resnet50v2()
        load_resnet50v2(ours, state)
        image = photos(96)
        theirs = list(resnet50v2_stages(ours.normalise(image), state))
        assert [stage.shape[1] for stage in theirs] == ours.channels
        assert [96 // stage.shape[-1] for stage in theirs] == ours.strides
        for mine, other in zip(ours.features(image), theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        ("spoil", "quoted"),
        [
            (lambda state: state.pop("layer2.3.bn1.bias"), "layer2.3.bn1.bias"),
            (lambda state: state.update({"conv1.weight": torch.zeros(64, 3, 3, 3)}), r"\(7\)"),
        ],
    )
    def test_weights_of_another_network_are_refused(self, spoil, quoted):
        state = random_resnet50v2()
        spoil(state)
        with pytest.raises(ConfigError, match=rf"not the weights of a pre-activation ResNet-50.*{quoted}"):
            load_resnet50v2(resnet50v2(), state)

    def test_it_has_no_fifth_stage(self):
        with pytest.raises(ConfigError, match="'resnet50v2' has 4 stages; 5 are wanted"):
            create_backbone("resnet50v2", 5)
        assert len(create_backbone("resnet50v2", 5, cut=False).stages) == 4

    def test_a_backbone_without_published_weights_is_quoted(self):
        with pytest.raises(ConfigError, match="weights of backbone 'patches' cannot be read"):
            load_backbone("patches", create_backbone("patches", 2), {})


def residual(channels):
    return convolution(channels, channels, 3, bias=True) + convolution(channels, channels, 1, bias=True)


PATCH_STAGES = (
    convolution(48, 48, 1, bias=True),
    convolution(48, 96, 2, bias=True) + convolution(96, 96, 1, bias=True),
    convolution(96, 96, 3, bias=True) + residual(96),
    convolution(96, 160, 3, bias=True) + 2 * residual(160),
)


class TestCKDN:
    @pytest.fixture
    def network(self):
        return lively(CKDN(relative=True)).eval()

    def test_parameters_of_the_default(self, network):
        embedding = sum(PATCH_STAGES[:2])
        head = sum(PATCH_STAGES[2:]) + mlp(160, 64, 1)
        assert count(network) == 2 * embedding + 2 * head
        assert count(CKDN()) == 2 * embedding + head

    @pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 47), (81, 96)])
    @torch.no_grad()
    def test_local_scores_at_stride_32(self, network, height, width):
        image = photos(96)[..., :height, :width]
        assert network.stride == 32
        assert network.restored_embedding(image).shape == (3, 96, math.ceil(height / 8), math.ceil(width / 8))
        assert network(image, image).shape == (3, 1, math.ceil(height / 32), math.ceil(width / 32))

    @torch.no_grad()
    def test_the_head_is_stages_and_an_mlp_at_every_position(self):
        head = lively(CKDN(CKDNConfig(hidden=(16, 8)))).eval().score_head
        residual = torch.randn(2, 96, 20, 12, generator=torch.Generator().manual_seed(1))
        rows = head.stages(residual).permute(0, 2, 3, 1)
        layers = [layer for layer in head.mlp if isinstance(layer, nn.Conv2d)]
        for layer in layers[:-1]:
            rows = (rows @ layer.weight[:, :, 0, 0].T + layer.bias).clamp_min(0)
        expected = rows @ layers[-1].weight[:, :, 0, 0].T + layers[-1].bias
        assert expected.std() > 0.01
        torch.testing.assert_close(head(residual), expected.permute(0, 3, 1, 2), **CLOSE)

    @torch.no_grad()
    def test_score_is_forward_with_the_references_features(self, network):
        a, reference = photos(64), photos(64).flip(0)
        torch.testing.assert_close(network.score(a, network.reference_embedding(reference)), network(a, reference))

    @torch.no_grad()
    def test_one_references_features_serve_many_images(self, network):
        a, reference = photos(64), photos(64)[:1]
        features = network.reference_embedding(reference)
        torch.testing.assert_close(network.score(a, features), network(a, reference.repeat(3, 1, 1, 1)), **CLOSE)

    @torch.no_grad()
    def test_branches_are_forward_of_teacher_and_student(self, network):
        pristine = photos(64)
        degraded, a, b = pristine.flip(-1), pristine * 0.9, pristine.flip(-2)
        branches = network.branches(a, b, degraded, pristine)
        assert torch.stack([*branches[:5]]).flatten().std() > 0.1
        for got, restored, reference in (
            (branches.student_a, a, degraded),
            (branches.student_b, b, degraded),
            (branches.teacher_a, a, pristine),
            (branches.teacher_b, b, pristine),
        ):
            torch.testing.assert_close(got, network(restored, reference).mean((1, 2, 3)), **CLOSE)
        torch.testing.assert_close(branches.degraded, network.reference_embedding(degraded))
        torch.testing.assert_close(branches.pristine, network.reference_embedding(pristine))
        difference = network.restored_embedding(a) - network.restored_embedding(b)
        preference = network.relative_head(difference).mean((1, 2, 3))
        torch.testing.assert_close(branches.relative, preference, **CLOSE)

    def test_training_reaches_every_parameter(self):
        network = lively(CKDN(relative=True)).train()
        pristine = photos(64)
        branches = network.branches(pristine, pristine.flip(-1), pristine.flip(-2), pristine)
        sum(branch.square().mean() for branch in branches).backward()
        assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]

    def test_distillation_gradients_enter_both_references(self, network):
        pristine = photos(64).requires_grad_()
        degraded = photos(64).flip(-1).requires_grad_()
        branches = network.branches(photos(64), photos(64), degraded, pristine)
        (branches.degraded - branches.pristine).square().mean().backward()
        assert pristine.grad.abs().sum() > 0
        assert degraded.grad.abs().sum() > 0

    @torch.no_grad()
    def test_a_shared_embedding_is_one(self):
        network = lively(CKDN(CKDNConfig(shared_embedding=True))).eval()
        assert network.restored_embedding is network.reference_embedding
        assert count(CKDN()) - count(network) == sum(PATCH_STAGES[:2])
        image = photos(64)
        # what is subtracted from itself leaves nothing: all images score alike
        expected = network.score_head(torch.zeros(1, 96, 8, 8)).expand(3, -1, -1, -1)
        torch.testing.assert_close(network(image, image), expected)

    @pytest.mark.parametrize("backbone", ["mobilenetv2", "patches"])
    @torch.no_grad()
    def test_a_head_that_sees_the_image_beside_the_residual_starts_without_it(self, backbone):
        narrow = lively(CKDN(CKDNConfig(backbone, hidden=(8,)))).eval()
        network = CKDN(CKDNConfig(backbone, hidden=(8,), beside=True), relative=True).eval()
        own = network.state_dict()
        for key, value in narrow.state_dict().items():
            own[key][tuple(slice(side) for side in value.shape)].copy_(value)
        image, reference = photos(64), photos(64).flip(0)
        assert torch.equal(network(image, reference), narrow(image, reference))

        first = next(m for m in network.score_head.modules() if isinstance(m, nn.Conv2d))
        first.weight[:, first.in_channels // 2 :] = first.weight[:, : first.in_channels // 2]
        features = network.restored_embedding(image)
        expected = narrow.score_head(2 * features - network.reference_embedding(reference))
        if backbone == "mobilenetv2":  # the stages of the other one begin with a ReLU
            torch.testing.assert_close(network(image, reference), expected, **CLOSE)
        assert not torch.allclose(network(image, reference), narrow(image, reference), **CLOSE)
        assert network.branches(image, image, reference, reference).relative.shape == (3,)

    def test_training_reaches_what_the_head_sees_beside_the_residual(self):
        network = CKDN(CKDNConfig("mobilenetv2", beside=True)).train()
        first = next(m for m in network.score_head.modules() if isinstance(m, nn.Conv2d))
        network(photos(64), photos(64).flip(0)).mean().backward()
        assert first.weight.grad[:, first.in_channels // 2 :].abs().sum() > 0

    def test_other_backbones_cannot_show_the_image_beside_the_residual(self):
        with pytest.raises(ConfigError, match=r"(?s)'resnet50v2' cannot be widened.*beside = false"):
            CKDN(CKDNConfig("resnet50v2", beside=True))

    @torch.no_grad()
    def test_a_head_of_all_scales_sees_every_stage_at_the_last_one_s_size(self):
        coarse = lively(CKDN(CKDNConfig("mobilenetv2", hidden=(8,)))).eval()
        network = CKDN(CKDNConfig("mobilenetv2", hidden=(8,), multi_scale=True)).eval()
        first = coarse.score_head.mlp[0].weight
        state = coarse.state_dict()
        state["score_head.mlp.0.weight"] = torch.cat([torch.zeros(8, 32, 1, 1), first], 1)
        network.load_state_dict(state)
        image, reference = photos(75), photos(75).flip(0)
        assert torch.equal(network(image, reference), coarse(image, reference))

        network.score_head.mlp[0].weight[:, :32] = 1
        residual = network.restored_embedding(image) - network.reference_embedding(reference)
        fine = F.avg_pool2d(network.score_head.stages[0](residual), 2, ceil_mode=True)
        seen = torch.cat([fine, network.score_head.stages(residual)], 1)
        torch.testing.assert_close(network(image, reference), network.score_head.mlp(seen), **CLOSE)

    @torch.no_grad()
    def test_separate_embeddings_differ(self, network):
        image = photos(64)
        assert not torch.allclose(network.restored_embedding(image), network.reference_embedding(image))

    @torch.no_grad()
    def test_dropout_acts_only_in_training(self):
        network = lively(CKDN(CKDNConfig(dropout=0.5)))
        image, reference = photos(32), photos(32).flip(0)
        assert torch.equal(network.eval()(image, reference), network(image, reference))
        assert not torch.equal(network.train()(image, reference), network(image, reference))

    def test_the_config_survives_json(self):
        config = CKDNConfig(hidden=(8, 4), pool="features", shared_embedding=True)
        read = json.loads(json.dumps(config.as_dict()))
        assert section(CKDNConfig, read, "metadata") == config


class TestCreateBackbone:
    def test_an_unknown_name_is_quoted_with_a_known_one(self):
        with pytest.raises(ConfigError, match="'mobilenetv3'") as caught:
            create_backbone("mobilenetv3", 2)
        assert "mobilenetv2" in caught.value.fix

    def test_an_unknown_timm_model_is_quoted_with_near_ones(self):
        pytest.importorskip("timm", exc_type=ImportError)
        with pytest.raises(ConfigError, match="'resnet51'") as caught:
            create_backbone("timm:resnet51", 2)
        assert "resnet" in caught.value.fix

    def test_a_timm_model_without_such_stages_is_refused(self):
        pytest.importorskip("timm", exc_type=ImportError)
        with pytest.raises(ConfigError, match="cannot be cut into 2 stages") as caught:
            create_backbone("timm:vit_tiny_patch16_224", 2)
        assert "timm:resnet50" in caught.value.fix

    def test_missing_timm_names_the_extra(self, monkeypatch):
        def missing(name):
            raise ModuleNotFoundError(f"No module named {name!r}")

        monkeypatch.setattr(errors, "import_module", missing)
        with pytest.raises(MissingDependencyError, match=r"timm:resnet50.*\n.*pip install 'drmetric\[train\]'"):
            create_backbone("timm:resnet50", 2)

    @torch.no_grad()
    def test_a_timm_backbone_gives_timms_features(self):
        timm = pytest.importorskip("timm", exc_type=ImportError)
        torch.manual_seed(0)
        backbone = create_backbone("timm:resnet18", 3).eval()
        torch.manual_seed(0)
        features_only = timm.create_model("resnet18", features_only=True, out_indices=(0, 1, 2), pretrained=False)
        features_only.eval()
        assert backbone.channels == [64, 64, 128]
        assert backbone.strides == [2, 4, 8]
        image = photos(64)
        got = image
        for stage, expected in zip(backbone.stages, features_only(image), strict=True):
            got = stage(got)
            torch.testing.assert_close(got, expected)


# --- the patch backbone ---


def test_patches_have_the_counts_of_their_layers():
    assert count(create_backbone("patches", 4)) == sum(PATCH_STAGES)


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (40, 41)])
def test_patch_stages_cover_images_of_any_size(size):
    backbone = create_backbone("patches", 4)
    features = torch.rand(1, 3, *size)
    for stage, channels, stride in zip(backbone.stages, backbone.channels, backbone.strides, strict=True):
        features = stage(features)
        padded = [8 * math.ceil(side / 8) for side in size]
        assert features.shape == (1, channels, *[math.ceil(side / stride) for side in padded])


def test_the_first_convolution_of_patches_is_a_matrix_product_of_their_pixels():
    first = create_backbone("patches", 1).stages[0][:2]
    image, weight = torch.rand(2, 3, 40, 40), first[1].weight
    product = torch.einsum("oi,nihw->nohw", weight[..., 0, 0], nn.functional.pixel_unshuffle(image, 4))
    torch.testing.assert_close(first(image), product + first[1].bias[:, None, None], rtol=1e-4, atol=1e-4)


def test_blind_network_does_not_look_at_the_reference():
    image, one, other = torch.rand(3, 1, 3, 64, 64)
    blind, seeing = lively(CKDN(CKDNConfig(blind=True))), lively(CKDN(CKDNConfig()))
    assert torch.equal(blind(image, one), blind(image, other))
    assert not torch.equal(seeing(image, one), seeing(image, other))


def test_first_layer_of_patches_is_scipys_cosine_transform_in_opponent_colours():
    patch = torch.rand(1, 3, 4, 4)
    answers = (nn.functional.pixel_unshuffle(patch, 4)[0, :, 0, 0] @ patch_cosines().T).view(3, 4, 4)
    red, green, blue = (fft.dctn(patch[0, c].numpy(), norm="ortho") for c in range(3))
    colours = ((red + green + blue) / 3**0.5, (red - blue) / 2**0.5, (2 * green - red - blue) / 6**0.5)
    radius = np.hypot(*np.mgrid[:4, :4])
    for answer, transform, scale in zip(answers, colours, (1, 4, 4), strict=True):
        np.testing.assert_allclose(answer.numpy(), transform * scale * 6 * (0.15 + radius), atol=1e-4)


def test_patches_start_blind_to_mid_grey():
    first = create_backbone("patches", 1).stages[0][:2]
    assert first(torch.full((1, 3, 16, 16), 0.5)).abs().max() < 1e-4
