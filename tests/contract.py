"""What every metric must do, as a class of tests that knows no metric by name.

To test a metric of your own, subclass `MetricContract` in a test module and override the fixture `make`:

    class TestMine(MetricContract):
        @pytest.fixture
        def make(self):
            return MyMetric
"""

import copy
import io
import math
import pickle
import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from packaging.licenses import canonicalize_license_expression
from skimage import data
from torch import Tensor, nn

import drmetric
from drmetric.errors import InputError
from drmetric.metrics.base import Metric

ALONE_OR_TOGETHER = {"atol": 1e-5, "rtol": 1e-5}
"""Another batch size may add the same numbers in another order."""

ROUNDING = 1e-5
"""How far float32 sums may carry a score over the end of its range."""


@cache
def _photographs() -> Tensor:
    """(3,3,288,288) uint8."""
    crops = data.astronaut()[20:308, 130:418], data.coffee()[80:368, 190:478], data.chelsea()[10:298, 120:408]
    return torch.stack([torch.from_numpy(crop.copy()).permute(2, 0, 1) for crop in crops])


def photos(size: int) -> Tensor:
    """(3,3,size,size) crops of three photographs, multiples of 1/255, black and white among the values."""
    batch = _photographs()[..., :size, :size].float() / 255
    batch[:, :, 0, 0], batch[:, :, 0, 1] = 0, 1
    return batch


def noisy(images: Tensor, sigma: float, seed: int = 0) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return ((images + sigma * noise) * 255).round().div(255).clamp(0, 1)


def blurred(images: Tensor, side: int = 5) -> Tensor:
    """Mean of side x side pixels."""
    return F.avg_pool2d(F.pad(images, (side // 2,) * 4, mode="reflect"), side, 1)


def lively(network: Any, seed: int = 0) -> Any:
    """Random weights that keep the size of features, as trained ones do: under PyTorch's own all images score alike."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
    return network


def vivid(network: Any) -> Any:
    """As `lively`, with linear layers too."""
    lively(network)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    return network


class Pictures(NamedTuple):
    """Three good images (3,3,S,S), the same spoilt, and the reference of each: one for all if it is not aligned."""

    good: Tensor
    spoilt: Tensor
    references: Tensor | None


def pictures_for(metric: Metric) -> Pictures:
    good = photos(max(metric.min_size, 96))
    references = {
        "fr": good,
        "dr": noisy(blurred(good, 3), 0.01, seed=1),
        "nar": good[2:],
        "nr": None,
    }[metric.mode]
    return Pictures(good, noisy(good, 0.12), references)


def score(metric: Metric, images: Any, references: Any = None, **options: Any) -> Any:
    return metric(images, **options) if references is None else metric(images, references, **options)


def loss(metric: Metric, images: Tensor, references: Tensor | None, **options: Any) -> Tensor:
    return metric.loss(images, **options) if references is None else metric.loss(images, references, **options)


def subset(references: Tensor | None, which: slice | list[int]) -> Tensor | None:
    """The references of some of the images."""
    return references if references is None or len(references) == 1 else references[which]


class BadInput(NamedTuple):
    """A mistake, what its error must quote, part of its fix, and whether the fix restores the right input."""

    spoil: Callable[[Tensor], Any]
    quotes: str
    fix: str
    is_mended: bool = True


def _with_value(images: Tensor, value: float) -> Tensor:
    images = images.clone()
    images[0, 0, 5, 5] = value
    return images


def _shape(*sides: int | str) -> str:
    return re.escape(f"({', '.join(map(str, sides))})").replace("S", r"\d+")


BAD_INPUTS = {
    "floats of 0..255": BadInput(lambda x: x * 255, "values from 0 to 255", "/ 255"),
    "floats of -1..1": BadInput(lambda x: x * 2 - 1, "values from -1 to 1", "+ 1) / 2"),
    "slightly out of range": BadInput(lambda x: _with_value(x, 1.01), r"to 1\.01", "clamp(0, 1)", False),
    "NaN": BadInput(lambda x: _with_value(x, math.nan), "1 NaN", "nan_to_num", False),
    "infinite": BadInput(lambda x: _with_value(x, math.inf), "1 infinite", "nan_to_num", False),
    "alpha": BadInput(lambda x: torch.cat([x, x[:, :1]], 1), _shape(3, 4, "S", "S"), "[:, :3]"),
    "two channels": BadInput(lambda x: x[:, :2], _shape(3, 2, "S", "S"), "three channels", False),
    "channels last": BadInput(lambda x: x.permute(0, 2, 3, 1), _shape(3, "S", "S", 3), "permute(0, 3, 1, 2)"),
    "one HWC image": BadInput(lambda x: x[0].permute(1, 2, 0), _shape("S", "S", 3), "permute(2, 0, 1)"),
    "no batch axis": BadInput(lambda x: x[0], _shape(3, "S", "S"), "unsqueeze(0)"),
    "whole numbers": BadInput(lambda x: (x * 255).round().long(), r"torch\.int64", "/ 255"),
    "NumPy": BadInput(lambda x: x.numpy(), "NumPy array", "as_image"),
    "NumPy HWC": BadInput(lambda x: (x[0] * 255).round().byte().permute(1, 2, 0).numpy(), "NumPy array", "as_image"),
    "a list": BadInput(list, "list of 3", "torch.stack"),
    "a path": BadInput(lambda x: "photo.png", "photo.png", "read_image", False),
    "nothing": BadInput(lambda x: x[:0], _shape(0, 3, "S", "S"), "at least one", False),
}


class Holder(nn.Module):
    """A user's model with a metric inside."""

    def __init__(self, metric: Metric | None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3)
        if metric is not None:
            self.metric = metric


class MetricContract:
    """Override `make`, and `quality_marks` if the order of good and spoilt images cannot be expected yet."""

    @pytest.fixture
    def make(self) -> Callable[[], Metric]:
        raise NotImplementedError("a fixture that returns a function which builds the metric")

    @pytest.fixture
    def metric(self, make) -> Metric:
        return make()

    @pytest.fixture
    def pictures(self, metric) -> Pictures:
        return pictures_for(metric)

    # --- what the class says of itself ---

    def test_declares_what_it_is(self, metric):
        assert isinstance(metric.name, str)
        assert re.fullmatch(r"[a-z0-9_]+", metric.name)
        assert metric.mode in {"dr", "nar", "nr", "fr"}
        assert isinstance(metric.higher_is_better, bool)
        assert isinstance(metric.differentiable, bool)
        assert isinstance(metric.min_size, int)
        assert metric.min_size >= 1
        lowest, highest = metric.score_range
        assert isinstance(lowest, float)
        assert isinstance(highest, float)
        assert lowest < highest
        assert canonicalize_license_expression(metric.licence) == metric.licence
        assert metric.needs_reference == (metric.mode in {"dr", "fr"})

    def test_signature_is_one_line_that_names_metric_and_version(self, metric):
        from drmetric import __version__

        assert metric.signature.split("|")[0] == metric.name
        assert f"drmetric:{__version__}" in metric.signature.split("|")
        assert metric.signature.isprintable()
        assert not re.search(r"[/\\]", metric.signature)

    def test_signature_is_stable(self, metric, make, pictures):
        before = metric.signature
        score(metric.train(), pictures.good, pictures.references)
        assert metric.signature == before == make().signature

    # --- scores ---

    @torch.no_grad()
    def test_one_float32_score_an_image_within_the_range(self, metric, pictures):
        for images in (pictures.good, pictures.spoilt, torch.zeros_like(pictures.good), torch.ones_like(pictures.good)):
            scores = score(metric, images, pictures.references)
            assert scores.shape == (3,)
            assert scores.dtype == torch.float32
            lowest, highest = metric.score_range
            assert scores.isfinite().all()
            assert all(lowest - ROUNDING <= each <= highest + ROUNDING for each in scores.tolist()), scores

    @torch.no_grad()
    def test_direction_is_the_declared_one(self, metric, pictures):
        good = score(metric, pictures.good, pictures.references)
        spoilt = score(metric, pictures.spoilt, pictures.references)
        assert torch.all(good > spoilt if metric.higher_is_better else good < spoilt), (good, spoilt)

    @torch.no_grad()
    def test_score_does_not_depend_on_batch_or_order(self, metric, pictures):
        images, references = pictures.spoilt, pictures.references
        together = score(metric, images, references)
        alone = torch.cat([score(metric, images[i : i + 1], subset(references, [i])) for i in range(3)])
        reversed_ = score(metric, images.flip(0), subset(references, [2, 1, 0])).flip(0)
        torch.testing.assert_close(alone, together, **ALONE_OR_TOGETHER)
        torch.testing.assert_close(reversed_, together, **ALONE_OR_TOGETHER)

    @torch.no_grad()
    def test_score_is_repeatable_and_has_no_side_effects(self, metric, pictures):
        images = pictures.spoilt.clone()
        references = None if pictures.references is None else pictures.references.clone()
        state = torch.get_rng_state()
        assert torch.equal(score(metric, images, references), score(metric, images, references))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(images, pictures.spoilt)
        if references is not None:
            assert torch.equal(references, pictures.references)

    @torch.no_grad()
    def test_training_mode_does_not_change_the_score(self, metric, pictures):
        expected = score(metric.eval(), pictures.spoilt, pictures.references)
        holder = Holder(metric).train()
        assert torch.equal(score(holder.metric, pictures.spoilt, pictures.references), expected)

    @torch.no_grad()
    def test_bytes_are_floats_over_255(self, metric, pictures):
        images, references = pictures.spoilt, pictures.references
        as_bytes = [None if x is None else (x * 255).round().byte() for x in (images, references)]
        as_floats = [None if x is None else x.float() / 255 for x in as_bytes]
        assert torch.equal(score(metric, *as_bytes), score(metric, *as_floats))

    @torch.no_grad()
    def test_grey_is_three_equal_channels(self, metric, pictures):
        grey = [None if x is None else x.mean(1, keepdim=True) for x in pictures[1:]]
        coloured = [None if x is None else x.expand(-1, 3, -1, -1).contiguous() for x in grey]
        torch.testing.assert_close(score(metric, *grey), score(metric, *coloured), **ALONE_OR_TOGETHER)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    @torch.no_grad()
    def test_other_float_types_are_their_float32_values(self, metric, pictures, dtype):
        converted = [None if x is None else x.to(dtype) for x in pictures[1:]]
        scores = score(metric, *converted)
        assert scores.dtype == torch.float32
        assert torch.equal(scores, score(metric, *(None if x is None else x.float() for x in converted)))

    @torch.no_grad()
    def test_memory_layout_does_not_change_the_score(self, metric, pictures):
        images, references = pictures.spoilt, pictures.references
        expected = score(metric, images, references)
        channels_last = images.contiguous(memory_format=torch.channels_last)
        padded = F.pad(images, (3, 2, 1, 4))[..., 1:-4, 3:-2]
        for same in (channels_last, padded):
            torch.testing.assert_close(score(metric, same, references), expected, **ALONE_OR_TOGETHER)

    def test_inference_mode_and_gradients_give_the_same_score(self, metric, pictures):
        with torch.inference_mode():
            expected = score(metric, pictures.spoilt, pictures.references)
        scores = score(metric, pictures.spoilt.clone().requires_grad_(), pictures.references)
        torch.testing.assert_close(scores.detach(), expected.clone(), **ALONE_OR_TOGETHER)
        assert scores.requires_grad or not metric.differentiable

    @torch.no_grad()
    def test_autocast_hardly_changes_the_score(self, metric, pictures):
        expected = score(metric, pictures.spoilt, pictures.references)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = score(metric, pictures.spoilt, pictures.references)
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, expected, atol=0.01, rtol=1e-3)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    @torch.no_grad()
    def test_score_on_cuda_is_that_on_the_cpu(self, metric, pictures):
        expected = score(metric, pictures.spoilt, pictures.references)
        moved = [None if x is None else x.cuda() for x in pictures[1:]]
        scores = score(metric.cuda(), *moved)
        assert scores.device.type == "cuda"
        torch.testing.assert_close(scores.cpu(), expected, atol=1e-3, rtol=1e-3)

    # --- inside a user's model ---

    def test_adds_no_parameters_and_no_state(self, metric, pictures):
        holder = Holder(metric)
        if metric.needs_reference:
            metric.set_reference(pictures.references)
        score(metric, pictures.good)
        assert list(metric.parameters()) == []
        assert list(metric.buffers()) == []
        assert set(holder.state_dict()) == {"layer.weight", "layer.bias"}

    @torch.no_grad()
    def test_loading_and_initialising_the_model_leave_it_alone(self, metric, pictures):
        expected = score(metric, pictures.spoilt, pictures.references)
        holder = Holder(metric)
        holder.load_state_dict(Holder(None).state_dict(), strict=True)
        Holder(None).load_state_dict(holder.state_dict(), strict=True)
        holder.apply(lambda module: [nn.init.zeros_(p) for p in module.parameters()])
        holder.requires_grad_(True)
        assert torch.equal(score(metric, pictures.spoilt, pictures.references), expected)
        assert list(metric.parameters()) == []

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    @torch.no_grad()
    def test_converting_the_model_does_not_change_the_score(self, metric, pictures, dtype):
        expected = score(metric, pictures.spoilt, pictures.references)
        holder = Holder(metric).to(dtype)
        assert holder.layer.weight.dtype == dtype
        scores = score(metric, pictures.spoilt, pictures.references)
        assert scores.dtype == torch.float32
        assert torch.equal(scores, expected)

    @torch.no_grad()
    def test_copies_and_pickles(self, metric, pictures):
        expected = score(metric, pictures.spoilt, pictures.references)
        saved = io.BytesIO()
        torch.save(metric, saved)
        saved.seek(0)
        twins = copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), torch.load(saved, weights_only=False)
        for twin in twins:
            assert torch.equal(score(twin, pictures.spoilt, pictures.references), expected)
            assert twin.signature == metric.signature

    def test_does_not_grow_with_use(self, metric, pictures):
        score(metric, pictures.good, pictures.references)
        size = len(pickle.dumps(metric))
        for _ in range(3):
            score(metric, pictures.spoilt, pictures.references)
        assert len(pickle.dumps(metric)) == size

    # --- references ---

    @torch.no_grad()
    def test_a_reference_that_was_set_is_a_reference_that_is_passed(self, metric, pictures):
        if not metric.needs_reference:
            pytest.skip("takes no reference")
        assert metric.set_reference(pictures.references) is metric
        expected = metric(pictures.spoilt, pictures.references)
        for _ in range(2):
            torch.testing.assert_close(metric(pictures.spoilt), expected, **ALONE_OR_TOGETHER)
        metric.set_reference(None)
        with pytest.raises(InputError):
            metric(pictures.spoilt)

    @torch.no_grad()
    def test_a_reference_passed_comes_before_the_one_set(self, metric, pictures):
        if not metric.needs_reference:
            pytest.skip("takes no reference")
        expected = metric(pictures.spoilt, pictures.references)
        metric.set_reference(1 - pictures.references)
        assert torch.equal(metric(pictures.spoilt, pictures.references), expected)
        assert not torch.allclose(metric(pictures.spoilt), expected)

    @torch.no_grad()
    def test_changing_the_tensor_later_does_not_change_the_reference_that_was_set(self, metric, pictures):
        if not metric.needs_reference:
            pytest.skip("takes no reference")
        expected = metric(pictures.spoilt, pictures.references)
        buffer = pictures.references.clone()
        metric.set_reference(buffer)
        buffer.zero_()
        torch.testing.assert_close(metric(pictures.spoilt), expected, **ALONE_OR_TOGETHER)

    def test_a_set_reference_follows_the_metric_to_its_device(self, metric, pictures):
        if not metric.needs_reference:
            pytest.skip("takes no reference")
        metric.set_reference(pictures.references)
        Holder(metric).to("meta")
        with pytest.raises(InputError, match="on meta"):
            metric(pictures.spoilt)

    @torch.no_grad()
    def test_one_reference_serves_the_whole_batch(self, metric, pictures):
        if not metric.needs_reference:
            pytest.skip("takes no reference")
        one = pictures.references[:1]
        expected = metric(pictures.spoilt, one.repeat(3, 1, 1, 1))
        torch.testing.assert_close(metric(pictures.spoilt, one), expected, **ALONE_OR_TOGETHER)
        torch.testing.assert_close(metric.set_reference(one)(pictures.spoilt), expected, **ALONE_OR_TOGETHER)

    # --- losses ---

    @pytest.fixture
    def differentiable(self, metric) -> Metric:
        if not metric.differentiable:
            with pytest.raises(InputError, match=rf"{metric.name} has no gradient"):
                loss(metric, *pictures_for(metric)[1:])
            pytest.skip("not differentiable; its loss says so")
        return metric

    def test_loss_is_the_distance_from_the_best_score(self, differentiable, pictures):
        scores = score(differentiable, pictures.spoilt, pictures.references)
        losses = loss(differentiable, pictures.spoilt, pictures.references, reduction="none")
        best = differentiable.score_range[differentiable.higher_is_better]
        sign = -1 if differentiable.higher_is_better else 1
        assert losses.shape == (3,)
        torch.testing.assert_close(losses, (scores - best).abs() if math.isfinite(best) else sign * scores)

    def test_reductions_and_weight(self, differentiable, pictures):
        each = loss(differentiable, pictures.spoilt, pictures.references, reduction="none")
        total = loss(differentiable, pictures.spoilt, pictures.references, reduction="sum")
        mean = loss(differentiable, pictures.spoilt, pictures.references)
        heavy = loss(differentiable, pictures.spoilt, pictures.references, weight=2.5)
        assert mean.shape == total.shape == ()
        torch.testing.assert_close(mean, sum(each) / 3)
        torch.testing.assert_close(total, sum(each))
        torch.testing.assert_close(heavy, 2.5 * mean)

    def test_unknown_reduction_is_named(self, differentiable, pictures):
        with pytest.raises(InputError, match="'median'") as caught:
            loss(differentiable, pictures.spoilt, pictures.references, reduction="median")
        assert 'reduction="mean"' in caught.value.fix

    def test_loss_falls_where_the_score_improves(self, differentiable, pictures):
        good, spoilt = (
            loss(differentiable, x, pictures.references, reduction="none") for x in (pictures.good, pictures.spoilt)
        )
        good_scores, spoilt_scores = (
            score(differentiable, x, pictures.references) for x in (pictures.good, pictures.spoilt)
        )
        improves = good_scores > spoilt_scores if differentiable.higher_is_better else good_scores < spoilt_scores
        assert torch.equal(good < spoilt, improves)

    def test_a_step_down_the_gradient_lowers_the_loss(self, differentiable, pictures):
        image, references = pictures.spoilt[:1] * 0.8 + 0.1, subset(pictures.references, [0])
        image.requires_grad_()
        before = loss(differentiable, image, references)
        (gradient,) = torch.autograd.grad(before, image)
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0
        after = loss(differentiable, image.detach() - 1e-3 * gradient / gradient.abs().max(), references)
        assert after < before

    @pytest.mark.parametrize("content", ["the reference", "black", "grey", "white", "spoilt"])
    def test_gradients_are_finite(self, differentiable, pictures, content):
        image = {
            "the reference": pictures.good if pictures.references is None else pictures.references,
            "black": torch.zeros_like(pictures.good),
            "grey": torch.full_like(pictures.good, 0.5),
            "white": torch.ones_like(pictures.good),
            "spoilt": pictures.spoilt,
        }[content][:1]
        image = image.clone().requires_grad_()
        reference = subset(pictures.references, [0])
        for same in (reference, None if reference is None else image.detach()):
            image.grad = None
            loss(differentiable, image, same).backward()
            assert image.grad.isfinite().all()

    # --- mistakes ---

    @pytest.mark.parametrize("mistake", BAD_INPUTS)
    def test_a_bad_image_is_quoted_and_mended(self, metric, pictures, mistake):
        bad = BAD_INPUTS[mistake]
        with pytest.raises(InputError, match=bad.quotes) as caught:
            score(metric, bad.spoil(pictures.good), pictures.references)
        self._check_fix(caught.value, bad)
        if bad.is_mended:
            mended = _run_fix(caught.value.fix, bad.spoil(pictures.good))
            expected = score(metric, pictures.good[: len(mended)], subset(pictures.references, slice(len(mended))))
            got = score(metric, mended, subset(pictures.references, slice(len(mended))))
            torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)

    @pytest.mark.parametrize("mistake", BAD_INPUTS)
    def test_a_bad_reference_is_named_and_quoted(self, metric, pictures, mistake):
        if pictures.references is None:
            pytest.skip("takes no reference")
        bad, references = BAD_INPUTS[mistake], pictures.good
        for call in (lambda x: metric(pictures.good, x), metric.set_reference):
            with pytest.raises(InputError, match=bad.quotes) as caught:
                call(bad.spoil(references))
            assert metric.reference_name in caught.value.problem
            self._check_fix(caught.value, bad)

    def _check_fix(self, error: InputError, bad: BadInput) -> None:
        assert bad.fix in error.fix
        assert f"fix: {error.fix}" in str(error)
        assert isinstance(error, ValueError)

    def test_a_missing_or_unwanted_reference_is_named(self, metric, pictures):
        if metric.needs_reference:
            with pytest.raises(InputError, match=f"{metric.name} needs a {metric.reference_name}") as caught:
                metric(pictures.good)
            assert "set_reference" in caught.value.fix
        elif metric.mode == "nr":
            with pytest.raises(InputError, match=f"{metric.name} scores an image alone") as caught:
                metric(pictures.good, pictures.good)
            assert f"create({metric.name!r})(image)" in caught.value.fix

    def test_a_reference_batch_of_another_size_is_quoted(self, metric, pictures):
        if pictures.references is None:
            pytest.skip("takes no reference")
        if metric.mode == "nar":
            pytest.skip("any number of references serves every image")
        with pytest.raises(InputError, match=rf"batch of 3 but {metric.reference_name} of 2") as caught:
            metric(pictures.good, pictures.references[:2])
        assert f"{metric.reference_name}[:1]" in caught.value.fix

    @torch.no_grad()
    def test_min_size_is_enough_and_enforced(self, metric):
        least = metric.min_size
        generator = torch.Generator().manual_seed(0)
        image, reference = torch.rand(2, 1, 3, least, least + 3, generator=generator)
        reference = reference if metric.needs_reference else None
        assert score(metric, image, reference).isfinite().all()
        assert score(metric, image.mT, None if reference is None else reference.mT).isfinite().all()
        if least > 1:
            for small, size in ((image[..., 1:, :], (least - 1, least + 3)), (image[..., 4:], (least, least - 1))):
                quoted = rf"{size[0]} x {size[1]} pixels; wanted at least {least} x {least}"
                with pytest.raises(InputError, match=quoted) as caught:
                    score(metric, small, reference)
                assert "larger" in caught.value.fix


def _run_fix(fix: str, bad: Any) -> Tensor:
    """The image after the fix that an error suggests, run as the user would run it."""
    names = {"image": bad, "torch": torch, "drmetric": drmetric}
    exec(fix, names)
    return names["image"]
