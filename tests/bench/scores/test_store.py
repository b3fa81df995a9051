"""The score file: any row survives JSON lines, CSV and Parquet, and a killed run loses none."""

import codecs
import csv
import json
import multiprocessing
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drmetric.bench.scores.folder import score_folder
from drmetric.bench.scores.formats import COLUMNS
from drmetric.bench.scores.rows import HASHED, ONE_COLOUR, Row
from drmetric.bench.scores.store import ScoreFile, parts_of, read_rows, write_rows
from drmetric.errors import InputError, OutputError
from tests.bench.scores.folders import Distance, without_time, write_image

SUFFIXES = ["jsonl", "csv", "parquet"]
TEXT = st.text(min_size=1)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.builds(
    Row,
    image=TEXT,
    metric=TEXT,
    signature=TEXT,
    reference=st.sampled_from(["none", "degraded", "truth"]),
    method=st.none() | TEXT,
    degraded=st.none() | TEXT,
    score=st.none() | NUMBER,
    standard_error=st.none() | NUMBER,
    height=st.none() | st.integers(1, 10**6),
    width=st.none() | st.integers(1, 10**6),
    seconds=st.none() | NUMBER,
    device=st.none() | TEXT,
    sha256=st.dictionaries(st.sampled_from(HASHED), TEXT),
    error=st.none() | TEXT,
    error_type=st.none() | TEXT,
    details=st.sampled_from([{}, {ONE_COLOUR: True}]),
)
ODD = [
    Row(b"caf\xe9.png".decode("utf-8", "surrogateescape"), "m", "s", "none", error="x", error_type="y"),
    Row("a\r\nb\u2028.png", "m", "s", "none", error="x", error_type="y"),
]


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return tmp_path / f"scores.{request.param}"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for i in range(6):
        write_image(tmp_path / "restored" / f"{i}.png", i)
        write_image(tmp_path / "degraded" / f"{i}.png", 100 + i, (4, 6))
    return tmp_path / "restored", tmp_path / "degraded"


@settings(deadline=None)
@example(ODD, "jsonl")
@example(ODD, "csv")
@example(ODD, "parquet")
@given(st.lists(ROWS, max_size=4, unique_by=lambda row: row.key), st.sampled_from(SUFFIXES))
def test_any_row_survives_every_format(tmp_path_factory: pytest.TempPathFactory, rows: list[Row], suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"rows.{suffix}"
    write_rows(path, rows)
    assert read_rows(path) == rows


@settings(deadline=None)
@given(st.lists(ROWS, max_size=4, unique_by=lambda row: row.key), st.integers(1, 500))
def test_a_torn_end_costs_only_the_last_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], torn: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "torn.jsonl"
    with ScoreFile(path) as file:
        for row in rows:
            file.append(row)
            assert read_rows(path)[-1] == row
    content = path.read_bytes()[:-torn]
    path.write_bytes(content)
    assert read_rows(path) == rows[: content.count(b"\n")]


def test_settings_and_details_are_of_json_lines(tmp_path: Path) -> None:
    row = Row("a", "m", "s", "none", method="noise", score=0.5, settings={"psnr": 40.0, "seed": 1}, details={"x": [1]})
    others = [replace(row, settings={"psnr": None, "seed": 1}), replace(row, settings={"psnr": 35.0, "seed": 1})]
    write_rows(tmp_path / "a.jsonl", [row, *others])
    assert read_rows(tmp_path / "a.jsonl") == [row, *others]


def test_the_latest_row_of_a_key_counts_and_failures_are_tried_again(path: Path) -> None:
    first = Row("1", "m", "s", "none", score=0.5)
    failed = Row("2", "m", "s", "none").because(RuntimeError("no"))
    useless = Row("3", "m", "s", "none", error="too small", error_type="NotApplicableError")
    with ScoreFile(path) as file:
        for row in (first, failed, useless, replace(first, score=0.7)):
            file.append(row)
        assert file.find(first.key) == replace(first, score=0.7)
    assert sorted(read_rows(path), key=lambda row: row.image) == [replace(first, score=0.7), failed, useless]
    with ScoreFile.read(path) as again:
        assert {row.image for row in again.rows} == {"1", "3"}


def test_errors_are_on_one_line_and_name_no_folders() -> None:
    row = Row("a", "m", "s", "none").because(OSError("cannot\n read /home/me/a.png"), [Path("/home/me/a.png")])
    assert (row.error, row.error_type) == ("cannot read a.png", "OSError")
    assert row.failure == ("m", "", "a", "OSError: cannot read a.png")


def test_parts_of_workers_are_read_and_go_at_the_end(path: Path) -> None:
    rows = [Row(str(i), "m", "s", "none", score=float(i)) for i in range(4)]
    write_rows(path, rows[:1])
    parts_of(path).mkdir()
    write_rows(parts_of(path) / "block.jsonl", rows[1:3])
    assert read_rows(path) == rows[:3]
    with ScoreFile.read(path) as file:
        file.append(rows[3])
    assert read_rows(path) == rows
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_all_formats_hold_the_same_and_other_programs_read_them(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    (folders[0] / "3.png").write_bytes(b"broken")
    read = []
    for suffix in SUFFIXES:
        output = tmp_path / f"a.{suffix}"
        scores = score_folder(Distance(), *folders, output=output)
        read.append([without_time(row) for row in read_rows(output)])
        assert sorted(read[-1], key=repr) == sorted(map(without_time, scores.rows), key=repr)
    assert read[0] == read[1] == read[2]
    table = pq.read_table(tmp_path / "a.parquet")
    assert tuple(table.column_names) == COLUMNS == tuple((tmp_path / "a.csv").read_text().splitlines()[0].split(","))
    assert table["image"].to_pylist() == [f"{i}.png" for i in range(6)]
    assert table["score"].to_pylist() == [scores.scores.get(f"{i}.png") for i in range(6)]
    assert table["error_type"].drop_null().to_pylist() == ["ImageFileError"]


def test_a_killed_run_loses_nothing_and_is_taken_up(folders: tuple[Path, Path], path: Path) -> None:
    score_folder(Distance(), *folders, output=path)
    for i in range(3):
        write_image(folders[0] / f"{i}.png", 50 + i)
    whole = score_folder(Distance(), *folders).scores
    metric = Distance(breaks=lambda image: os._exit(9) if metric.seen == 3 else None)
    killed = multiprocessing.get_context("fork").Process(
        target=score_folder, args=(metric, *folders), kwargs={"output": path}
    )
    killed.start()
    killed.join()
    assert killed.exitcode == 9
    assert sorted(row.image for row in read_rows(path)) == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    metric = Distance()
    scores = score_folder(metric, *folders, output=path)
    assert (metric.seen, scores.kept) == (1, 5)
    assert scores.scores == whole == {row.image: row.score for row in read_rows(path)}
    assert not parts_of(path).exists()


def test_overwriting_forgets_an_unfinished_run(folders: tuple[Path, Path], path: Path) -> None:
    metric = Distance(breaks=lambda image: KeyboardInterrupt() if metric.seen == 4 else None)
    with pytest.raises(KeyboardInterrupt):
        score_folder(metric, *folders, output=path)
    assert len(read_rows(path)) == 3
    assert score_folder(Distance(), *folders, output=path, overwrite=True).kept == 0
    assert len(read_rows(path)) == 6


@pytest.mark.parametrize(
    "content", [b"my notes", b"my notes\n", b'{"image": 1}\n{"image": 2}\n', b"image,degraded\n1,2\n", b"PAR1 or so"]
)
def test_files_that_are_not_ours_are_left_alone(folders: tuple[Path, Path], path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a score file|is not a row of scores"):
        score_folder(Distance(), *folders, output=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_what_an_editor_adds_costs_no_score(folders: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores.{suffix}"
    score_folder(Distance(), *folders, output=path)
    rows, content = read_rows(path), path.read_bytes()
    for edited in (codecs.BOM_UTF8 + content, content.replace(b"\n", b"\r\n"), content + b"\n\n"):
        path.write_bytes(edited)
        assert read_rows(path) == rows
        assert score_folder(Distance(), *folders, output=path).kept == 6
        assert path.read_bytes() == content


def test_unknown_suffixes_and_unwritable_folders_are_refused(path: Path) -> None:
    with pytest.raises(InputError, match=r"wanted \.jsonl, \.csv or \.parquet") as caught:
        ScoreFile(path.with_suffix(".txt"))
    assert caught.value.fix == f"-o {path.with_suffix('.jsonl')}"
    (path.parent / "file").touch()
    with pytest.raises(InputError, match="cannot write"), ScoreFile(path.parent / "file" / path.name):
        pass


def test_one_run_writes_a_score_file_at_a_time(path: Path) -> None:
    row = Row("1", "m", "s", "none", score=0.5)
    with ScoreFile(path) as file:
        with pytest.raises(OutputError, match="another run is writing"), ScoreFile(path):
            pass
        file.append(row)
    assert read_rows(path) == [row]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_was_read_before_another_run_wrote_is_not_written_over_it(path: Path) -> None:
    rows = [Row(str(i), "m", "s", "none", score=float(i)) for i in range(2)]
    write_rows(path, rows[:1])
    late = ScoreFile.read(path)
    with ScoreFile.read(path) as file:
        file.append(rows[1])
    with pytest.raises(OutputError, match=r"another run wrote .* since it was read"), late:
        pass
    assert read_rows(path) == rows


@pytest.mark.parametrize("harm", ["deleted", "replaced", "emptied", "moved with its folder"])
def test_a_file_that_goes_during_a_run_costs_no_score_and_is_an_error(path: Path, harm: str) -> None:
    path = path.parent / "folder" / path.name
    rows = [Row(str(i), "m", "s", "none", score=float(i)) for i in range(3)]

    def spoil() -> None:
        if harm == "deleted":
            path.unlink()
        elif harm == "replaced":
            write_rows(path, [])
        elif harm == "emptied":
            os.truncate(path if path.suffix == ".jsonl" else parts_of(path) / "rows.jsonl", 0)
        else:
            path.parent.rename(path.parent.with_name("elsewhere"))

    def spoiled_run() -> None:
        with ScoreFile(path) as file:
            file.append(rows[0])
            spoil()
            for row in rows[1:]:
                file.append(row)

    with pytest.raises(OutputError, match="was deleted or changed while this run wrote it") as caught:
        spoiled_run()
    words = shlex.split(caught.value.fix, comments=True)
    assert (words[0], words[2]) == ("mv", str(path))
    assert read_rows(Path(words[1])) == rows


@pytest.mark.parametrize(
    "damage",
    [
        {"score": float("nan")},
        {"score": float("inf")},
        {"seconds": float("nan")},
        {"image": None},
        {"signature": None},
    ],
)
def test_a_damaged_row_is_named_and_the_file_stays(
    folders: tuple[Path, Path], path: Path, damage: dict[str, Any]
) -> None:
    score_folder(Distance(), *folders, output=path)
    change_row(path, 3, damage)
    content = path.read_bytes()
    with pytest.raises(InputError, match=r"(line|row) \d of .* is not a row of scores") as caught:
        score_folder(Distance(), *folders, output=path)
    assert "keeps the others" in caught.value.fix
    assert path.read_bytes() == content


def test_a_line_of_too_many_cells_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    score_folder(Distance(), *folders, output=output)
    lines = output.read_text().splitlines()
    output.write_text("\n".join([lines[0], lines[1] + ",1", *lines[2:]]) + "\n")
    with pytest.raises(InputError, match=r"line 2 of .* is not a row of scores"):
        read_rows(output)


def change_row(path: Path, number: int, changes: dict[str, Any]) -> None:
    """Change entries of the row of a score file that has this number."""
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[number] |= changes
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            table = list(csv.DictReader(file))
        table[number] |= {name: "" if value is None else value for name, value in changes.items()}
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
    else:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = pq.read_table(path).to_pylist()
        table[number] |= changes
        pq.write_table(pa.Table.from_pylist(table, pq.read_schema(path)), path)


def test_rows_without_their_hash_are_scored_again_and_the_rest_is_kept(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "scores.jsonl"
    whole = score_folder(Distance(), *folders, output=path).scores
    change_row(path, 0, {"sha256": {}})
    change_row(path, 1, {"sha256": {"restored": "0" * 64}})
    again = score_folder(Distance(), *folders, output=path)
    assert (again.kept, again.scores) == (len(whole) - 2, whole)


def test_a_damaged_part_is_named_and_nothing_is_removed(folders: tuple[Path, Path], path: Path) -> None:
    metric = Distance(breaks=lambda image: KeyboardInterrupt() if metric.seen == 4 else None)
    with pytest.raises(KeyboardInterrupt):
        score_folder(metric, *folders, output=path)
    parts_of(path).mkdir(exist_ok=True)
    damaged = parts_of(path) / "block.jsonl"
    damaged.write_bytes(b'{"image": "x", "score": \xff}\n')
    with pytest.raises(InputError, match=r"line 1 of .*block.jsonl' is not a row of scores"):
        score_folder(Distance(), *folders, output=path)
    damaged.unlink()
    assert score_folder(Distance(), *folders, output=path).kept == 3


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("later", [["standard_error"], ["one_colour", "standard_error"]])
def test_files_of_releases_without_the_last_columns_are_read(tmp_path: Path, suffix: str, later: list[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed") if suffix == "parquet" else None
    path, row = tmp_path / f"scores.{suffix}", Row("a.png", "m", "s", "none", score=0.5)
    write_rows(path, [row])
    if parquet is None:
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{line.rsplit(',', len(later))[0]}\n" for line in lines))
    else:
        parquet.write_table(parquet.read_table(path).drop_columns(later), path)
    assert read_rows(path) == [row]
