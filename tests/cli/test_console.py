"""What is printed: tables on a terminal, lines where it is piped, names that stay on their line."""

import io
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from drmetric.bench.tables import Column, Table
from drmetric.cli.app import app
from drmetric.cli.console import failures, logged, note, progress, show
from tests.cli.commands import SCORE_PSNR, run, write_image


def test_scores_are_printed_as_lines_when_piped(folders: tuple[Path, Path]) -> None:
    result = run("score", folders[0], "--degraded", folders[1], *SCORE_PSNR)
    assert result.exit_code == 0
    header, *lines, last = [line.split("\t") for line in result.stdout.splitlines()]
    assert (header, last[0]) == (["image", "psnr ↑"], "mean")
    assert [name for name, _ in lines] == ["00_net.png", "01_net.png", "02_net.png", "03_net.png"]
    assert float(last[1].split()[0]) == pytest.approx(np.mean([float(score) for _, score in lines]), abs=1e-5)


def test_without_a_terminal_stderr_holds_notes_only(folders: tuple[Path, Path]) -> None:
    result = run("score", folders[0], "--degraded", folders[1], *SCORE_PSNR)
    assert result.stderr.splitlines() == [
        "note: psnr is to the degraded inputs, enlarged where they are smaller; --truth gives the truth",
        "note: 4 images are paired by name and tag, such as '00_net.png' with '00.png'",
    ]


def test_terminals_get_a_table_and_a_bar(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    arguments = ["score", str(folders[0]), "--degraded", str(folders[1]), *SCORE_PSNR]
    assert app(arguments, standalone_mode=False) in (None, 0)
    printed = capsys.readouterr()
    assert "───" in printed.out
    assert "mean" in printed.out
    assert "4/4" in printed.err


def test_odd_file_names_are_printed_on_one_line(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\t1\n.png")
    write_image(tmp_path / "restored" / name, 1, 32)
    write_image(tmp_path / "degraded" / name, 2, 32)
    result = run("score", tmp_path / "restored", "--degraded", tmp_path / "degraded", *SCORE_PSNR)
    assert result.exit_code == 0
    assert "caf\\udce9\\t1\\n.png\t" in result.stdout


WICKED = "\x1b[2J[red]one\ntwo"
TABLE = Table([Column("name", WICKED)], [{"name": WICKED}], WICKED, [WICKED])


def test_escapes_and_line_ends_of_names_are_text_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    show(TABLE, TABLE)
    text = r"\x1b[2J[red]one\ntwo"
    assert capsys.readouterr().out == "\n\n".join(["\n".join([text] * 4)] * 2) + "\n"


def test_escapes_and_markup_of_names_are_text_on_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show(TABLE)
    with progress("scoring") as bar:
        bar(1, 2, WICKED)
    printed = capsys.readouterr()
    assert printed.out.count(r"\x1b[2J[red]one\ntwo") == 4
    assert "\x1b[2J" not in printed.out + printed.err
    assert r"\x1b[2J[red]one\ntwo" in printed.err


def test_notes_are_one_line_and_failures_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    note("a problem\n  fix: a \x1b line")
    assert capsys.readouterr().err == "a problem fix: a \\x1b line\n"
    failures([])
    with pytest.raises(typer.Exit) as left:
        failures([f"image {number}" for number in range(23)])
    assert left.value.exit_code == 1
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("failed: image 0", "failed: 3 more", 21)


def test_what_is_logged_goes_to_the_stderr_of_the_moment_and_of_that_time_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = logging.getLogger("drmetric.somewhere")
    for _ in range(2):  # a handler that outlived its stream would complain in the second
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        with logged():
            log.info("%d of %d", 1, 2)
        log.info("afterwards")
        assert stream.getvalue() == "1 of 2\n"
        stream.close()
