"""Corpora of (degraded, restored, pristine) triplets, made from folders of pristine photographs.

`build` reads a TOML file, cuts one crop out of every photograph, degrades it several times and restores each
degraded image several ways. Everything is drawn from the seed and the content's name, so a corpus can be made
again, in any order and by any number of workers; a content that is already there is not made twice.

    corpus/contents.csv       content, source, split, file: the split, made once, by content
    corpus/images/<content>/  pristine.png, d0.png ..., d0_r0.png ...
    corpus/records/           one JSONL file a content: how each image was made
    corpus/manifest.jsonl     all records; `drmetric.data.labels` adds the labels
"""

import csv
import json
import logging
import os
import random
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from drmetric.config import read_toml, section
from drmetric.data.restorers import INTERPOLATIONS, RESTORERS, SPOILERS, Picture, enlarge
from drmetric.distortions.degrade import FAMILIES, Step, degrade, sample_degradation
from drmetric.errors import ConfigError, DrmetricError
from drmetric.images import IMAGE_SUFFIXES, read_image, resize, save_image

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Pristine photographs of one origin.

    Attributes:
        name: short name, part of the content's name.
        folder: where the photographs are; ``$VARIABLES`` are expanded.
        split: "train", "validation" or "test"; a share of "train" goes to validation.
        pattern: glob below the folder.
        exclude: file names left out.
        shrink_to: the short side is brought down to this many pixels first (JPEG sources: their blocks and
            noise shrink with them); 0 keeps the native size.
    """

    name: str
    folder: str
    split: Literal["train", "validation", "test"]
    pattern: str = "**/*"
    exclude: tuple[str, ...] = ()
    shrink_to: int = 0

    @property
    def root(self) -> Path:
        return Path(os.path.expandvars(self.folder)).expanduser()

    def files(self) -> list[Path]:
        found = sorted(
            p for p in self.root.glob(self.pattern) if p.suffix.lower() in IMAGE_SUFFIXES and p.name not in self.exclude
        )
        if not found:
            raise ConfigError(
                f"source {self.name!r}: no image matches {self.pattern!r} in {self.root}",
                f'[[sources]] name = "{self.name}"  # set folder = "..." to where the photographs are',
            )
        return found


@dataclass(frozen=True)
class CorpusConfig:
    """A corpus as its TOML file describes it; see benchmarks/recipes.

    Attributes:
        sources: of pristine photographs.
        seed: of every draw.
        crop: side of the pristine crop in pixels.
        degraded_per_content: degraded inputs of each crop.
        restored_per_degraded: interpolated and classical restorations of each degraded input.
        networks: "module:function"; the function takes the steps of a degradation and returns the networks fit to
            undo it, by name, each from (1,3,h,w) to (1,3,H,W). Such a module of the working folder is found with
            ``PYTHONPATH=.``.
        networks_per_degraded: restorations of each degraded input by networks, as far as there are so many.
        spoiled_per_degraded: restorations made worse, in training contents only.
        validation_share: of the training contents.
        families: weights of the degradation families.
    """

    sources: tuple[Source, ...]
    seed: int = 0
    crop: int = 256
    degraded_per_content: int = 2
    restored_per_degraded: int = 7
    networks: str = ""
    networks_per_degraded: int = 0
    spoiled_per_degraded: int = 0
    validation_share: float = 0.06
    families: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FAMILIES, 1.0))

    @classmethod
    def read(cls, path: Path) -> "CorpusConfig":
        """Read and check a TOML file; raises `ConfigError` on unknown or missing entries."""
        table = read_toml(path)
        sources = tuple(section(Source, entry, f"{path}, [[sources]]") for entry in table.get("sources", []))
        settings = replace(section(cls, {**table, "sources": []}, str(path)), sources=sources)
        if not sources:
            raise ConfigError(f"{path} names no source of photographs", '[[sources]] name, folder, split = "train"')
        for family in settings.families:
            if family not in FAMILIES:
                raise ConfigError(f"{path}: unknown family {family!r}", f"one of: {', '.join(FAMILIES)}")
        if settings.networks:
            find_networks(settings.networks)
        return settings


Networks = Callable[[Sequence[Step]], Mapping[str, Callable[[Tensor], Tensor]]]


def find_networks(entry: str) -> Networks:
    """The function that `CorpusConfig.networks` names; raises `ConfigError` where there is none."""
    module, _, name = entry.partition(":")
    try:
        found: Networks = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"networks = {entry!r} cannot be found: {error}",
            'PYTHONPATH=. drmetric corpus ...  # with networks = "module:function"',
        ) from error
    return found


@dataclass(frozen=True)
class Content:
    """One photograph of the corpus."""

    name: str
    source: str
    split: str
    file: Path
    shrink_to: int


def seed_of(*parts: object) -> int:
    """A stable 32-bit seed from any values (the same in every process and on every machine)."""
    return zlib.crc32("/".join(map(str, parts)).encode())


def list_contents(config: CorpusConfig) -> list[Content]:
    """All contents with their split; the validation share is drawn by hash of the file name, so that adding
    sources moves nobody and two views of one photograph stay together."""
    contents = []
    for source in config.sources:
        for file in source.files():
            parts = file.relative_to(source.root).with_suffix("").parts
            name = "-".join([source.name, *parts]).replace(" ", "_")
            split = source.split
            if split == "train" and seed_of(config.seed, "split", file.stem) / 2**32 < config.validation_share:
                split = "validation"
            contents.append(Content(name, source.name, split, file, source.shrink_to))
    return contents


def _crop(config: CorpusConfig, content: Content, rng: random.Random) -> Tensor | None:
    """One (1,3,crop,crop) crop of a photograph, or None where it is too small or almost flat."""
    image = read_image(content.file, alpha="white")[None]
    height, width = image.shape[-2:]
    if content.shrink_to and min(height, width) > content.shrink_to:
        scale = content.shrink_to / min(height, width)
        image = resize(image, (round(height * scale), round(width * scale)))
        height, width = image.shape[-2:]
    if min(height, width) < config.crop:
        return None
    for _ in range(8):
        top, left = rng.randint(0, height - config.crop), rng.randint(0, width - config.crop)
        crop = image[..., top : top + config.crop, left : left + config.crop]
        if crop.std() > 0.06:
            return (crop * 255).round() / 255
    return None


def _picture(image: Tensor) -> Picture:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def _tensor(picture: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32)).permute(2, 0, 1)[None].clamp(0, 1)


def _restorations(
    degraded: Tensor, pristine: Tensor, count: int, oracles: bool, rng: random.Random
) -> Iterable[tuple[dict[str, Any], Tensor]]:
    """Yield `count` restorations: plain interpolation first, then classical restorers and, for training, mixtures
    with the pristine image, which stand for restorers better than any here."""
    size = (pristine.shape[-2], pristine.shape[-1])
    enlarged = enlarge(_picture(degraded), size)
    if degraded.shape == pristine.shape:
        yield {"name": "unrestored"}, degraded
    else:
        method = rng.choice(list(INTERPOLATIONS))
        yield {"name": method}, _tensor(enlarge(_picture(degraded), size, method))
    kinds = [*RESTORERS, *(["pristine", "pristine_blend", "pristine_blend"] if oracles else [])]
    chosen = rng.sample(kinds, k=min(count - 1, len(kinds)))
    for kind in chosen:
        if kind == "pristine":
            yield {"name": kind}, pristine
            continue
        base = kind if kind in RESTORERS else rng.choice(list(RESTORERS))
        parameters, picture = RESTORERS[base](enlarged, rng)
        restored = _tensor(picture)
        if kind == "pristine_blend":
            share = round(rng.uniform(0.2, 0.95), 3)
            restored = share * pristine + (1 - share) * restored
            parameters = {"share": share, "of": base, **parameters}
        yield {"name": kind, **parameters}, restored


def _network_restorations(
    config: CorpusConfig, degraded: Tensor, size: tuple[int, int], steps: Sequence[Step], rng: random.Random
) -> Iterable[tuple[dict[str, Any], Tensor]]:
    if not config.networks:
        return
    candidates = find_networks(config.networks)(steps)
    for name in rng.sample(sorted(candidates), k=min(config.networks_per_degraded, len(candidates))):
        with torch.no_grad():
            yield {"name": name}, resize(candidates[name](degraded), size).clamp(0, 1)


def spoiled(restorations: list[Tensor], count: int, seed: int) -> list[tuple[dict[str, Any], Tensor]]:
    """`count` of the restorations made worse, each by a spoiler drawn with a random state of its own."""
    rng = random.Random(seed_of(seed, "spoiled"))
    made = []
    for _ in range(count):
        base, kind = rng.randrange(len(restorations)), rng.choice(list(SPOILERS))
        image = (restorations[base] * 255).round() / 255
        parameters, picture = SPOILERS[kind](_picture(image), rng)
        made.append(({"name": kind, "of": base, **parameters}, _tensor(picture)))
    return made


def build_content(config: CorpusConfig, content: Content, output: Path) -> int:
    """Make all images and records of one content; returns the number of restored images (0: unusable crop)."""
    torch.set_num_threads(1)
    rng = random.Random(seed_of(config.seed, content.name))
    pristine = _crop(config, content, rng)
    records: list[dict[str, Any]] = []
    if pristine is not None:
        folder = output / "images" / content.name
        folder.mkdir(parents=True, exist_ok=True)
        save_image(pristine[0], folder / "pristine.png")
        families = list(config.families)
        for d in range(config.degraded_per_content):
            family = rng.choices(families, weights=list(config.families.values()))[0]
            steps = sample_degradation(family, rng)
            seed = seed_of(config.seed, content.name, d)
            degraded = (degrade(pristine, steps, seed) * 255).round() / 255
            save_image(degraded[0], folder / f"d{d}.png")
            training = content.split == "train"
            size = (pristine.shape[-2], pristine.shape[-1])
            restorations = [
                *_restorations(degraded, pristine, config.restored_per_degraded, training, rng),
                *_network_restorations(config, degraded, size, steps, rng),
            ]
            if training:
                restorations += spoiled([image for _, image in restorations], config.spoiled_per_degraded, seed)
            for r, (restorer, restored) in enumerate(restorations):
                save_image(restored[0], folder / f"d{d}_r{r}.png")
                records.append(_record(content, d, r, family, steps, seed, restorer))
    write_records(output / "records" / f"{content.name}.jsonl", records)
    return len(records)


def _record(
    content: Content, d: int, r: int, family: str, steps: list[Step], seed: int, restorer: dict[str, Any]
) -> dict[str, Any]:
    folder = f"images/{content.name}"
    return {
        "id": f"{content.name}/d{d}_r{r}",
        "content": content.name,
        "split": content.split,
        "source": content.source,
        "pristine": f"{folder}/pristine.png",
        "degraded": f"{folder}/d{d}.png",
        "restored": f"{folder}/d{d}_r{r}.png",
        "degradation": {"family": family, "steps": steps, "seed": seed},
        "restorer": restorer,
    }


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write JSONL whole or not at all: a killed build leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    partial.replace(path)


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Records of a corpus' manifest.jsonl, as dictionaries."""
    if not path.is_file():
        raise ConfigError(f"no manifest at {path}", f"drmetric corpus CONFIG.toml --output {path.parent}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def build(config: Path, output: Path, workers: int = 1) -> Path:
    """Build, or go on building, the corpus that the TOML file `config` describes.

    Args:
        config: see `CorpusConfig`.
        output: the corpus folder; contents that already have their record file are kept.
        workers: processes.

    Returns:
        The path of the manifest.

    Raises:
        ConfigError: a bad configuration, or an output folder made with another one.
        DrmetricError: some photographs failed; all others are done, and the message names them.
    """
    settings = CorpusConfig.read(config)
    contents = list_contents(settings)
    _pin_settings(settings, output)
    done = {p.stem for p in (output / "records").glob("*.jsonl")}
    failed = {}
    with ProcessPoolExecutor(workers) as pool:
        jobs = {pool.submit(build_content, settings, c, output): c for c in contents if c.name not in done}
        for count, job in enumerate(as_completed(jobs), start=1):
            if error := job.exception():
                failed[jobs[job].name] = error
            if count % 50 == 0 or count == len(jobs):
                log.info("%d of %d contents built", count, len(jobs))
    records = [
        record
        for c in contents
        if c.name not in failed
        for record in read_manifest(output / "records" / f"{c.name}.jsonl")
    ]
    write_records(output / "manifest.jsonl", records)
    _write_contents(contents, {r["content"] for r in records}, output / "contents.csv")
    if failed:
        listing = "; ".join(f"{name}: {error}" for name, error in list(failed.items())[:5])
        raise DrmetricError(f"{len(failed)} of {len(contents)} contents failed: {listing}", "run it again")
    return output / "manifest.jsonl"


def _pin_settings(settings: CorpusConfig, output: Path) -> None:
    """Refuse to mix two configurations in one folder."""
    output.mkdir(parents=True, exist_ok=True)
    pinned = output / "corpus.json"
    text = json.dumps(asdict(settings), indent=1)
    if pinned.exists() and pinned.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{output} holds a corpus made with other settings ({pinned})", "choose another --output folder"
        )
    pinned.write_text(text, encoding="utf-8")


def _write_contents(contents: list[Content], used: set[str], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["content", "source", "split", "file"])
        writer.writerows([c.name, c.source, c.split, c.file.name] for c in contents if c.name in used)
