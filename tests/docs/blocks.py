"""The documents, and the code in them: fenced blocks in order, and commands within the text."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("README.md"),
        *ROOT.glob("CONTRIBUTING.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("weights/*/card.md"),
    ]
)

_FENCED = re.compile(
    r"(?:<!-- needs: (?P<needs>[^\n]+) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$", re.M | re.S
)
_INLINE = re.compile(r"`((?:python(?: -m)? benchmarks[./]|drmetric )[^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its code, the line it starts on, and what it needs that tests do not have."""

    language: str
    code: str
    line: int
    needs: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["code"], text.count("\n", 0, found.start("code")) + 1, found["needs"] or "")
        for found in _FENCED.finditer(text)
    ]


def commands(code: str) -> Iterator[list[str]]:
    """The commands of a shell block as words; a backslash joins lines, `&&` separates."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def commands_in_text(page: Path) -> list[list[str]]:
    """The commands between backticks in the text of a page, outside its fenced blocks."""
    prose = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [shlex.split(command) for command in _INLINE.findall(prose)]
