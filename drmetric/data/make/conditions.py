"""KADID-10k's conditions made again on your own photographs, with the mean human opinions of each.

KADID-10k (Lin, Hosu, Saupe, QoMEX 2019) rates 25 distortions at 5 levels; type and level alone explain 89 % of the
variance of its opinions. `build` makes them on any pristine photographs and labels each image with the mean opinion
of its condition, moved within the spread over KADID's contents by where the image stands among those of its
condition in a full-reference feature.

    conditions/images/<content>/   reference.png, <type>-<level>.png
    conditions/manifest.jsonl      all images: condition, feature, label
"""

import csv
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drmetric.config import check_ranges, expand, find_function, read_toml, section
from drmetric.data.make.building import build_contents, read_manifest, write_records
from drmetric.data.make.labels import distance, is_feature, measure
from drmetric.data.make.photographs import (
    Content,
    Source,
    crop,
    list_contents,
    read_sources,
    refuse_small,
    refuse_within,
)
from drmetric.data.splits import seed_of
from drmetric.distortions.kadid.types import KADID10K, distort, stretched
from drmetric.errors import ConfigError
from drmetric.images import rounded_to_8_bit, save_image

BEST, WORST = 5.0, 1.0
"""KADID-10k's scale of opinions."""


@dataclass(frozen=True)
class ConditionsConfig:
    """Re-made conditions as a TOML file describes them; see benchmarks/recipes/corpora.

    Attributes:
        sources: of pristine photographs.
        opinions: CSV file with a line a condition: type_id, type, level, mean, sd_over_contents.
        denoiser: "module:function", also of the working folder, for the distortion "denoise": from noisy (1,3,h,w) to
            (1,3,h,w).
        seed: of every draw.
        crop: side of the pristine crop in pixels.
        conditions_per_content: how many of the 125 each photograph gets, spread over the types.
        validation_share: of the training contents.
        feature: of `drmetric.data.make.labels`, to move labels within a condition; "" for none.
        share_within: how many standard deviations over contents an image moves for each of its feature's.
    """

    sources: tuple[Source, ...]
    opinions: str
    denoiser: str
    seed: int = 0
    crop: int = 384
    conditions_per_content: int = 25
    validation_share: float = 0.06
    feature: str = "gmsd"
    share_within: float = 0.5

    @classmethod
    def read(cls, path: Path) -> "ConditionsConfig":
        """Read and check a TOML file; raises `ConfigError` on unknown or missing entries."""
        table = read_toml(path)
        settings = replace(section(cls, {**table, "sources": []}, str(path)), sources=read_sources(table, path))
        check_ranges(settings, str(path), crop=(16, 16384), validation_share=(0, 1), share_within=(0, 10))
        check_ranges(settings, str(path), conditions_per_content=(1, 125))
        if settings.feature and not is_feature(settings.feature):
            raise ConfigError(f"{path}: {settings.feature!r} is no full-reference feature", 'feature = "gmsd"')
        find_function(settings.denoiser, "denoiser")
        return settings


@dataclass(frozen=True)
class Condition:
    """A type and level of distortion, the mean opinion of it (1..5) and its standard deviation over contents."""

    type: int
    level: int
    mean: float
    deviation: float

    @property
    def name(self) -> str:
        return f"{KADID10K[self.type].name}-{self.level}"


@cache
def read_conditions(path: str) -> tuple[Condition, ...]:
    """The conditions of a table of opinions; ``$VARIABLES`` are expanded; raises `ConfigError` if it is none."""
    file = expand(path)
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            return tuple(map(_condition, csv.DictReader(lines)))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{file} is no table of opinions by condition: {error!r}",
            "a CSV file with type_id, level, mean, sd_over_contents",
        ) from error


def _condition(row: Mapping[str, str]) -> Condition:
    read = Condition(int(row["type_id"]), int(row["level"]), float(row["mean"]), float(row["sd_over_contents"]))
    if read.type not in KADID10K or read.level not in range(1, 6):
        raise ValueError(f"type_id {read.type}, level {read.level}: wanted 1 to {len(KADID10K)}, 1 to 5")
    if not (WORST <= read.mean <= BEST and 0 <= read.deviation < math.inf):
        raise ValueError(f"mean {read.mean}, sd_over_contents {read.deviation}: wanted {WORST} to {BEST}, 0 or more")
    return read


def drawn(conditions: tuple[Condition, ...], count: int, rng: random.Random) -> list[Condition]:
    """`count` of the conditions, from every type as often as from any other, up to the remainder."""
    levels: dict[int, list[Condition]] = {}
    for condition in conditions:
        levels.setdefault(condition.type, []).append(condition)
    for each in levels.values():
        rng.shuffle(each)
    chosen: list[Condition] = []
    while len(chosen) < min(count, len(conditions)):
        types = [each for each in levels.values() if each]
        chosen += [each.pop() for each in rng.sample(types, min(len(types), count - len(chosen)))]
    return sorted(chosen, key=lambda condition: (condition.type, condition.level))


def _build_content(config: ConditionsConfig, content: Content, output: Path) -> int:
    torch.set_num_threads(1)
    rng = random.Random(seed_of(config.seed, content.name))
    photograph = crop(content, config.crop, rng)
    records: list[dict[str, Any]] = []
    if photograph is not None:
        reference = rounded_to_8_bit(stretched(photograph))
        folder = Path("images") / content.name
        (output / folder).mkdir(parents=True, exist_ok=True)
        save_image(reference[0], output / folder / "reference.png")
        denoiser: Callable[[Tensor], Tensor] = find_function(config.denoiser, "denoiser")
        for condition in drawn(read_conditions(config.opinions), config.conditions_per_content, rng):
            seed = seed_of(config.seed, content.name, condition.name)
            image = rounded_to_8_bit(
                distort(reference, condition.type, condition.level, seed, stretch=True, denoiser=denoiser)
            )
            file = folder / f"{condition.name}.png"
            save_image(image[0], output / file)
            record = {"content": content.name, "split": content.split, "source": content.source, "seed": seed}
            record |= {"image": file.as_posix(), "reference": (folder / "reference.png").as_posix()}
            record |= {"type": condition.type, "level": condition.level, "condition": condition.name}
            if config.feature:
                record["feature"] = round(float(measure(config.feature, image, reference)[0]), 6)
            records.append(record)
    write_records(output / "records" / f"{content.name}.jsonl", records)
    return len(records)


def build(config: Path, output: Path, workers: int = 1) -> Path:
    """Make, or continue to make, the conditions that the TOML file `config` describes, and label them.

    Args:
        config: see `ConditionsConfig`.
        output: folder of the images; contents that already have their record file are kept.
        workers: processes.

    Returns:
        The path of the manifest.

    Raises:
        ConfigError: a bad configuration, photographs too small for it, or an output folder made with another one.
        DrmetricError: some photographs failed; all others are done, and the message names them.
    """
    settings = ConditionsConfig.read(config)
    conditions = read_conditions(settings.opinions)
    refuse_within(settings.sources, output)
    contents = list_contents(settings.sources, settings.seed, settings.validation_share)
    refuse_small(contents, settings.crop)
    manifest = build_contents(settings, contents, output, _build_content, workers)
    records = read_manifest(manifest, "conditions")
    by_condition = {condition.name: condition for condition in conditions}
    places = _places(records, settings.feature)
    for record, place in zip(records, places, strict=True):
        condition = by_condition[record["condition"]]
        opinion = condition.mean + settings.share_within * condition.deviation * place
        record["label"] = round((min(max(opinion, WORST), BEST) - WORST) / (BEST - WORST), 6)
    write_records(manifest, records)
    return manifest


def _places(records: list[dict[str, Any]], feature: str) -> list[float]:
    """How many standard deviations each image is better than the others of its condition, at most 2 either way."""
    if not feature:
        return [0.0] * len(records)
    scores = (-distance(feature, torch.tensor([record["feature"] for record in records]))).tolist()
    values: dict[str, list[float]] = {}
    for record, score in zip(records, scores, strict=True):
        values.setdefault(record["condition"], []).append(score)
    moments = {name: (float(np.mean(each)), float(np.std(each))) for name, each in values.items()}
    places = []
    for record, score in zip(records, scores, strict=True):
        mean, deviation = moments[record["condition"]]
        place = (score - mean) / deviation if deviation else 0.0
        places.append(min(max(place, -2.0), 2.0))
    return places
