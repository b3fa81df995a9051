"""Miniatures of official layouts, and what their readers must make of them."""

import csv
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from drmetric.data.rated import RatedImage, read_opinions


def share(kind: str, content: str) -> float:
    """Where in 0..1 the hash of a content is, which draws its split."""
    return zlib.crc32(f"{kind}/{content}".encode()) / 2**32


def touch(root: Path, names: Iterable[str]) -> None:
    """Empty image files: readers only list them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_xlsx(path: Path, sheets: dict[str, list[Sequence[object]]]) -> None:
    """Sheets with an empty line above the headings, as some official ones have."""
    book = openpyxl.Workbook()
    assert book.active is not None
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        sheet.append([])
        for row in rows:
            sheet.append(list(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def rated(image: str, score: float, content: str, **more: Any) -> RatedImage:
    """A rated image with its paths below the folder of the set."""
    files = {name: Path(more.pop(name)) for name in ("reference", "degraded") if name in more}
    return RatedImage(Path(image), score, content, **files, **more)


def check(kind: str, root: Path, count: int, *expected: RatedImage) -> None:
    """The set has `count` images, and these among them."""
    images = read_opinions(kind, root)
    assert len(images) == count
    by_path = {each.image.relative_to(root): each for each in images}
    for each in expected:
        found = by_path[each.image]
        below = [file and file.relative_to(root) for file in (found.reference, found.degraded)]
        assert below == [each.reference, each.degraded]
        assert (found.content, found.subset) == (each.content, each.subset)
        assert found.score == pytest.approx(each.score, abs=1e-5)
        assert found.spread == (None if each.spread is None else pytest.approx(each.spread))


def published(kind: str) -> Path:
    """The folder of the real set; skips where there is none."""
    root = Path(os.environ.get("DRMETRIC_HUMAN_DATA", "")) / kind
    if not root.is_dir():
        pytest.skip(f"set DRMETRIC_HUMAN_DATA to a folder with the published {kind}/ in it")
    return root
