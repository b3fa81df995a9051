"""TOML files as frozen dataclasses: every entry is known, present where it must be, and of its type."""

import codecs
import dataclasses
import os
import re
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from drmetric.errors import ConfigError

__all__ = ["expand", "find_function", "read_toml", "section"]


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
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file; raises `ConfigError` where it is missing or malformed."""
    try:
        return tomllib.loads(read_text(Path(path)))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


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
    entries = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for name in table:
        if name not in entries:
            raise ConfigError(f"{where}: unknown entry {name!r}", f"known entries: {', '.join(entries)}")
    missing = dataclasses.MISSING
    for name, entry in entries.items():
        if name not in table and entry.default is missing and entry.default_factory is missing:
            raise ConfigError(f"{where}: no {name!r}", f"add {name} = ... to it")
    values = {name: _value(value, hints[name], f"{where}: {name}") for name, value in table.items()}
    return kind(**values)


def _value(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(item, arguments[0], where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _value(item, arguments[1], where) for key, item in value.items()}
    wanted = (int, float) if hint is float else hint
    if origin is None and isinstance(value, wanted) and (hint is bool or not isinstance(value, bool)):
        return value
    kinds = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
    listed = " or ".join(map(repr, arguments)) if origin is Literal else "a list" if origin is tuple else "a table"
    raise ConfigError(f"{where} is {value!r}; wanted {kinds.get(hint, listed)}")


def expand(path: str | Path, folder: Path | None = None) -> Path:
    """A path of a configuration: $VARIABLES and ~ are expanded, and what is relative starts at `folder`, if given.

    Raises:
        ConfigError: a variable that is not set.
    """
    expanded = os.path.expandvars(str(path))
    if "$" in expanded:
        variable = re.split(r"\W", expanded.split("$", 1)[1].lstrip("{"), maxsplit=1)[0]
        raise ConfigError(f"{str(path)!r} names a variable that is not set: {variable}", f"export {variable}=...")
    found = Path(expanded).expanduser()
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
