"""What is pulled home, and which ranges pass on their way into a loss."""

import pickle
import warnings

import pytest
import torch

from drmetric.errors import InputError, RangeWarning
from drmetric.images import OVERSHOOT, LossInputs, RangeWatch, pull_home
from tests.images.pictures import BATCH


def test_values_in_range_pass_with_their_gradient():
    image = BATCH.clone().requires_grad_()
    assert torch.equal(pull_home(image), BATCH)
    assert torch.autograd.gradcheck(pull_home, (0.1 + 0.8 * torch.rand(2, 3, dtype=torch.float64)).requires_grad_())


@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_down_any_gradient_moves_what_is_outside_towards_the_range(sign):
    image = torch.tensor([-3.0, -0.01, 1.01, 4.0], requires_grad=True)
    (sign * pull_home(image).sum()).backward()
    assert image.grad.tolist() == [-1, -1, 1, 1]


def test_what_is_not_finite_is_not_hidden():
    image = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.5])
    assert pull_home(image).isfinite().tolist() == [False, False, False, True]


def test_functions_of_a_batch_can_be_mapped_over_it():
    images = torch.tensor([[-1.0, 0.5], [0.25, 2.0]])
    gradients = torch.func.vmap(torch.func.grad(lambda image: pull_home(image).sum()))(images)
    assert gradients.tolist() == [[-1, 1], [1, 1]]


def test_overshoot_is_for_outputs_alone():
    inputs = LossInputs(RangeWatch())
    assert inputs.output(BATCH + OVERSHOOT, "image").max() == 1
    with pytest.raises(InputError, match="image has values"):
        inputs.output(BATCH + OVERSHOOT + 1.1, "image")
    with pytest.raises(InputError, match="degraded has values"):
        inputs.reference(BATCH + 0.1, "degraded")


def test_outputs_that_are_far_outside_are_warned_of_once():
    inputs = LossInputs(RangeWatch())
    with pytest.warns(RangeWarning, match=r"values of restored lie far outside \[0, 1\]"):
        inputs.output(2 * BATCH - 1, "restored")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs.output(2 * BATCH - 1, "restored")
        LossInputs(RangeWatch()).output(1.1 * BATCH - 0.05, "restored")
        LossInputs(RangeWatch(), (-1, 1)).output(2 * BATCH - 1, "restored")


def test_the_fix_for_another_range_is_of_all_images_of_the_call():
    centred = 2 * BATCH - 1
    with pytest.raises(InputError, match="degraded has values from -1") as caught:
        LossInputs(RangeWatch()).reference(centred, "degraded")
    inputs = eval(f"LossInputs(RangeWatch(), {caught.value.fix}\n)")
    torch.testing.assert_close(inputs.reference(centred, "degraded"), BATCH)


@pytest.mark.parametrize("wrong", [2, None, "01", (1, 0), (0, 1, 2), (0, float("inf"))])
def test_what_is_no_range_is_refused(wrong):
    with pytest.raises(InputError, match=r"wanted \(black, white\)"):
        LossInputs(RangeWatch(), wrong)


def test_bytes_have_their_own_range():
    codes = (255 * BATCH).round().byte()
    torch.testing.assert_close(LossInputs(RangeWatch(), (-1, 1)).reference(codes, "degraded"), BATCH)


def test_a_copied_watch_begins_anew():
    watch = RangeWatch()
    LossInputs(watch).output(BATCH, "image")
    assert pickle.loads(pickle.dumps(watch))._known == set()


class Arrived:
    """A CUDA event, as far as the watch knows, whose work is done."""

    def record(self):
        pass

    def query(self):
        return True


def test_a_later_batch_is_judged_when_its_extremes_have_arrived(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Arrived)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    watch = RangeWatch()
    for image in (BATCH, BATCH * float("nan"), 255 * BATCH):
        watch._watch(image, "image", OVERSHOOT, (-1, 1))
    with pytest.raises(InputError, match=r"image has values from -1 to 509; wanted \[-1, 1\]"):
        watch._watch(BATCH, "image", OVERSHOOT, (-1, 1))
    watch._watch(BATCH, "image", OVERSHOOT, (-1, 1))
