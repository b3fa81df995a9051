"""Near-duplicates: copies are found through compression, scale and brightness; groups are chains of pairs."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.data import duplicates as command
from drmetric.data import duplicates
from drmetric.data.duplicates import DuplicatePair, duplicate_groups, duplicate_pairs, thumbnails
from drmetric.errors import ImageFileError, InputError


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """a.png twice again as copies, b.png once, c.png alone, and two flat images."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    picture(0).save(tmp_path / "one/a.png")
    picture(0).save(tmp_path / "one/a_copy.jpg", quality=60)
    picture(1).save(tmp_path / "one/b.png")
    picture(2).save(tmp_path / "one/c.png")
    picture(0).resize((80, 60)).point(lambda value: value * 0.8 + 20).save(tmp_path / "two/a_small.png")
    picture(1).save(tmp_path / "two/b_copy.bmp")
    Image.new("RGB", (32, 32), "grey").save(tmp_path / "two/flat.png")
    Image.new("RGB", (32, 32), "white").save(tmp_path / "two/flat_too.png")
    return sorted(tmp_path.rglob("*.*"))


def test_thumbnails_have_mean_zero_and_norm_one(files: list[Path]) -> None:
    rows = thumbnails(files)
    assert (rows.shape, rows.dtype) == ((8, 256), np.float32)
    assert rows.mean(1) == pytest.approx(np.zeros(8), abs=1e-6)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1] * 6 + [0] * 2, abs=1e-5)


@pytest.mark.parametrize("rows_at_once", [1, 3, 100])
def test_copies_pair_up_and_others_do_not(
    files: list[Path], rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_ROWS_AT_ONCE", rows_at_once)
    pairs = duplicate_pairs(thumbnails(files))
    names = [(files[pair.first].stem, files[pair.second].stem) for pair in pairs]
    assert names == [("a", "a_copy"), ("a", "a_small"), ("a_copy", "a_small"), ("b", "b_copy")]
    assert all(0.999 < pair.correlation <= 1 for pair in pairs)


def test_a_lower_threshold_finds_more(files: list[Path]) -> None:
    rows = thumbnails(files)
    assert set(duplicate_pairs(rows)) < set(duplicate_pairs(rows, 0.01))


def test_groups_are_chains_of_pairs() -> None:
    pairs = [DuplicatePair(4, 5, 1.0), DuplicatePair(1, 4, 1.0), DuplicatePair(2, 3, 1.0), DuplicatePair(0, 5, 1.0)]
    assert duplicate_groups(7, pairs) == duplicate_groups(7, pairs[::-1]) == [0, 0, 2, 2, 0, 0, 6]
    assert duplicate_groups(2, []) == [0, 1]


@pytest.mark.parametrize("threshold", [0, 1, 97])
def test_thresholds_are_correlations(threshold: float) -> None:
    with pytest.raises(InputError, match="wanted a correlation"):
        duplicate_pairs(np.zeros((2, 256), np.float32), threshold)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageFileError, match=r"broken\.png"):
        thumbnails([tmp_path / "broken.png"])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["duplicates", *map(str, arguments)])
    command.main()


def test_command_prints_pairs_between_folders(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = files[0].parents[1]
    run(monkeypatch, root / "one", root / "two", "--threshold", ".99")
    *pairs, last = capsys.readouterr().out.splitlines()
    assert last == "8 images, 4 pairs above 0.99, of 5 images"
    assert any(line.split() == ["1.00000", str(root / "one/b.png"), str(root / "two/b_copy.bmp")] for line in pairs)
    correlations = [float(line.split()[0]) for line in pairs]
    assert correlations == sorted(correlations, reverse=True)


def test_command_writes_groups_of_one_folder(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output, folder = tmp_path / "groups.csv", files[0].parent
    run(monkeypatch, folder, "--groups", output)
    with output.open(newline="") as file:
        assert list(csv.reader(file)) == [["image", "group"], ["a.png", "a"], ["a_copy.jpg", "a"]]
    with pytest.raises(SystemExit):
        run(monkeypatch, folder, folder.parent / "two", "--groups", output)
