"""Scores on disk: `Row`, the one schema of everything that drmetric scores, and `ScoreFile`, the one file of them.

A score file is JSON lines in UTF-8, an object a row, without the entries that have no value; bytes of a file name that
are not UTF-8 are written as they are. Each row is appended as it is made, so a killed run loses none and leaves at most
a torn last line, which is dropped. CSV and Parquet hold the columns `COLUMNS` and read back to the same rows, bit for
bit. They cannot grow by a row: as long as a run lasts, the file holds the rows that it kept, and the folder
``<file>.parts`` beside it those made since, as JSON lines. Workers of a cluster write their blocks there too.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from drmetric.errors import DrmetricError, InputError, NotApplicableError, optional

FSYNC_SECONDS = 1.0
"""A row is handed to the operating system at once, and synced to the disk this often at most."""
HASHED = ("restored", "degraded", "truth")


class Failure(NamedTuple):
    """A score that is missing; `image` or `method` is empty where the error concerns all of them."""

    metric: str
    method: str
    image: str
    error: str


@dataclass(frozen=True, slots=True)
class Row:
    """One score of one image, or why there is none.

    Attributes:
        image: path of the restored image below its folder; on a board of methods of the input that it was made from.
        metric: what the run called the metric.
        signature: text that pins every choice which can change the score.
        reference: the image that the metric met: "none", "degraded" or "truth".
        method: what made the image: a restoration method, or an attack.
        degraded: path of the degraded input below its folder, where the metric met it.
        score: what the metric returned; finite.
        height, width: size of the image in pixels.
        seconds: spent in the metric, without reading the files; the first of the images that share a reference bears
            the cost of that.
        device: what computed the score; a GPU by its name.
        sha256: of the files that were scored, in hexadecimal, by kind: "restored", "degraded", "truth".
        error, error_type: why there is no score, on one line, and the class of the error.
        settings: what else tells rows apart; of an attacked image its PSNR, the seed and the steps. JSON lines only.
        details: what else there is to say. JSON lines only.
    """

    image: str
    metric: str
    signature: str
    reference: str
    method: str | None = None
    degraded: str | None = None
    score: float | None = None
    height: int | None = None
    width: int | None = None
    seconds: float | None = None
    device: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    error_type: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells rows of a file apart; of equal ones the last counts."""
        return (self.method, self.image, self.signature, self.reference, *sorted(self.settings.items()))

    @property
    def is_applicable(self) -> bool:
        """False where the metric says nothing about this kind of image, which is no fault of it."""
        return self.error_type != NotApplicableError.__name__

    @property
    def failed(self) -> bool:
        """Whether the score is missing and should not be."""
        return self.score is None and self.is_applicable

    @property
    def failure(self) -> Failure:
        """Of a row that failed."""
        return Failure(self.metric, self.method or "", self.image, f"{self.error_type}: {self.error}")

    def because(self, error: Exception, files: Iterable[Path] = ()) -> Self:
        """The row without a score because of an error, on one line; of `files` it names no folders."""
        message = error.problem if isinstance(error, DrmetricError) else str(error)
        for path in files:
            message = message.replace(str(path), path.name)
        return replace(self, error=" ".join(message.split()), error_type=type(error).__name__)


COLUMNS = (
    "image", "method", "degraded", "metric", "signature", "reference", "score", "height", "width", "seconds", "device",
    *(f"sha256_{kind}" for kind in HASHED), "error", "error_type",
)  # fmt: skip
"""Of CSV and Parquet."""
_NUMBERS: Mapping[str, type] = {"score": float, "height": int, "width": int, "seconds": float}


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
        InputError: another suffix, or a file that drmetric did not write or that is damaged.
        MissingDependencyError: ``*.parquet``, and pyarrow is not installed.
    """
    rows = list(_format_of(path).read(path))
    for part in sorted(parts_of(path).glob("*.jsonl")):
        rows += _read_jsonl(part)
    return list({row.key: row for row in rows}.values())


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a score file, in one step; raises what `read_rows` does."""
    content = _format_of(path).encode(rows)
    fresh = path.with_name(path.name + ".tmp")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


class ScoreFile:
    """Rows by their key, appended to a file as they are made; use it as a context manager.

    Args:
        path: ``*.jsonl``, ``*.csv`` or ``*.parquet``; an existing file is replaced in one step. None: in memory alone.
        rows: of an earlier run, that the new file begins with; those that failed are left out, to be tried again.

    Raises:
        InputError: another suffix, or a file that cannot be written.
        MissingDependencyError: ``*.parquet``, and pyarrow is not installed.
    """

    def __init__(self, path: Path | None, rows: Iterable[Row] = ()) -> None:
        if path is not None:
            _format_of(path)
        self._path = path
        self._rows = {row.key: row for row in rows if not row.failed}
        self._replaced = False

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file with what it and its parts hold; it need not exist."""
        return cls(path, read_rows(path) if path.exists() else ())

    def find(self, key: tuple[Any, ...]) -> Row | None:
        """The row of a key."""
        return self._rows.get(key)

    def drop(self, key: tuple[Any, ...]) -> None:
        """Leave out a row of an earlier run that no longer holds; before the file is opened."""
        self._rows.pop(key, None)

    @property
    def rows(self) -> list[Row]:
        """The latest row of each key, in the order in which they were made."""
        return list(self._rows.values())

    def append(self, row: Row) -> None:
        """Add a row, which takes the place of one of its key."""
        if self._path is not None:
            self._file.write(_encode_jsonl([row]))
            self._file.flush()
            if time.monotonic() - self._synced >= FSYNC_SECONDS:
                self._sync()
        self._replaced |= row.key in self._rows
        self._rows[row.key] = row

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._open(self._path)
            except OSError as error:
                raise InputError(
                    f"cannot write {str(self._path)!r}: {error.strerror or error}",
                    "give a file in a folder that you may write to with -o",
                ) from error
        return self

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(path, self.rows)
        shutil.rmtree(parts_of(path), ignore_errors=True)
        stream = path
        if path.suffix.lower() != ".jsonl":
            stream = parts_of(path) / "rows.jsonl"
            stream.parent.mkdir()
        self._file = stream.open("ab")
        self._sync()

    def __exit__(self, kind: object, *_: object) -> None:
        if self._path is None:
            return
        self._sync()
        self._file.close()
        if kind is None:
            if self._path.suffix.lower() != ".jsonl":
                write_rows(self._path, sorted(self.rows, key=lambda row: (row.image, row.method or "")))
            elif self._replaced:
                write_rows(self._path, self.rows)
            shutil.rmtree(parts_of(self._path), ignore_errors=True)

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


class _Format(NamedTuple):
    """How rows are read from a file and become the bytes of one."""

    read: Callable[[Path], Iterable[Row]]
    encode: Callable[[Sequence[Row]], bytes]


def _read_jsonl(path: Path) -> Iterable[Row]:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    opening = '{"image": '
    if not (text.startswith(opening) or opening.startswith(text)):
        raise _not_ours(path)
    whole, _, _torn = text.rpartition("\n")
    for number, line in enumerate(whole.split("\n") if whole else (), start=1):
        try:
            yield Row(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"line {number} of {str(path)!r} is not a row of scores: {line[:80]!r}",
                "delete that line and run again, or give another file with -o",
            ) from error


def _encode_jsonl(rows: Sequence[Row]) -> bytes:
    known = ({key: value for key, value in asdict(row).items() if value not in (None, {})} for row in rows)
    lines = (json.dumps(entries, ensure_ascii=False, allow_nan=False) + "\n" for entries in known)
    return "".join(lines).encode("utf-8", "surrogateescape")


def _read_csv(path: Path) -> Iterable[Row]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise _not_ours(path)
            for flat in reader:
                yield _row({key: _NUMBERS.get(key, str)(value) for key, value in flat.items() if value})
        except (ValueError, TypeError, csv.Error) as error:
            raise _not_ours(path) from error


def _encode_csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows(map(_flat, rows))
    return f"{','.join(COLUMNS)}\n{text.getvalue()}".encode("utf-8", "surrogateescape")


def _read_parquet(path: Path) -> Iterable[Row]:
    pa, pq = _arrow()
    content = io.BytesIO(path.read_bytes())
    try:
        table = pq.read_table(content)
        columns = [_values(name, table[name], pa) for name in COLUMNS]
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise _not_ours(path) from error
    for values in zip(*columns, strict=True):
        yield _row({name: value for name, value in zip(COLUMNS, values, strict=True) if value is not None})


def _encode_parquet(rows: Sequence[Row]) -> bytes:
    pa, pq = _arrow()
    flat = [_flat(row) for row in rows]
    file = io.BytesIO()
    pq.write_table(pa.table({name: _column(name, [row.get(name) for row in flat], pa) for name in COLUMNS}), file)
    return file.getvalue()


def _column(name: str, values: Sequence[Any], pa: Any) -> Any:
    if name in _NUMBERS:
        return pa.array(values, pa.float64() if _NUMBERS[name] is float else pa.int32())
    encoded = [None if value is None else value.encode("utf-8", "surrogateescape") for value in values]
    return pa.array(encoded, pa.binary()).view(pa.string())


def _values(name: str, column: Any, pa: Any) -> list[Any]:
    if name in _NUMBERS:
        return list(column.to_pylist())
    encoded = (value for chunk in column.chunks for value in chunk.view(pa.binary()).to_pylist())
    return [None if value is None else value.decode("utf-8", "surrogateescape") for value in encoded]


def _arrow() -> tuple[Any, Any]:
    purpose = "a score file in Parquet"
    return optional("pyarrow", "bench", purpose), optional("pyarrow.parquet", "bench", purpose)


def _flat(row: Row) -> dict[str, Any]:
    """The values of `COLUMNS` that a row has."""
    hashes = {f"sha256_{kind}": digest for kind, digest in row.sha256.items()}
    found = {name: getattr(row, name) for name in COLUMNS if not name.startswith("sha256_")}
    return {name: value for name, value in {**found, **hashes}.items() if value is not None}


def _row(flat: Mapping[str, Any]) -> Row:
    hashes = {kind: flat[f"sha256_{kind}"] for kind in HASHED if f"sha256_{kind}" in flat}
    return Row(**{name: value for name, value in flat.items() if not name.startswith("sha256_")}, sha256=hashes)


_FORMATS = {
    ".jsonl": _Format(_read_jsonl, _encode_jsonl),
    ".csv": _Format(_read_csv, _encode_csv),
    ".parquet": _Format(_read_parquet, _encode_parquet),
}


def _format_of(path: Path) -> _Format:
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"the output {str(path)!r} ends in {path.suffix!r}; wanted .jsonl, .csv or .parquet",
            f"-o {path.with_suffix('.jsonl')}",
        )
    return _FORMATS[path.suffix.lower()]


def _not_ours(path: Path) -> InputError:
    return InputError(f"{str(path)!r} is not a score file of drmetric", "give another file with -o, or add --overwrite")
