"""The losses where users put them: overshooting outputs, warm-up, caps, mixed precision, odd contexts, compilation."""

import copy
import gc
import math
import pickle
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from drmetric import DRIQA, NARIQA, NRIQA, DRIQALoss, NARIQALoss, NRIQALoss
from drmetric.errors import InputError, WeightsError
from drmetric.images import resize
from drmetric.metrics.losses import MetricLoss
from drmetric.metrics.registry import create
from drmetric.metrics.tiled import TiledMetric
from tests.contract import noisy, photos

DEGRADED = resize(photos(64), (32, 32))
LOSSES = [DRIQALoss, NARIQALoss, NRIQALoss]
METRICS = [DRIQA, NARIQA, NRIQA]


def output(batch=2, seed=0):
    """What a network puts out: a photograph with errors, a tenth of it beyond the range."""
    noise = torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    return (1.3 * photos(64)[:batch] - 0.15 + 0.05 * noise).requires_grad_()


def arguments(kind, batch=2):
    return (DEGRADED[:batch],) if kind in (DRIQA, DRIQALoss) else ()


@pytest.fixture(scope="module")
def driqa():
    return DRIQA()


@pytest.fixture(autouse=True)
def one_view(request, monkeypatch):
    """Losses look at images as they are, except where a test is about views."""
    if "view" not in request.node.name and "is_seen" not in request.node.name:
        monkeypatch.setattr(TiledMetric, "reach", 1)


# --- outputs of networks ---


@pytest.mark.parametrize("kind", LOSSES)
def test_an_overshooting_output_has_the_loss_of_the_clamped_one_and_a_gradient_at_every_pixel(kind):
    loss, image = kind(), output()
    value = loss(image, *arguments(kind))
    assert value.item() == pytest.approx(loss(image.detach().clamp(0, 1), *arguments(kind)).item(), abs=1e-6)
    value.backward()
    above, below = image > 1, image < 0
    assert (above | below).float().mean() > 0.05
    assert (image.grad[above] >= 0).all()
    assert (image.grad[below] <= 0).all()
    assert (image.grad[above | below] != 0).float().mean() > 0.99


@pytest.mark.parametrize("kind", METRICS)
def test_where_a_gradient_is_wanted_the_view_is_drawn_anew(kind):
    torch.manual_seed(0)
    metric, image = kind(), output()
    score = 1 - metric(image.detach().clamp(0, 1), *arguments(kind)).mean()
    loss = MetricLoss(metric)
    losses = [loss(image, *arguments(kind)).item() for _ in range(6)]
    assert len(set(losses)) > 3
    assert losses == pytest.approx([score.item()] * 6, abs=0.25)
    assert loss(image.detach().clamp(0, 1), *arguments(kind)).item() == pytest.approx(score.item(), abs=1e-6)
    assert metric.loss(image, *arguments(kind)).item() == pytest.approx(score.item(), abs=1e-6)


def test_a_seed_fixes_the_views_and_a_module_hands_the_setting_on(driqa):
    image = output()
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append([driqa.loss(image, DEGRADED[:2], random_view=True).item() for _ in range(3)])
    assert drawn[0] == drawn[1]
    steady = MetricLoss(driqa, random_view=False)
    assert steady(image, DEGRADED[:2]).item() == steady(image, DEGRADED[:2]).item()


def test_the_input_is_seen_as_the_output_is(driqa):
    """Beside an input that stayed, the turned or moved image would be one that left its input."""
    torch.manual_seed(0)
    image = photos(64)[:1].requires_grad_()
    degraded = image.detach()
    kept = 1 - driqa(image.detach(), degraded).item()
    left = 1 - driqa(image.detach().roll((4, 4), (-2, -1)), degraded).item()
    losses = [driqa.loss(image, degraded, random_view=True).item() for _ in range(8)]
    assert max(losses) < (kept + left) / 2


def test_descent_brings_an_output_home(driqa):
    image = (1.6 * photos(64)[:1] - 0.3).requires_grad_()
    optimiser = torch.optim.SGD([image], lr=0.0)
    outside = []
    for _ in range(10):
        optimiser.zero_grad()
        driqa.loss(image, DEGRADED[:1]).backward()
        optimiser.param_groups[0]["lr"] = 0.02 / image.grad.abs().mean().item()
        optimiser.step()
        outside.append((image.detach() - image.detach().clamp(0, 1)).abs().sum().item())
    assert outside[-1] < outside[4] < outside[0]


@pytest.mark.parametrize(
    ("spoil", "quotes"),
    [
        (lambda x: 255 * x, "wanted"),
        (lambda x: x.permute(0, 2, 3, 1), r"\(2, 64, 64, 3\)"),
        (lambda x: x * math.nan, "NaN"),
        (lambda x: x[:0], "empty|at least"),
        (lambda x: x[..., :16], "at least 32 x 32"),
    ],
)
def test_plain_mistakes_are_still_errors(driqa, spoil, quotes):
    with pytest.raises(InputError, match=quotes):
        driqa.loss(spoil(output().detach()), DEGRADED[:2])


def test_the_degraded_image_is_held_to_its_range(driqa):
    with pytest.raises(InputError, match="degraded has values from"):
        driqa.loss(output(), 2 * DEGRADED[:2] - 1)


@pytest.mark.parametrize("kind", LOSSES)
def test_another_input_range_gives_the_same_loss(kind):
    image = output()
    plain, diffusion = kind(), kind(input_range=(-1, 1))
    expected = plain(image, *arguments(kind))
    got = diffusion(2 * image - 1, *(2 * each - 1 for each in arguments(kind)))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    if kind is DRIQALoss:
        diffusion.set_reference(2 * DEGRADED[:2] - 1)
        torch.testing.assert_close(diffusion(2 * image - 1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("noise", [0.15, 100.0])
def test_the_fix_for_another_range_keeps_the_loss(noise):
    loss, degraded = DRIQALoss(input_range=(-1, 1)), 2 * DEGRADED[:2] - 1
    image = 2 * output().detach().clamp(0, 1) - 1
    names = {"degraded": degraded.clone()}
    names["degraded"][0, 0, 0, 0] += 2.2 + noise if noise > 1 else 2.2
    with pytest.raises(InputError, match=r"degraded has values from -.*wanted \[-1, 1\]") as caught:
        loss(image, names["degraded"])
    if noise > 1:
        assert caught.value.fix.startswith("input_range=(")
        return
    exec(caught.value.fix, names)
    torch.testing.assert_close(loss(image, names["degraded"]), loss(image, degraded), atol=0.02, rtol=0)


def test_a_cap_refuses_what_is_no_batch_as_the_metric_does():
    loss = DRIQALoss(max_gradient_norm=1.0)
    for image in (output().detach()[0].requires_grad_(), output().detach().numpy()):
        with pytest.raises(InputError):
            loss(image, DEGRADED[:1])


def test_a_warm_up_within_data_parallel_is_refused():
    loss = DRIQALoss(warmup_steps=10)
    copy = loss._replicate_for_data_parallel()
    copy._is_replica = True
    with pytest.raises(InputError, match=r"warmup_steps is 10 within nn\.DataParallel"):
        copy(output(), DEGRADED[:2])


@pytest.mark.parametrize("input_range", [(1, 0), (0, 0), (0, math.inf)])
def test_an_impossible_range_is_refused(driqa, input_range):
    with pytest.raises(InputError, match="input_range is"):
        driqa.loss(output(), DEGRADED[:2], input_range=input_range)


def test_names_of_the_arguments_are_those_of_the_task(driqa):
    image = output()
    expected = driqa.loss(image, DEGRADED[:2])
    assert driqa.loss(restored=image, degraded=DEGRADED[:2]) == expected
    assert DRIQALoss()(restored=image, degraded=DEGRADED[:2]) == expected
    assert NARIQALoss()(restored=image).shape == NRIQALoss()(restored=image).shape == ()


# --- weight, reduction, warm-up, cap ---


def test_warm_up_rises_over_the_steps_that_have_gradients():
    loss, image = DRIQALoss(weight=2.0, warmup_steps=4), output()
    with torch.no_grad():
        loss(image, DEGRADED[:2])
    values = [loss(image, DEGRADED[:2]).item() for _ in range(6)]
    full = DRIQALoss(weight=2.0)(image, DEGRADED[:2]).item()
    assert values == pytest.approx([full * factor for factor in (0.25, 0.5, 0.75, 1, 1, 1)], rel=1e-5)
    assert loss.steps == 6


def test_a_warm_up_that_is_taken_up_again_goes_on_where_it_was():
    image = output()
    full = DRIQALoss(weight=2.0)(image, DEGRADED[:2]).item()
    again = DRIQALoss(weight=2.0, warmup_steps=4, start_step=2)
    assert [again(image, DEGRADED[:2]).item() for _ in range(2)] == pytest.approx([0.75 * full, full], rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_cap_shortens_the_gradient_of_each_image_and_nothing_else(reduction):
    image = output()
    free, capped = DRIQALoss(reduction=reduction), DRIQALoss(reduction=reduction, max_gradient_norm=0.05)
    plain, value = free(image, DEGRADED[:2]), capped(image, DEGRADED[:2])
    torch.testing.assert_close(value, plain)
    (long,) = torch.autograd.grad(plain.sum(), image)
    (short,) = torch.autograd.grad(1024 * value.sum(), image)  # as GradScaler does
    share = 2 if reduction == "mean" else 1
    norms = short.flatten(1).norm(dim=1) / 1024 * share
    assert (long.flatten(1).norm(dim=1) * share > 0.05).all()
    torch.testing.assert_close(norms, torch.full((2,), 0.05))
    torch.testing.assert_close(
        nn.functional.cosine_similarity(long.flatten(1), short.flatten(1)), torch.ones(2), atol=1e-4, rtol=0
    )


def test_a_cap_is_refused_where_more_than_the_image_wants_a_gradient():
    trainable = MetricLoss(DRIQA(trainable=True), max_gradient_norm=1.0)
    with pytest.raises(InputError, match="only the image has a gradient"):
        trainable(output(), DEGRADED[:2])
    with pytest.raises(InputError, match="only the image has a gradient"):
        DRIQALoss(max_gradient_norm=1.0)(output(), DEGRADED[:2].clone().requires_grad_())


def test_a_high_cap_leaves_the_gradient_alone():
    gradients = []
    for cap in (None, 1e6):
        image = output()
        DRIQALoss(max_gradient_norm=cap)(image, DEGRADED[:2]).backward()
        gradients.append(image.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(
    "settings",
    [
        {"weight": -1},
        {"weight": "0.1"},
        {"weight": math.nan},
        {"warmup_steps": -1},
        {"start_step": -1},
        {"max_gradient_norm": 0},
        {"max_gradient_norm": "1"},
    ],
)
def test_impossible_settings_are_quoted(settings):
    with pytest.raises(InputError, match="wanted weight and steps of 0 or more"):
        MetricLoss(create("psnr"), **settings)


def test_any_differentiable_metric_is_a_loss():
    image = output()
    loss = MetricLoss(create("ssim"), weight=0.5)
    loss(image, photos(64)[:2]).backward()
    assert image.grad.isfinite().all()


# --- mixed precision ---


@pytest.mark.parametrize("kind", LOSSES)
def test_autocast_changes_nothing(kind):
    loss, image = kind(), output()
    expected = loss(image, *arguments(kind))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(image, *arguments(kind))
    assert value.dtype == torch.float32
    assert value == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("cap", [None, 0.1])
@pytest.mark.parametrize("kind", LOSSES)
def test_what_is_not_finite_stays_so_under_mixed_precision(kind, value, cap):
    loss, image = kind(max_gradient_norm=cap), output().detach()
    image[0, 0, 5, 5] = value
    image.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lost = loss(image, *arguments(kind))
    assert not lost.isfinite()
    lost.backward()
    assert not image.grad.isfinite().all()
    assert not loss(image.half(), *arguments(kind)).isfinite()


# --- odd contexts ---


@pytest.fixture
def float_type():
    yield torch.set_default_dtype
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", METRICS)
def test_another_default_type_changes_nothing(kind, dtype, float_type):
    image = output()
    expected = kind().loss(image, *arguments(kind))
    float_type(dtype)
    made_here = kind()
    value = made_here.loss(image, *arguments(kind))
    value.backward()
    assert value.dtype == torch.float32
    assert value == expected
    float_type(torch.float32)
    assert made_here.loss(image, *arguments(kind)) == expected


@pytest.mark.parametrize("kind", METRICS)
def test_a_metric_made_in_inference_mode_or_on_meta_trains(kind):
    image = output()
    expected = kind().loss(image, *arguments(kind))
    for context in (torch.inference_mode(), torch.device("meta")):
        with context:
            metric = kind()
        value = metric.loss(image, *arguments(kind))
        value.backward()
        assert value == expected
        assert image.grad.isfinite().all()


def test_a_reference_set_in_inference_mode_trains():
    metric, image = DRIQA(), output()
    with torch.inference_mode():
        metric.set_reference(DEGRADED[:2])
        metric(image.clamp(0, 1))
    metric.loss(image).backward()
    assert image.grad.isfinite().all()


@pytest.fixture(scope="module")
def metric_made_before():
    return DRIQA()


@pytest.fixture
def empty_weights(monkeypatch):
    """What accelerate's init_empty_weights does while it is on: parameters lose their values as they are made."""
    register = nn.Module.register_parameter

    def register_empty(module, name, parameter):
        register(module, name, parameter)
        if parameter is not None:
            module._parameters[name] = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)

    monkeypatch.setattr(nn.Module, "register_parameter", register_empty)


@pytest.mark.parametrize("kind", METRICS)
def test_a_metric_made_under_init_empty_weights_scores_as_any_other(kind, metric_made_before, empty_weights, recwarn):
    image = output()
    value = kind().loss(image, *arguments(kind))
    if kind is DRIQA:
        assert value == metric_made_before.loss(image, DEGRADED[:2])
    assert value.isfinite()
    assert not recwarn.list


def test_buffers_lost_to_meta_are_a_typed_error(monkeypatch):
    register = nn.Module.register_buffer

    def register_empty(module, name, tensor, persistent=True):
        register(module, name, tensor.to("meta"), persistent)

    monkeypatch.setattr(nn.Module, "register_buffer", register_empty)
    with pytest.raises(WeightsError, match="lose their weights to the meta device") as caught:
        NARIQA()
    assert "init_empty_weights" in caught.value.fix


@pytest.mark.parametrize("there_and_back", [False, True])
def test_to_empty_leaves_the_frozen_network_its_weights(driqa, there_and_back):
    image = output()
    model = nn.ModuleDict({"layer": nn.Linear(2, 2), "loss": DRIQALoss()})
    if there_and_back:
        model.to("meta")
    model.to_empty(device="cpu")
    assert model["loss"](image, DEGRADED[:2]) == driqa.loss(image, DEGRADED[:2])


def test_a_reference_lost_on_meta_is_asked_for():
    metric = DRIQA().set_reference(DEGRADED[:1]).to("meta")
    metric.to_empty(device="cpu")
    with pytest.raises(InputError, match="needs a degraded image"):
        metric(photos(64))


def test_a_replica_of_data_parallel_has_a_network_on_its_own_device():
    loss = DRIQALoss()
    loss.metric.set_reference(DEGRADED[:1])
    replica = loss.metric._replicate_for_data_parallel()
    elsewhere = output().detach().to("meta")  # a second device, as far as CPUs have one
    assert replica.loss(elsewhere).device.type == "meta"
    again = loss.metric._replicate_for_data_parallel()
    again.loss(elsewhere)
    assert again.network is replica.network is not loss.metric.network
    assert loss.metric.loss(output()).isfinite()
    assert len(pickle.dumps(loss.metric)) == len(pickle.dumps(copy.deepcopy(loss.metric)))


def test_images_on_another_device_are_named(driqa):
    with pytest.raises(InputError, match="the images are on meta, driqa on cpu") as caught:
        driqa(photos(64).to("meta"), DEGRADED.to("meta"))
    assert caught.value.fix == 'metric.to("meta")'


@pytest.mark.parametrize("kind", METRICS)
def test_the_compiled_loss_has_the_gradient_of_the_eager_one(kind):
    metric, image = kind(), output()
    metric.loss(image, *arguments(kind)).backward()
    expected, image.grad = image.grad, None
    torch._dynamo.reset()
    torch.compile(metric.loss, backend="aot_eager")(image, *arguments(kind)).backward()
    torch.testing.assert_close(image.grad, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.slow
def test_a_compiled_loss_is_compiled_once_for_all_steps_of_its_warm_up():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    loss, plain = (MetricLoss(create("psnr"), warmup_steps=4, random_view=False) for _ in range(2))
    compiled, graphs = torch.compile(loss, backend="aot_eager"), []
    for _ in range(3):
        value = compiled(output(), photos(64)[:2])
        value.backward()
        assert value.item() == pytest.approx(plain(output(), photos(64)[:2]).item())
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert loss.steps == 3
    assert graphs[0] == graphs[-1] > 0


# --- in a user's model ---


@pytest.mark.parametrize("kind", LOSSES)
def test_a_model_that_holds_the_loss_gets_no_keys_and_no_parameters(kind):
    model = nn.Module()
    model.loss = kind(warmup_steps=3, max_gradient_norm=1.0)
    model.loss(output(), *arguments(kind)).backward()
    assert not model.state_dict()
    assert not list(model.parameters())
    assert not list(model.buffers())
    for twin in (copy.deepcopy(model.loss), pickle.loads(pickle.dumps(model.loss))):
        assert twin.steps == 1


@pytest.mark.parametrize("settings", [{}, {"max_gradient_norm": 0.1, "warmup_steps": 2}])
def test_no_graph_is_held_after_backward(settings):
    loss = DRIQALoss(**settings).set_reference(DEGRADED[:2])
    image = output()
    activation = image * 1.0
    dead = weakref.ref(activation)
    value = loss(activation)
    value.backward()
    del value, activation
    gc.collect()
    assert dead() is None


def test_a_last_smaller_batch_is_told_what_to_do():
    loss = DRIQALoss().set_reference(DEGRADED)
    loss(output(3))
    with pytest.raises(InputError, match="image is a batch of 2, but the degraded that was set is of 3") as caught:
        loss(output(2))
    assert "metric(image, degraded)" in caught.value.fix
    assert loss(output(2), DEGRADED[:2]).isfinite()
    assert loss.set_reference(DEGRADED[:1])(output(2)).isfinite()


def test_set_references_of_two_instances_in_eight_threads_do_not_mix():
    metrics = [DRIQA().set_reference(resize(photos(64)[i : i + 1], (32, 32))) for i in range(2)]
    images = [noisy(photos(64), 0.05)[:1], noisy(photos(96), 0.05)[:1]]
    with torch.no_grad():
        expected = {(m, i): metrics[m](images[i]).item() for m in range(2) for i in range(2)}

    def score(number):
        which = number % 2, number // 2 % 2
        with torch.no_grad():
            return metrics[which[0]](images[which[1]]).item() == pytest.approx(expected[which], abs=1e-6)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(score, range(64)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", LOSSES)
def test_a_step_on_a_gpu_waits_for_nothing(kind):
    loss, image = kind(warmup_steps=10).cuda(), output().detach().cuda().requires_grad_()
    others = [each.cuda() for each in arguments(kind)]
    loss(image, *others).backward()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            loss(image, *others).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_mistake_in_a_later_batch_on_a_gpu_is_raised_some_calls_on():
    loss, image = DRIQALoss().cuda(), output().detach().cuda()
    degraded = DEGRADED[:2].cuda()
    loss(image, degraded)

    def go_on():
        for _ in range(20):
            loss(255 * image, degraded)
            torch.cuda.synchronize()

    with pytest.raises(InputError, match="image has values from"):
        go_on()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("weights", ["default", "driqa-patches-3"])
def test_inductor_gives_the_gradient_of_the_eager_loss(weights):
    loss, image = DRIQALoss(weights, random_view=False), output()
    loss(image, DEGRADED[:2]).backward()
    expected, image.grad = image.grad, None
    torch._dynamo.reset()
    torch.compile(loss)(image, DEGRADED[:2]).backward()
    torch.testing.assert_close(image.grad, expected, atol=1e-5, rtol=1e-3)


def test_with_views_a_compiled_loss_runs_as_it_is():
    loss = DRIQALoss("driqa-patches-3")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(loss)
    for seed in range(3):
        values = []
        for each in (loss, compiled):
            torch.manual_seed(seed)
            values.append(each(output(), DEGRADED[:2]).item())
        assert values[0] == values[1]
    assert not torch._dynamo.utils.counters["stats"]["unique_graphs"]


def test_a_cap_keeps_gradients_that_half_precision_would_lose():
    half = output().detach().half().requires_grad_()
    exact = half.detach().float().requires_grad_()
    for image in (exact, half):
        (2**12 * DRIQALoss(weight=1e-4, max_gradient_norm=1.0)(image, DEGRADED[:2])).backward()  # as GradScaler does
    lost = (half.grad.float() - exact.grad).norm() / exact.grad.norm()
    assert lost < 0.02


def test_a_cap_keeps_gradients_that_half_precision_cannot_hold():
    reference = output().detach().clamp(0.1, 0.8).half()
    image = reference.clone()
    image[0, 0, 0, 0] += 0.1
    image.requires_grad_()
    loss = MetricLoss(create("psnr"), max_gradient_norm=1.0, reduction="none")(image[:1], reference[:1])
    loss.sum().backward()
    assert loss.isfinite().all()
    assert image.grad[0].float().norm().item() == pytest.approx(1, abs=0.01)


def test_an_unknown_reduction_is_refused_with_a_cap_as_well():
    with pytest.raises(InputError, match="unknown reduction 'avg'"):
        DRIQALoss(reduction="avg", max_gradient_norm=1.0)(output(), DEGRADED[:2])
