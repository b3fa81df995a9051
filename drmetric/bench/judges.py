"""What scores the images of a board: a metric entry, from a configuration or a command, and the judge made of it.

An entry names a metric, its options, what to call it, and the image that it meets. In a configuration:

    [[metrics]]
    name = "niqe"
    options = { weights = "niqe.safetensors" }
    [[metrics]]
    name = "psnr"
    reference = "degraded"
    label = "PSNR to the input"

and as text: "niqe(weights=niqe.safetensors)", "psnr(reference=degraded, label=PSNR to the input)".

Which image a metric meets is decided by `REFERENCES`, the same on every board: degraded-reference metrics meet the
degraded input, full-reference ones the truth. A figure never changes its meaning with what a folder happens to hold:
where the default is missing, another image is met only if the entry asks for it. Only a full-reference metric that asks
for the degraded input enlarges what is smaller than the image; its signature says so.
"""

import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from torch import Tensor

from drmetric.config import section
from drmetric.errors import ConfigError, DrmetricError, MissingDependencyError, PairingError, WeightsError, refuse_all
from drmetric.metrics.base import Metric, Mode
from drmetric.metrics.consistency import Consistency
from drmetric.metrics.learned import LearnedMetric
from drmetric.metrics.registry import OWN, PYIQA, create, metric_class
from drmetric.networks.backbones import share_backbones

UNTOUCHED: Final = "untouched"
Reference = Literal["none", "degraded", "truth", "untouched"]
Asked = Literal["default", "degraded", "truth", "none"]

REFERENCES: Mapping[Mode, tuple[Reference, ...]] = {
    "dr": ("degraded", "truth"),
    "fr": ("truth", "degraded"),
    "nar": ("none", "degraded", "truth"),
    "nr": ("none",),
}
"""The images that a metric of each mode can meet, its default first. What there is to meet: on a rated set and on one
of pairs what the set publishes (a corpus has both), on a board of methods the inputs and the truth that [data] names,
in a gaming report the folders given (the bundled images have inputs alone)."""
WITNESS_REFERENCES: Mapping[Mode, tuple[Reference, ...]] = {
    "dr": ("degraded",),
    "fr": ("truth", "untouched"),
    "nar": ("none",),
    "nr": ("none",),
}
"""Of a witness of a gaming report, which says what an attack did: the first that there is. The image before the attack
is always there."""


@dataclass(frozen=True)
class Entry:
    """A metric as a board names it."""

    name: str
    label: str = ""
    reference: Asked = "default"
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, table: Mapping[str, Any], where: str, folder: Path | None = None) -> "Entry":
        """One [[metrics]] table.

        Args:
            table: its entries. Of options that are text $VARIABLES are expanded, and the name of a file in `folder`
                becomes its path.
            where: file and table, for errors.
            folder: of the configuration.

        Raises:
            ConfigError: an entry that is missing, unknown or wrong.
        """
        entry = section(cls, {key: value for key, value in table.items() if key != "options"}, where)
        options = table.get("options", {})
        if not isinstance(options, dict):
            raise ConfigError(
                f"{where}: options is {options!r}; wanted a table", 'options = { weights = "FILE.safetensors" }'
            )
        return replace(entry, options={key: _expanded(value, folder) for key, value in options.items()})

    @classmethod
    def parse(cls, text: str) -> "Entry":
        """The same from text; raises `ConfigError` where it is of another form."""
        found = re.fullmatch(r"([^\s(),=]+)\s*(?:\((.*)\))?", text.strip())
        pairs = [each.partition("=") for each in (found[2] or "").split(",") if each.strip()] if found else []
        if not found or not all(key.strip() and equals for key, equals, _ in pairs):
            raise ConfigError(f"{text!r} names no metric", '"driqa" or "niqe(weights=niqe.safetensors)"')
        options = {key.strip(): _value(value.strip()) for key, _, value in pairs}
        table = {key: options.pop(key) for key in ("label", "reference") if key in options}
        return cls.read({"name": found[1], **table, "options": options}, repr(text))

    @property
    def mode(self) -> Mode:
        """Of the metric; raises `InputError` for an unknown name."""
        return metric_class(self.name).mode

    @property
    def title(self) -> str:
        """The label, by default the entry as text, of paths only the file's name."""
        if self.label:
            return self.label
        details = [f"{key}={str(value).rpartition('/')[2]}" for key, value in self.options.items()]
        if self.reference not in ("default", REFERENCES[self.mode][0]):
            details.append(f"reference={self.reference}")
        return f"{self.name}({', '.join(details)})" if details else self.name

    @property
    def display(self) -> str:
        """What people see above its column: the label, by default the name as papers write it, such as PSNR-Y."""
        if self.label:
            return self.label
        details = {key: str(value).rpartition("/")[2] for key, value in self.options.items() if key != "shave"}
        kind = metric_class(self.name)
        written = kind.title if issubclass(kind, Consistency) else _written(self.name)
        if channel := details.pop("channel", ""):
            written += f"-{channel.upper()}"
        if self.reference == "degraded" and self.mode == "fr":
            written += " to input"
        return f"{written} ({', '.join(details.values())})" if details else written

    def meets(self, default: Asked = "default") -> Reference:
        """The image that the metric meets.

        Args:
            default: what the board asks for in place of the default of the mode, of metrics that meet an image.

        Raises:
            ConfigError: the mode has no use for it.
            InputError: an unknown metric.
        """
        allowed = REFERENCES[self.mode]
        if self.reference != "default":
            asked: str = self.reference
        else:
            asked = allowed[0] if default == "default" or allowed[0] == "none" else default
        for reference in allowed:
            if reference == asked:
                return reference
        raise ConfigError(
            f"metric {self.name!r} (mode {self.mode!r}) cannot use the reference {asked!r}",
            f'reference = "{allowed[0]}"',
        )

    def lacks(self, images: Collection[str], default: Asked = "default") -> tuple[str, str] | None:
        """What is missing and what mends it, where the image that the metric meets is not among `images`."""
        reference = self.meets(default)
        if reference == "none" or reference in images:
            return None
        others = [other for other in REFERENCES[self.mode] if other in images]
        fix = 'name = "nriqa"  # a metric that needs no reference'
        if others:
            on_command = f"best a folder of it (--{reference}); else on the command line"
            fix = f'reference = "{others[0]}"  # {on_command}: {self.name}(reference={others[0]})'
        return f"it is compared with the {reference} image, and there is none", fix

    def make(self, reference: str = "") -> Metric:
        """The metric, for comparison with a reference of that kind; raises what `metrics.registry.create` does.

        A full-reference metric that is to meet the degraded input enlarges it; see `metrics.alignment`.
        """
        enlarges = reference == "degraded" and self.mode == "fr" and "crop" not in self.options
        return create(self.name, **({"upscale": True} if enlarges else {}), **self.options)


def _written(name: str) -> str:
    """A metric's name as papers write it: drmetric's own in capitals, those of others as they are."""
    if name.startswith(PYIQA) or name not in OWN:
        return name.removeprefix(PYIQA)
    return "HaarPSI" if name == "haarpsi" else name.upper().replace("_", "-")


def _expanded(value: Any, folder: Path | None) -> Any:
    if not isinstance(value, str):
        return value
    expanded = os.path.expandvars(value)
    beside = folder / expanded if folder else Path(expanded)
    return str(beside) if beside.is_file() else expanded


def _value(text: str) -> Any:
    """A number or a boolean as TOML or Python writes it, else the text."""
    try:
        return tomllib.loads(f"value = {text.lower() if text in ('True', 'False') else text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


@dataclass(frozen=True)
class Judge:
    """A metric, what to call it, and the image that it meets.

    `label` is what programs call it, `display` what people read, by default the label. With `guarded` its scores
    have the consistency with the degraded input beside them, where that is all it knows of what the image should show:
    see `is_guarded`. With `uncertain`, of an `OpinionMetric`, they have their standard errors.
    """

    label: str
    reference: Reference
    metric: Metric
    guarded: bool = False
    display: str = ""
    uncertain: bool = False

    @property
    def head(self) -> str:
        """What people see above its column."""
        return self.display or self.label

    @property
    def signature(self) -> str:
        """Of the metric beside what it meets."""
        return self.metric.signature if self.reference == "none" else self.metric.signature_beside(self.reference)

    @property
    def judges_quality(self) -> bool:
        """Whether its ranks count in a mean rank: those of a guard do not."""
        return not self.metric.guard

    @property
    def is_guarded(self) -> bool:
        """Whether a sharp picture of something else could please it, and that is looked at."""
        return self.guarded and self.judges_quality and self.metric.mode == "dr" and self.reference == "degraded"

    def rate(self, image: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        """(1,) score of an image (1,3,H,W); raises `PairingError` where the image that it meets is missing."""
        if self.reference == "none":
            score = self.metric(image)
        elif self.reference in others:
            score = self.metric(image, others[self.reference])
        else:
            raise PairingError(f"no {self.reference} image has the name of this image")
        assert isinstance(score, Tensor)
        return score


def make_judges(
    entries: Sequence[Entry],
    images: Collection[str],
    default: Asked = "default",
    guarded: bool = False,
    missing: Sequence[DrmetricError] | None = None,
) -> tuple[list[Judge], dict[str, str]]:
    """The judges of a board, and {title: why} of the metrics whose weights or packages are missing.

    Args:
        entries: of the board.
        images: those that there are: "degraded", "truth", both or none.
        default: see `Entry.meets`.
        guarded: see `Judge`.
        missing: what is missing beside; if given, weights and packages that are missing are raised with it.

    Raises:
        ConfigError: no entry, two of one title or one metric, an image that a metric meets and that is missing, or
            several things that are missing.
        InputError: a metric or an option that does not exist.
        WeightsError, MissingDependencyError: what is missing, where `missing` was given.
    """
    if not entries:
        raise ConfigError("no metric was named", '[[metrics]]\nname = "driqa"')
    judges: dict[tuple[str, Reference], Judge] = {}
    unmade: dict[str, str] = {}
    titles = [entry.title for entry in entries]
    displays = [entry.display for entry in entries]
    lacking = {entry.title: lack for entry in entries if (lack := entry.lacks(images, default))}
    lost = [*(missing or ()), *(ConfigError(f"{title}: {lack[0]}", lack[1]) for title, lack in lacking.items())]
    for entry in entries:
        if titles.count(entry.title) > 1:
            raise ConfigError(f"two metrics are called {entry.title!r}", 'label = "..."  # another for one of them')
    if missing is None:
        refuse_all(lost)
    for entry in entries:
        reference = entry.meets(default)
        try:
            metric = entry.make(reference)
        except (WeightsError, MissingDependencyError) as error:
            unmade[entry.title] = why(error)
            lost.append(error)
            continue
        display = entry.display if displays.count(entry.display) == 1 else entry.title
        judge = Judge(entry.title, reference, metric, guarded, display)
        twin = judges.setdefault((metric.signature, reference), judge)
        if twin.label != entry.title:
            raise ConfigError(f"{twin.label!r} and {entry.title!r} are the same metric", "remove one of them")
    refuse_all(lost if missing is not None else ())
    share_backbones(each.metric.network for each in judges.values() if isinstance(each.metric, LearnedMetric))
    return list(judges.values()), unmade


def make_witnesses(entries: Sequence[Entry], images: Collection[str]) -> tuple[list[Judge], dict[str, str]]:
    """The witnesses of a gaming report, and {title: why} of those that cannot testify; see `make_judges`."""
    witnesses, absent = [], {}
    for entry in entries:
        found = [each for each in WITNESS_REFERENCES[entry.mode] if each in ("none", "untouched", *images)]
        if not found:
            absent[entry.title] = (
                f"it is compared with the {WITNESS_REFERENCES[entry.mode][0]} image, and there is none"
            )
            continue
        try:
            witnesses.append(Judge(entry.title, found[0], entry.make()))
        except (WeightsError, MissingDependencyError) as error:
            absent[entry.title] = why(error)
    return witnesses, absent


def why(error: DrmetricError) -> str:
    """Type, problem and fix of an error on one line."""
    fix = f" (fix: {error.fix})" if error.fix else ""
    return " ".join(f"{type(error).__name__}: {error.problem}{fix}".split())
