"""Folder scoring: one row per image whatever breaks, and interrupted runs that continue."""

import hashlib
import json
import math
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from drmetric import NARIQA
from drmetric.bench.judges import Judge
from drmetric.bench.scores import run as scoring
from drmetric.bench.scores.folder import score_folder
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.run import Engine, Task, score_tasks
from drmetric.bench.scores.store import read_rows
from drmetric.errors import InputError, PairingError
from drmetric.images.files import Alpha
from tests.bench.scores.folders import Distance, without_time, write_image


class Mean(Distance):
    name = "mean"
    mode = "nr"


def batches_of(size: int) -> Engine:
    return partial(score_tasks, batch=size)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Six restored images 0.png to 5.png, and their degraded inputs of half the size."""
    for i in range(6):
        write_image(tmp_path / "restored" / f"{i}.png", i)
        write_image(tmp_path / "degraded" / f"{i}.png", 100 + i, (4, 6))
    return tmp_path / "restored", tmp_path / "degraded"


@pytest.fixture(params=["scores.jsonl", "scores.csv", "scores.parquet"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def test_a_row_says_what_was_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    restored, degraded = folders
    scores = score_folder(Distance(), *folders, output=tmp_path / "scores.jsonl")
    first = json.loads((tmp_path / "scores.jsonl").read_text().splitlines()[0])
    expected = np.asarray(Image.open(restored / "0.png")).mean() - np.asarray(Image.open(degraded / "0.png")).mean()
    assert first.pop("score") == pytest.approx(expected / 255, abs=1e-6)
    assert first.pop("seconds") >= 0
    assert first == {
        "image": "0.png",
        "degraded": "0.png",
        "metric": "distance",
        "signature": "distance|1",
        "reference": "degraded",
        "height": 8,
        "width": 12,
        "device": "cpu",
        "sha256": {
            "restored": hashlib.sha256((restored / "0.png").read_bytes()).hexdigest(),
            "degraded": hashlib.sha256((degraded / "0.png").read_bytes()).hexdigest(),
        },
    }
    assert scores.mean == pytest.approx(math.fsum(scores.scores.values()) / 6)


def test_no_reference_metric_scores_images_alone(folders: tuple[Path, Path]) -> None:
    scores = score_folder(Mean(), folders[0])
    assert len(scores.scores) == 6
    assert {(row.reference, row.degraded, *row.sha256) for row in scores.rows} == {("none", None, "restored")}


def test_a_degraded_reference_metric_asks_for_inputs(folders: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="distance compares") as caught:
        score_folder(Distance(), folders[0])
    assert "--degraded" in caught.value.fix


def test_goes_past_broken_and_unpaired_images(folders: tuple[Path, Path], output: Path) -> None:
    restored, degraded = folders
    (restored / "1.png").write_bytes((restored / "1.png").read_bytes()[:60])
    (degraded / "2.png").write_bytes(b"")
    (degraded / "3.png").rename(degraded / "lonely.png")
    scores = score_folder(Distance(), *folders, output=output)
    assert sorted(scores.scores) == ["0.png", "4.png", "5.png"]
    assert [(row.image, row.error_type) for row in scores.failed] == [
        ("1.png", "ImageFileError"),
        ("2.png", "ImageFileError"),
        ("3.png", "PairingError"),
    ]
    assert scores.pairing.extra == ["lonely.png"]
    assert sorted(row.image for row in read_rows(output)) == [f"{i}.png" for i in range(6)]


def test_failed_images_are_tried_again(folders: tuple[Path, Path], output: Path) -> None:
    good = (folders[0] / "1.png").read_bytes()
    (folders[0] / "1.png").write_bytes(b"broken")
    score_folder(Distance(), *folders, output=output)
    (folders[0] / "1.png").write_bytes(good)
    metric = Distance()
    scores = score_folder(metric, *folders, output=output)
    assert (metric.seen, scores.kept, len(scores.failed)) == (1, 5, 0)
    assert sorted(read_rows(output), key=lambda row: row.image) == scores.rows


def test_only_changed_images_are_scored_again(folders: tuple[Path, Path], output: Path) -> None:
    before = score_folder(Distance(), *folders, output=output).scores
    write_image(folders[0] / "2.png", 77)
    write_image(folders[1] / "4.png", 78, (4, 6))
    write_image(folders[0] / "new.png", 79)
    write_image(folders[1] / "new.png", 80, (4, 6))
    metric = Distance()
    after = score_folder(metric, *folders, output=output).scores
    assert metric.seen == 3
    assert {name for name, score in after.items() if before.get(name) != score} == {
        "2.png",
        "4.png",
        "new.png",
    }
    assert sorted(row.image for row in read_rows(output)) == sorted(after)


def test_references_of_their_own_leave_the_signature_as_it_was_planned(tmp_path: Path) -> None:
    for i in range(2):
        write_image(tmp_path / "restored" / f"{i}.png", i, (64, 64))
        write_image(tmp_path / "degraded" / f"{i}.png", 100 + i, (64, 64))
    judges, output = [Judge("nariqa", "degraded", NARIQA())], tmp_path / "scores.jsonl"
    first = score_folder(judges, tmp_path / "restored", tmp_path / "degraded", output=output)
    assert {row.signature for row in first.rows} == {judges[0].signature}
    assert "|references:degraded|" in judges[0].signature
    again = score_folder(judges, tmp_path / "restored", tmp_path / "degraded", output=output)
    assert again.kept == 2


def test_any_torn_end_is_dropped_and_redone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "scores.jsonl"
    whole = score_folder(Distance(), *folders, output=output).scores
    content = output.read_bytes()
    lines_end = len(content.rstrip(b"\n"))
    last_line = content.rindex(b"\n", 0, lines_end) + 1
    for cut in (0, 1, 10, last_line, last_line + 1, last_line + 40, lines_end - 1, lines_end):
        output.write_bytes(content[:cut])
        scores = score_folder(Distance(), *folders, output=output)
        assert scores.kept == content[:cut].count(b"\n")
        assert scores.scores == whole
        assert [row.image for row in read_rows(output)] == sorted(whole)


def test_interrupted_run_is_taken_up(folders: tuple[Path, Path], output: Path) -> None:
    whole = score_folder(Distance(), *folders).scores
    metric = Distance(breaks=lambda image: KeyboardInterrupt() if metric.seen == 4 else None)
    with pytest.raises(KeyboardInterrupt):
        score_folder(metric, *folders, output=output)
    assert len(read_rows(output)) == 3
    metric = Distance()
    assert score_folder(metric, *folders, output=output).scores == whole
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
    assert {row.signature for row in read_rows(output)} == {"distance|2"}


def test_output_of_another_folder_is_refused(folders: tuple[Path, Path], output: Path, tmp_path: Path) -> None:
    score_folder(Distance(), *folders, output=output)
    write_image(tmp_path / "others" / "0.png", 1)
    with pytest.raises(InputError, match=r"5 images that are not in this folder, for example '1.png'"):
        score_folder(Distance(), tmp_path / "others", folders[1], output=output)


def test_folders_without_a_single_pair_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_image(tmp_path / "others" / "a.png", 1)
    with pytest.raises(PairingError, match=r"none of the 6 images .*'0.png' does not match 'a.png'"):
        score_folder(Distance(), folders[0], tmp_path / "others")


def test_scores_do_not_depend_on_the_batch(folders: tuple[Path, Path]) -> None:
    write_image(folders[0] / "2.png", 5, (9, 9))
    (folders[0] / "4.png").write_bytes(b"broken")
    runs = [score_folder(Distance(), *folders, engine=batches_of(size)) for size in (1, 2, 3, 10)]
    assert [list(map(without_time, run.rows)) for run in runs[1:]] == [list(map(without_time, runs[0].rows))] * 3
    with pytest.raises(InputError, match="batch is 0"):
        score_folder(Distance(), *folders, engine=batches_of(0))


def test_one_failing_image_does_not_take_its_batch_along(folders: tuple[Path, Path]) -> None:
    Image.new("RGB", (12, 8), "white").save(folders[0] / "3.png")
    metric = Distance(breaks=lambda image: RuntimeError("too\n bright") if (image == 1).all((1, 2, 3)).any() else None)
    scores = score_folder(metric, *folders, engine=batches_of(6))
    assert [(row.image, row.error, row.error_type) for row in scores.failed] == [
        ("3.png", "too bright", "RuntimeError")
    ]
    assert len(scores.scores) == 5


@pytest.mark.parametrize("error", [SystemExit(0), MemoryError(), RecursionError("deep")])
def test_whatever_a_metric_does_stays_with_its_image(folders: tuple[Path, Path], error: BaseException) -> None:
    metric = Distance(breaks=lambda image: error if metric.seen == 3 else None)
    scores = score_folder(metric, *folders)
    (failed,) = scores.failed
    assert failed.error_type == type(error).__name__
    assert len(scores.scores) == len(scores.rows) - 1


def test_a_metric_that_gives_too_few_or_too_many_scores_fails(folders: tuple[Path, Path]) -> None:
    class Odd(Distance):
        def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
            return torch.zeros(len(image) + 1)

    scores = score_folder(Odd(), *folders)
    assert {row.error for row in scores.failed} == {"distance gave 2 scores of 1 images"}
    assert len(scores.failed) == len(scores.rows)


def test_scores_that_are_not_finite_are_failures(folders: tuple[Path, Path]) -> None:
    metric = Distance()
    metric._score = lambda image, reference: torch.full((len(image),), math.nan)  # type: ignore[method-assign]
    scores = score_folder(metric, *folders)
    assert {row.error_type for row in scores.failed} == {"ArithmeticError"}
    assert math.isnan(scores.mean)


def test_alpha_is_part_of_the_signature(folders: tuple[Path, Path], output: Path) -> None:
    write_image(folders[0] / "5.png", 5, alpha=True)
    assert [r.image for r in score_folder(Distance(), *folders, output=output).failed] == ["5.png"]
    scores = score_folder(Distance(), *folders, output=output, alpha="white")
    assert scores.kept == 5
    assert {row.signature for row in scores.rows if row.score is not None} == {"distance|1", "distance|1|alpha:white"}
    with pytest.raises(InputError, match="alpha:black"):
        score_folder(Distance(), *folders, output=output, alpha="black")


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_images_are_read_once_and_not_far_ahead(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    restored, degraded = folders
    for i in range(1, 6):
        (degraded / f"{i}.png").unlink()
        (restored / f"{i}.png").rename(restored / f"0_method{i}.png")
    read: list[str] = []
    real = scoring.read_pixels

    def counted(data: bytes, path: Path, alpha: Alpha) -> Tensor:
        read.append(f"{path.parent.name}/{path.name}")
        return real(data, path, alpha)

    monkeypatch.setattr(scoring, "read_pixels", counted)
    done: list[int] = []

    def watched(judges: Sequence[Judge], tasks: Sequence[Task]) -> Generator[Row, None, None]:
        for row in score_tasks(judges, tasks, batch=batch):
            done.append(1)
            groups = math.ceil(len(done) / batch)
            assert sum(name.startswith("restored") for name in read) <= groups * batch + scoring.AHEAD
            yield row

    score_folder(Distance(), restored, degraded, engine=watched)
    assert read.count("degraded/0.png") == 1
    assert len(read) == len(set(read)) == 7


def test_progress_counts_all_images(folders: tuple[Path, Path], output: Path) -> None:
    score_folder(Distance(), *folders, output=output)
    write_image(folders[0] / "5.png", 99)
    (folders[1] / "0.png").rename(folders[1] / "x.png")
    calls: list[tuple[int, int]] = []
    score_folder(Distance(), *folders, output=output, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 6), (5, 6), (6, 6)]
