"""TOML files as frozen dataclasses: every entry is known, present where it must be, and of its type."""

import codecs
import dataclasses
import json
import math
import os
import re
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from drmetric.errors import ConfigError

__all__ = [
    "as_toml",
    "check_ranges",
    "expand",
    "find_function",
    "parse_toml",
    "read_text",
    "read_toml",
    "section",
    "tables",
]

_EXAMPLES = {str: '"..."', bool: "true", int: "1", float: "1.0"}
_KINDS = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


Section = TypeVar("Section")


def read_text(path: Path) -> str:
    """A text file in UTF-8, or in UTF-16 with its mark, as on Windows; raises `ConfigError` where it is neither."""
    try:
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"cannot read {path}: it is not in UTF-8 (byte {error.start})", "save it as UTF-8, the encoding of TOML"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}", "give the path of a TOML file") from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file; raises `ConfigError` where it is missing or malformed."""
    return parse_toml(read_text(Path(path)), str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text; `where` names it in the `ConfigError` of a malformed one."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"cannot read {where} as TOML: {error}", 'lines are name = "text", name = 3, [table] or [[tables]]'
        ) from error


def tables(table: dict[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    """The [[name]] tables of a file.

    Raises:
        ConfigError: there is none, or [name] is in single brackets or something else.
    """
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ConfigError(f"{where}: {name} is {_short(found)}; wanted tables in double brackets", f"[[{name}]]")
    if not found:
        raise ConfigError(f"{where} has no [[{name}]]; wanted at least one", f"[[{name}]]")
    return found


def check_ranges(settings: Any, where: str, **ranges: tuple[float, float]) -> None:
    """Raise `ConfigError` for a number of a dataclass, or one in a tuple, that is not within (lowest, highest)."""
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not _within(value, low, high):
            limit = f"{low} to {high}" if math.isfinite(high) else f"{low} or more"
            default = {each.name: each.default for each in dataclasses.fields(settings)}[name]
            lowest = (low,) if isinstance(value, tuple) else low
            usual = default if default is not dataclasses.MISSING and _within(default, low, high) else lowest
            raise ConfigError(f"{where}: {name} is {as_toml(value)}; wanted {limit}", f"{name} = {as_toml(usual)}")


def _within(value: Any, low: float, high: float) -> bool:
    return all(low <= each <= high for each in (value if isinstance(value, tuple) else (value,)))


def as_toml(value: Any) -> str:
    """A text, a number, true or false, or a list of these, as TOML writes it."""
    return json.dumps(value, ensure_ascii=False)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def section(kind: type[Section], table: dict[str, Any], where: str) -> Section:
    """Build the dataclass `kind` from one table.

    Lists become tuples where the field is a tuple. Fields may be str, bool, int, float, `Literal`, tuples and
    dictionaries of these.

    Args:
        kind: a dataclass.
        table: its entries by field name.
        where: file and table, for errors.

    Raises:
        ConfigError: an unknown or missing entry, or a value of the wrong type.
    """
    if not isinstance(table, dict):
        raise ConfigError(
            f"{where} is {_short(table)}; wanted a table", f"[{where.rpartition('[')[2].strip(']') or where}]"
        )
    entries = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for name in table:
        if name not in entries:
            raise ConfigError(f"{where}: unknown entry {name!r}", f"known entries: {', '.join(entries)}")
    missing = dataclasses.MISSING
    for name, entry in entries.items():
        if name not in table and entry.default is missing and entry.default_factory is missing:
            raise ConfigError(f"{where}: no {name!r}", f"{name} = {_example(hints[name])}")
    values = {
        name: _value(value, hints[name], f"{where}: {name}", f"{name} = {_example(hints[name])}")
        for name, value in table.items()
    }
    return kind(**values)


def _example(hint: Any) -> str:
    """A value of a type, as TOML writes it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return repr(arguments[0]).replace("'", '"')
    if origin is tuple:
        return f"[{_example(arguments[0])}]"
    if origin is dict:
        return f"{{ name = {_example(arguments[1])} }}"
    return _EXAMPLES.get(hint, '"..."')


def _value(value: Any, hint: Any, where: str, fix: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(item, arguments[0], where, fix) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _value(item, arguments[1], where, fix) for key, item in value.items()}
    wanted = (int, float) if hint is float else hint
    fits = origin is None and isinstance(value, wanted) and (hint is bool or not isinstance(value, bool))
    if fits and not (hint is float and not math.isfinite(value)):
        return value
    listed = " or ".join(map(repr, arguments)) if origin is Literal else "a list" if origin is tuple else "a table"
    raise ConfigError(f"{where} is {_short(value)}; wanted {_KINDS.get(hint, listed)}", fix)


def expand(path: str | Path, folder: Path | None = None) -> Path:
    """A path of a configuration: $VARIABLES and ~ are expanded, and what is relative starts at `folder`, if given.

    Raises:
        ConfigError: a variable that is not set, an unknown ~user, or no path.
    """
    if not str(path).strip() or "\0" in str(path):
        raise ConfigError(
            f"a path is {str(path)!r}; wanted that of a file or a folder", '"data/degraded"  # such as this'
        )
    expanded = os.path.expandvars(str(path))
    if "$" in expanded:
        variable = re.split(r"\W", expanded.split("$", 1)[1].lstrip("{"), maxsplit=1)[0]
        raise ConfigError(f"{str(path)!r} names a variable that is not set: {variable}", f"export {variable}=...")
    try:
        found = Path(expanded).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{str(path)!r} cannot be expanded: {error}", '"~/data"  # the home folder') from error
    return found if folder is None else folder / found


def find_function(entry: str, setting: str) -> Callable[..., Any]:
    """The function that "module:function" names, in an installed module or in one of the working folder.

    Raises:
        ConfigError: there is none; the message names the `setting`.
    """
    module, _, name = entry.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{setting} = {entry!r} cannot be found: {type(error).__name__}: {error}",
            f'{setting} = "module:function"  # and run drmetric in the folder of module.py',
        ) from error
    return found
