"""The command as a whole: its help, its errors with their fix, and what it does not import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drmetric import __version__
from drmetric.bench.scores.store import read_rows
from tests.cli.commands import SCORE_PSNR, run

COMMANDS = ["score", "example", "doctor", "list", "train", "corpus", "bench"]
COMMANDS += [f"bench {each}" for each in ("metrics", "methods", "demo", "verify")]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_do_not_import_torch(option: str) -> None:
    code = (
        "import sys; from drmetric.cli.app import app\n"
        f"try: app([{option!r}])\n"
        "finally: assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (__version__ if option == "--version" else "drmetric score") in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
def test_without_stdout_and_stderr_a_command_does_its_work(folders: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "scores.jsonl"
    command = 'exec "$0" -c "from drmetric.cli.app import app; app()" "$@" >&- 2>&-'
    words = ["score", folders[0], "--degraded", folders[1], *SCORE_PSNR, "-o", output]
    done = subprocess.run(["sh", "-c", command, sys.executable, *words])
    assert done.returncode == 0
    assert len(read_rows(output)) == 4


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, option: str) -> None:
    result = run(*command.split(), option)
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize(
    ("arguments", "problem", "fix"),
    [
        (["{restored}"], "driqa(weights=untrained.safetensors) compares each restored image", "--degraded FOLDER"),
        (["{restored}", "--degraded", "nowhere"], "the degraded path 'nowhere' does not exist", "give a folder"),
        (["{restored}", "--degraded", "{degraded}", "--metric", "psnrr"], "'psnrr'", "fix: "),
        (["{restored}", "--degraded", "{degraded}", "-o", "scores.xls"], "'scores.xls' ends in '.xls'", "scores.jsonl"),
        (["{restored}", "--degraded", "{degraded}", "--weights", "nothing"], "no weights 'nothing'", "fix: "),
    ],
)  # fmt: skip
def test_errors_quote_what_came_and_give_the_fix(
    arguments: list[str], problem: str, fix: str, folders: tuple[Path, Path], weights: Path
) -> None:
    filled = [each.format(restored=folders[0], degraded=folders[1]) for each in arguments]
    if not {"--metric", "--weights"} & set(filled):
        filled += ["--weights", str(weights)]
    result = run("score", *filled)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert fix in result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_debug_variable_keeps_the_traceback(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRMETRIC_DEBUG", "1")
    result = run("score", folders[0], "--metric", "psnr")
    assert type(result.exception).__name__ == "InputError"
