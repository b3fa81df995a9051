"""The page is served on this machine alone, and only where it was built."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from itertools import product
from pathlib import Path

import pytest

from drmetric import __version__
from drmetric.browser.build import build
from drmetric.browser.server import server
from drmetric.errors import ExportError, InputError, MissingDependencyError
from drmetric.images.scale import scales_of
from tests.cli.commands import run


@pytest.mark.enable_socket
def test_no_other_machine_reaches_the_page(tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text(json.dumps({"version": __version__}))
    with server(tmp_path, 0) as serving:
        assert serving.server_address[0] == "127.0.0.1"


@pytest.mark.enable_socket
def test_a_port_that_is_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text(json.dumps({"version": __version__}))
    with server(tmp_path, 0) as serving:
        port = serving.server_address[1]
        with pytest.raises(InputError, match=f"at port {port}") as caught:
            server(tmp_path, port)
    assert "--port 0" in caught.value.fix


def test_without_a_page_the_command_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="app --build"):
        server(tmp_path, 0)
    refused = run("app", "--folder", tmp_path)
    assert (refused.exit_code, f"drmetric app --build --folder {tmp_path}" in refused.stderr) == (2, True)


def test_a_page_of_another_release_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text(json.dumps({"version": "0.1.0"}))
    with pytest.raises(InputError, match=r"is of drmetric 0\.1\.0"):
        server(tmp_path, 0)


def test_a_runtime_without_build_is_refused(tmp_path: Path) -> None:
    refused = run("app", "--folder", tmp_path, "--runtime", "ort.tgz")
    assert (refused.exit_code, "--build --runtime ort.tgz" in refused.stderr) == (2, True)


def test_a_missing_package_is_named_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setenv("PATH", "")  # no npm: to fetch is another error
    refused = run("app", "--build", "--folder", tmp_path / "page")
    assert (refused.exit_code, "drmetric[onnx]" in refused.stderr, "npm" in refused.stderr) == (2, True, False)
    with pytest.raises(MissingDependencyError, match="onnxscript"):
        build(tmp_path / "page")


def test_another_runtime_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the onnx extra is not installed")
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


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_finds_the_scales_that_the_package_finds(tmp_path: Path) -> None:
    sizes = list(product((1, 2, 31, 48, 97, 192), repeat=4))
    module = tmp_path / "images.mjs"
    module.write_text(files("drmetric.browser").joinpath("page/images.js").read_text(encoding="utf-8"))
    script = f"import {{ scalesOf }} from {json.dumps(module.as_uri())}; const sizes = {json.dumps(sizes)}; "
    script += "console.log(JSON.stringify(sizes.map(([height, width, h, w]) => "
    script += "scalesOf({ height, width }, { height: h, width: w })?.map((each) => Math.min(each, 1e6)) ?? null)))"
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    for size, found in zip(sizes, json.loads(done.stdout), strict=True):
        wanted = scales_of(size[:2], size[2:])
        assert (found is None) == (wanted is None), size
        assert found is None or found == pytest.approx([min(each, 1e6) for each in wanted]), size


def test_no_file_of_the_page_names_another_address() -> None:
    for each in files("drmetric.browser").joinpath("page").iterdir():
        assert re.findall(r"https?:|[\"'(]//", each.read_text(encoding="utf-8")) == [], each.name
