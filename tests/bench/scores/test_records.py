"""Score files: any record survives JSONL and CSV, and a torn end costs only the last record."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drmetric.bench.scores.records import Failed, Hashes, Record, RecordWriter, Scored, read_records

TEXT = st.text(min_size=1)
ODD_NAMES = [
    Failed(b"caf\xe9.png".decode("utf-8", "surrogateescape"), "x", "y"),
    Failed("a\r\nb\u2028.png", "x", "y"),
]
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCORED = st.builds(
    Scored,
    file=TEXT,
    degraded=st.none() | TEXT,
    score=FINITE,
    metric=TEXT,
    signature=TEXT,
    height=st.integers(1, 10**6),
    width=st.integers(1, 10**6),
    seconds=FINITE,
    sha256=st.builds(Hashes, TEXT, st.none() | TEXT),
)
FAILED = st.builds(Failed, TEXT, TEXT, TEXT)


@settings(deadline=None)
@example(ODD_NAMES, "jsonl", 1)
@example(ODD_NAMES, "csv", 1)
@given(st.lists(SCORED | FAILED, max_size=4), st.sampled_from(["jsonl", "csv"]), st.integers(1, 500))
def test_any_record_survives_its_file_and_any_tear(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], suffix: str, torn: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"records.{suffix}"
    with RecordWriter(path, records[:1]) as writer:
        for record in records[1:]:
            writer.write(record)
            assert read_records(path)[-1] == record
    assert read_records(path) == records
    path.write_bytes(path.read_bytes()[:-torn])
    assert read_records(path) == records[: len(read_records(path))]
