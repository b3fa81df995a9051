"""Folder scoring: one record per image whatever breaks, and runs that are taken up where they stopped."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from drmetric.bench.scores import folder as scoring
from drmetric.bench.scores.folder import score_folder, score_pairs
from drmetric.bench.scores.pairing import pair
from drmetric.bench.scores.records import Failed, read_records
from drmetric.errors import InputError, PairingError
from tests.bench.scores.folders import Distance, numbers, without_time, write_image


class Mean(Distance):
    name = "mean"
    mode = "nr"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Six restored images 0.png to 5.png, and their degraded inputs of half the size."""
    for i in range(6):
        write_image(tmp_path / "restored" / f"{i}.png", i)
        write_image(tmp_path / "degraded" / f"{i}.png", 100 + i, (4, 6))
    return tmp_path / "restored", tmp_path / "degraded"


@pytest.fixture(params=["scores.jsonl", "scores.csv"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def test_a_record_says_what_was_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    restored, degraded = folders
    scores = score_folder(Distance(), *folders, output=tmp_path / "scores.jsonl")
    first = json.loads((tmp_path / "scores.jsonl").read_text().splitlines()[0])
    expected = np.asarray(Image.open(restored / "0.png")).mean() - np.asarray(Image.open(degraded / "0.png")).mean()
    assert first.pop("score") == pytest.approx(expected / 255, abs=1e-6)
    assert first.pop("seconds") >= 0
    assert first == {
        "file": "0.png",
        "degraded": "0.png",
        "metric": "distance",
        "signature": "distance|1",
        "height": 8,
        "width": 12,
        "sha256": {
            "restored": hashlib.sha256((restored / "0.png").read_bytes()).hexdigest(),
            "degraded": hashlib.sha256((degraded / "0.png").read_bytes()).hexdigest(),
        },
    }
    assert scores.mean == pytest.approx(math.fsum(numbers(scores).values()) / 6)


def test_no_reference_metric_scores_images_alone(folders: tuple[Path, Path]) -> None:
    scores = score_folder(Mean(), folders[0])
    assert len(scores.scored) == 6
    assert {(record.degraded, record.sha256.degraded) for record in scores.scored} == {(None, None)}


def test_a_degraded_reference_metric_asks_for_inputs(folders: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="distance compares") as caught:
        score_folder(Distance(), folders[0])
    assert "--degraded" in caught.value.fix


def test_jsonl_and_csv_hold_the_same_records(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (folders[0] / "3.png").write_bytes(b"broken")
    read = []
    for name in ("a.jsonl", "a.csv"):
        scores = score_folder(Distance(), *folders, output=tmp_path / name)
        read.append([without_time(record) for record in read_records(tmp_path / name)])
        assert read[-1] == [without_time(record) for record in scores.records]
    assert read[0] == read[1]


def test_goes_past_broken_and_unpaired_images(folders: tuple[Path, Path], output: Path) -> None:
    restored, degraded = folders
    (restored / "1.png").write_bytes((restored / "1.png").read_bytes()[:60])
    (degraded / "2.png").write_bytes(b"")
    (degraded / "3.png").rename(degraded / "lonely.png")
    scores = score_folder(Distance(), *folders, output=output)
    assert sorted(numbers(scores)) == ["0.png", "4.png", "5.png"]
    assert [(record.file, record.error_type) for record in scores.failed] == [
        ("1.png", "ImageFileError"),
        ("2.png", "ImageFileError"),
        ("3.png", "PairingError"),
    ]
    assert scores.pairing.extra == ["lonely.png"]
    assert sorted(record.file for record in read_records(output)) == [f"{i}.png" for i in range(6)]


def test_failed_images_are_tried_again(folders: tuple[Path, Path], output: Path) -> None:
    good = (folders[0] / "1.png").read_bytes()
    (folders[0] / "1.png").write_bytes(b"broken")
    score_folder(Distance(), *folders, output=output)
    (folders[0] / "1.png").write_bytes(good)
    metric = Distance()
    scores = score_folder(metric, *folders, output=output)
    assert (metric.seen, scores.kept, len(scores.failed)) == (1, 5, 0)
    assert sorted(map(without_time, read_records(output))) == [without_time(r) for r in scores.records]


def test_only_changed_images_are_scored_again(folders: tuple[Path, Path], output: Path) -> None:
    before = numbers(score_folder(Distance(), *folders, output=output))
    write_image(folders[0] / "2.png", 77)
    write_image(folders[1] / "4.png", 78)
    write_image(folders[0] / "new.png", 79)
    write_image(folders[1] / "new.png", 80)
    metric = Distance()
    after = numbers(score_folder(metric, *folders, output=output))
    assert metric.seen == 3
    assert {name for name, score in after.items() if before.get(name) != score} == {
        "2.png",
        "4.png",
        "new.png",
    }
    assert sorted(record.file for record in read_records(output)) == sorted(after)


def test_any_torn_end_is_dropped_and_redone(folders: tuple[Path, Path], output: Path) -> None:
    whole = numbers(score_folder(Distance(), *folders, output=output))
    content = output.read_bytes()
    lines_end = len(content.rstrip(b"\n"))
    last_line = content.rindex(b"\n", 0, lines_end) + 1
    for cut in (0, 1, 10, last_line, last_line + 1, last_line + 40, lines_end - 1, lines_end):
        output.write_bytes(content[:cut])
        complete = max(0, content[:cut].count(b"\n") - (output.suffix == ".csv"))
        scores = score_folder(Distance(), *folders, output=output)
        assert scores.kept == complete
        assert numbers(scores) == whole
        assert [record.file for record in read_records(output)] == sorted(whole)


def test_interrupted_run_is_taken_up(folders: tuple[Path, Path], output: Path) -> None:
    whole = numbers(score_folder(Distance(), *folders))
    metric = Distance(breaks=lambda image: KeyboardInterrupt() if metric.seen == 4 else None)
    with pytest.raises(KeyboardInterrupt):
        score_folder(metric, *folders, output=output)
    assert len(read_records(output)) == 3
    metric = Distance()
    assert numbers(score_folder(metric, *folders, output=output)) == whole
    assert metric.seen == 3


def test_output_of_another_metric_is_refused(folders: tuple[Path, Path], output: Path) -> None:
    score_folder(Distance(), *folders, output=output)
    content = output.read_bytes()
    changed = Distance()
    changed.version = "2"
    with pytest.raises(InputError) as caught:
        score_folder(changed, *folders, output=output)
    assert "distance|1" in caught.value.problem
    assert "distance|2" in caught.value.problem
    assert "--overwrite" in caught.value.fix
    assert output.read_bytes() == content
    score_folder(changed, *folders, output=output, overwrite=True)
    assert {record.signature for record in read_records(output)} == {"distance|2"}


def test_output_of_another_folder_is_refused(folders: tuple[Path, Path], output: Path, tmp_path: Path) -> None:
    score_folder(Distance(), *folders, output=output)
    write_image(tmp_path / "others" / "0.png", 1)
    with pytest.raises(InputError, match=r"5 images that are not in this folder, for example '1.png'"):
        score_folder(Distance(), tmp_path / "others", folders[1], output=output)


@pytest.mark.parametrize("content", ["my notes", "my notes\n", '{"file": 1}\n{"file": 2}\n', "file,degraded\n1,2\n"])
def test_files_that_are_not_ours_are_left_alone(folders: tuple[Path, Path], output: Path, content: str) -> None:
    output.write_text(content)
    with pytest.raises(InputError, match=r"not a score file|damaged"):
        score_folder(Distance(), *folders, output=output)
    assert output.read_text() == content


def test_unknown_suffix_and_unwritable_folder_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"wanted \.jsonl or \.csv") as caught:
        score_folder(Distance(), *folders, output=tmp_path / "scores.txt")
    assert caught.value.fix == f"-o {tmp_path / 'scores.jsonl'}"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        score_folder(Distance(), *folders, output=tmp_path / "file" / "scores.csv")


def test_folders_without_a_single_pair_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_image(tmp_path / "others" / "a.png", 1)
    with pytest.raises(PairingError, match=r"none of the 6 images .*'0.png' does not match 'a.png'"):
        score_folder(Distance(), folders[0], tmp_path / "others")


def test_scores_do_not_depend_on_the_batch(folders: tuple[Path, Path]) -> None:
    write_image(folders[0] / "2.png", 5, (9, 9))
    (folders[0] / "4.png").write_bytes(b"broken")
    runs = [score_folder(Distance(), *folders, batch=batch) for batch in (1, 2, 3, 10)]
    assert [list(map(without_time, run.records)) for run in runs[1:]] == [list(map(without_time, runs[0].records))] * 3
    with pytest.raises(InputError, match="batch is 0"):
        score_folder(Distance(), *folders, batch=0)


def test_one_failing_image_does_not_take_its_batch_along(folders: tuple[Path, Path]) -> None:
    Image.new("RGB", (12, 8), "white").save(folders[0] / "3.png")
    metric = Distance(breaks=lambda image: RuntimeError("too\n bright") if (image == 1).all((1, 2, 3)).any() else None)
    scores = score_folder(metric, *folders, batch=6)
    assert scores.failed == [Failed("3.png", "too bright", "RuntimeError")]
    assert len(scores.scored) == 5


def test_scores_that_are_not_finite_are_failures(folders: tuple[Path, Path]) -> None:
    metric = Distance()
    metric._score = lambda image, reference: torch.full((len(image),), math.nan)  # type: ignore[method-assign]
    scores = score_folder(metric, *folders)
    assert {record.error_type for record in scores.failed} == {"ArithmeticError"}
    assert math.isnan(scores.mean)


def test_alpha_is_part_of_the_signature(folders: tuple[Path, Path], output: Path) -> None:
    write_image(folders[0] / "5.png", 5, alpha=True)
    assert [r.file for r in score_folder(Distance(), *folders, output=output).failed] == ["5.png"]
    scores = score_folder(Distance(), *folders, output=output, alpha="white")
    assert scores.kept == 5
    assert {record.signature for record in scores.scored} == {"distance|1", "distance|1|alpha:white"}
    with pytest.raises(InputError, match="alpha:black"):
        score_folder(Distance(), *folders, output=output, alpha="black")


def test_images_are_read_once_and_not_far_ahead(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    restored, degraded = folders
    for i in range(1, 6):
        (degraded / f"{i}.png").unlink()
        (restored / f"{i}.png").rename(restored / f"0_method{i}.png")
    read: list[str] = []
    real = scoring.read_image

    def counted(path: Path, **options: object) -> Tensor:
        read.append(f"{path.parent.name}/{path.name}")
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "read_image", counted)
    for count, _ in enumerate(score_pairs(Distance(), pair(restored, degraded).pairs), start=1):
        assert sum(name.startswith("restored") for name in read) <= count + 2
    assert read.count("degraded/0.png") == 1
    assert len(read) == len(set(read)) == 7


def test_progress_counts_all_images(folders: tuple[Path, Path], output: Path) -> None:
    score_folder(Distance(), *folders, output=output)
    write_image(folders[0] / "5.png", 99)
    (folders[1] / "0.png").rename(folders[1] / "x.png")
    calls: list[tuple[int, int]] = []
    score_folder(Distance(), *folders, output=output, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 6), (5, 6), (6, 6)]
