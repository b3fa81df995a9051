"""Every adapter is one short file that imports where its framework is not installed, and says so when it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

ADAPTERS = Path(__file__).parents[2] / "drmetric/adapters"
FILES = sorted(path for path in ADAPTERS.glob("*.py") if path.name != "__init__.py")
LONGEST = 120
FRAMEWORKS = ("basicsr", "deepinv", "lightning", "pyiqa", "pytorch_lightning", "torchmetrics", "traiNNer")
USE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FRAMEWORKS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import importlib.util
found, importlib.util.find_spec = importlib.util.find_spec, lambda name: None if name in FRAMEWORKS else found(name)

from drmetric.errors import MissingDependencyError
from drmetric.adapters import basicsr, deepinv, lightning, pyiqa, torchmetrics

uses = {
    "basicsr": basicsr.register,
    "deepinv": lambda: deepinv.as_loss("psnr"),
    "lightning": lambda: lightning.QualityCallback(["psnr"]),
    "pyiqa": pyiqa.register,
    "torchmetrics": lambda: torchmetrics.QualityMetric("psnr"),
}
for name, use in uses.items():
    try:
        use()
    except MissingDependencyError as error:
        print(name, "|", error.problem, "|", error.fix)
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_adapter_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.slow
def test_adapters_import_without_their_framework_and_name_it_when_used() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"FRAMEWORKS = {FRAMEWORKS!r}\n{USE}"],
        cwd=ADAPTERS.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" | ", 1) for line in done.stdout.splitlines())
    assert set(said) == {path.stem for path in FILES}, done.stdout
    for name, line in said.items():
        assert name in line
        assert "| pip install " in line
