"""Paths with variables, and functions by name: what configurations may say, and what is refused."""

import sys
from pathlib import Path

import pytest

from drmetric.config import expand, find_function, read_toml
from drmetric.errors import ConfigError


def test_paths_expand_variables_and_home_and_start_at_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRMETRIC_TEST", "/data")
    monkeypatch.setenv("HOME", "/home/me")
    assert expand("$DRMETRIC_TEST/a") == expand("${DRMETRIC_TEST}/a") == Path("/data/a")
    assert expand("~/a") == Path("/home/me/a")
    assert expand("a", Path("/recipes")) == Path("/recipes/a")
    assert expand("$DRMETRIC_TEST/a", Path("/recipes")) == Path("/data/a")


@pytest.mark.parametrize("path", ["$DRMETRIC_ABSENT/a", "${DRMETRIC_ABSENT}/a"])
def test_variables_that_are_not_set_are_named_with_the_line_that_sets_them(path: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)not set: DRMETRIC_ABSENT.*fix: export DRMETRIC_ABSENT="):
        expand(path)


def test_functions_of_the_working_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_denoiser.py").write_text("def halved(noisy):\n    return noisy / 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert find_function("my_denoiser:halved", "denoiser")(4) == 2
    with pytest.raises(ConfigError, match=r"(?s)denoiser = 'my_denoiser:doubled'.*run drmetric in the folder"):
        find_function("my_denoiser:doubled", "denoiser")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_toml_is_read_as_windows_writes_it(tmp_path, encoding):
    (tmp_path / "a.toml").write_bytes('name = "caf\u00e9"\r\n'.encode(encoding))
    assert read_toml(tmp_path / "a.toml") == {"name": "caf\u00e9"}


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "a.toml").write_bytes('name = "caf\u00e9"'.encode("cp1252"))
    with pytest.raises(ConfigError, match=r"not in UTF-8 \(byte 11\)"):
        read_toml(tmp_path / "a.toml")
