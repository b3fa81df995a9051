"""Score files: one record per image, appended as it is made, so that a killed run loses nothing.

``*.jsonl`` holds one JSON object a line; ``*.csv`` holds the same values under a header, and ``*.parquet``
(`drmetric.bench.scores.parquet`) the same columns. All read back to the same records, bit for bit. Text is UTF-8; bytes
of a file name that are not UTF-8 are written as they are.
"""

import csv
import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from drmetric.errors import DrmetricError, InputError

if TYPE_CHECKING:
    from drmetric.bench.scores.parquet import ParquetWriter

COLUMNS = (
    "file", "degraded", "score", "metric", "signature", "height", "width", "seconds",
    "sha256_restored", "sha256_degraded", "error", "error_type",
)  # fmt: skip
"""Of ``*.csv`` and ``*.parquet``."""

_FSYNC_SECONDS = 1.0


class Hashes(NamedTuple):
    """SHA-256 of the two files, in hexadecimal; None where the metric needs no degraded input."""

    restored: str
    degraded: str | None


@dataclass(frozen=True, slots=True)
class Scored:
    """One scored image.

    Attributes:
        file: path of the restored image below its folder.
        degraded: path of its degraded input below its folder, or None.
        score: what the metric returned; finite.
        metric: name of the metric.
        signature: text that pins every choice which can change the score.
        height, width: size of the restored image in pixels.
        seconds: time spent in the metric, without reading the files.
        sha256: hashes of the files that were scored.
    """

    file: str
    degraded: str | None
    score: float
    metric: str
    signature: str
    height: int
    width: int
    seconds: float
    sha256: Hashes


@dataclass(frozen=True, slots=True)
class Failed:
    """One image that could not be scored, and why."""

    file: str
    error: str
    error_type: str

    @classmethod
    def because(cls, file: str, error: Exception) -> Self:
        """The record of `error`, its message on one line."""
        message = error.problem if isinstance(error, DrmetricError) else str(error)
        return cls(file, " ".join(message.split()), type(error).__name__)


Record = Scored | Failed


class RecordWriter:
    """Appends records to a score file; use it as a context manager.

    Each record is handed to the operating system at once, so a killed process loses none; it is synced to the
    disk at most once a second, so a power cut loses about a second's worth.

    Args:
        path: the score file, ``*.jsonl`` or ``*.csv``; an existing file is replaced, in one step.
        keep: records of an earlier run that the new file begins with.

    Raises:
        InputError: the suffix is neither of the two, or the file cannot be written.
    """

    def __init__(self, path: Path, keep: Iterable[Record] = ()) -> None:
        self._format = _format_of(path)
        fresh = path.with_name(path.name + ".tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as self._file:
                self._file.write(_to_bytes(self._format.header + "".join(map(self._format.encode, keep))))
                self._sync()
            os.replace(fresh, path)
            self._file = path.open("ab")
        except OSError as error:
            raise cannot_write(path, error) from error

    def write(self, record: Record) -> None:
        """Append one record."""
        self._file.write(_to_bytes(self._format.encode(record)))
        self._file.flush()
        if time.monotonic() - self._synced >= _FSYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sync()
        self._file.close()


def writer_of(path: Path, keep: Iterable[Record] = ()) -> "RecordWriter | ParquetWriter":
    """The writer of a score file in the format of its suffix.

    Raises:
        InputError: an unknown suffix, or a file that cannot be written.
        MissingDependencyError: ``*.parquet``, and pyarrow is not installed.
    """
    if not is_parquet(path):
        return RecordWriter(path, keep)
    from drmetric.bench.scores.parquet import ParquetWriter

    return ParquetWriter(path, keep)


def read_records(path: Path) -> list[Record]:
    """Read a score file. A last line that a killed run left unfinished is dropped.

    Raises:
        InputError: the file was not written by drmetric or a line of it is damaged.
        MissingDependencyError: ``*.parquet``, and pyarrow is not installed.
    """
    if is_parquet(path):
        from drmetric.bench.scores.parquet import read_parquet

        return read_parquet(path)
    form = _format_of(path)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if not (text.startswith(form.opening) or form.opening.startswith(text)):
        raise InputError(
            f"{str(path)!r} is not a score file of drmetric", "give another file with -o, or add --overwrite"
        )
    lines = list(form.lines(text.removeprefix(form.header)))
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith("\n"):
                raise ValueError("unfinished line")
            records.append(form.decode(line))
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            if number == len(lines):
                break
            raise InputError(
                f"record {number} of {str(path)!r} is damaged: {line[:80]!r}",
                "delete that line and run again, or add --overwrite to score every image again",
            ) from error
    return records


def is_parquet(path: Path) -> bool:
    """Whether the suffix is that of Parquet."""
    return path.suffix.lower() == ".parquet"


def cannot_write(path: Path, error: OSError) -> InputError:
    """The error for a score file that cannot be written."""
    return InputError(
        f"cannot write {str(path)!r}: {error.strerror or error}",
        "give a file in a folder that you may write to with -o",
    )


def row_of(record: Record) -> dict[str, Any]:
    """The values of `COLUMNS` that a record has."""
    row: dict[str, Any] = asdict(record)
    if isinstance(record, Scored):
        row["sha256_restored"], row["sha256_degraded"] = row.pop("sha256")
    return row


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Jsonl:
    header = ""
    opening = '{"file": '

    @staticmethod
    def encode(record: Record) -> str:
        content = asdict(record)
        if isinstance(record, Scored):
            content["sha256"] = record.sha256._asdict()
        return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"

    @staticmethod
    def decode(line: str) -> Record:
        content = json.loads(line)
        if "error" in content:
            return Failed(**content)
        return Scored(**{**content, "sha256": Hashes(**content["sha256"])})

    @staticmethod
    def lines(text: str) -> Iterator[str]:
        return iter(io.StringIO(text, newline="\n"))


class _Csv:
    header = ",".join(COLUMNS) + "\n"
    opening = header

    @classmethod
    def encode(cls, record: Record) -> str:
        line = io.StringIO()
        csv.DictWriter(line, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerow(row_of(record))
        return line.getvalue()

    @classmethod
    def decode(cls, line: str) -> Record:
        values = next(csv.reader(io.StringIO(line, newline=""), strict=True))
        row = dict(zip(COLUMNS, values, strict=True))
        if row["error_type"]:
            return Failed(row["file"], row["error"], row["error_type"])
        return Scored(
            file=row["file"],
            degraded=row["degraded"] or None,
            score=float(row["score"]),
            metric=row["metric"],
            signature=row["signature"],
            height=int(row["height"]),
            width=int(row["width"]),
            seconds=float(row["seconds"]),
            sha256=Hashes(row["sha256_restored"], row["sha256_degraded"] or None),
        )

    @staticmethod
    def lines(text: str) -> Iterator[str]:
        """Rows with their line end; a quoted field may hold line ends of its own."""
        row = ""
        for line in io.StringIO(text, newline="\n"):
            row += line
            if row.count('"') % 2 == 0:
                yield row
                row = ""
        if row:
            yield row


def _format_of(path: Path) -> type[_Jsonl] | type[_Csv]:
    match path.suffix.lower():
        case ".jsonl":
            return _Jsonl
        case ".csv":
            return _Csv
        case other:
            raise InputError(
                f"the output {str(path)!r} ends in {other!r}; wanted .jsonl or .csv, or .parquet",
                f"-o {path.with_suffix('.jsonl')}",
            )
