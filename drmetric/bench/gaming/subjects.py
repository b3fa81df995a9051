"""What a gaming report is about: the images, the metrics that are attacked, and the witnesses."""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from drmetric.bench.methods.config import MetricEntry
from drmetric.bench.methods.files import Failure
from drmetric.bench.methods.scores import Judge
from drmetric.bench.scores.folder import sha256_of
from drmetric.bench.scores.pairing import pair
from drmetric.errors import ConfigError, MissingDependencyError, PairingError, WeightsError
from drmetric.images import read_image
from drmetric.metrics.base import Metric

T = TypeVar("T")
Kind = Literal["image", "degraded", "truth"]
"""The images of a subject: the one that is attacked, its degraded input and its ground truth."""
Images = Mapping[str, Tensor]
"""(1,3,H,W) each, by kind."""


@dataclass(frozen=True)
class Settings:
    """What `drmetric bench gaming` was asked.

    Attributes:
        metrics: names, with options as in "niqe(weights=niqe.safetensors)".
        images, degraded, truth: folders that pair by name; without `images` those that come with drmetric.
        witnesses: names of metrics that look at the attacked images too.
        psnrs: of the attacked image to the untouched one, in dB.
        spreads: files of scores over a human-rated set; see `drmetric.bench.gaming.spread`.
        steps: of the iterated attack and of the training of the universal one.
        seed: of the noise, of the halves of the universal perturbation and of the resamples.
        n_bootstrap: resamples of each interval and test.
    """

    metrics: Sequence[str]
    images: Path | None = None
    degraded: Path | None = None
    truth: Path | None = None
    witnesses: Sequence[str] = ("psnr", "ssim", "lpips", "vif")
    psnrs: Sequence[float] = (40.0, 35.0)
    spreads: Sequence[Path] = ()
    steps: int = 10
    seed: int = 0
    n_bootstrap: int = 1000
    device: str = "cpu"


@dataclass(frozen=True)
class Subject:
    """One image to attack and what belongs to it; images of one content share a degraded input."""

    name: str
    content: str
    paths: Mapping[Kind, Path]

    @cached_property
    def sha256(self) -> dict[str, str]:
        """Of the files, by kind."""
        return {kind: sha256_of(path) for kind, path in self.paths.items()}

    def read(self, device: str) -> Images:
        """The images; raises what `read_image` does."""
        return {kind: read_image(path)[None].to(device) for kind, path in self.paths.items()}


@dataclass(frozen=True)
class Witness:
    """A metric that looks at the attacked images; `reference` "image" is the untouched image."""

    name: str
    metric: Metric
    reference: Literal["none", "image", "degraded", "truth"]

    @property
    def label(self) -> str:
        """What its figures are: values against the untouched image, or changes, with the better direction."""
        what = f"{self.name} to the untouched" if self.reference == "image" else f"change of {self.name}"
        return f"{what} {'↑' if self.metric.higher_is_better else '↓'}"


def rate(metric: Metric, reference: str, image: Tensor, images: Images) -> Tensor:
    """(1,) score of an image; raises `PairingError` where the reference is missing."""
    if reference == "none":
        score = metric(image)
    elif reference in images:
        score = metric(image, images[reference])
    else:
        raise PairingError(f"no {reference} image has the name of this image")
    assert isinstance(score, Tensor)
    return score


def read_subjects(settings: Settings) -> list[Subject]:
    """The images of the folders, or those that come with drmetric.

    Raises:
        ConfigError: degraded inputs or truth without images.
        PairingError: nothing pairs, or names are ambiguous.
        ImageFileError: a folder holds no images.
    """
    if settings.images is not None:
        return _paired(settings.images, settings.degraded, settings.truth)
    if settings.degraded is not None or settings.truth is not None:
        raise ConfigError("--degraded and --truth belong to images of your own", "add --images FOLDER")
    # An installed package is a folder of files, so the paths outlive the context.
    with as_file(files("drmetric") / "example") as example:
        return _paired(example / "restored", example / "degraded", None)


def _paired(images: Path, degraded: Path | None, truth: Path | None) -> list[Subject]:
    paths: dict[str, dict[Kind, Path]] = {each.name: {"image": each.restored} for each in pair(images, None).pairs}
    contents = {name: name for name in paths}
    roles: dict[Kind, Path | None] = {"degraded": degraded, "truth": truth}
    for kind, folder in roles.items():
        if folder is None:
            continue
        pairs = pair(images, folder).pairs
        if not pairs:
            raise PairingError(
                f"no image in {str(images)!r} has a {kind} image of its name in {str(folder)!r}",
                "name each image as its input, which may add a tag: 0001.png and 0001_tag.png",
            )
        for each in pairs:
            assert each.degraded is not None
            assert each.degraded_name is not None
            paths[each.name][kind] = each.degraded
            if kind == "degraded":
                contents[each.name] = each.degraded_name
    return [Subject(name, contents[name], paths[name]) for name in sorted(paths)]


def parse_metric(text: str, settings: Settings) -> MetricEntry:
    """A metric as boards call it: "driqa", or with options "niqe(weights=niqe.safetensors)".

    A full-reference metric compares with the ground truth, or with the degraded input where there is no truth.

    Raises:
        ConfigError: text of another form, or a reference that no folder gives.
        InputError: an unknown metric.
    """
    found = re.fullmatch(r"([^\s(),=]+)\s*(?:\((.*)\))?", text.strip())
    options = [each.partition("=") for each in (found[2] or "").split(",") if each.strip()] if found else []
    if not found or not all(key.strip() and equals for key, equals, _ in options):
        raise ConfigError(f"{text!r} names no metric", '"driqa" or "niqe(weights=niqe.safetensors)"')
    entry = MetricEntry(found[1], options={key.strip(): _value(value.strip()) for key, _, value in options})
    mode = entry.kind.mode
    has_degraded = settings.degraded is not None or settings.images is None
    if mode == "fr" and settings.truth is None:
        entry = MetricEntry(entry.name, reference="degraded", options=entry.options)
    if entry.reference_used() == "degraded" and not has_degraded:
        raise ConfigError(f"{entry.name} compares with another image, and there is none", "add --degraded FOLDER")
    return entry


def _value(text: str) -> Any:
    """A number or a boolean as TOML or Python writes it, else the text."""
    try:
        return tomllib.loads(f"value = {text.lower() if text in ('True', 'False') else text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def make_judges(settings: Settings) -> tuple[list[Judge], list[Failure]]:
    """The metrics to attack, and those that cannot be made.

    Raises:
        ConfigError: no metric, one that is named twice, or a reference that is missing.
        InputError: a metric or an option that does not exist.
    """
    judges, failures = [], []
    for entry in (parse_metric(text, settings) for text in settings.metrics):
        try:
            metric = entry.make().to(settings.device)
        except (WeightsError, MissingDependencyError) as error:
            failures.append(Failure(entry.title, "", "", f"{type(error).__name__}: {error}"))
            continue
        judges.append(Judge(entry.title, entry.reference_used(), metric))
    if twin := _twin([(judge.metric.signature, judge.reference) for judge in judges]):
        raise ConfigError(f"one metric is named twice: {twin[0]}", "name it once")
    if label := _twin([judge.label for judge in judges]):
        raise ConfigError(f"two metrics would both be called {label!r}", "rename one of their files")
    if not judges:
        reasons = "; ".join(f"{failure.metric}: {failure.error}" for failure in failures)
        raise ConfigError(f"no metric can be attacked: {reasons or 'none was named'}", "drmetric bench gaming driqa")
    return judges, failures


def _twin(things: Sequence[T]) -> T | None:
    """The first that is there twice."""
    return next((thing for number, thing in enumerate(things) if thing in things[:number]), None)


def make_witnesses(settings: Settings) -> tuple[list[Witness], dict[str, str]]:
    """The witnesses, and {name: why it cannot testify} of the others.

    Raises:
        InputError: a metric that does not exist.
    """
    witnesses, unavailable = [], {}
    for name in dict.fromkeys(settings.witnesses):
        entry = MetricEntry(name)
        reference = {"fr": "truth" if settings.truth is not None else "image", "dr": "degraded"}.get(entry.kind.mode)
        if reference == "degraded" and settings.degraded is None and settings.images is not None:
            unavailable[name] = "it compares with degraded inputs, and there are none"
            continue
        try:
            metric = entry.make().to(settings.device)
        except (WeightsError, MissingDependencyError) as error:
            unavailable[name] = f"{type(error).__name__}: {error.problem}"
            continue
        witnesses.append(Witness(name, metric, reference or "none"))  # type: ignore[arg-type]
    return witnesses, unavailable


@torch.no_grad()
def ask_witnesses(witnesses: Sequence[Witness], image: Tensor, images: Images) -> dict[str, float | str]:
    """What each witness says of an image: its score, or why there is none."""
    said: dict[str, float | str] = {}
    for witness in witnesses:
        try:
            score = float(rate(witness.metric, witness.reference, image, images))
            said[witness.name] = score if math.isfinite(score) else f"the score is {score}"
        except Exception as error:
            said[witness.name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    return said
