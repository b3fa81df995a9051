"""The Ray engine: scores of the local one bit for bit, whichever process dies, and errors that say what to do."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_scoring import numbers, without_time, write_image
from typer.testing import CliRunner, Result

from drmetric import cli
from drmetric.bench.records import read_records
from drmetric.bench.scoring import FolderScores, score_folder
from drmetric.metrics.base import Metric
from drmetric.metrics.baselines import PSNR
from drmetric.metrics.registry import create

pytestmark = pytest.mark.enable_socket

COUNT = 24
EXAMPLE = Path(cli.__file__).parent / "example"


class Watched(PSNR):
    """PSNR that leaves a file for each process that scores, and may be slow."""

    def __init__(self, notes: Path, seconds: float = 0) -> None:
        super().__init__()
        self.notes, self.seconds = notes, seconds

    def _score(self, image: torch.Tensor, reference: torch.Tensor | None) -> torch.Tensor:
        (self.notes / f"{os.getpid()}.process").touch()
        time.sleep(self.seconds)
        return super()._score(image, reference)


class Deadly(Watched):
    """Ends its process at the first image that is white, once another process scores as well."""

    def _score(self, image: torch.Tensor, reference: torch.Tensor | None) -> torch.Tensor:
        scores = super()._score(image, reference)
        if image.min() == 1 and not (self.notes / "killed").exists():
            until = time.monotonic() + 60
            while len(list(self.notes.glob("*.process"))) < 2 and time.monotonic() < until:
                time.sleep(0.05)
            (self.notes / "killed").touch()
            os._exit(1)
        return scores


def watched(notes: Path, seconds: float, device: str) -> Metric:
    return Watched(notes, seconds)


def deadly(notes: Path, device: str) -> Metric:
    return Deadly(notes)


def psnr(device: str) -> Metric:
    return create("psnr")


def psnr_in_one_process(process: int, device: str) -> Metric:
    return create("psnr" if os.getpid() == process else "ssim")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """One restored image is white, one is broken, and one has no degraded input."""
    restored, degraded = tmp_path / "restored", tmp_path / "degraded"
    for i in range(COUNT):
        write_image(restored / f"{i:02}.png", i)
        write_image(degraded / f"{i:02}.png", 100 + i)
    Image.new("RGB", (12, 8), "white").save(restored / "10.png")
    (restored / "20.png").write_bytes(b"broken")
    (degraded / "21.png").unlink()
    return restored, degraded


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster on this machine, with room for two workers, to which this process is connected."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray leaves one in the user's home
        patch.setenv("RAY_AUTH_MODE", "")
        patch.delenv("RAY_AUTH_MODE")  # Ray sets it; it goes in the end
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers find the metrics of this file
        context = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield context.address_info["address"]
        ray.shutdown()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "scores.parquet"


def on_ray(*arguments: Any, **options: Any) -> FolderScores:
    from drmetric.bench.ray_engine import score_folder_on_ray

    return score_folder_on_ray(*arguments, device="cpu", **options)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(each) for each in arguments])


def test_scores_are_the_local_ones_though_a_worker_is_killed(
    cluster: str, folders: tuple[Path, Path], output: Path, notes: Path
) -> None:
    progress: list[tuple[int, int]] = []
    scores = on_ray(
        partial(deadly, notes), *folders, output=output, progress=lambda done, total: progress.append((done, total))
    )
    assert (notes / "killed").exists()
    assert len(list(notes.glob("*.process"))) > 1
    expected = list(map(without_time, score_folder(create("psnr"), *folders).records))
    assert list(map(without_time, scores.records)) == expected
    assert list(map(without_time, read_records(output))) == expected
    assert [record.file for record in scores.failed] == ["20.png", "21.png"]
    assert (progress[0], progress[-1]) == ((1, COUNT), (COUNT, COUNT))
    assert sorted(each.name for each in output.parent.iterdir()) == ["degraded", "notes", "restored", output.name]


def test_what_was_finished_survives_the_command_and_is_taken_up(
    cluster: str, folders: tuple[Path, Path], output: Path, notes: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from functools import partial; import test_ray_engine as tests\n"
        "notes, restored, degraded, output = map(Path, sys.argv[1:5])\n"
        "make = partial(tests.watched, notes, 0.4)\n"
        "tests.on_ray(make, restored, degraded, output=output, address=sys.argv[5])\n"
    )
    command = subprocess.Popen([sys.executable, "-c", code, *map(str, (notes, *folders, output)), cluster])
    parts = Path(f"{output}.parts")
    while len(list(parts.glob("*.parquet"))) < 3 and command.poll() is None:
        time.sleep(0.02)
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert command.returncode == -signal.SIGKILL
    finished = numbers(FolderScores(read_records(output), None, 0))  # type: ignore[arg-type]
    assert 0 < len(finished) < COUNT - 2
    for process in notes.iterdir():
        process.unlink()
    scores = on_ray(partial(watched, notes, 0), *folders, output=output, workers=1)
    assert scores.kept >= len(finished)
    assert numbers(scores) == numbers(score_folder(create("psnr"), *folders))
    assert numbers(scores).items() >= finished.items()
    assert len(read_records(output)) == COUNT
    assert not parts.exists()


def test_nothing_is_left_to_do_for_ray_where_all_is_scored(folders: tuple[Path, Path], output: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    (folders[0] / "20.png").unlink()
    expected = score_folder(create("psnr"), *folders, output=output)
    scores = on_ray(psnr, *folders, output=output, address="127.0.0.1:1")
    assert scores.kept == COUNT - 2
    assert list(map(without_time, scores.records)) == list(map(without_time, expected.records))


def test_the_command_prints_what_the_local_one_does_and_the_network_scores_alike(cluster: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from drmetric.cli import app; app()", "score", "restored", "--degraded"]
    command += ["degraded", "--engine", "ray", "--address", cluster, "--workers", "1"]
    command += ["-o", str(tmp_path / "scores.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLE)
    assert done.returncode == 0, done.stderr
    expected = score_folder(create("driqa"), EXAMPLE / "restored", EXAMPLE / "degraded")
    records = read_records(tmp_path / "scores.parquet")
    assert list(map(without_time, records)) == list(map(without_time, expected.records))
    assert done.stdout == f"mean {expected.mean:.6f} of 9 images in {tmp_path / 'scores.parquet'}\n"
    assert done.stderr == (
        "note: 9 images are paired by name and tag, such as 'astronaut_blurred.png' with 'astronaut.png'\n"
    )


def test_workers_with_another_metric_are_refused(cluster: str, folders: tuple[Path, Path], output: Path) -> None:
    from drmetric.bench.ray_engine import ClusterError

    with pytest.raises(ClusterError, match=r"the metric of a worker on .* is ssim.*, here it is psnr"):
        on_ray(partial(psnr_in_one_process, os.getpid()), *folders, output=output, workers=1)


def test_a_worker_says_what_it_does_not_see_and_which_images_end_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    from drmetric.bench import ray_engine
    from drmetric.bench.pairing import pair

    table = ray_engine._pack([pair(*folders).pairs[:3]])
    job = ray_engine._Job(psnr, create("psnr").signature, 1, "refuse", 1, tmp_path, [tmp_path / "elsewhere"])
    (error,) = ray_engine._unpack(ray_engine._Worker(job, "cpu")(table))
    assert "does not see" in error.problem
    worker = ray_engine._Worker(replace(job, folders=folders), "cpu")
    for _ in range(ray_engine.ATTEMPTS):
        (records,) = ray_engine._unpack(worker(table))
        assert [record.file for record in records] == ["00.png", "01.png", "02.png"]
    (error,) = ray_engine._unpack(worker(table))
    assert error.problem == "4 workers died on the images from '00.png' to '02.png'"


def test_an_address_without_a_cluster_is_named(
    folders: tuple[Path, Path], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    psnr_on_ray = ("--metric", "psnr", "--degraded", folders[1], "--engine", "ray", "-o", output)
    result = run("score", folders[0], *psnr_on_ray, "--address", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "error: no Ray cluster at '127.0.0.1:1': " in result.stderr
    assert "fix: --address HOST:PORT" in result.stderr
    assert not output.exists()


def test_ray_that_is_not_installed_is_named(
    folders: tuple[Path, Path], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "drmetric.bench.ray_engine", raising=False)
    result = run("score", folders[0], "--degraded", folders[1], "--engine", "ray", "-o", output)
    assert result.exit_code == 2
    assert "fix: pip install 'drmetric[ray]'" in result.stderr


@pytest.mark.parametrize(
    ("options", "problem", "fix"),
    [
        (["--engine", "ray"], "writes the scores to a file, but none was given", "-o scores.parquet"),
        (
            ["--engine", "ray", "-o", "s.csv"],
            "'s.csv' ends in '.csv'; the engine 'ray' writes .parquet",
            "-o s.parquet",
        ),
        (["--workers", "2"], "--address and --workers are of the engine 'ray'", "--engine ray"),
        (["--address", "auto"], "--address and --workers are of the engine 'ray'", "--engine ray"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    folders: tuple[Path, Path], options: list[str], problem: str, fix: str
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    result = run("score", folders[0], "--metric", "psnr", "--degraded", folders[1], *options)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert f"fix: {fix}" in result.stderr
