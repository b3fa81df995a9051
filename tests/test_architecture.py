"""The house stands: imports run down only, nothing imports in a circle, and the core needs no extra."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import drmetric

ROOT = Path(drmetric.__file__).parent
FLOORS = (
    {"errors", "config", "text", "writing", "networks", "distortions"},
    {"checkpoints", "images", "statistics"},
    {"metrics", "data", "example"},
    {"bench", "distill", "adapters", "browser"},
    {"cli"},
)
"""Rooms from the ground up; a room imports itself and those below."""
STAIRS = {
    ("config", "errors"),
    ("writing", "errors"),
    ("networks", "errors"),
    ("networks", "config"),
    ("distortions", "errors"),
    ("data", "metrics"),
}
"""What a room may import on its own floor."""
BENCH_FLOORS = (
    {"judges", "tables"},
    {"composites", "scores"},
    {"provenance", "engines"},
    {"agreement", "methods", "gaming", "fidelity"},
)
EXTRAS = {"torchvision", "timm", "piq", "pyiqa", "lpips", "lightning", "ray", "scipy", "skimage"}
CORE = ("metrics", "networks", "distortions", "images", "checkpoints", "errors")


def imports(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Names of the modules that a file imports, also inside functions unless `at_import`; never for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    later = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types or (at_import and node in later):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return ".".join(("drmetric", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
GRAPH = {name: {each for each in imports(path) if each in MODULES and each != name} for name, path in MODULES.items()}


def rooms(depth: int, below: str = "drmetric") -> Iterator[tuple[str, str, str]]:
    """(module, its room, the room that it imports) where both are below a package, at this depth of the name."""
    for name, imported in GRAPH.items():
        for other in imported:
            here, there = name.split("."), other.split(".")
            if name.startswith(f"{below}.") and other.startswith(f"{below}.") and here[depth] != there[depth]:
                yield name, here[depth], there[depth]


def floor_of(room: str, floors: tuple[set[str], ...]) -> int:
    return next(number for number, floor in enumerate(floors) if room in floor)


def test_every_room_has_its_floor() -> None:
    known = {room for floor in FLOORS for room in floor}
    assert {name.split(".")[1] for name in MODULES if name != "drmetric"} <= known
    inside = {name.split(".")[2] for name in MODULES if name.startswith("drmetric.bench.")}
    assert inside <= {room for floor in BENCH_FLOORS for room in floor}


def test_imports_run_down_only() -> None:
    wrong = [
        f"{name} imports {there}"
        for name, here, there in rooms(1)
        if floor_of(there, FLOORS) >= floor_of(here, FLOORS) and (here, there) not in STAIRS
    ]
    assert not wrong


def test_boards_stand_on_the_common_rooms_and_never_on_each_other() -> None:
    wrong = [
        f"{name} imports {there}"
        for name, here, there in rooms(2, "drmetric.bench")
        if floor_of(there, BENCH_FLOORS) >= floor_of(here, BENCH_FLOORS)
    ]
    assert not wrong


def test_nothing_imports_in_a_circle() -> None:
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    list(TopologicalSorter({name: GRAPH[name] - packages for name in MODULES}).static_order())


@pytest.mark.parametrize("room", CORE)
def test_the_core_imports_no_extra(room: str) -> None:
    for name, path in MODULES.items():
        if name.split(".")[1:2] == [room]:
            needed = {each.partition(".")[0] for each in imports(path, at_import=True)}
            assert not needed & EXTRAS, name
