"""Metrics of other packages, found by their entry points."""

import pytest
import torch
from typer.testing import CliRunner

from drmetric.cli.app import app
from drmetric.errors import DrmetricError, InputError, MissingDependencyError
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

class HalfMade(Brightness):
    @property
    def signature(self):
        raise SystemExit(0)

def no_metric():
    pass
"""
ENTRY_POINTS = """
[drmetric.metrics]
brightness = bright_package:Brightness
psnr = bright_package:Brightness
no_metric = bright_package:no_metric
half = bright_package:Half
half_made = bright_package:HalfMade
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


@pytest.mark.parametrize(("wrong", "right"), [("PSRN", "psnr"), ("brightnes", "brightness"), ("Musiq", "pyiqa:musiq")])
def test_an_unknown_name_is_mended_to_what_was_meant(wrong, right):
    with pytest.raises(InputError) as caught:
        create(wrong)
    assert caught.value.fix.startswith(f"create({right!r})")


def test_an_unknown_option_stands_beside_the_known_ones_the_nearest_first():
    with pytest.raises(InputError, match="; it takes channel, ") as caught:
        create("psnr", chanel="y")
    assert "shave" in caught.value.problem
    assert eval(caught.value.fix).signature == create("psnr", channel="y").signature


def test_where_no_option_was_meant_the_help_of_the_class_is_a_line_that_runs(capsys):
    with pytest.raises(InputError) as caught:
        create("psnr", zzz="y")
    exec(caught.value.fix)
    assert "shave: " in capsys.readouterr().out


def test_a_device_is_no_option_but_a_move():
    with pytest.raises(InputError) as caught:
        create("driqa", device="cuda")
    assert caught.value.fix == "create('driqa').to('cuda')"


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


BROKEN = {
    "unbuilt": "raise RuntimeError('built for another torch')",
    "leaving": "import sys; sys.exit(0)",
    "unwritten": "def (",
    "nameless": "from drmetric.metrics.pixel import PSNR\nclass Metric(PSNR):\n    name = None",
    "strange": "from drmetric.metrics.pixel import PSNR\nclass Metric(PSNR):\n    mode = 'best'",
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A package of plug-ins each of which is broken in its own way."""
    lines = ["[drmetric.metrics]"]
    for name, code in BROKEN.items():
        (tmp_path / f"{name}_package.py").write_text(code)
        lines.append(f"{name} = {name}_package:Metric")
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("name", BROKEN)
def test_whatever_a_plug_in_does_is_a_typed_error_that_names_it(broken, name):
    with pytest.raises(DrmetricError, match=f"metric '{name}'") as caught:
        create(name)
    assert caught.value.fix


def test_broken_plug_ins_are_listed_as_such_beside_the_others(broken):
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 0
    lines = {line.split("\t")[0]: line.split("\t") for line in result.stdout.splitlines()}
    assert lines["psnr"][-1] == lines["brightness"][-1] == "yes"
    for name in BROKEN:
        assert lines[name][-1] == "no"
        assert f"to have {name}: " in result.stderr


def test_a_constructor_or_a_signature_that_fails_is_a_typed_error():
    with pytest.raises(InputError, match="half_made cannot be made: SystemExit: 0"):
        create("half_made")
    with pytest.raises(InputError, match=r"brightness does not take these options: \{'volume': 2\} \(TypeError"):
        create("brightness", volume=2)
