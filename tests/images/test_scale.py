"""Scales of pairs from sizes alone: rounding is explained, crops, turns and swaps are not."""

import math
import warnings

import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from drmetric.errors import InputError, ScaleWarning
from drmetric.images import check_scale
from drmetric.images.scale import Scales, common_scale, doubt_of, problem_of, scales_of

side = st.integers(8, 600)


@seed(0)
@settings(max_examples=300, deadline=None)
@given(side, side, st.sampled_from([1, 1.5, 2, 2.7, 3, 4, 8]), st.sampled_from([math.floor, math.ceil, round]))
def test_every_rounding_of_a_scale_is_explained(height, width, scale, rounded):
    degraded = (max(1, rounded(height / scale)), max(1, rounded(width / scale)))
    found = scales_of((height, width), degraded)
    assert found is not None
    assert found.holds(scale)
    assert doubt_of((height, width), degraded) == ""


def test_the_plainest_scale_is_the_one_that_people_mean():
    assert scales_of((480, 320), (120, 80)).plainest == 4
    assert scales_of((481, 321), (120, 80)).plainest == 4
    assert scales_of((150, 225), (100, 150)).plainest == 1.5
    assert scales_of((96, 96), (96, 96)) == Scales(1, 1)


@pytest.mark.parametrize(
    ("output", "degraded", "says"),
    [
        ((64, 64), (256, 256), "no larger than the restored one"),
        ((480, 320), (320, 480), "on its side"),
        ((320, 480), (120, 80), "turned by 90 degrees would fit"),
        ((508, 764), (512, 768), "no larger"),
        ((480, 400), (120, 80), "factors of 4 and 5"),
        ((95, 96), (96, 96), "no larger"),
    ],
)
def test_what_no_scale_explains_is_named(output, degraded, says):
    assert scales_of(output, degraded) is None
    assert says in problem_of(output, degraded)
    with pytest.raises(InputError, match=says):
        check_scale(torch.zeros(1, 3, *output), torch.zeros(1, 3, *degraded))


def test_the_fix_of_swapped_images_says_which_comes_first():
    with pytest.raises(InputError) as caught:
        check_scale(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 256, 256))
    assert caught.value.fix == "pass the larger image first, as restored, and the smaller one second, as degraded"


def test_most_pairs_decide_and_of_two_kinds_the_larger_scale():
    double, quadruple, same = (scales_of((n, n), (64, 64)) for n in (128, 256, 64))
    assert common_scale([double, quadruple, quadruple]) == 4
    assert common_scale([double, double, quadruple]) == 2
    assert common_scale([double, quadruple]) == 4
    assert common_scale([same, same, quadruple]) == 1
    assert common_scale([]) is None


def test_a_cropped_output_is_a_warning_but_not_while_a_graph_is_traced():
    output, degraded = torch.zeros(1, 3, 190, 190), torch.zeros(1, 3, 96, 96)
    with pytest.warns(ScaleWarning, match=r"190 x 190 pixels, a scale of 1\.979; .* crop the input alike"):
        check_scale(output, degraded)

    for side in (120, 128):  # 1.25 and 4/3, which people choose
        with warnings.catch_warnings():
            warnings.simplefilter("error", ScaleWarning)
            check_scale(torch.zeros(1, 3, side, side), degraded)

    def doubled(image):
        check_scale(image, degraded)
        return image * 2

    with warnings.catch_warnings():
        warnings.simplefilter("error", ScaleWarning)
        torch.jit.trace(doubled, output, check_trace=False)  # the check calls it without a trace
