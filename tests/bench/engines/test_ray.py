"""The Ray engine: scores of the local one bit for bit, whichever process dies, and errors that say what to do."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from drmetric.bench.judges import Judge
from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.board import run as rank_methods
from drmetric.bench.methods.config import Config
from drmetric.bench.scores.folder import FolderScores, score_folder
from drmetric.bench.scores.run import Progress, Task
from drmetric.bench.scores.store import read_rows
from drmetric.cli import app as cli
from drmetric.metrics.base import Metric
from drmetric.metrics.pixel import PSNR
from drmetric.metrics.registry import create
from tests.bench.scores.folders import without_time, write_image
from tests.boards import metrics, write_board

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

COUNT = 24
EXAMPLE = Path(cli.__file__).parents[1] / "example"
BOARD = "board.toml"
ENTRY_POINTS = """
[drmetric.metrics]
watched = tests.bench.engines.test_ray:Watched
deadly = tests.bench.engines.test_ray:Deadly
"""


class Watched(PSNR):
    """PSNR that leaves a file for each process that scores, and may be slow."""

    def __init__(self, notes: Path | str, seconds: float = 0) -> None:
        super().__init__(upscale=True)
        self.notes, self.seconds = Path(notes), seconds

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


class Changing(PSNR):
    """Another metric in every process."""

    @property
    def signature(self) -> str:
        return f"psnr|process:{os.getpid()}"


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


def install_metrics(folder: Path) -> Path:
    """The metrics of this file, by the names of `ENTRY_POINTS`."""
    info = folder / "watched-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: watched\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster on this machine, with room for two workers, to which this process is connected."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray leaves one in the user's home
        patch.setenv("RAY_AUTH_MODE", "")
        patch.delenv("RAY_AUTH_MODE")  # Ray sets it; it goes in the end
        package = install_metrics(tmp_path_factory.mktemp("package"))
        patch.syspath_prepend(package)
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (Path(__file__).parents[3], package))))  # also for workers
        context = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield context.address_info["address"]
        ray.shutdown()


@pytest.fixture(params=["parquet", "jsonl"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"scores.{request.param}"


def on_ray(
    metric: Metric,
    folders: tuple[Path, Path],
    output: Path,
    progress: Progress = lambda done, total: None,
    **options: Any,
) -> FolderScores:
    from drmetric.bench.engines.ray import ray_engine

    engine = ray_engine(output, "cpu", **options)
    return score_folder(metric, *folders, output=output, engine=engine, progress=progress)


@pytest.fixture
def board(tmp_path: Path, notes: Path) -> Path:
    """The folder of a methods board of which one output is white, one is broken, and one has no ground truth."""
    write_board(tmp_path, metrics("ssim", "low_band_psnr") + watched_entry("watched", notes))
    Image.new("RGB", (96, 96), "white").save(tmp_path / "all/chelsea_bicubic.png")
    (tmp_path / "blend/coffee.png").write_bytes(b"broken")
    (tmp_path / "truth/cat.png").unlink()
    return tmp_path


def watched_entry(name: str, notes: Path, seconds: float = 0) -> str:
    return metrics(name) + f"label = 'PSNR'\noptions = {{ notes = '{notes}', seconds = {seconds} }}\n"


def rank(folder: Path, output: str, **options: Any) -> MethodBoard:
    return rank_methods(Config.read(folder / BOARD), folder / output, n_bootstrap=10, **options)


def rank_on_ray(folder: Path, output: str, **options: Any) -> MethodBoard:
    from drmetric.bench.engines.ray import ray_engine

    engine = ray_engine(folder / output / "scores.jsonl", **options)
    return rank(folder, output, engine=engine)


def rows_of(output: Path) -> list[str]:
    """The rows of scores.jsonl without their times, sorted."""
    rows = map(json.loads, (output / "scores.jsonl").read_text().splitlines())
    return sorted(json.dumps({key: value for key, value in row.items() if key != "seconds"}) for row in rows)


def wait_for_the_end_of(notes: Path) -> None:
    """Wait for the workers that left a note: those of a killed command still finish blocks, until Ray ends them."""
    until = time.monotonic() + 60
    while any(is_alive(int(note.stem)) for note in notes.glob("*.process") if note.stem != str(os.getpid())):
        assert time.monotonic() < until, "workers outlive their command"
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(each) for each in arguments])


def test_scores_are_the_local_ones_though_a_worker_is_killed(
    cluster: str, folders: tuple[Path, Path], output: Path, notes: Path
) -> None:
    progress: list[tuple[int, int]] = []
    scores = on_ray(Deadly(notes), folders, output, lambda done, total: progress.append((done, total)))
    assert (notes / "killed").exists()
    assert len(list(notes.glob("*.process"))) > 1
    expected = list(map(without_time, score_folder(create("psnr", upscale=True), *folders).rows))
    assert list(map(without_time, scores.rows)) == expected
    assert sorted(map(without_time, read_rows(output)), key=lambda row: row.image) == expected
    assert [row.image for row in scores.failed] == ["20.png", "21.png"]
    assert (progress[0], progress[-1]) == ((0, COUNT), (COUNT, COUNT))
    assert sorted(each.name for each in output.parent.iterdir()) == ["degraded", "notes", "restored", output.name]


def test_what_was_finished_survives_the_command_and_is_taken_up(
    cluster: str, folders: tuple[Path, Path], output: Path, notes: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "import tests.bench.engines.test_ray as tests\n"
        "notes, restored, degraded, output = map(Path, sys.argv[1:5])\n"
        "tests.on_ray(tests.Watched(notes, 0.4), (restored, degraded), output, address=sys.argv[5])\n"
    )
    command = subprocess.Popen([sys.executable, "-c", code, *map(str, (notes, *folders, output)), cluster])
    parts = Path(f"{output}.parts")
    while len(list(parts.glob("*-*.jsonl"))) < 2 and command.poll() is None:
        time.sleep(0.02)
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert command.returncode == -signal.SIGKILL
    finished = {row.image: row.score for row in read_rows(output) if row.score is not None}
    assert 0 < len(finished) < COUNT - 2
    for process in notes.iterdir():
        process.unlink()
    scores = on_ray(Watched(notes), folders, output, workers=1)
    assert scores.kept >= len(finished)
    assert scores.scores == score_folder(create("psnr", upscale=True), *folders).scores
    assert scores.scores.items() >= finished.items()
    assert len(read_rows(output)) == COUNT
    assert not parts.exists()


def test_nothing_is_left_to_do_for_ray_where_all_is_scored(folders: tuple[Path, Path], output: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    (folders[0] / "20.png").unlink()
    expected = score_folder(create("psnr", upscale=True), *folders, output=output)
    scores = on_ray(create("psnr", upscale=True), folders, output, address="127.0.0.1:1")
    assert scores.kept == COUNT - 2
    assert scores.rows == expected.rows


def test_the_command_prints_what_the_local_one_does_and_the_network_scores_alike(cluster: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from drmetric.cli.app import app; app()", "score", "restored", "--degraded"]
    command += ["degraded", "--no-consistency", "--engine", "ray", "--address", cluster, "--workers", "1"]
    command += ["-o", str(tmp_path / "scores.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLE)
    assert done.returncode == 0, done.stderr
    expected = score_folder(create("driqa"), EXAMPLE / "restored", EXAMPLE / "degraded")
    rows = read_rows(tmp_path / "scores.parquet")
    assert list(map(without_time, rows)) == list(map(without_time, expected.rows))
    local = ("score", EXAMPLE / "restored", "--degraded", EXAMPLE / "degraded", "--no-consistency")
    assert done.stdout == run(*local, "-o", tmp_path / "local.parquet").stdout.replace("local", "scores")
    assert done.stderr == (
        "note: 9 images are paired by name and tag, such as 'astronaut_blurred.png' with 'astronaut.png'\n"
    )


def test_workers_with_another_metric_are_refused(cluster: str, folders: tuple[Path, Path], output: Path) -> None:
    from drmetric.bench.engines.ray import ClusterError

    here = os.getpid()
    with pytest.raises(ClusterError, match=rf"the metric of a worker on .* is psnr.*, here it is psnr\|process:{here}"):
        on_ray(Changing(), folders, output, workers=1)


def test_a_worker_says_what_it_does_not_see_and_which_images_end_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    from drmetric.bench.engines.ray import ATTEMPTS, Job, Worker, pack, unpack

    names = [f"0{i}.png" for i in range(3)]
    tasks = [Task(name, {"restored": folders[0] / name, "degraded": folders[1] / name}) for name in names]
    table = pack([tasks])
    judge = Judge("psnr", "degraded", create("psnr", upscale=True))
    job = Job([judge], [judge.signature], tmp_path / "elsewhere")
    (error,) = unpack(Worker(job, "cpu")(table))
    assert "does not see" in error.problem
    worker = Worker(replace(job, parts=tmp_path), "cpu")
    for _ in range(ATTEMPTS):
        (rows,) = unpack(worker(table))
        assert [row.image for row in rows] == names
    (error,) = unpack(worker(table))
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


@pytest.mark.parametrize("command", ["score", "bench methods"])
def test_ray_that_is_not_installed_is_named(command: str, board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "drmetric.bench.engines.ray", raising=False)
    what = board / (BOARD if command == "bench methods" else "blend")
    alone = ["--metric", "nriqa"] if command == "score" else []
    result = run(*command.split(), what, *alone, "--engine", "ray", "-o", board / "scores.parquet")
    assert result.exit_code == 2
    assert "fix: pip install 'drmetric[ray]'" in result.stderr


@pytest.mark.parametrize(
    ("options", "problem", "fix"),
    [
        (["--engine", "ray"], "writes the scores to a file, but none was given", "-o scores.parquet"),
        (["--workers", "2"], "'--workers 2' is for the engine 'ray'; this one is 'local'", "--engine ray"),
        (["--address", "auto"], "'--address auto' is for the engine 'ray'; this one is 'local'", "--engine ray"),
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


def test_a_board_is_the_local_one_though_a_worker_is_killed(cluster: str, board: Path, notes: Path) -> None:
    expected = rank(board, "local")
    text = (board / BOARD).read_text()
    (board / BOARD).write_text(text.replace('"watched"', '"deadly"'))
    found = rank_on_ray(board, "ray")
    assert (notes / "killed").exists()
    assert len(list(notes.glob("*.process"))) > 2
    assert rows_of(board / "ray") == rows_of(board / "local")
    np.testing.assert_array_equal(found.scores.values, expected.scores.values)
    assert found.errors == expected.errors
    assert len(found.errors) == 3
    assert (found.title, found.note, found.device) == (expected.title, expected.note, expected.device)
    assert [each.name for each in (board / "ray").iterdir()] == ["scores.jsonl"]


def test_a_board_goes_on_where_its_killed_command_stopped(cluster: str, board: Path, notes: Path) -> None:
    rank(board, "local")
    text = (board / BOARD).read_text()
    (board / BOARD).write_text(text.replace("seconds = 0", "seconds = 0.4"))
    arguments = ["bench", "methods", BOARD, "-o", "ray", "--engine", "ray", "--address", cluster]
    code = "from drmetric.cli.app import app; app()"
    command = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=board)
    scores = board / "ray/scores.jsonl"
    while not (scores.exists() and scores.read_bytes().count(b"\n") > 5) and command.poll() is None:
        time.sleep(0.02)
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert command.returncode == -signal.SIGKILL
    wait_for_the_end_of(notes)
    finished = read_rows(scores)
    assert len(finished) < len(rows_of(board / "local"))
    (board / BOARD).write_text(text)
    result = run("bench", "methods", board / BOARD, "-o", board / "ray", "--engine", "ray", "--workers", 1)
    assert result.exit_code == 1
    kept = [row for row in finished if row.score is not None]
    assert f"note: {len(kept)} scores were kept from an earlier run" in result.stderr
    assert "failed: blend, coffeex2.png, ssim (and 2 more metrics): ImageFileError: coffee.png" in result.stderr
    assert rows_of(board / "ray") == rows_of(board / "local")
    assert {(row.key, row.seconds) for row in kept} <= {(row.key, row.seconds) for row in read_rows(scores)}
    assert not list((board / "ray").glob("*.attempts"))
    assert json.loads((board / "ray/lock.json").read_text())["facts"]["device"] == "cpu"


def test_nothing_is_left_to_do_for_ray_where_a_board_is_scored(board: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    (board / "blend/coffee.png").unlink()
    (board / BOARD).write_text((board / BOARD).read_text().partition('[[metrics]]\nname = "watched"')[0])
    expected = rank(board, "out")
    found = rank_on_ray(board, "out", address="127.0.0.1:1")
    assert found.scores.kept == np.isfinite(expected.scores.values).sum()
    assert found.errors == expected.errors
    np.testing.assert_array_equal(found.scores.values, expected.scores.values)


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("cuda", "the device 'cuda' is not usable: the Ray cluster has no GPU"),
        ("cuda:1", "the device 'cuda:1' cannot be given to a worker"),
    ],
)
def test_a_device_that_the_cluster_does_not_have_is_named(cluster: str, board: Path, device: str, problem: str) -> None:
    result = run("bench", "methods", board / BOARD, "-o", board / "out", "--engine", "ray", "--device", device)
    assert result.exit_code == 2
    assert f"error: {problem}" in result.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--engine", "spark"], "'spark' is not one of"),
        (["--address", "auto"], "error: '--address auto' is for the engine 'ray'; this one is 'local'"),
        (["--workers", "2"], "error: '--workers 2' is for the engine 'ray'; this one is 'local'"),
    ],
)
def test_a_board_refuses_options_that_do_not_go_together(board: Path, options: list[str], problem: str) -> None:
    result = run("bench", "methods", board / BOARD, *options)
    assert result.exit_code == 2
    assert problem in result.stderr
