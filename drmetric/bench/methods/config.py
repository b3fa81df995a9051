"""The configuration of a methods board:

    preset = "ntire-sr"             # metrics and composites beside those below, see presets/; or --preset
    [data]
    degraded = "data/degraded"      # the inputs, where there are some; relative to this file; $VARIABLES are expanded
    truth = "data/pristine"         # ground truth, where there is some
    scale = 4                       # of the outputs to the inputs; by default found, see `bench.methods.scale`
    consistency = false             # without the columns of it that stand beside driqa
    [[methods]]
    name = "EDSR"
    folder = "outputs/edsr"
    [[methods]]
    name = "RCAN"
    folder = "outputs/all"          # of several methods: 0001_EDSR.png, 0001_RCAN.png, ...
    suffix = "_RCAN"
    [[metrics]]
    name = "driqa"                  # compared with the degraded input
    [[metrics]]
    name = "psnr"                   # with the ground truth; reference = "degraded" for the input
    label = "PSNR"

Images pair by name, see `drmetric.bench.scores.pairing`; for the entries of [[metrics]] see `drmetric.bench.judges`,
for those of [[composites]] `drmetric.bench.composites`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drmetric.bench.composites import CompositeEntry
from drmetric.bench.judges import Entry
from drmetric.bench.methods.files import DEGRADED, TRUTH, Method
from drmetric.config import as_toml, expand, parse_toml, read_text, read_toml, section, tables
from drmetric.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"
"""A file a preset: its [[metrics]] and [[composites]]."""
OF_FOLDERS = (Entry("driqa"),)
OF_TRUTH = (Entry("lpips"), Entry("psnr", "PSNR-Y", options={"channel": "y"}))
"""The metrics of a board without a file, and those that join them where there is ground truth."""


@dataclass(frozen=True)
class Data:
    """The [data] table."""

    degraded: str = ""
    truth: str = ""
    scale: float = 0.0
    consistency: bool = True


@dataclass(frozen=True)
class MethodEntry:
    """One [[methods]] table; see `Method`."""

    name: str
    folder: str
    suffix: str = ""


@dataclass(frozen=True)
class Config:
    """A methods board as its TOML file describes it.

    Attributes:
        name: of the file, without .toml.
        folder: of the file; absolute where it was read.
        text: of the file.
        scale: of the outputs to the inputs, 0 where it is to be found.
        consistency: whether that with the input stands beside metrics that know it alone.
        of_command: whether a command says it, and no file.
    """

    name: str
    folder: Path
    text: str
    degraded: Path | None
    truth: Path | None
    scale: float
    methods: tuple[Method, ...]
    metrics: tuple[Entry, ...]
    composites: tuple[CompositeEntry, ...] = ()
    consistency: bool = True
    of_command: bool = False

    @classmethod
    def read(cls, path: Path, preset: str = "") -> "Config":
        """Read and check a TOML file; raises `ConfigError` naming the entry that is missing, unknown or wrong.

        Args:
            path: of the file.
            preset: its metrics are scored with, as if the file named it.
        """
        text = read_text(path)
        named = parse_toml(text, str(path)).get("preset", preset)
        if preset and named != preset:
            raise ConfigError(f"{path} names the preset {named!r}; --preset says {preset!r}", "leave one of them out")
        prefix = f'preset = "{preset}"\n' if preset and "preset" not in parse_toml(text, str(path)) else ""
        return cls.parse(prefix + text, path.parent.absolute(), path.stem, str(path))

    @classmethod
    def of_folders(
        cls,
        outputs: Sequence[Path],
        degraded: Path | None = None,
        truth: Path | None = None,
        metrics: Sequence[Entry] = (),
        preset: str = "",
    ) -> "Config":
        """A board without a file, called as the folder of the inputs, or else of the truth, or that around the outputs.

        `text` is the file that it could be.

        Args:
            outputs: a folder a method, which is called as it.
            degraded: the inputs, where there are some.
            truth: ground truth, where there is some.
            metrics: by default, and without a preset, driqa where there are inputs, and with truth lpips and PSNR of
                the luma.
            preset: as in `read`.

        Raises:
            ConfigError: two folders of one name, or a preset that does not exist.
        """
        names = [folder.resolve().name for folder in outputs]
        if twins := sorted({name for name in names if names.count(name) > 1}):
            alike = ", ".join(str(folder) for folder, name in zip(outputs, names, strict=True) if name == twins[0])
            raise ConfigError(
                f"methods are called as their folders, and several are called {twins[0]!r}: {alike}",
                "rename one of the folders, or write a configuration, in which each method has a name",
            )
        usual = () if preset else (*(OF_FOLDERS if degraded else ()), *(OF_TRUTH if truth else ()))
        lines = [f"preset = {_quoted(preset)}"] if preset else []
        data = {"degraded": degraded, "truth": truth}
        lines += ["[data]", *(f"{key} = {_quoted(folder)}" for key, folder in data.items() if folder)]
        for name, folder in zip(names, outputs, strict=True):
            lines += ["[[methods]]", f"name = {_quoted(name)}", f"folder = {_quoted(folder)}"]
        for entry in metrics or usual:
            lines += ["[[metrics]]", *_lines_of(entry)]
        where = "the board of " + ", ".join(map(repr, names))
        config = cls.parse("\n".join(lines) + "\n", Path.cwd(), "", where)
        return replace(config, name=config.around.resolve().name, of_command=True)

    @property
    def around(self) -> Path:
        """The folder of the inputs; where there are none, of the truth, or that around the outputs."""
        return self.degraded or self.truth or self.methods[0].folder.resolve().parent

    @property
    def usable_metric(self) -> str:
        """The line that names a metric which every board can use."""
        return "--metric nriqa" if self.of_command else '[[metrics]]\nname = "nriqa"'

    @classmethod
    def parse(cls, text: str, folder: Path, name: str, where: str) -> "Config":
        """As `read`, from the text; `where` names it in errors."""
        table = parse_toml(text, where)
        known = ("data", "methods", "metrics", "composites", "preset")
        if unknown := sorted(set(table) - set(known)):
            raise ConfigError(f"{where}: unknown table {unknown[0]!r}", f"known tables: {', '.join(known)}")
        preset = _preset(table["preset"], where) if "preset" in table else {}
        for key in ("metrics", "composites"):
            named, own = preset.get(key, []), tables(table, key, where) if table.get(key) else []
            table[key] = [*named, *(each for each in own if each not in named)]
        data = section(Data, table.get("data", {}), f"{where}, [data]")
        if data.scale and not data.scale >= 1:
            raise ConfigError(f"{where}, [data]: scale is {data.scale}; wanted 1 or more", "scale = 4")
        if data.scale and not data.degraded:
            raise ConfigError(
                f"{where}, [data]: scale is of outputs to degraded inputs, and there are none", 'degraded = "FOLDER"'
            )
        methods = [section(MethodEntry, entry, f"{where}, [[methods]]") for entry in tables(table, "methods", where)]
        metrics = [Entry.read(entry, f"{where}, [[metrics]]", folder) for entry in tables(table, "metrics", where)]
        if nameless := [each for each in methods if not each.name.strip()]:
            raise ConfigError(
                f"{where}, [[methods]]: the method of the folder {nameless[0].folder!r} has no name", 'name = "..."'
            )
        _refuse_twins([DEGRADED, TRUTH, *(method.name for method in methods)], f"{where}, [[methods]]")
        return cls(
            name=name,
            folder=folder,
            text=text,
            degraded=expand(data.degraded, folder) if data.degraded else None,
            truth=expand(data.truth, folder) if data.truth else None,
            scale=data.scale,
            methods=tuple(Method(each.name, expand(each.folder, folder), each.suffix) for each in methods),
            metrics=tuple(metrics),
            composites=tuple(CompositeEntry.read(each, f"{where}, [[composites]]") for each in table["composites"]),
            consistency=data.consistency,
        )


def presets() -> list[str]:
    """The names that there are."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def _preset(name: object, where: str) -> dict[str, Any]:
    known = presets()
    if name not in known:
        raise ConfigError(f"{where}: unknown preset {name!r}; known: {', '.join(known)}", f'preset = "{known[0]}"')
    return read_toml(PRESETS / f"{name}.toml")


def _lines_of(entry: Entry) -> list[str]:
    """A [[metrics]] table without its head."""
    texts = {"name": entry.name, "label": entry.label}
    if entry.reference != "default":
        texts["reference"] = entry.reference
    options = [f"{_quoted(key)} = {_quoted(value)}" for key, value in entry.options.items()]
    return [
        *(f"{key} = {_quoted(text)}" for key, text in texts.items() if text),
        *([f"options = {{ {', '.join(options)} }}"] if options else []),
    ]


def _quoted(value: Any) -> str:
    """A value, or the text of a path, as TOML writes it."""
    return as_toml(str(value) if isinstance(value, Path) else value)


def _refuse_twins(names: Sequence[str], where: str) -> None:
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{where}: {twins[0]!r} occurs more than once", 'name = "..."  # another in one of them')
