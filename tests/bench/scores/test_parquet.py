"""Parquet score files: any record survives, a killed run loses none, and other programs read them."""

import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.bench.scores.folders import Distance, numbers, without_time, write_image
from tests.bench.scores.test_records import FAILED, ODD_NAMES, SCORED

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.parquet as pq  # noqa: E402

from drmetric.bench.scores.folder import score_folder  # noqa: E402
from drmetric.bench.scores.parquet import parts_of, write_parquet  # noqa: E402
from drmetric.bench.scores.records import Record, read_records  # noqa: E402
from drmetric.errors import InputError  # noqa: E402


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for i in range(6):
        write_image(tmp_path / "restored" / f"{i}.png", i)
        write_image(tmp_path / "degraded" / f"{i}.png", 100 + i, (4, 6))
    return tmp_path / "restored", tmp_path / "degraded"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "scores.parquet"


@settings(deadline=None)
@example(ODD_NAMES)
@given(st.lists(SCORED | FAILED, max_size=4, unique_by=lambda record: record.file))
def test_any_record_survives(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    path = tmp_path_factory.getbasetemp() / "records.parquet"
    write_parquet(path, records)
    assert read_records(path) == sorted(records, key=lambda record: record.file)


def test_the_records_are_those_of_jsonl_in_columns_that_other_programs_read(
    folders: tuple[Path, Path], output: Path, tmp_path: Path
) -> None:
    (folders[0] / "3.png").write_bytes(b"broken")
    expected = score_folder(Distance(), *folders, output=tmp_path / "scores.jsonl")
    score_folder(Distance(), *folders, output=output)
    assert list(map(without_time, read_records(output))) == list(map(without_time, expected.records))
    table = pq.read_table(output)
    assert table["file"].to_pylist() == [f"{i}.png" for i in range(6)]
    assert table["score"].to_pylist() == [numbers(expected).get(f"{i}.png") for i in range(6)]
    assert table["error_type"].drop_null().to_pylist() == ["ImageFileError"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "degraded", "restored", "scores.jsonl", "scores.parquet"
    ]  # fmt: skip


def test_a_killed_run_loses_nothing_and_is_taken_up(folders: tuple[Path, Path], output: Path) -> None:
    score_folder(Distance(), *folders, output=output)
    for i in range(3):
        write_image(folders[0] / f"{i}.png", 50 + i)
    whole = numbers(score_folder(Distance(), *folders))
    metric = Distance(breaks=lambda image: os._exit(9) if metric.seen == 3 else None)
    killed = multiprocessing.get_context("fork").Process(
        target=score_folder, args=(metric, *folders), kwargs={"output": output}
    )
    killed.start()
    killed.join()
    assert killed.exitcode == 9
    assert [record.file for record in read_records(output)] == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    metric = Distance()
    scores = score_folder(metric, *folders, output=output)
    assert (metric.seen, scores.kept) == (1, 5)
    assert numbers(scores) == whole
    assert {record.file: record.score for record in read_records(output)} == whole
    assert not parts_of(output).exists()


def test_an_interrupted_run_is_taken_up(folders: tuple[Path, Path], output: Path) -> None:
    metric = Distance(breaks=lambda image: KeyboardInterrupt() if metric.seen == 4 else None)
    with pytest.raises(KeyboardInterrupt):
        score_folder(metric, *folders, output=output)
    assert len(read_records(output)) == 3
    assert score_folder(Distance(), *folders, output=output).kept == 3


def test_overwriting_forgets_an_unfinished_run(folders: tuple[Path, Path], output: Path) -> None:
    metric = Distance(breaks=lambda image: KeyboardInterrupt() if metric.seen == 4 else None)
    with pytest.raises(KeyboardInterrupt):
        score_folder(metric, *folders, output=output)
    assert score_folder(Distance(), *folders, output=output, overwrite=True).kept == 0
    assert len(read_records(output)) == 6


@pytest.mark.parametrize("content", [b"my notes", b"", b"PAR1 or so PAR1"])
def test_files_that_are_not_ours_are_left_alone(folders: tuple[Path, Path], output: Path, content: bytes) -> None:
    output.write_bytes(content)
    with pytest.raises(InputError, match="not a score file"):
        score_folder(Distance(), *folders, output=output)
    assert output.read_bytes() == content


def test_other_tables_and_unwritable_folders_are_refused(folders: tuple[Path, Path], output: Path) -> None:
    pq.write_table(pa.table({"file": ["0.png"]}), output)
    with pytest.raises(InputError, match="not a score file"):
        score_folder(Distance(), *folders, output=output)
    (output.parent / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        score_folder(Distance(), *folders, output=output.parent / "file" / "scores.parquet")
