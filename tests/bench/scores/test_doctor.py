"""Pairs of two folders before they are scored: what the doctor says of names, scales and orientation."""

from pathlib import Path

import pytest

from drmetric.bench.scores.doctor import inspect_pairs
from tests.bench.scores.folders import write_image


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for number in range(4):
        write_image(tmp_path / "restored" / f"{number}.png", number, (64, 96))
        write_image(tmp_path / "degraded" / f"{number}.png", 10 + number, (32, 48))
    return tmp_path / "restored", tmp_path / "degraded"


def test_pairs_of_one_scale_are_fine(folders: tuple[Path, Path]) -> None:
    (finding,) = inspect_pairs(*folders)
    assert finding.level == "ok"
    assert "4 pairs; outputs should be 2 times" in finding.message


def test_what_does_not_fit_is_named(folders: tuple[Path, Path]) -> None:
    restored, degraded = folders
    (degraded / "0.png").rename(degraded / "lonely.png")
    write_image(restored / "1.png", 1, (32, 48))
    write_image(restored / "2.png", 1, (96, 64))
    found = {(finding.check, Path(finding.file).name): finding for finding in inspect_pairs(*folders)}
    assert {key: finding.level for key, finding in found.items()} == {
        ("missing", "0.png"): "error",
        ("extra", "lonely.png"): "note",
        ("scale", "1.png"): "error",
        ("scale", "2.png"): "error",
        ("orientation", "restored"): "warning",
        ("scale", "restored"): "ok",
    }
    assert "2 times is expected" in found["scale", "1.png"].message
    assert "'2.png'" in found["orientation", "restored"].message


def test_swapped_folders_are_one_error_with_the_command_that_mends_it(folders: tuple[Path, Path]) -> None:
    restored, degraded = folders
    (finding,) = inspect_pairs(degraded, restored)
    assert (finding.level, finding.fix) == ("error", f"drmetric doctor {restored} {degraded}")


def test_a_cropped_output_is_a_warning(tmp_path: Path) -> None:
    write_image(tmp_path / "restored/a.png", 0, (190, 190))
    write_image(tmp_path / "degraded/a.png", 0, (96, 96))
    (warning, _) = inspect_pairs(tmp_path / "restored", tmp_path / "degraded")
    assert (warning.level, warning.check, Path(warning.file).name) == ("warning", "scale", "a.png")
    assert warning.fix == "if the output was cropped, crop the input alike"
