"""Corpora of (degraded, restored, pristine) triplets, made from folders of pristine photographs.

`build` reads a TOML file, cuts one crop out of every photograph, degrades it several times and restores each
degraded image several ways. Everything is drawn from the seed and the content's name, so a corpus can be made
again, in any order and by any number of workers; a content that exists is not made twice.

    corpus/contents.csv       content, source, split, file: the split, made once, by content
    corpus/images/<content>/  pristine.png, d0.png ..., d0_r0.png ...
    corpus/records/           one JSONL file a content: how each image was made
    corpus/manifest.jsonl     all records; `drmetric.data.make.labels` adds the labels
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drmetric.config import check_ranges, find_function, read_toml, section
from drmetric.data.make.building import build_contents, write_records
from drmetric.data.make.labels import features_file
from drmetric.data.make.photographs import (
    Content,
    Source,
    crop,
    list_contents,
    read_sources,
    refuse_small,
    refuse_within,
)
from drmetric.data.make.restorers import INTERPOLATIONS, RESTORERS, SPOILERS, enlarge, picture_of, tensor_of
from drmetric.data.splits import SPLITS, Split, seed_of
from drmetric.distortions.degrade import FAMILIES, Step, check_families, degrade, sample_degradation
from drmetric.distortions.unfaithful import UNFAITHFUL, make_unfaithful, needs_other
from drmetric.images import resize, rounded_to_8_bit, save_image


@dataclass(frozen=True)
class CorpusConfig:
    """A corpus as its TOML file describes it; see benchmarks/recipes/corpora.

    Attributes:
        sources: of pristine photographs.
        seed: of every draw.
        crop: side of the pristine crop in pixels.
        degraded_per_content: degraded inputs of each crop.
        restored_per_degraded: interpolated and classical restorations of each degraded input.
        networks: "module:function", also of the working folder; the function takes the steps of a degradation and
            returns the networks fit to undo it, by name, each from (1,3,h,w) to (1,3,H,W).
        networks_per_degraded: restorations of each degraded input by networks, as far as there are so many.
        spoiled_per_degraded: restorations made worse, in training contents only.
        unfaithful_per_degraded: restorations made into ones of something else, in contents of every split; see
            `drmetric.distortions.unfaithful`.
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
    unfaithful_per_degraded: int = 0
    validation_share: float = 0.06
    families: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FAMILIES, 1.0))

    @classmethod
    def read(cls, path: Path) -> "CorpusConfig":
        """Read and check a TOML file; raises `ConfigError` on unknown or missing entries."""
        table = read_toml(path)
        settings = replace(section(cls, {**table, "sources": []}, str(path)), sources=read_sources(table, path))
        counts = ("degraded_per_content", "restored_per_degraded")
        more = ("networks_per_degraded", "spoiled_per_degraded", "unfaithful_per_degraded")
        check_ranges(settings, str(path), crop=(16, 16384), validation_share=(0, 1))
        check_ranges(settings, str(path), **dict.fromkeys(counts, (1, 1000)), **dict.fromkeys(more, (0, 1000)))
        check_families(settings.families, str(path))
        if settings.networks:
            find_function(settings.networks, "networks")
        return settings


def _restorations(
    degraded: Tensor, pristine: Tensor, count: int, oracles: bool, rng: random.Random
) -> Iterable[tuple[dict[str, Any], Tensor]]:
    """Yield `count` restorations: plain interpolation first, then classical restorers and, for training, mixtures
    with the pristine image, which stand for restorers better than any here."""
    size = (pristine.shape[-2], pristine.shape[-1])
    enlarged = enlarge(picture_of(degraded), size)
    if degraded.shape == pristine.shape:
        yield {"name": "unrestored"}, degraded
    else:
        method = rng.choice(list(INTERPOLATIONS))
        yield {"name": method}, tensor_of(enlarge(picture_of(degraded), size, method))
    kinds = [*RESTORERS, *(["pristine", "pristine_blend", "pristine_blend"] if oracles else [])]
    chosen = rng.sample(kinds, k=min(count - 1, len(kinds)))
    for kind in chosen:
        if kind == "pristine":
            yield {"name": kind}, pristine
            continue
        base = kind if kind in RESTORERS else rng.choice(list(RESTORERS))
        parameters, picture = RESTORERS[base](enlarged, rng)
        restored = tensor_of(picture)
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
    candidates: Mapping[str, Callable[[Tensor], Tensor]] = find_function(config.networks, "networks")(steps)
    for name in rng.sample(sorted(candidates), k=min(config.networks_per_degraded, len(candidates))):
        with torch.no_grad():
            yield {"name": name}, resize(candidates[name](degraded), size).clamp(0, 1)


def spoiled(restorations: list[Tensor], count: int, seed: int) -> list[tuple[dict[str, Any], Tensor]]:
    """`count` of the restorations made worse, each by a spoiler drawn with a random state of its own."""
    rng = random.Random(seed_of(seed, "spoiled"))
    made = []
    for _ in range(count):
        base, kind = rng.randrange(len(restorations)), rng.choice(list(SPOILERS))
        image = rounded_to_8_bit(restorations[base])
        parameters, picture = SPOILERS[kind](picture_of(image), rng)
        made.append(({"name": kind, "of": base, **parameters}, tensor_of(picture)))
    return made


def unfaithful(
    restorations: list[Tensor], other: Tensor | None, count: int, scale: int, seed: int
) -> list[tuple[dict[str, Any], Tensor]]:
    """`count` of the restorations made into ones of something else, each by a change and a strength drawn anew.

    Args:
        restorations: (1,3,H,W) each.
        other: (1,3,H,W) of another photograph; without it, the changes that need one are not drawn.
        count: how many.
        scale: by which the input was reduced.
        seed: of every draw.
    """
    rng = random.Random(seed_of(seed, "unfaithful"))
    names = [name for name in UNFAITHFUL if other is not None or not needs_other(name)]
    made = []
    for _ in range(count):
        base, name, strength = rng.randrange(len(restorations)), rng.choice(names), round(rng.uniform(0.1, 1), 3)
        generator = torch.Generator().manual_seed(rng.getrandbits(32))
        options = {"scale": max(2, scale)} if name == "other_detail" else {}
        image = rounded_to_8_bit(restorations[base])
        changed, _ = make_unfaithful(image, name, strength, generator, other, **options)
        made.append(({"name": "unfaithful", "of": base, "change": {"name": name, "strength": strength}}, changed))
    return made


def build_content(config: CorpusConfig, content: Content, output: Path) -> int:
    """Make all images and records of one content; returns the number of restored images (0: unusable crop)."""
    torch.set_num_threads(1)
    rng = random.Random(seed_of(config.seed, content.name))
    pristine = crop(content, config.crop, rng)
    records: list[dict[str, Any]] = []
    if pristine is not None:
        folder = output / "images" / content.name
        folder.mkdir(parents=True, exist_ok=True)
        save_image(pristine[0], folder / "pristine.png")
        families = list(config.families)
        other = _crop_of_another(config, content) if config.unfaithful_per_degraded else None
        for d in range(config.degraded_per_content):
            family = rng.choices(families, weights=list(config.families.values()))[0]
            steps = sample_degradation(family, rng)
            seed = seed_of(config.seed, content.name, d)
            degraded = rounded_to_8_bit(degrade(pristine, steps, seed))
            save_image(degraded[0], folder / f"d{d}.png")
            training = content.split == "train"
            size = (pristine.shape[-2], pristine.shape[-1])
            restorations = [
                *_restorations(degraded, pristine, config.restored_per_degraded, training, rng),
                *_network_restorations(config, degraded, size, steps, rng),
            ]
            faithful = [image for _, image in restorations]
            if training:
                restorations += spoiled(faithful, config.spoiled_per_degraded, seed)
            if config.unfaithful_per_degraded:
                scale = size[0] // degraded.shape[-2]
                restorations += unfaithful(faithful, other, config.unfaithful_per_degraded, scale, seed)
            for r, (restorer, restored) in enumerate(restorations):
                save_image(restored[0], folder / f"d{d}_r{r}.png")
                records.append(_record(content, d, r, family, steps, seed, restorer))
    features_file(output, content.name).unlink(missing_ok=True)  # of images that were here before
    write_records(output / "records" / f"{content.name}.jsonl", records)
    return len(records)


def _crop_of_another(config: CorpusConfig, content: Content) -> Tensor | None:
    if content.other is None:
        return None
    return crop(
        replace(content, file=content.other), config.crop, random.Random(seed_of(config.seed, content.name, "other"))
    )


def _record(
    content: Content, d: int, r: int, family: str, steps: list[Step], seed: int, restorer: dict[str, Any]
) -> dict[str, Any]:
    folder = f"images/{content.name}"
    change = restorer.pop("change", None)
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
    } | ({"unfaithful": change} if change else {})


def build(config: Path, output: Path, workers: int = 1, splits: Sequence[Split] = SPLITS) -> Path:
    """Build, or continue to build, the corpus that the TOML file `config` describes.

    Args:
        config: see `CorpusConfig`.
        output: the corpus folder; contents that already have their record file are kept.
        workers: processes.
        splits: whose contents are built now; what is there of others stays.

    Returns:
        The path of the manifest.

    Raises:
        ConfigError: a bad configuration, photographs too small for it, or an output folder made with another one.
        DrmetricError: some photographs failed; all others are done, and the message names them.
    """
    settings = CorpusConfig.read(config)
    refuse_within(settings.sources, output)
    contents = list_contents(settings.sources, settings.seed, settings.validation_share)
    refuse_small(contents, settings.crop)
    return build_contents(settings, contents, output, build_content, workers, splits)
