"""torch.hub makes the metrics out of a checkout that is not installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drmetric import DRIQA, NARIQA, NRIQA, __version__, example

ROOT = Path(__file__).parents[1]
SCORES = """
import sys, torch
from importlib import metadata

def missing(name):
    raise metadata.PackageNotFoundError(name)

metadata.version = missing
driqa, nariqa, nriqa = (torch.hub.load(sys.argv[1], name, source="local") for name in ("driqa", "nariqa", "nriqa"))

import drmetric
assert drmetric.__file__.startswith(sys.argv[1]), drmetric.__file__
restored, degraded = (drmetric.example.image(name) for name in ("restored/coffee_sharp", "degraded/coffee"))
for score in (driqa(restored, degraded), nariqa(restored), nriqa(restored)):
    print(score.item())
print(driqa.signature)
"""


@pytest.mark.slow
def test_a_checkout_scores_without_being_installed(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("hubconf.py", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout)
    for name in ("drmetric", "weights"):
        (checkout / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-c", SCORES, str(checkout)],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *scores, signature = done.stdout.splitlines()
    restored, degraded = (example.image(name) for name in ("restored/coffee_sharp", "degraded/coffee"))
    expected = DRIQA()(restored, degraded), NARIQA()(restored), NRIQA()(restored)
    assert [float(score) for score in scores] == pytest.approx([score.item() for score in expected], abs=1e-5)
    assert signature == DRIQA().signature
    assert signature.endswith(f"|drmetric:{__version__}")
