"""Every metric of the registry keeps the contract; the registry and the package's front door keep theirs."""

import copy
from functools import cache

import pytest
import torch
from safetensors.torch import save_file

import drmetric
from drmetric.errors import InputError, MissingDependencyError, WeightsError
from drmetric.metrics.base import LearnedMetric, Metric
from drmetric.metrics.niqe import fit_niqe
from drmetric.metrics.registry import available, create, metric_class
from tests.contract import MetricContract, photos

NEEDS_NOTHING = {"driqa", "psnr", "ssim"}
"""Never skipped: their code and weights are in the wheel."""


@pytest.fixture(scope="session")
def niqe_file(tmp_path_factory):
    """A pristine model of two photographs: too few for figures, enough to tell good from spoilt."""
    path = tmp_path_factory.mktemp("niqe") / "two-photos.safetensors"
    crops = photos(288)[:, :, :, :288]
    fit_niqe(crop[None, :, y:, x:] for crop in crops for y in (0, 40, 80) for x in (0, 50)).save(path)
    return path


@pytest.fixture(scope="session")
def built(niqe_file):
    """Builds a metric by name, or skips with the reason for which it cannot be built here."""
    options = {"niqe": {"weights": niqe_file}}

    def build(name):
        try:
            return create(name, **options.get(name, {}))
        except (MissingDependencyError, WeightsError) as error:
            if name in NEEDS_NOTHING:
                raise
            pytest.skip(f"{name}: {error.problem}")

    return build


@pytest.fixture(scope="session")
def prototypes(built):
    """As `built`, one of each for the session: copying is quicker."""
    return cache(built)


@pytest.mark.parametrize("name", available())
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
        except pytest.skip.Exception:
            continue
    assert len(set(signatures)) == len(signatures) >= 3


@pytest.mark.parametrize("call", [create, metric_class])
def test_an_unknown_name_is_quoted_beside_the_known_ones(call):
    with pytest.raises(InputError, match=r"'driq'; known: driqa, nariqa, nriqa, nriqa_akd, psnr") as caught:
        call("driq")
    assert 'create("driqa")' in caught.value.fix


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


def test_a_backbone_that_is_another_file_changes_lpips_signature(tmp_path):
    models = pytest.importorskip("torchvision.models")
    signatures = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = models.squeezenet1_1(weights=None)
        save_file(network.state_dict(), tmp_path / f"backbone{seed}.safetensors")
        try:
            signatures.append(create("lpips", backbone=tmp_path / f"backbone{seed}.safetensors").signature)
        except MissingDependencyError as error:
            pytest.skip(error.problem)
    assert signatures[0].replace("backbone0", "backbone1") != signatures[1]
