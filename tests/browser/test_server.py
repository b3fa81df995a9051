"""The page is served on this machine alone, and only where it was built."""

import json
import re
import shutil
import subprocess
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


def test_names_of_files_cannot_become_markup_or_code() -> None:
    for each in files("drmetric.browser").joinpath("page").iterdir():
        sinks = r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(.on|srcdoc"
        assert not re.search(sinks, each.read_text(encoding="utf-8")), each.name


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_names_of_files_are_shown_on_one_line_and_in_their_own_direction(tmp_path: Path) -> None:
    module = tmp_path / "images.mjs"
    module.write_text(files("drmetric.browser").joinpath("page/images.js").read_text(encoding="utf-8"))
    script = f"import {{ plain }} from {json.dumps(module.as_uri())}; "
    script += (
        'console.log(JSON.stringify(["a\\u202egnp.exe", "a\\nb\\u001b[1m", "\u00e9 \U0001f600 <b>.png"].map(plain)))'
    )
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["a\ufffdgnp.exe", "a\ufffdb\ufffd[1m", "\u00e9 \U0001f600 <b>.png"]


def test_no_file_of_the_page_names_another_address() -> None:
    for each in files("drmetric.browser").joinpath("page").iterdir():
        assert re.findall(r"https?:|[\"'(]//", each.read_text(encoding="utf-8")) == [], each.name
