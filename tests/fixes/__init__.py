"""The line that an error gives as its fix is run after what failed, and then it works.

A case names the raise site by the beginning of its line in `sites`, meets the error with bad input, and applies the
line of the error that was raised, as it would be pasted: `pasted` into a configuration, `rerun` on the command line,
or run as Python. Words in capitals, such as FOLDER, and the dots of `"..."` are filled in as a user would.
"""

import ast
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import drmetric
from drmetric import errors
from drmetric.errors import DrmetricError
from tests.cli.commands import run

ROOT = Path(drmetric.__file__).parent
MOST_STEPS = 9
"""Until a configuration is right: each of its errors names one thing that is wrong."""


@cache
def sites() -> tuple[tuple[str, Path, range], ...]:
    """Each place that makes an error with a fix which is no sentence: its name, file and lines."""
    return tuple(_found())


def _found() -> Iterator[tuple[str, Path, range]]:
    kinds = {name for name in errors.__all__ if name.endswith("Error")}
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds):
                continue
            if node.args[1:] and not _is_sentence(node.args[1]):
                lines = range(node.lineno, (node.end_lineno or 0) + 1)
                yield f"{path.relative_to(ROOT)}: {ast.unparse(node.args[1])}", path, lines


def _is_sentence(fix: ast.expr) -> bool:
    """Whether it is said in words, as of what to look at, and not a line to run."""
    parts = fix.values if isinstance(fix, ast.JoinedStr) else [fix]
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts)
    return len(text.split()) > 2 and not any(
        mark in text.split("  #")[0] for mark in ("(", "=", "--", '"', "pip ", "drmetric ")
    )


def places_of(call: Callable[[], object]) -> tuple[list[tuple[Path, int]], DrmetricError | None]:
    """Where the errors were made that a call made, and the one that it raised."""
    places = []
    construct = DrmetricError.__init__

    def noted(self: DrmetricError, problem: str, fix: str = "") -> None:
        frame = sys._getframe(1)
        places.append((Path(frame.f_code.co_filename), frame.f_lineno))
        construct(self, problem, fix)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DrmetricError, "__init__", noted)
        try:
            call()
        except DrmetricError as error:
            return places, error
    return places, None


def named(site: str, places: list[tuple[Path, int]]) -> bool:
    """Whether an error was made at a site."""
    found = [(path, lines) for name, path, lines in sites() if name.startswith(site)]
    assert found, f"no site is called {site}"
    return any(place == path and line in lines for place, line in places for path, lines in found)


def fix_of(site: str, call: Callable[[], object]) -> str:
    """The line to run of the error that `call` raises, which must be made at `site`."""
    places, error = places_of(call)
    assert error is not None, "nothing was raised"
    assert named(site, places), f"another error: {error}"
    return bare(error.fix)


def bare(fix: str) -> str:
    """Without what is said behind the line."""
    return "\n".join(line.partition("  #")[0] for line in fix.split("\n"))


def filled(line: str, filling: Mapping[str, object]) -> str:
    """With what a user has in place of words in capitals."""
    for word, value in filling.items():
        line = line.replace(word, str(value))
    return line


def pasted(text: str, fix: str, at: str) -> str:
    """A configuration with the lines of a fix in place of the piece `at`; behind it, if that is the head of a table."""
    assert at in text
    keeps = at.startswith("[") and not fix.startswith("[")
    before, _, after = text.rpartition(at)
    return before + (f"{at}\n{fix}" if keeps else fix) + after


def rerun(words: list[str], fix: str) -> list[str]:
    """The words of a command with the fix: another command, or options, which take the place of those of their name."""
    new = shlex.split(fix)
    if new[0] == "drmetric":
        return new[1:]
    words = list(words)
    while new:
        count = 2 if new[1:] and not new[1].startswith("-") else 1
        option, new = new[:count], new[count:]
        if option[0] in words:
            place = words.index(option[0])
            words[place : place + count] = option
        else:
            words += option
    return words


def command_mends(site: str, words: list[object], **filling: object) -> str:
    """A command fails with two lines of which the second mends it; returns what it prints then."""
    texts = [str(word) for word in words]
    results = []
    places, error = places_of(lambda: results.append(run(*texts)))
    assert error is None
    output = results[0].stderr
    assert results[0].exit_code == 2, output + results[0].stdout
    assert named(site, places), f"another error: {output}"
    fix = filled(bare(output.partition("\nfix: ")[2].strip()), filling)
    again = run(*rerun(texts, fix))
    assert again.exit_code == 0, f"{fix}: {again.output}"
    return again.output


COVERED: set[str] = set()
"""The beginnings of the sites whose fix a case runs."""


def covers(*beginnings: str) -> None:
    """Say that the cases of a module reach these sites; they assert it where they run."""
    COVERED.update(beginnings)
