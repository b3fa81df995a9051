"""How benchmarks report: means with intervals, and tables whose numbers are in columns of their own."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.reporting import keep_settings, mean_of, report
from benchmarks.studies.comparison import compare
from drmetric.bench.tables import Table
from drmetric.statistics import bootstrap_mean


def test_a_mean_of_contents_has_the_interval_of_its_bootstrap() -> None:
    values = [0.1, 0.4, 0.5, 0.9]
    cell = mean_of(values)
    assert cell.value == pytest.approx(np.mean(values))
    assert (cell.low, cell.high) == pytest.approx(bootstrap_mean(values, 5000))
    assert mean_of([]).value is None


def test_a_table_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"what": "one", "mean": mean_of([1 / 3, 1 / 3]), "n": 2}]
    written = tmp_path / "new/table.csv"
    report(Table.of(rows, "Title", ".3f"), written)
    assert capsys.readouterr().out == f"Title\nwhat\tmean\tn\none\t0.333 [0.333, 0.333]\t2\n{written}\n"
    (row,) = csv.DictReader(written.open())
    assert [float(row[name]) for name in ("mean", "mean_low", "mean_high", "n")] == [1 / 3, 1 / 3, 1 / 3, 2]


def test_metrics_are_compared_with_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    opinions = rng.random(40)
    columns = {"good": (opinions + 0.01 * rng.random(40)).tolist(), "bad": rng.random(40).tolist()}
    good, bad = compare("Set", columns, opinions.tolist(), [f"{number // 2}" for number in range(40)])
    assert (good["metric"], good["difference"].value, good["p_holm"]) == ("good", None, None)
    assert bad["difference"].value == pytest.approx(good["srcc"].value - bad["srcc"].value)
    assert bad["difference"].low < bad["difference"].value < bad["difference"].high
    assert bad["p_holm"] < 0.01
    title, _, *lines = capsys.readouterr().out.splitlines()
    assert title == "Set: 40 images of 20 contents; the first is good"
    assert [line.split("\t")[0] for line in lines] == ["good", "bad"]


def test_results_of_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    keep_settings(file, "steps = 300")
    keep_settings(file, "steps = 300")
    with pytest.raises(SystemExit, match="other settings"):
        keep_settings(file, "steps = 700")
    assert file.read_text() == "steps = 300"
