"""The page is served on this machine alone, and only where it was built."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from drmetric.browser.build import build
from drmetric.browser.server import server
from drmetric.errors import ExportError, InputError
from tests.cli.commands import run


@pytest.mark.enable_socket
def test_no_other_machine_reaches_the_page(tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text("{}")
    with server(tmp_path, 0) as serving:
        assert serving.server_address[0] == "127.0.0.1"


def test_without_a_page_the_command_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="app --build"):
        server(tmp_path, 0)
    refused = run("app", "--folder", tmp_path)
    assert (refused.exit_code, "drmetric app --build" in refused.stderr) == (2, True)


def test_another_runtime_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.tgz").write_bytes(b"something else")
    with pytest.raises(ExportError, match="SHA-512"):
        build(tmp_path / "page", tmp_path / "other.tgz", {})


def test_no_file_of_the_page_names_another_address() -> None:
    for each in files("drmetric.browser").joinpath("page").iterdir():
        assert re.findall(r"https?:|[\"'(]//", each.read_text(encoding="utf-8")) == [], each.name
