"""Metrics of other packages, found by their entry points."""

import pytest
import torch

from drmetric.errors import InputError, MissingDependencyError
from drmetric.metrics.registry import available, create, metric_class

CODE = """
from drmetric.metrics.base import Metric

class Brightness(Metric):
    name, mode, licence = "brightness", "nr", "MIT"

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = gain

    @property
    def signature(self):
        return f"brightness|gain:{self.gain}"

    def _score(self, image, reference):
        return self.gain * image.mean(dim=(1, 2, 3))

class Half(Metric):
    name, mode = "half", "nr"

def no_metric():
    pass
"""
ENTRY_POINTS = """
[drmetric.metrics]
brightness = bright_package:Brightness
psnr = bright_package:Brightness
no_metric = bright_package:no_metric
half = bright_package:Half
gone = bright_package:Gone
needy = bright_package.needy:Needy
"""


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """A package that registers metrics, as pip would install it."""
    (tmp_path / "bright_package.py").write_text(CODE)
    info = tmp_path / "bright_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bright-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_packages_metric_is_made_by_its_name():
    metric = create("brightness", gain=0.5)
    assert metric.signature == "brightness|gain:0.5"
    assert metric(torch.ones(2, 3, 8, 8)).tolist() == [0.5, 0.5]
    assert metric_class("brightness").mode == "nr"


def test_its_name_is_listed_after_our_own():
    names = available()
    assert names.index("brightness") > names.index("niqe")
    assert names.count("psnr") == 1


def test_our_own_names_stay_ours():
    assert metric_class("psnr").__module__ == "drmetric.metrics.pixel"


def test_an_entry_point_that_is_no_metric_is_quoted():
    with pytest.raises(InputError, match=r"'no_metric' is <function no_metric.*wanted a subclass of drmetric"):
        create("no_metric")


def test_an_abstract_metric_is_quoted():
    with pytest.raises(InputError, match=r"'half' is <class 'bright_package.Half'>.*with `_score` and `signature`"):
        create("half")


@pytest.mark.parametrize(("name", "reason"), [("gone", "no attribute 'Gone'"), ("needy", "bright_package")])
def test_an_entry_point_that_does_not_load_names_its_package(name, reason):
    with pytest.raises(MissingDependencyError, match=f"package bright-package cannot be loaded: .*{reason}") as caught:
        create(name)
    assert caught.value.fix == "pip install --upgrade bright-package"
