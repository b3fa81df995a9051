"""Every metric of the registry keeps the contract; the registry and the package's front door keep theirs."""

import copy
from functools import cache

import pytest
import torch

import drmetric
from drmetric.errors import InputError, MissingDependencyError
from drmetric.metrics.base import Metric
from drmetric.metrics.learned import LearnedMetric
from drmetric.metrics.registry import available, create, metric_class
from tests.contract import MetricContract

TAKES_ANY_SIZES = [name for name in available() if name != "lr_psnr"]
"""The contract's images and references are of one size, which lr_psnr is not for: see test_consistency.py."""


@pytest.fixture(scope="session")
def built(request):
    """Builds a metric by name, on small or random weights where the real ones are not in the repository."""

    def options(name):
        match name:
            case "niqe":
                return {"weights": request.getfixturevalue("niqe_file")}
            case "brisque":
                return {"weights": request.getfixturevalue("brisque_machine")}
            case "lpips":
                return {"backbone": request.getfixturevalue("squeezenet")}
            case "dists":
                folder = request.getfixturevalue("dists_files")
                return {"weights": folder / "dists_weights.pt", "backbone": folder / "vgg16.safetensors"}
            case _:
                return {}

    def build(name):
        try:
            return create(name, **options(name))
        except MissingDependencyError as error:
            pytest.skip(error.problem)

    return build


@pytest.fixture(scope="session")
def prototypes(built):
    """As `built`, one of each for the session: copying is quicker."""
    return cache(built)


@pytest.mark.parametrize("name", TAKES_ANY_SIZES)
class TestRegistered(MetricContract):
    @pytest.fixture
    def make(self, name, built):
        return lambda: built(name)

    @pytest.fixture
    def metric(self, name, prototypes):
        return copy.deepcopy(prototypes(name))

    def test_is_made_by_its_name(self, metric, name):
        assert metric.name == name
        assert isinstance(metric, metric_class(name))

    def test_says_what_it_is(self, metric, name):
        assert (metric.signature if isinstance(metric, LearnedMetric) else type(metric).__name__) in repr(metric)


def test_drmetrics_own_metric_comes_first_and_all_names_have_a_class():
    assert available()[0] == "driqa"
    assert all(issubclass(metric_class(name), Metric) for name in available())


def test_signatures_tell_all_metrics_apart(built):
    signatures = []
    for name in available():
        try:
            signatures.append(built(name).signature)
        except pytest.skip.Exception:  # a package is missing
            continue
    assert len(set(signatures)) == len(signatures) >= 9


@pytest.mark.parametrize("call", [create, metric_class])
def test_an_unknown_name_is_quoted_beside_the_known_ones(call):
    with pytest.raises(InputError, match=r"'driq'; known: driqa, nariqa, nriqa, nriqa_akd, psnr") as caught:
        call("driq")
    assert "create('driqa')" in caught.value.fix


def test_an_unknown_option_is_quoted():
    with pytest.raises(InputError, match=r"driqa does not take these options: \{'size': 3\}"):
        create("driqa", size=3)


def test_options_reach_the_metric():
    assert create("driqa", tile=768).signature == drmetric.DRIQA(tile=768).signature != drmetric.DRIQA().signature


def test_a_metric_without_maps_says_so():
    image = torch.rand(1, 3, 32, 32)
    with pytest.raises(InputError, match="psnr has no quality map") as caught:
        create("psnr")(image, image, return_map=True)
    assert "return_map" in caught.value.fix


def test_the_front_door_lists_what_it_offers():
    assert set(drmetric.__all__) == set(dir(drmetric)) >= {"DRIQA", "available", "create", "__version__"}
    assert all(getattr(drmetric, name) is not None for name in drmetric.__all__)
    with pytest.raises(AttributeError, match="'drmetric' has no attribute 'FRIQA'"):
        drmetric.FRIQA  # noqa: B018


@pytest.mark.parametrize("missing", ["_score", "signature"])
def test_a_metric_without_a_score_or_a_signature_cannot_be_made(missing):
    members = {"name": "half", "mode": "nr", "_score": lambda self, image, reference: image, "signature": "half"}
    del members[missing]
    with pytest.raises(TypeError, match=f"abstract.*{missing}"):
        type("Half", (Metric,), members)()
