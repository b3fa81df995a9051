"""Scores on disk: `ScoreFile`, the one file of everything that drmetric scores.

A score file is JSON lines in UTF-8, an object a row, without the entries that have no value; bytes of a file name that
are not UTF-8 are written as they are. Each row is appended as it is made, so a killed run loses none and leaves at most
a torn last line, which is dropped. CSV and Parquet hold the columns `COLUMNS` and read back to the same rows, bit for
bit. They cannot grow by a row: as long as a run lasts, the file holds the rows that it kept, and the folder
``<file>.parts`` beside it those made since, as JSON lines. Workers of a cluster write their blocks there too.

One run writes a score file at a time. What is deleted or replaced meanwhile ends the run with an error, and its scores
are written to a file of their own.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from drmetric.bench.scores.formats import encode_jsonl, format_of, read_jsonl
from drmetric.bench.scores.rows import Row
from drmetric.errors import DrmetricError, InputError, OutputError, quoted
from drmetric.writing import WriterLock, remember, stamp, write_whole

FSYNC_SECONDS = 1.0
"""A row is handed to the operating system at once, and synced to the disk this often at most."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parts_of(path: Path) -> Path:
    """The folder of what an unfinished run has made of the score file `path`."""
    return path.with_name(path.name + ".parts")


def read_rows(path: Path) -> list[Row]:
    """The rows of a score file and of its parts, the last of each key.

    Raises:
        InputError: another suffix, a file that drmetric did not write, or a damaged row, by its line.
        MissingDependencyError: ``*.parquet``, and pyarrow is not installed.
    """
    rows = list(format_of(path).read(path)) if path.stat().st_size else []
    for part in sorted(parts_of(path).glob("*.jsonl")):
        rows += read_jsonl(part)
    return list({row.key: row for row in rows}.values())


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a score file, in one step; raises what `read_rows` does."""
    write_whole(path, format_of(path).encode(rows))


class ScoreFile:
    """Rows by their key, appended to a file as they are made; use it as a context manager.

    Args:
        path: ``*.jsonl``, ``*.csv`` or ``*.parquet``; an existing file is replaced in one step. None: in memory alone.
        rows: of an earlier run, that the new file begins with; those that failed are left out, to be tried again.

    Raises:
        InputError: another suffix, or a file that cannot be written.
        OutputError: another run is writing it, or wrote it since it was read; on leaving and on every row, that it was
            deleted, replaced or changed by others.
        MissingDependencyError: ``*.parquet``, and pyarrow is not installed.
    """

    def __init__(self, path: Path | None, rows: Iterable[Row] = ()) -> None:
        if path is not None:
            format_of(path)
        self._path = path
        self.earlier = list(rows)
        """As given, also those that failed."""
        self._rows = {row.key: row for row in self.earlier if not row.failed}
        self._replaced = False
        self._read: Sequence[int] | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file with what it and its parts hold; it need not exist."""
        read = stamp(path)
        file = cls(path, read_rows(path) if path.exists() else ())
        file._read = read
        return file

    def find(self, key: tuple[Any, ...]) -> Row | None:
        """The row of a key."""
        return self._rows.get(key)

    def drop(self, key: tuple[Any, ...]) -> None:
        """Leave out a row of an earlier run that no longer holds; before the file is opened."""
        self._rows.pop(key, None)

    def put(self, row: Row) -> None:
        """Replace a row of an earlier run by one of its key; before the file is opened."""
        self._rows[row.key] = row

    @property
    def rows(self) -> list[Row]:
        """The latest row of each key, in the order in which they were made."""
        return list(self._rows.values())

    def append(self, row: Row) -> None:
        """Add a row, which takes the place of one of its key."""
        self._replaced |= row.key in self._rows
        self._rows[row.key] = row
        if self._path is not None:
            self._size += self._file.write(encode_jsonl([row]))
            self._file.flush()
            if time.monotonic() - self._synced >= FSYNC_SECONDS:
                self._sync(self._path)

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._open(self._path)
            except DrmetricError:
                raise
            except OSError as error:
                raise InputError(
                    f"cannot write {str(self._path)!r}: {error.strerror or error}",
                    "give a file in a folder that you may write to with -o",
                ) from error
        return self

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = WriterLock(path)
        try:
            if self._read is not None and path.stat().st_size and stamp(path) != self._read:
                raise OutputError(f"another run wrote {str(path)!r} since it was read", "run the same command again")
            self._lock.replace(format_of(path).encode(self.rows))
            shutil.rmtree(parts_of(path), ignore_errors=True)
            self._stream = path
            if path.suffix.lower() != ".jsonl":
                self._stream = parts_of(path) / "rows.jsonl"
                self._stream.parent.mkdir()
            self._file = self._stream.open("ab")
            self._size = os.fstat(self._file.fileno()).st_size
            self._sync(path)
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, kind: object, *_: object) -> None:
        if self._path is None:
            return
        try:
            with self._file:
                if kind is None:
                    self._sync(self._path)
            if kind is None:
                self._finish(self._path)
        finally:
            self._lock.release()

    def _finish(self, path: Path) -> None:
        if path.suffix.lower() != ".jsonl":
            self._lock.replace(format_of(path).encode(sorted(self.rows, key=lambda row: (row.image, row.method or ""))))
        elif self._replaced:
            self._lock.replace(encode_jsonl(self.rows))
        shutil.rmtree(parts_of(path), ignore_errors=True)
        remember(path)

    @property
    def _is_whole(self) -> bool:
        """Whether the file and the stream of its rows are those that this run made, with all that it wrote."""
        try:
            found = self._stream.stat()
        except OSError:
            return False
        mine = os.path.samestat(found, os.fstat(self._file.fileno()))
        return self._lock.holds and mine and found.st_size == self._size

    def _sync(self, path: Path) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()
        if not self._is_whole:
            own = path.with_name(f"{path.stem}.of-{os.getpid()}{path.suffix}")
            own.parent.mkdir(parents=True, exist_ok=True)
            write_rows(own, self.rows)
            raise OutputError(
                f"{str(path)!r} was deleted or changed while this run wrote it; its scores are in {str(own)!r}",
                f"mv {quoted(own)} {quoted(path)}  # and the same command goes on from there",
            )
