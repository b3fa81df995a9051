"""What the pages on frameworks tell to copy does run, wherever the framework is installed."""

from pathlib import Path

import pytest

from drmetric import example
from drmetric.adapters import installed
from tests.docs.blocks import PAGES, blocks

OF_FRAMEWORKS = [
    page for page in PAGES if page.parent.name == "frameworks" and any(block.needs for block in blocks(page))
]
"""Pages with blocks that `tests.docs` does not run."""


@pytest.mark.slow
@pytest.mark.parametrize("page", OF_FRAMEWORKS, ids=lambda page: page.stem)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that needs modules (`<!-- needs: module, module -->`) runs after those of the page before it."""
    example.copy(tmp_path / "photographs")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "documentation"}
    missing: set[str] = set()
    for block in blocks(page):
        if block.language != "python":
            continue
        absent = {module for module in filter(None, block.needs.split(", ")) if not installed(module)}
        missing |= absent
        if not absent:
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))}")
