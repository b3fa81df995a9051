"""Whatever a document tells to run does run, or where it needs data, at least parses."""

import argparse
import json
import re
import runpy
import sys
import tomllib
from pathlib import Path

import click
import pytest
import typer
import yaml
from typer.testing import CliRunner

from drmetric import example
from drmetric.bench.agreement.config import Config as AgreementConfig
from drmetric.bench.methods.config import Config as MethodsConfig
from drmetric.cli.app import app
from drmetric.distill.recipe import recipe_from
from tests.docs.blocks import PAGES, ROOT, Block, blocks, commands, commands_in_text

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
OF_DEVELOPERS = {"cp", "export", "git", "mkdocs", "pre-commit", "pytest"}
"""Commands that are neither run nor checked."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pages
def test_blocks_run_from_the_top_to_the_bottom_of_a_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example.copy(tmp_path / "photographs")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "documentation"}
    for block in blocks(page):
        if block.needs:
            continue
        if block.language == "python":
            exec(compile(_padded(block), str(page), "exec"), names)
        for words in commands(block.code) if block.language == "sh" else ():
            if words[0] == "drmetric":
                result = CliRunner().invoke(app, words[1:])
                assert result.exit_code == 0, f"{page.name}: {' '.join(words)}\n{result.output}"


@pages
def test_blocks_parse(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(_padded(block), str(page), "exec")
        elif block.language == "toml":
            check_configuration(block.code, tmp_path / "board.toml", monkeypatch)
        elif block.language == "json":
            json.loads(block.code)
        elif block.language == "yaml":
            yaml.safe_load(block.code)
        else:
            assert block.language == "sh", f"{page.name}, line {block.line}: a block without a known language"
            for words in commands(block.code):
                check(words, monkeypatch)


@pages
def test_commands_in_the_text_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in commands_in_text(page):
        check(words, monkeypatch, in_text=True)


def check(words: list[str], monkeypatch: pytest.MonkeyPatch, in_text: bool = False) -> None:
    """A command names what exists: extras, scripts, files of the repository, options and arguments.

    In the text, a command may be named without its arguments.
    """
    words = [word for word in words if not word.startswith("PYTHONPATH=")]
    for word in words:
        if word.startswith(("benchmarks/", "examples/", "weights/", "docs/", "tests/")):
            assert (ROOT / word).exists(), f"{' '.join(words)}: there is no {word}"
    if words[0] == "drmetric":
        check_command(words[1:], in_text)
    elif words[:2] == ["python", "-m"] and words[2].startswith("drmetric."):
        assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file(), f"there is no {words[2]}"
    elif words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
        check_script(words[2], words[3:], monkeypatch, in_text)
    elif words[0] == "python" and words[1].startswith(("benchmarks/", "examples/")):
        check_script(words[1].removesuffix(".py").replace("/", "."), words[2:], monkeypatch, in_text)
    elif words[:2] == ["pip", "install"]:
        for extra in (word.split("[")[1].rstrip("]") for word in words if "[" in word):
            assert extra in EXTRAS
    else:
        assert words[0] in OF_DEVELOPERS or words[:3] == ["python", "-m", "build"] or words[0] == "bash", words


def check_configuration(text: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration is TOML, and one of a board, or a recipe, has the entries of one."""
    table = tomllib.loads(text)
    if "train" in table:
        recipe_from(table)
    if "metrics" not in table:
        return
    for variable in re.findall(r"\$(\w+)", text):
        monkeypatch.setenv(variable, str(path.parent))
    path.write_text(text, encoding="utf-8")
    (MethodsConfig if "methods" in table else AgreementConfig).read(path)


def check_command(words: list[str], in_text: bool) -> None:
    """A subcommand of drmetric, its options and arguments."""
    command: click.Command = typer.main.get_command(app)
    while isinstance(command, click.Group) and words:
        assert words[0] in command.commands, f"there is no command drmetric {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    if in_text and not any(word.startswith("-") for word in words):
        return
    with command.make_context("drmetric", words):
        pass


def check_script(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch, in_text: bool) -> None:
    """A script of benchmarks, its options and arguments: it is started as far as these are parsed."""
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), f"there is no {module}"
    if "..." in words or (in_text and not words):
        return
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser: argparse.ArgumentParser) -> None:
        parse(parser)
        raise _ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.setattr(sys, "argv", [module, *words])
    monkeypatch.delitem(sys.modules, module, raising=False)
    try:
        runpy.run_module(module, run_name="__main__")
    except _ParsedError:
        pass
    except SystemExit as error:
        pytest.fail(f"python -m {module} {' '.join(words)}: exit status {error.code}")
    monkeypatch.undo()


class _ParsedError(Exception):
    """The arguments of a script are parsed."""


def _padded(block: Block) -> str:
    """The code on the lines where it stands in the page, so that a traceback points there."""
    return "\n" * (block.line - 1) + block.code
