"""How rows become the bytes of a JSON lines, CSV or Parquet file, and come back bit for bit; damaged ones are named."""

import ast
import codecs
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from drmetric.bench.scores.rows import HASHED, ONE_COLOUR, Row
from drmetric.errors import InputError, optional
from drmetric.metrics.consistency import GUARDS
from drmetric.text import FORMULA, printable

COLUMNS = (
    "image", "method", "degraded", "metric", "signature", "reference", "score", *GUARDS, "height", "width", "seconds",
    "device", *(f"sha256_{kind}" for kind in HASHED), "error", "error_type", ONE_COLOUR,
    "standard_error",
)  # fmt: skip
"""Of CSV and Parquet."""
_EARLIER = (COLUMNS[:-1], COLUMNS[:-2])
"""Of releases before 0.11.0, and before 0.10.0."""
_UNUSUAL = re.compile(r"[^ -~\n\ud800-\udfff]")
"""Not plain text, nor the end of a line, nor bytes of a name that are not UTF-8."""
_ESCAPED = re.compile(r"\\(?:[\\tnr]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_NUMBERS: Mapping[str, type] = {
    **dict.fromkeys(("score", "standard_error", "seconds", *GUARDS), float),
    **dict.fromkeys(("height", "width"), int),
}
_NUMBER = float | int | None
_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("image", "metric", "signature", "reference"), str),
    **dict.fromkeys(("method", "degraded", "device", "error", "error_type"), str | None),
    **dict.fromkeys(("score", "standard_error", "seconds"), _NUMBER),
    **dict.fromkeys(("height", "width"), int | None),
    **dict.fromkeys(("consistency", "sha256", "settings", "details"), dict),
}
"""Of the entries of a row that was read."""


class Format(NamedTuple):
    """How rows are read from a file and become the bytes of one."""

    read: Callable[[Path], Iterable[Row]]
    encode: Callable[[Sequence[Row]], bytes]


def read_jsonl(path: Path) -> Iterable[Row]:
    text = path.read_bytes().removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    opening = '{"image": '
    if not (text.startswith(opening) or opening.startswith(text)):
        raise _not_ours(path)
    whole, _, _torn = text.rpartition("\n")
    for number, line in enumerate(whole.split("\n"), start=1):
        if not line.strip():
            continue
        with _naming(path, f"line {number}", line):
            row = _checked(**json.loads(line))
        yield row


def encode_jsonl(rows: Sequence[Row]) -> bytes:
    known = ({key: value for key, value in asdict(row).items() if value not in (None, {})} for row in rows)
    lines = (json.dumps(entries, ensure_ascii=False, allow_nan=False) + "\n" for entries in known)
    return _UNUSUAL.sub(_json_escape, "".join(lines)).encode("utf-8", "surrogateescape")


def _json_escape(found: re.Match[str]) -> str:
    """A character that JSON would keep, and a terminal may obey, as JSON can write it, too."""
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def _read_csv(path: Path) -> Iterable[Row]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            if tuple(reader.fieldnames or ()) not in (COLUMNS, *_EARLIER):
                raise _not_ours(path)
            for flat in reader:
                with _naming(path, f"line {reader.line_num}", ",".join(map(str, flat.values()))):
                    if None in flat:
                        raise ValueError("there are more cells than columns")
                    row = _row({key: _NUMBERS.get(key, _text)(value) for key, value in flat.items() if value})
                yield row
        except csv.Error as error:
            raise _not_ours(path) from error


def _encode_csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    for row in map(_flat, rows):
        writer.writerow({key: _cell(value) if isinstance(value, str) else value for key, value in row.items()})
    return f"{','.join(COLUMNS)}\n{text.getvalue()}".encode("utf-8", "surrogateescape")


def _cell(text: str) -> str:
    """A text as a cell: behind a quote, with backslashes, where terminals or spreadsheets would see more in it."""
    escaped = "".join(c if "\ud800" <= c <= "\udfff" else printable(c) for c in text.replace("\\", "\\\\"))
    if text.startswith(("'", *FORMULA)) or escaped != text.replace("\\", "\\\\"):
        return f"'{escaped}"
    return text


def _text(cell: str) -> str:
    """The text of a cell that `_cell` wrote."""
    if not cell.startswith("'"):
        return cell
    return _ESCAPED.sub(lambda found: ast.literal_eval(f"'{found[0]}'"), cell[1:])


def _read_parquet(path: Path) -> Iterable[Row]:
    pa, pq = _arrow()
    content = io.BytesIO(path.read_bytes())
    try:
        table = pq.read_table(content)
        names = next((each for each in (COLUMNS, *_EARLIER) if set(each) <= set(table.column_names)), COLUMNS)
        columns = [_values(name, table[name], pa) for name in names]
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise _not_ours(path) from error
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        with _naming(path, f"row {number}", str(values)):
            row = _row({name: value for name, value in zip(names, values, strict=True) if value is not None})
        yield row


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
    found = {name: getattr(row, name, None) for name in COLUMNS}
    found[ONE_COLOUR] = "yes" if row.details.get(ONE_COLOUR) else None
    return {name: value for name, value in {**found, **hashes, **row.consistency}.items() if value is not None}


def _row(flat: Mapping[str, Any]) -> Row:
    hashes = {kind: flat[f"sha256_{kind}"] for kind in HASHED if f"sha256_{kind}" in flat}
    consistency = {name: flat[name] for name in GUARDS if name in flat}
    apart = {*consistency, *(f"sha256_{kind}" for kind in hashes), ONE_COLOUR}
    rest = {name: value for name, value in flat.items() if name not in apart}
    details = {ONE_COLOUR: True} if ONE_COLOUR in flat else {}
    return _checked(**rest, consistency=consistency, sha256=hashes, details=details)


def _checked(**entries: Any) -> Row:
    """A row that was read; raises `TypeError` where an entry is missing, unknown or of another kind."""
    row = Row(**entries)
    for name, kind in _KINDS.items():
        value = getattr(row, name)
        if (
            not isinstance(value, kind)
            or isinstance(value, bool)
            or (kind is _NUMBER and not math.isfinite(value or 0))
        ):
            raise TypeError(f"{name} is {value!r}")
    if not all(isinstance(digest, str) for digest in row.sha256.values()):
        raise TypeError(f"sha256 is {row.sha256!r}")
    if not all(isinstance(figure, float) and math.isfinite(figure) for figure in row.consistency.values()):
        raise TypeError(f"consistency is {row.consistency!r}")
    return row


@contextmanager
def _naming(path: Path, where: str, content: str) -> Iterator[None]:
    """Turn what a row raises into an error that says where it is."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{where} of {str(path)!r} is not a row of scores: {content[:80]!r}",
            "delete it and run again, which keeps the others; or give another file with -o",
        ) from error


_FORMATS = {
    ".jsonl": Format(read_jsonl, encode_jsonl),
    ".csv": Format(_read_csv, _encode_csv),
    ".parquet": Format(_read_parquet, _encode_parquet),
}


def format_of(path: Path) -> Format:
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"the output {str(path)!r} ends in {path.suffix!r}; wanted .jsonl, .csv or .parquet",
            f"-o {path.with_suffix('.jsonl')}",
        )
    return _FORMATS[path.suffix.lower()]


def _not_ours(path: Path) -> InputError:
    return InputError(f"{str(path)!r} is not a score file of drmetric", "--overwrite  # or give another file with -o")
