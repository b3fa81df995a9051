"""Every script runs as `python -m`, says how, and is where documents, cards and recipes say that it is."""

import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in ROOT.glob("benchmarks/**/*.py")
    if 'if __name__ == "__main__":' in path.read_text()
)
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("weights/*/*.toml"),
    *ROOT.glob("weights/*/*.md"),
    *(path for suffix in ("py", "toml", "sh", "md") for path in ROOT.glob(f"benchmarks/**/*.{suffix}")),
    *ROOT.glob("drmetric/**/*.py"),
]


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("module", SCRIPTS)
def test_a_script_says_how_it_is_run(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module, run_name="__main__")
    assert left.value.code == 0
    assert f"python -m {module}" in capsys.readouterr().out


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_text_names_is_there(path):
    text = path.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (benchmarks(?:\.\w+)+)", text):
        assert find_spec(module), f"no module {module}"
    for name in re.findall(r"\bbenchmarks/[\w./-]+\.(?:toml|py|sh|csv|json)\b", text):
        assert (ROOT / name).exists(), f"no file {name}"
    assert "../shared" not in text
