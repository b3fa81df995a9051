"""Makes the rows of a fidelity report: every probe on every image, by every metric."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import Any

import torch
from torch import Tensor

from drmetric.bench.fidelity.pointing import pointing
from drmetric.bench.fidelity.probes import ENLARGED, Changed, Level, Probe, base_image, seed_of
from drmetric.bench.fidelity.settings import Scene, Settings
from drmetric.bench.judges import UNTOUCHED, Judge
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.run import Progress
from drmetric.bench.scores.spread import DISTORTIONS
from drmetric.bench.scores.store import ScoreFile
from drmetric.bench.scores.subjects import Images
from drmetric.errors import NotApplicableError, PairingError
from drmetric.metrics.base import Metric

Reading = tuple[float, dict[str, Any]]
"""A score and what else its row says."""


class _Reader:
    """Reads scores and maps with one judge; a reference stays set as long as the images that follow share it."""

    def __init__(self, judge: Judge, device: str) -> None:
        self._judge = judge
        self._metric = judge.metric.to(device)
        self._reference: Tensor | None = None
        self.has_maps = type(self._metric)._score_with_map is not Metric._score_with_map

    def score(self, image: Tensor, images: Images) -> float:
        """Of an image (1,3,H,W) beside its others."""
        self._meet(images)
        return _finite(self._metric(image))

    def score_and_map(self, image: Tensor, images: Images) -> tuple[float, Tensor]:
        """The same, and its map (1,1,h,w), turned so that higher is better."""
        self._meet(images)
        score, local = self._metric(image, return_map=True)
        return _finite(score), local if self._judge.metric.higher_is_better else -local

    def _meet(self, images: Images) -> None:
        if self._judge.reference == "none":
            return
        if self._judge.reference not in images:
            raise PairingError(f"no {self._judge.reference} image has the name of this image")
        if self._reference is not images[self._judge.reference]:
            self._reference = images[self._judge.reference]
            self._metric.set_reference(self._reference)

    def forget(self) -> None:
        """Leave the metric as it came: without a reference."""
        self._reference = None
        self._metric.set_reference(None)


def _finite(score: Tensor) -> float:
    value = float(score)
    if not math.isfinite(value):
        raise ArithmeticError(f"the score is {value}")
    return value


class Prober:
    """Makes the rows of a report, or finds them in the file.

    Args:
        settings: see there.
        judges: the metrics.
        witnesses: what sees the changed image against the unchanged one.
        file: of the rows, open.
        own_spread: labels of the metrics whose spread is that of the images, which are then distorted for it.
    """

    def __init__(
        self,
        settings: Settings,
        judges: Sequence[Judge],
        witnesses: Sequence[Judge],
        file: ScoreFile,
        own_spread: Collection[str],
    ) -> None:
        self._settings, self._file, self._own_spread = settings, file, own_spread
        self._judges, self._witnesses = judges, witnesses
        self._readers = {judge.label: _Reader(judge, settings.device) for judge in (*judges, *witnesses)}
        self.rows: list[Row] = []
        self.kept = 0

    @torch.no_grad()
    def run(self, scenes: Sequence[Scene], progress: Progress) -> None:
        """All probes on all images; the other scene of an image is the next one of another content."""
        try:
            for done, scene in enumerate(scenes):
                progress(done, len(scenes))
                others = (*scenes[done + 1 :], *scenes[:done])
                self._probe(
                    _Stage(scene, next((o for o in others if o.content != scene.content), None), self._settings)
                )
            progress(len(scenes), len(scenes))
        finally:
            for reader in self._readers.values():
                reader.forget()

    def undamaged_scores(self, judge: Judge) -> list[float]:
        """Of the images untouched and distorted for the spread."""
        wanted = {UNTOUCHED, *DISTORTIONS}
        own = [row for row in self.rows if row.metric == judge.label and row.method in wanted]
        return [row.score for row in own if row.score is not None]

    def _probe(self, stage: "_Stage") -> None:
        usable = [judge for judge in self._judges if self._base(judge, stage, UNTOUCHED).score is not None]
        for name in DISTORTIONS:
            make = cache(partial(stage.distorted, name))
            for judge in usable:
                if judge.label in self._own_spread:
                    self._row(judge, stage, name, partial(self._read_whole, judge, stage, make))
        if any(probe.base == ENLARGED for probe in self._settings.probes):
            for judge in usable:
                self._base(judge, stage, ENLARGED)
        for probe in self._settings.probes:
            for level in self._settings.levels:
                make_change = cache(partial(stage.changed, probe, level))
                for judge in (*usable, *self._witnesses):
                    self._row(
                        judge, stage, probe.name, partial(self._read, judge, stage, probe, make_change), probe, level
                    )

    def _base(self, judge: Judge, stage: "_Stage", base: str) -> Row:
        return self._row(judge, stage, base, partial(self._read_whole, judge, stage, partial(stage.base, base)))

    def _read_whole(self, judge: Judge, stage: "_Stage", make: Callable[[], Tensor]) -> Reading:
        return self._readers[judge.label].score(make(), stage.images), {}

    def _read(self, judge: Judge, stage: "_Stage", probe: Probe, make: Callable[[], Changed]) -> Reading:
        """The score of a changed image and, of a local change by a metric with maps, where the map points."""
        reader = self._readers[judge.label]
        if judge in self._witnesses:
            if probe.of_input:
                raise NotApplicableError("the image is not changed")
            return reader.score(make().image, {UNTOUCHED: stage.base(probe.base)}), {}
        if probe.of_input and judge.reference != "degraded":
            raise NotApplicableError("it does not meet the input")
        changed = make()
        if not (probe.is_local and reader.has_maps):
            return reader.score(changed.image, changed.images), {}
        score, local = reader.score_and_map(changed.image, changed.images)
        unchanged = stage.map_of(judge.label, lambda: reader.score_and_map(stage.images[UNTOUCHED], stage.images)[1])
        return score, pointing(local, unchanged, changed.weight)

    def _row(
        self,
        judge: Judge,
        stage: "_Stage",
        method: str,
        read: Callable[[], Reading],
        probe: Probe | None = None,
        level: Level | None = None,
    ) -> Row:
        """The row of one score: from the file where it holds, else made and appended."""
        amount = probe.amount(level) if probe is not None and level is not None else None
        row = Row(
            image=stage.scene.name,
            metric=judge.label,
            signature=judge.signature,
            reference=judge.reference,
            method=method,
            sha256=dict(stage.scene.sha256),
            settings={"level": level, "amount": amount, "seed": self._settings.seed},
            details={"content": stage.scene.content, "made_from": stage.made_from if probe else {}},
        )
        kept = self._file.find(row.key)
        if kept and kept.sha256 == row.sha256 and kept.details["made_from"] == row.details["made_from"]:
            row = replace(kept, metric=judge.label)
            self.kept += 1
        else:
            row = self._made(row, stage.scene, read)
            self._file.append(row)
        self.rows.append(row)
        return row

    def _made(self, row: Row, scene: Scene, read: Callable[[], Reading]) -> Row:
        try:
            score, details = read()
        except (Exception, SystemExit) as error:
            return row.because(error, scene.paths.values())
        return replace(row, score=score, details={**row.details, **details})


class _Stage:
    """The images of a scene and of the one that lends it its own, read when they are first needed."""

    def __init__(self, scene: Scene, other: Scene | None, settings: Settings) -> None:
        self.scene, self._other, self._settings = scene, other, settings
        self.base = cache(lambda base: base_image(base, self.images))
        self._maps: dict[str, Tensor] = {}

    @cached_property
    def images(self) -> Images:
        return self.scene.read(self._settings.device)

    @cached_property
    def made_from(self) -> dict[str, str]:
        """The hashes of the other scene's images."""
        return dict(self._other.sha256) if self._other is not None else {}

    def distorted(self, distortion: str) -> Tensor:
        return DISTORTIONS[distortion](self.images[UNTOUCHED], self._seed_of(distortion))

    def changed(self, probe: Probe, level: Level) -> Changed:
        return probe.changed(level, self.images, self._other_images, self._seed_of(probe.name))

    def _seed_of(self, change: str) -> int:
        return seed_of(change, self.scene.name, self._settings.seed)

    def map_of(self, label: str, read: Callable[[], Tensor]) -> Tensor:
        """The map of the untouched image by a metric, read once."""
        if label not in self._maps:
            self._maps[label] = read()
        return self._maps[label]

    def _other_images(self) -> Images:
        if self._other is None:
            raise NotApplicableError("there is no image of another scene")
        return self._other.read(self._settings.device)
