"""DRIQA beyond the contract of all metrics: degenerate images, tiles, references, maps, compilation, gradients."""

import copy
import gc
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.torch_version import TorchVersion

import drmetric
from drmetric import DRIQA
from drmetric.checkpoints import write_weights
from drmetric.errors import ConfigError, InputError, WeightsError
from drmetric.images import read_image, to_8_bit
from drmetric.metrics.registry import create
from drmetric.networks.ckdn import CKDN, CKDNConfig
from tests.contract import blurred, lively, noisy, photos

AUTOCAST = {"atol": 0.01, "rtol": 0}
"""bfloat16 has three digits: a score may move by a hundredth of the range."""
TILED = {"atol": 1e-5, "rtol": 0}
BATCHED = {"atol": 1e-5, "rtol": 0}

OVERLAP = 256
SMALL_TILE = 2 * (OVERLAP + 32)
"""The least that DRIQA takes."""
WHOLE = SMALL_TILE + 2 * OVERLAP
"""The largest square that is then looked at whole."""
EXAMPLE = Path(drmetric.__file__).parent / "example"


def upscaled(image, size):
    """The documented resize, from torch alone."""
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def shrunk(image, factor):
    size = [max(1, round(side / factor)) for side in image.shape[-2:]]
    return upscaled(image, size)


@pytest.fixture(scope="module")
def shared():
    return DRIQA()


@pytest.fixture
def metric(shared):
    return copy.deepcopy(shared)


@pytest.fixture(scope="module")
def restored():
    return noisy(photos(96), 0.02)


@pytest.fixture(scope="module")
def degraded():
    return noisy(blurred(photos(96), 3), 0.05, seed=1)


def degenerate_images():
    photo = photos(64)[:1]
    pixel = torch.full_like(photo, 0.5)
    pixel[..., 31, 17] = 1
    return {
        "black": torch.zeros_like(photo),
        "white": torch.ones_like(photo),
        "grey": torch.full_like(photo, 0.5),
        "one pixel": pixel,
        "saturated": (photo > 0.5).float(),
        "one pixel of noise": noisy(photo, 0.0) + F.pad(torch.full((1, 3, 1, 1), 1e-3), (9, 54, 9, 54)) * (photo < 0.9),
        "checkerboard": (torch.arange(64)[:, None] + torch.arange(64) & 1).expand(1, 3, 64, 64).float(),
    }


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("content", degenerate_images())
def test_degenerate_images_have_finite_scores_and_gradients(shared, content, autocast):
    image = degenerate_images()[content].requires_grad_()
    for degraded in (image.detach(), photos(64)[:1], torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 16, 16)):
        image.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            score = shared(image, degraded)
        shared.loss(image, degraded).backward()
        assert 0 <= score.item() <= 1
        assert image.grad.isfinite().all()


def test_autocast_moves_scores_by_less_than_a_hundredth_and_keeps_gradients(shared, restored, degraded):
    image = restored.clone().requires_grad_()
    expected = shared(restored, degraded)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, maps = shared(image, degraded, return_map=True)
        loss = shared.loss(image, degraded)
    assert scores.dtype == maps.dtype == loss.dtype == torch.float32
    torch.testing.assert_close(scores.detach(), expected, **AUTOCAST)
    loss.backward()
    full = restored.clone().requires_grad_()
    shared.loss(full, degraded).backward()
    assert F.cosine_similarity(image.grad.flatten(), full.grad.flatten(), dim=0) > 0.9


@torch.no_grad()
def test_a_score_under_autocast_leaves_nothing_behind(metric, restored, degraded):
    expected = metric(restored, degraded)
    metric.set_reference(degraded)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        metric(restored)
    torch.testing.assert_close(metric(restored), expected, **BATCHED)


# --- sizes, tiles and maps ---


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(32, 90),
    width=st.integers(32, 90),
    factor=st.sampled_from([1, 2, 3, 4, 7.3]),
    count=st.integers(1, 3),
)
@torch.no_grad()
def test_any_size_of_restored_and_degraded(shared, height, width, factor, count):
    images = photos(96)[:count, :, :height, :width]
    small = shrunk(images, factor)
    scores, maps = shared(images, small, return_map=True)
    assert scores.shape == (count,)
    stride = shared.network.stride
    assert maps.shape == (count, 1, math.ceil(height / stride), math.ceil(width / stride))
    slope, offset = shared.network.config.calibration
    torch.testing.assert_close(scores, torch.sigmoid(slope * maps.mean((1, 2, 3)) + offset))
    same_size = small if factor == 1 else upscaled(small, (height, width))
    torch.testing.assert_close(scores, shared(images, same_size), **BATCHED)
    torch.testing.assert_close(shared(images.mT, small.mT).shape, scores.shape)
    torch.testing.assert_close(shared(images[-1:], small[-1:]), scores[-1:], **BATCHED)


@torch.no_grad()
def test_a_degraded_image_may_have_another_size_than_a_fraction(shared, restored):
    odd = photos(96)[:, :, :41, :41]
    assert torch.equal(shared(restored, odd), shared(restored, upscaled(odd, (96, 96))))
    assert shared(restored, odd[..., :1, :1]).isfinite().all()


@pytest.mark.parametrize(("down", "right", "factor"), [(89, 7, 1), (3, 138, 4), (44, 1, 3)])
@torch.no_grad()
def test_tiles_give_the_score_of_the_whole(shared, down, right, factor):
    height, width = WHOLE + down, WHOLE + right
    image = upscaled(photos(288)[:1], (height, width))
    small = shrunk(image, factor)
    whole_score, whole_map = shared(image, small, return_map=True)
    tiled_score, tiled_map = DRIQA(tile=SMALL_TILE)(image, small, return_map=True)
    stride = shared.network.stride
    assert tiled_map.shape == whole_map.shape == (1, 1, math.ceil(height / stride), math.ceil(width / stride))
    torch.testing.assert_close(tiled_score, whole_score, **TILED)
    slope, offset = shared.network.config.calibration
    torch.testing.assert_close(tiled_score, torch.sigmoid(slope * tiled_map.mean((1, 2, 3)) + offset))
    torch.testing.assert_close(tiled_map, whole_map, atol=1e-4, rtol=0)


@torch.no_grad()
def test_bytes_are_scored_as_the_floats_that_they_stand_for(shared):
    image = to_8_bit(upscaled(photos(288)[:1], (WHOLE + 3, WHOLE)))
    for codes, small in ((image[..., :97, :131], image[..., :48, :65]), (image, image[..., ::2, ::2])):
        for metric in (shared, DRIQA(tile=SMALL_TILE)):
            assert torch.equal(metric(codes, small), metric(codes / 255, small / 255))
            scores = metric.set_reference(small)(codes)
            assert torch.equal(metric.set_reference(None)(codes, small), scores)


@torch.no_grad()
def test_tiled_scores_do_not_depend_on_batch_order_or_cache(shared):
    tiled = DRIQA(tile=SMALL_TILE)
    images = upscaled(photos(288)[:2], (WHOLE + 5, WHOLE + 1))
    small = shrunk(images, 2)
    expected = tiled(images, small)
    torch.testing.assert_close(tiled(images.flip(0), small.flip(0)).flip(0), expected, **BATCHED)
    torch.testing.assert_close(tiled(images[:1], small[:1]), expected[:1], **BATCHED)
    torch.testing.assert_close(tiled.set_reference(small)(images), expected, **BATCHED)


def test_tiles_really_bound_what_the_network_sees(monkeypatch, shared):
    tiled, seen = DRIQA(tile=SMALL_TILE), []
    embed = tiled.network.restored_embedding.forward
    monkeypatch.setattr(
        tiled.network.restored_embedding, "forward", lambda image: (seen.append(image.shape), embed(image))[1]
    )
    image = upscaled(photos(288)[:1], (2 * SMALL_TILE + 1, WHOLE + 1))
    tiled(image, image)
    assert len(seen) == 3 * 2
    assert max(max(shape[-2:]) for shape in seen) <= WHOLE + 32


def test_gradients_through_tiles_are_those_of_the_whole(shared):
    image = upscaled(photos(288)[:1], (WHOLE + 74, WHOLE + 40))
    degraded = shrunk(image, 6)
    gradients = []
    for metric in (shared, DRIQA(tile=SMALL_TILE)):
        leaf = image.clone().requires_grad_()
        metric.loss(leaf, degraded).backward()
        gradients.append(leaf.grad)
    similarity = F.cosine_similarity(gradients[0].flatten(), gradients[1].flatten(), dim=0)
    assert similarity > 0.9999


@pytest.mark.parametrize("tile", [-1, 0, 64, SMALL_TILE - 1, "768"])
def test_a_tile_that_is_too_small_or_no_number_is_quoted(tile):
    wanted = f"tile is {tile!r} pixels; wanted a multiple of 32, at least {SMALL_TILE}"
    with pytest.raises(InputError, match=wanted) as caught:
        DRIQA(tile=tile)
    assert "DRIQA(tile=" in caught.value.fix


@pytest.mark.parametrize("tile", [SMALL_TILE + 1, SMALL_TILE + 8])
def test_a_tile_off_the_networks_grid_is_refused_when_it_is_given(tile):
    with pytest.raises(InputError, match=str(tile)):
        DRIQA(tile=tile)


@torch.no_grad()
def test_tiles_of_a_network_that_pools_features_still_see_the_whole_image(tmp_path):
    config = CKDNConfig(head_stages=1, hidden=(8,), pool="features")
    write_weights(tmp_path / "pooled.safetensors", "driqa", config.as_dict(), lively(CKDN(config)).state_dict())
    whole, tiled = (DRIQA(tmp_path / "pooled.safetensors", tile=tile) for tile in (4096, SMALL_TILE))
    image = upscaled(photos(288)[:1], (2 * SMALL_TILE, WHOLE))
    other = image.clone()
    other[..., -SMALL_TILE // 4 :, :] = 0
    effect = whole(other, image) - whole(image, image)
    assert effect.abs() > 1e-4
    torch.testing.assert_close(tiled(other, image) - tiled(image, image), effect, rtol=0.2, atol=0)


@torch.no_grad()
def test_maps_are_local(shared):
    image = blurred(photos(288)[:1], 3)
    spoilt = image.clone()
    spoilt[..., :64, :64] = noisy(image[..., :64, :64], 0.2)
    difference = (shared(spoilt, image, return_map=True)[1] - shared(image, image, return_map=True)[1]).abs()[0, 0]
    near, far = 64 // shared.network.stride, 208 // shared.network.stride
    assert difference[:near, :near].mean() > 10 * difference[far:, far:].mean()


# --- references ---


@torch.no_grad()
def test_one_reference_serves_images_of_other_sizes_in_turn(metric, restored):
    degraded = shrunk(photos(96)[:1], 2)
    metric.set_reference(degraded)
    for size in (96, 64, 81, 64, 96):
        images = restored[..., :size, :size]
        torch.testing.assert_close(metric(images), metric(images, degraded), **BATCHED)


@torch.no_grad()
def test_features_of_a_set_reference_are_computed_once(metric, restored, degraded, monkeypatch):
    calls = []
    embed = metric.network.reference_embedding.forward
    monkeypatch.setattr(
        metric.network.reference_embedding, "forward", lambda image: (calls.append(len(image)), embed(image))[1]
    )
    metric.set_reference(degraded)
    for _ in range(3):
        metric(restored)
    assert calls == [3]
    metric.set_reference(degraded)(restored)
    assert calls == [3, 3]


@torch.no_grad()
def test_another_set_reference_replaces_the_first(metric, restored, degraded):
    metric.set_reference(degraded)(restored)
    other = 1 - degraded
    torch.testing.assert_close(metric.set_reference(other)(restored), metric(restored, other), **BATCHED)


def test_a_set_reference_follows_to_another_device(metric, degraded):
    # "meta" is a device that every machine has: it computes shapes only
    metric.set_reference(degraded)(degraded)
    holder = nn.ModuleList([metric]).to("meta")
    scores = holder[0](torch.empty(3, 3, 96, 96, device="meta"))
    assert scores.device.type == "meta"
    assert scores.shape == (3,)


def test_a_reference_set_in_validation_serves_a_loss_in_training(metric, restored, degraded):
    expected = restored[:1].clone().requires_grad_()
    metric.loss(expected, degraded[:1]).backward()
    with torch.inference_mode():
        metric.set_reference(degraded[:1])(restored)
    image = restored[:1].clone().requires_grad_()
    metric.loss(image).backward()
    torch.testing.assert_close(image.grad, expected.grad)


def test_gradients_with_a_set_reference_are_those_with_it_passed(metric, restored, degraded):
    gradients = []
    for references in ((degraded,), ()):
        image = restored.clone().requires_grad_()
        metric.set_reference(degraded).loss(image, *references, reduction="sum").backward()
        gradients.append(image.grad)
    torch.testing.assert_close(*gradients)


@torch.no_grad()
def test_copies_keep_the_reference_and_do_not_share_it(metric, restored, degraded):
    metric.set_reference(degraded)
    expected = metric(restored)
    twin = copy.deepcopy(metric)
    metric.set_reference(1 - degraded)
    assert torch.equal(twin(restored), expected)
    assert not torch.allclose(metric(restored), expected)


# --- as a loss ---


def test_gradient_is_the_slope_of_the_score(shared):
    generator = torch.Generator().manual_seed(0)
    image = photos(64)[:1] * 0.8 + 0.1
    degraded = shrunk(image, 2)
    leaf = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(shared(leaf, degraded).sum(), leaf)
    directions = [gradient / gradient.norm()]
    directions += [
        F.normalize(gradient / gradient.norm() + 0.01 * torch.randn(image.shape, generator=generator), dim=(1, 2, 3))
        for _ in range(2)
    ]
    step = 0.001
    for direction in directions:
        with torch.no_grad():
            difference = shared(image + step * direction, degraded) - shared(image - step * direction, degraded)
        slope = (gradient * direction).sum().item()
        assert difference.item() / (2 * step) == pytest.approx(slope, rel=0.05)


def test_ten_steps_of_optimisation_lower_the_loss(shared):
    degraded = noisy(blurred(photos(64)[:1], 5), 0.05)
    image = degraded.clone().requires_grad_()
    optimiser = torch.optim.Adam([image], lr=0.01)
    losses = []
    for _ in range(10):
        optimiser.zero_grad()
        loss = shared.loss(image.clamp(0, 1), degraded)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert image.isfinite().all()


def test_gradients_reach_a_restorer_and_nothing_else(metric, degraded):
    class Training(nn.Module):
        def __init__(self):
            super().__init__()
            self.restorer = nn.Conv2d(3, 3, 3, padding=1)
            self.metric = metric

    model = Training().train()
    assert {name for name, _ in model.named_parameters()} == {"restorer.weight", "restorer.bias"}
    metric.loss(torch.sigmoid(model.restorer(degraded)), degraded).backward()
    assert model.restorer.weight.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in metric.network.parameters())


def test_the_loss_also_has_a_gradient_for_the_degraded_image(shared, restored, degraded):
    reference = degraded.clone().requires_grad_()
    shared.loss(restored, reference).backward()
    assert reference.grad.isfinite().all()
    assert reference.grad.abs().sum() > 0


class TestTrainable:
    @pytest.fixture
    def trainable(self):
        return DRIQA(trainable=True)

    def test_scores_as_the_frozen_one(self, trainable, shared, restored, degraded):
        assert torch.equal(trainable.train()(restored, degraded), shared(restored, degraded))
        assert trainable.signature == shared.signature

    def test_every_parameter_is_in_the_state_and_gets_a_gradient(self, trainable, restored, degraded):
        trainable.loss(restored, degraded).backward()
        parameters = dict(trainable.named_parameters())
        assert len(parameters) > 20
        assert set(parameters) == set(trainable.state_dict())
        for name, parameter in parameters.items():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    def test_training_changes_the_signature(self, trainable, shared):
        with torch.no_grad():
            next(trainable.parameters()).mul_(1.01)
        assert trainable.signature != shared.signature

    def test_an_optimiser_step_changes_the_score(self, trainable, restored, degraded):
        before = trainable.loss(restored, degraded)
        before.backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in trainable.parameters()]).norm()
            for parameter in trainable.parameters():
                parameter -= 1e-2 * parameter.grad / norm
        assert trainable.loss(restored, degraded) < before

    def test_a_set_reference_is_not_frozen_in_time(self, trainable, restored, degraded):
        trainable.set_reference(degraded)
        trainable.loss(restored).backward()
        assert all(p.grad is not None for p in trainable.parameters())
        with torch.no_grad():
            for parameter in trainable.network.reference_embedding.parameters():
                parameter *= 1.1
        torch.testing.assert_close(trainable(restored), trainable(restored, degraded), **BATCHED)

    def test_stays_float32_in_a_half_precision_model(self, trainable, shared, restored, degraded):
        model = nn.ModuleList([trainable]).half()
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert torch.equal(trainable(restored, degraded), shared(restored, degraded))


# --- compiling and exporting ---


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("fresh_compiler")
class TestCompiled:
    def test_whole_graph_and_same_scores_and_gradients(self, shared, restored, degraded):
        compiled = torch.compile(shared, backend="aot_eager", fullgraph=True)
        image, same = (restored[:1].clone().requires_grad_() for _ in range(2))
        scores, expected = compiled(image, degraded[:1]), shared(same, degraded[:1])
        torch.testing.assert_close(scores, expected, **BATCHED)
        scores.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(image.grad, same.grad, atol=1e-6, rtol=1e-3)

    @pytest.mark.skipif(TorchVersion(torch.__version__) < "2.5", reason="torch 2.4 makes a graph of another size")
    @torch.no_grad()
    def test_dynamic_sizes_in_one_graph(self, shared):
        counter = CompileCounter()
        compiled = torch.compile(shared, backend=counter, fullgraph=True, dynamic=True)
        for count, height, width in ((2, 64, 80), (3, 70, 91), (2, 96, 65)):
            images = photos(96)[:count, :, :height, :width]
            small = shrunk(images, 2)
            torch.testing.assert_close(compiled(images, small), shared(images, small), **BATCHED)
        assert counter.frame_count == 1

    @torch.no_grad()
    def test_with_a_set_reference(self, metric, restored, degraded):
        expected = metric(restored, degraded)
        metric.set_reference(degraded)
        compiled = torch.compile(metric, backend="eager", fullgraph=True)
        for _ in range(2):
            torch.testing.assert_close(compiled(restored), expected, **BATCHED)

    def test_wrong_layouts_are_still_refused(self, shared):
        compiled = torch.compile(shared, backend="eager")
        with pytest.raises(InputError, match="shape"):
            compiled(torch.rand(1, 4, 64, 64), torch.rand(1, 3, 64, 64))


@pytest.mark.skipif(TorchVersion(torch.__version__) < "2.14", reason="tried with torch 2.14; 2.6 loses frozen weights")
@torch.no_grad()
def test_exported_programs_score_alike(shared, restored, degraded):
    program = torch.export.export(shared, (restored, degraded)).module()
    torch.testing.assert_close(program(1 - restored, degraded), shared(1 - restored, degraded), **BATCHED)


# --- weights and signature ---


@pytest.fixture(scope="module")
def own_weights(tmp_path_factory):
    config = CKDNConfig("mobilenetv2", hidden=(8,), head_stages=1)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    write_weights(path, "driqa", config.as_dict(), lively(CKDN(config)).state_dict())
    return path


def test_the_signature_pins_weights_and_tile(own_weights, shared):
    own = DRIQA(own_weights)
    signatures = {metric.signature for metric in (shared, DRIQA(tile=768), own, DRIQA(own_weights, tile=768))}
    assert len(signatures) == 4
    assert f"weights:mine@{own.weights_file.sha256[:12]}" in own.signature
    assert f"tile:768+{OVERLAP}" in DRIQA(tile=768).signature
    assert own.signature in repr(own)


def test_a_calibration_moves_scores_keeps_their_order_and_is_in_the_signature(
    own_weights, tmp_path, restored, degraded
):
    raw = DRIQA(own_weights)
    config = replace(raw.network.config, calibration=(1.5, 0.5))
    path = tmp_path / "mine.safetensors"
    write_weights(path, "driqa", config.as_dict(), raw.network.state_dict())
    calibrated = DRIQA(path)
    with torch.no_grad():
        scores, local = calibrated(restored, degraded, return_map=True)
        expected = torch.sigmoid(1.5 * torch.logit(raw(restored, degraded)) + 0.5)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(scores, torch.sigmoid(1.5 * local.mean((1, 2, 3)) + 0.5))
    assert "calibration:1.5+0.5" in calibrated.signature
    assert "calibration" not in raw.signature
    with pytest.raises(ConfigError, match="slope"):
        CKDNConfig(calibration=(0.0, 1.0))


def test_weights_of_another_shape_build_the_network_they_name(own_weights, restored, degraded):
    own = DRIQA(own_weights)
    assert own.network.stride == 8
    scores, maps = own(restored, degraded, return_map=True)
    assert maps.shape == (3, 1, 12, 12)
    torch.testing.assert_close(scores, torch.sigmoid(maps.mean((1, 2, 3))))


@pytest.mark.parametrize("trainable", [False, True])
@torch.no_grad()
def test_training_mode_does_not_switch_dropout_on(tmp_path, restored, degraded, trainable):
    config = CKDNConfig(head_stages=1, dropout=0.5)
    write_weights(tmp_path / "dropout.safetensors", "driqa", config.as_dict(), lively(CKDN(config)).state_dict())
    metric = DRIQA(tmp_path / "dropout.safetensors", trainable=trainable)
    expected = metric.eval()(restored, degraded)
    model = nn.ModuleList([metric]).train()
    assert torch.equal(model[0](restored, degraded), expected)


@pytest.mark.parametrize("fault", ["a tensor is missing", "a setting is unknown", "a setting is missing"])
def test_weights_that_do_not_fit_their_network_are_refused(tmp_path, fault):
    shape = CKDNConfig(hidden=(16,))
    config, state = shape.as_dict(), CKDN(shape).state_dict()
    if fault == "a tensor is missing":
        state.popitem()
    elif fault == "a setting is unknown":
        config["attention"] = True
    else:
        del config["hidden"]
    write_weights(tmp_path / "torn.safetensors", "driqa", config, state)
    with pytest.raises(WeightsError, match=r"torn\.safetensors"):
        create("driqa", weights=tmp_path / "torn.safetensors")


# --- resources ---


def test_fifty_calls_leave_no_tensors_behind(metric, restored, degraded):
    def tensors():
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    image, reference = restored[:1, :, :48, :48].clone().requires_grad_(), degraded[:1, :, :48, :48]

    def use():
        metric.loss(image, reference).backward()
        metric.set_reference(reference)(image.detach())
        metric.set_reference(None)

    use()
    tensors()  # may free what earlier tests left behind
    before = tensors()
    for _ in range(50):
        use()
    assert tensors() == before


def test_without_network_and_without_extras():
    program = """
import socket, sys

class Refused(socket.socket):
    def __init__(self, *args, **kwargs):
        raise RuntimeError("the network was used")

socket.socket = socket.create_connection = socket.getaddrinfo = Refused
import drmetric
extras = {"torchvision", "timm", "piq", "lpips", "pyiqa", "lightning", "ray", "scipy", "skimage", "pywt"}
assert "torch" not in sys.modules, "import drmetric is not light"
assert not extras & set(sys.modules), extras & set(sys.modules)
metric = drmetric.DRIQA()
import torch
image = torch.rand(1, 3, 64, 64)
score = metric(image, image[..., ::2, ::2])
metric.loss(image.requires_grad_(), image.detach()).backward()
assert not extras & set(sys.modules), extras & set(sys.modules)
print(f"score {score.item():.3f} of {metric.signature}")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("score 0.")
    assert run.stderr == ""


# --- quality: for trained weights ---


def restorations():
    """Of three degraded photographs: perfect restorations, and blurred, over-sharpened and noisy ones."""
    pristine = photos(192)
    soft = blurred(pristine, 7)
    return {
        "shrunk": (pristine, shrunk(pristine, 3)),
        "blurred": (pristine, blurred(pristine, 5)),
        "noisy": (pristine, noisy(pristine, 0.1)),
    }, {
        "a blurred one": soft,
        "an over-sharpened one": (pristine + 3 * (pristine - blurred(pristine, 3))).clamp(0, 1),
        "a noisy one": noisy(pristine, 0.12, seed=3),
    }


@pytest.mark.parametrize("degradation", ["shrunk", "blurred", "noisy"])
@pytest.mark.parametrize("worse", ["a blurred one", "an over-sharpened one", "a noisy one"])
@torch.no_grad()
def test_a_faithful_restoration_beats(shared, degradation, worse):
    cases, spoilt = restorations()
    restored, degraded = cases[degradation]
    assert torch.all(shared(restored, degraded) > shared(spoilt[worse], degraded))


@pytest.mark.parametrize("content", ["astronaut", "chelsea", "coffee"])
@torch.no_grad()
def test_the_bundled_example_is_ranked(shared, content):
    degraded = read_image(EXAMPLE / f"degraded/{content}.png")[None]
    sharp, soft, harsh = (
        shared(read_image(EXAMPLE / f"restored/{content}_{kind}.png")[None], degraded).item()
        for kind in ("sharp", "blurred", "oversharpened")
    )
    assert sharp > soft
    assert sharp > harsh


@torch.no_grad()
def test_more_noise_is_never_better(shared):
    pristine = photos(192)
    degraded = shrunk(pristine, 2)
    scores = torch.stack([shared(noisy(pristine, sigma), degraded) for sigma in (0, 0.05, 0.1, 0.2)])
    assert torch.all(scores[1:] < scores[:-1])
