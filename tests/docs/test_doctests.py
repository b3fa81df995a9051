"""Examples in docstrings run and print what they say."""

import doctest
from importlib import import_module

import pytest

from tests.docs.blocks import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "drmetric").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_print_what_they_say(module: str) -> None:
    failed, attempted = doctest.testmod(import_module(module), optionflags=doctest.ELLIPSIS)
    assert attempted
    assert not failed
