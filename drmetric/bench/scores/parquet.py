"""Score files as Parquet, with the columns of ``*.csv``.

A Parquet file cannot grow by a record. While a run is not finished, the file holds the records that it kept and the
folder ``<file>.parts`` beside it those made since; at the end they join in the file and the folder goes.
"""

import io
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from drmetric.bench.scores.records import (
    COLUMNS,
    Failed,
    Hashes,
    Record,
    RecordWriter,
    Scored,
    cannot_write,
    read_records,
    row_of,
)
from drmetric.errors import InputError, MissingDependencyError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingDependencyError(
        "Parquet files need pyarrow, which is not installed", "pip install 'drmetric[bench]'"
    ) from error

_NUMBERS = {"score": pa.float64(), "seconds": pa.float64(), "height": pa.int32(), "width": pa.int32()}
_STREAM = "records.jsonl"


def parts_of(path: Path) -> Path:
    """The folder of what an unfinished run has made of the score file `path`."""
    return path.with_name(path.name + ".parts")


class ParquetWriter:
    """What `RecordWriter` is, for ``*.parquet``: a killed run loses no record, and the next one takes them up.

    Args:
        path: the score file; an existing one is replaced, in one step.
        keep: records of an earlier run that the new file begins with.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path, keep: Iterable[Record] = ()) -> None:
        self._path = path
        self._records = list(keep)
        self.parts = parts_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(path, self._records)
            if self.parts.exists():
                shutil.rmtree(self.parts)
            self.parts.mkdir()
        except OSError as error:
            raise cannot_write(path, error) from error
        self._stream = RecordWriter(self.parts / _STREAM)

    def write(self, record: Record) -> None:
        """Append one record."""
        self._stream.write(record)
        self.join(record)

    def join(self, record: Record) -> None:
        """Count in a record that is in the folder of parts already."""
        self._records.append(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stream.__exit__()
        if kind is None:
            write_parquet(self._path, sorted(self._records, key=lambda record: record.file))
            shutil.rmtree(self.parts, ignore_errors=True)


def write_parquet(path: Path, records: Sequence[Record]) -> None:
    """Write a file of records; an existing one is replaced, in one step."""
    fresh = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    with fresh.open("wb") as file:
        pq.write_table(_to_table(records), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def parquet_of(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Any rows of the same columns as a Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def read_parquet(path: Path) -> list[Record]:
    """The records of a score file and of its parts, one for each file, sorted.

    Raises:
        InputError: the file, or a part, is not a score file of drmetric.
    """
    parts = parts_of(path)
    records = [record for each in (path, *sorted(parts.glob("*.parquet"))) for record in _read(each)]
    if (parts / _STREAM).exists():
        records += read_records(parts / _STREAM)
    return [record for _, record in sorted({record.file: record for record in records}.items())]


def _read(path: Path) -> list[Record]:
    try:
        return _from_table(pq.ParquetFile(path).read())
    except FileNotFoundError:
        raise
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} is not a score file of drmetric", "give another file with -o, or add --overwrite"
        ) from error


def _to_table(records: Sequence[Record]) -> Any:
    """Records as an Arrow table."""
    rows = [row_of(record) for record in records]
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in COLUMNS})


def _from_table(table: Any) -> list[Record]:
    """What `_to_table` was given."""
    columns = {name: _values(name, table[name]) for name in COLUMNS}
    return [_record(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def _record(row: dict[str, Any]) -> Record:
    if row["error_type"] is not None:
        return Failed(row["file"], row["error"], row["error_type"])
    hashes = Hashes(row.pop("sha256_restored"), row.pop("sha256_degraded"))
    return Scored(**{name: value for name, value in row.items() if not name.startswith("error")}, sha256=hashes)


def _column(name: str, values: list[Any]) -> Any:
    if name in _NUMBERS:
        return pa.array(values, _NUMBERS[name])
    encoded = [None if value is None else value.encode("utf-8", "surrogateescape") for value in values]
    return pa.array(encoded, pa.binary()).view(pa.string())


def _values(name: str, column: Any) -> list[Any]:
    if name in _NUMBERS:
        return list(column.to_pylist())
    encoded = (value for chunk in column.chunks for value in chunk.view(pa.binary()).to_pylist())
    return [None if value is None else value.decode("utf-8", "surrogateescape") for value in encoded]
