"""A file of scores, one JSON object a line, which a killed run neither loses nor doubles."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from drmetric.errors import InputError

Row = dict[str, Any]

_FSYNC_SECONDS = 1.0


class ScoreFile:
    """Rows by their key, appended as they are made; use it as a context manager.

    A row is handed to the operating system at once, so a killed process loses none, and synced to the disk at
    most once a second. On opening and on leaving, the file is rewritten in one step where it holds a torn last
    line, rows with an "error" (which are to be tried again) or rows that a later one of their key replaces.

    Args:
        path: the file; it need not exist.
        key: names of the entries that tell rows apart.

    Raises:
        InputError: a line of the file is no row of scores.
    """

    def __init__(self, path: Path, key: Sequence[str]) -> None:
        self.path = path
        self._key = tuple(key)
        self._rows: dict[tuple[Any, ...], Row] = {}
        self._needs_rewriting = False
        for row in self._read():
            if "error" in row:
                self._needs_rewriting = True
            else:
                self._keep(row)

    def find(self, row: Mapping[str, Any]) -> Row | None:
        """The row with the key of this one."""
        return self._rows.get(self._key_of(row))

    def append(self, row: Row) -> None:
        """Add a row to the file; one without an error is found from now on."""
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()
        if time.monotonic() - self._synced >= _FSYNC_SECONDS:
            self._sync()
        self._keep(row)

    @property
    def rows(self) -> list[Row]:
        """The latest row of each key, in the order of the file."""
        return list(self._rows.values())

    def __enter__(self) -> Self:
        self._rewrite_if_needed(self._rows.values())
        self._file = self.path.open("a", encoding="utf-8")
        self._sync()
        return self

    def __exit__(self, *_: object) -> None:
        self._sync()
        self._file.close()
        self._rewrite_if_needed(self._rows.values())

    def _key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._key)

    def _keep(self, row: Row) -> None:
        key = self._key_of(row)
        self._needs_rewriting |= key in self._rows
        self._rows[key] = row

    def _read(self) -> Iterable[Row]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        whole, _, torn = text.rpartition("\n")
        self._needs_rewriting = bool(torn)
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
                self._key_of(row)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"line {number} of {str(self.path)!r} is no row of scores: {line[:80]!r}",
                    "delete that line and run again, or give another folder with -o",
                ) from error
            yield row

    def _rewrite_if_needed(self, rows: Iterable[Row]) -> None:
        if not self._needs_rewriting:
            return
        fresh = self.path.with_name(self.path.name + ".tmp")
        with fresh.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)
        self._needs_rewriting = False

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()
