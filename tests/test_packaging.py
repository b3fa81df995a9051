"""The wheel, built from a copy of the checkout and installed apart from it, is complete and light."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 18_000_000

pytestmark = pytest.mark.slow


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _need(package, least):
    try:
        found = version(package)
    except PackageNotFoundError:
        found = "0"
    if Version(found) < Version(least):
        pytest.skip(f"building a wheel without the network needs {package}>={least}, here is {found}")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of wheel and sdist of the files in the checkout, committed or not, without what git ignores."""
    _need("pip", "22")
    _need("build", "1.2")
    _need("setuptools", "77")
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    copy = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    options = ("--wheel", "--sdist", "--no-isolation", "--outdir", copy / "dist")
    run(sys.executable, "-m", "build", *options, copy, env=_offline())
    return copy / "dist"


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


def _offline(**variables):
    """An environment in which pip and whoever else asks for a proxy reaches nothing."""
    nowhere = "http://127.0.0.1:9"
    return {
        **{key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "DRMETRIC_HOME"}},
        "PIP_NO_INDEX": "1",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nowhere),
        **variables,
    }


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as opened:
        return opened.namelist()


@pytest.fixture(scope="module")
def metadata(wheel, names):
    (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as opened:
        return HeaderParser().parsestr(opened.read(name).decode())


def test_every_module_of_the_package_is_in_the_wheel(names):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "drmetric").rglob("*.py")}
    assert modules <= set(names)
    assert "drmetric/py.typed" in names


def test_the_weights_with_their_cards_and_recipes_are_in_the_wheel(names):
    of_manifest = json.loads((ROOT / "weights/manifest.json").read_text())
    expected = {
        f"drmetric/weights/{entry[kind]}"
        for metric in of_manifest.values()
        for entry in metric["weights"].values()
        for kind in ("file", "card", "recipe")
    }
    found = {name for name in names if name.startswith("drmetric/weights/")}
    assert found == expected | {"drmetric/weights/manifest.json"}


def test_templates_of_reports_are_in_the_wheel(names):
    templates = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "drmetric/bench/methods/report/templates").iterdir()
    }
    assert templates
    assert templates <= set(names)


def test_example_images_are_in_the_wheel(names):
    images = {path.relative_to(ROOT).as_posix() for path in (ROOT / "drmetric/example").rglob("*.png")}
    assert {name for name in names if name.endswith(".png")} == images
    assert any("restored" in name for name in images)


def test_nothing_else_is_in_the_wheel(names):
    assert {name.split("/")[0] for name in names} == {"drmetric", names[-1].split("/")[0]}
    assert names[-1].split("/")[0].endswith(".dist-info")
    wrong = re.compile(
        r"(^|/)(tests?|runs|build)/|(^|/)(test_|conftest)|\.(pyc|cfg)$|(?<!/recipe)(?<!/presets/dr)(?<!/presets/fr)(?<!/presets/ntire-sr)\.toml$"
    )
    assert not [name for name in names if wrong.search(name)]


def test_a_wheel_from_the_source_archive_would_be_the_same(built, names):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as opened:
        files = {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}
    sources = {re.sub(r"^drmetric/weights/", "weights/", name) for name in names if ".dist-info/" not in name}
    assert sources <= files
    assert {"pyproject.toml", "setup.cfg", "LICENSE", "README.md"} <= files


def test_the_wheel_is_small_and_for_every_machine(wheel):
    assert wheel.stat().st_size < LARGEST_WHEEL
    assert wheel.name.endswith("-py3-none-any.whl")


def test_metadata_names_licence_and_light_dependencies(metadata, names):
    assert metadata["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    always = {each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})}
    assert "torch" in always
    assert not always & {"torchvision", "timm", "piq", "lpips", "pyiqa", "lightning", "scipy", "scikit-image", "ray"}
    pinned = [str(each) for each in requirements if "==" in str(each.specifier) or "<" in str(each.specifier)]
    assert not pinned


PROGRAM = """
import socket

class Refused(socket.socket):
    def __init__(self, *args, **kwargs):
        raise RuntimeError("the network was used")

socket.socket = socket.create_connection = socket.getaddrinfo = Refused
import importlib.resources, pathlib
import torch
import drmetric
from drmetric.images import read_image
from drmetric.checkpoints import bundled_folder

example = importlib.resources.files("drmetric") / "example"
restored, degraded = (read_image(example / name).unsqueeze(0) for name in (
    "restored/astronaut_sharp.png", "degraded/astronaut.png"))
metric = drmetric.DRIQA()
score = metric(restored, degraded)
assert score.shape == (1,) and 0 <= score <= 1
print(pathlib.Path(drmetric.__file__).parent)
print(bundled_folder())
print(drmetric.__version__)
print(metric.signature)
print(f"{score.item():.6f}")
"""


def test_the_installed_wheel_scores_from_anywhere_without_the_network(wheel, tmp_path, metadata):
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "install", "--no-deps", "--no-index", "--target", installed, wheel, env=_offline())
    printed = run(sys.executable, "-c", PROGRAM, cwd=elsewhere, env=_offline(PYTHONPATH=str(installed))).splitlines()
    package, weights, found_version, signature, score = printed
    assert Path(package) == installed / "drmetric"
    assert Path(weights) == installed / "drmetric/weights"
    assert found_version == metadata["Version"]
    here = run(sys.executable, "-c", PROGRAM, env=_offline()).splitlines()
    assert [signature, score] == here[-2:]
    assert Path(here[0]) != Path(package)


def test_the_installed_command_runs(wheel, tmp_path):
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "install", "--no-deps", "--no-index", "--target", tmp_path / "installed", wheel, env=_offline())
    command = tmp_path / "installed/bin/drmetric"
    printed = run(sys.executable, command, "--help", cwd=tmp_path, env=_offline(PYTHONPATH=str(tmp_path / "installed")))
    assert "score" in printed
