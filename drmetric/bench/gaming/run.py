"""How far a metric can be gamed: what its score gains from changes that do not help the image.

`run` attacks images with `drmetric.bench.gaming.attacks` at stated PSNRs, one line of gaming.jsonl a metric, image,
attack and PSNR (so that an interrupted run is continued). Gains are counted in the metric's own spread
(`drmetric.bench.scores.spread`), and witnesses say what they see of the same images. The universal perturbation is
trained on the images of one half of the contents and applied to those of the other, both ways round.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from drmetric.bench.gaming.attacks import (
    MANIPULATIONS,
    Manipulation,
    Score,
    at_psnr,
    iterated,
    psnr,
    signed_step,
    tiled,
    universal_tile,
)
from drmetric.bench.gaming.settings import Settings, ask_witnesses
from drmetric.bench.judges import UNTOUCHED, Entry, Judge, make_witnesses
from drmetric.bench.scores.rows import Failure, Row
from drmetric.bench.scores.run import Progress
from drmetric.bench.scores.spread import DISTORTIONS, Spread, spread_of
from drmetric.bench.scores.store import ScoreFile
from drmetric.bench.scores.subjects import Images, Subject, prepare
from drmetric.errors import ConfigError, NotApplicableError

FGSM, ITERATED, UNIVERSAL = "FGSM", "iterated", "universal"
BY_HAND = tuple(manipulation.name for manipulation in MANIPULATIONS)
BY_GRADIENT = (FGSM, ITERATED, UNIVERSAL)

Load = Callable[[], Images]


@dataclass(frozen=True)
class GamingReport:
    """A finished report.

    Attributes:
        spreads: of each metric, in the order of `judges`.
        rows: of this run, also those kept from an earlier one. The method of a row is its attack; its settings are
            "psnr", "seed" and "steps"; its details the "content", the PSNR "reached", what the "witnesses" saw, and
            "made_from", by which an earlier row holds or does not.
        unavailable: {witness: why it cannot testify}.
        failures: scores that are missing and should not be.
        kept: how many rows were kept.
    """

    settings: Settings
    subjects: list[Subject]
    judges: list[Judge]
    spreads: list[Spread]
    witnesses: list[Judge]
    unavailable: dict[str, str]
    rows: list[Row]
    failures: list[Failure]
    kept: int


def run(
    settings: Settings,
    output: Path,
    progress: Progress = lambda done, total: None,
    warn: Callable[[str], None] = lambda text: None,
) -> GamingReport:
    """Attack all metrics on all images.

    Args:
        settings: see there.
        output: folder of gaming.jsonl; rows that exist and still hold are kept.
        progress: called with the numbers of rounds (images, and trainings of a universal perturbation) done and in
            all.
        warn: called before the first image, of each witness that is absent.

    Raises:
        ConfigError: a reference that is missing, a metric named twice, a PSNR that is not a positive number, or several
            things that are missing.
        WeightsError, MissingDependencyError: a metric whose weights or package are missing.
        PairingError, ImageFileError: folders that are missing, empty or do not pair.
        InputError: a metric or an option that does not exist, a file that is not one of scores.
    """
    if not settings.psnrs or any(not 0 < wanted <= 70 for wanted in settings.psnrs):
        raise ConfigError(f"PSNRs are {list(settings.psnrs)}; wanted some above 0, up to 70 dB", "--psnr 40")
    judges, subjects = prepare(settings.metrics, settings.folders)
    entries = [Entry.parse(name) for name in dict.fromkeys(settings.witnesses)]
    witnesses, unavailable = make_witnesses(entries, settings.folders.references)
    for title, reason in unavailable.items():
        warn(f"witness {title} is absent: {reason}")
    for judge in (*judges, *witnesses):
        judge.metric.to(settings.device)
    spreads = [spread_of(judge, settings.spreads) for judge in judges]
    with ScoreFile.read(output / "gaming.jsonl") as file:
        runner = _Runner(settings, judges, [spread is None for spread in spreads], witnesses, file)
        runner.run(subjects, progress)
    return GamingReport(
        settings=settings,
        subjects=subjects,
        judges=judges,
        spreads=[
            spread or Spread.of_report(runner.unchanged_scores(judge), len(subjects))
            for judge, spread in zip(judges, spreads, strict=True)
        ],
        witnesses=witnesses,
        unavailable=unavailable,
        rows=runner.rows,
        failures=[row.failure for row in runner.rows if row.failed],
        kept=runner.kept,
    )


@dataclass
class _Picture:
    """An attacked image, for all metrics that look at it."""

    image: Tensor
    images: Images
    witnesses: Sequence[Judge]

    @cached_property
    def seen(self) -> dict[str, float | str]:
        return ask_witnesses(self.witnesses, self.image, self.images)

    def judged(self, judge: Judge) -> tuple[float, dict[str, Any]]:
        """The score by a metric, and the details of its row."""
        with torch.no_grad():
            score = float(judge.rate(self.image, self.images))
        if not math.isfinite(score):
            raise ArithmeticError(f"the score is {score}")
        reached = psnr(self.image, self.images["untouched"])
        return score, {"reached": reached if math.isfinite(reached) else None, "witnesses": self.seen}


@dataclass
class _Runner:
    """Makes the rows of a report, or finds them in the file.

    `own_spread` says of each metric whether its spread is that of the images, which are then distorted for it.
    """

    settings: Settings
    judges: Sequence[Judge]
    own_spread: Sequence[bool]
    witnesses: Sequence[Judge]
    file: ScoreFile
    rows: list[Row] = field(default_factory=list)
    kept: int = 0

    def run(self, subjects: Sequence[Subject], progress: Progress) -> None:
        rounds = len(subjects) + len(self.judges)
        judged: list[list[Subject]] = [[] for _ in self.judges]
        for done, subject in enumerate(subjects):
            progress(done, rounds)
            for number in self._attack(subject):
                judged[number].append(subject)
        for done, (judge, usable) in enumerate(zip(self.judges, judged, strict=True), start=len(subjects)):
            progress(done, rounds)
            for wanted in self.settings.psnrs:
                self._attack_universally(judge, usable, wanted)
        progress(rounds, rounds)

    def unchanged_scores(self, judge: Judge) -> list[float]:
        """Of images that were not attacked: untouched, and distorted for the spread."""
        own = [row for row in self.rows if row.metric == judge.label and row.settings["psnr"] is None]
        return [row.score for row in own if row.score is not None]

    def _attack(self, subject: Subject) -> list[int]:
        """All attacks but the universal one; returns the numbers of the metrics that could score the image."""
        load = cache(lambda: subject.read(self.settings.device))
        untouched = cache(lambda: self._picture(load()["untouched"], load()))
        usable = [
            number
            for number, judge in enumerate(self.judges)
            if self._row(judge, subject, UNTOUCHED, None, untouched).score is not None
        ]
        self._distort(subject, load, [number for number in usable if self.own_spread[number]])
        for wanted in self.settings.psnrs:
            self._manipulate(subject, load, [self.judges[number] for number in usable], wanted)
            for number in usable:
                self._follow_gradient(self.judges[number], subject, load, wanted)
        return usable

    def _distort(self, subject: Subject, load: Load, usable: Sequence[int]) -> None:
        def distorted(distortion: Callable[[Tensor, int], Tensor]) -> _Picture:
            return _Picture(distortion(load()["untouched"], self._seed_of(subject)), load(), ())

        for name, distortion in DISTORTIONS.items():
            make = cache(partial(distorted, distortion))
            for number in usable:
                self._row(self.judges[number], subject, name, None, make)

    def _manipulate(self, subject: Subject, load: Load, judges: Sequence[Judge], wanted: float) -> None:
        def manipulated(by: Manipulation) -> _Picture:
            image = load()["untouched"]
            difference = by.difference(image, wanted, self._seed_of(subject))
            return self._picture(at_psnr(image, difference, wanted, by.limit), load())

        for manipulation in MANIPULATIONS:
            make = cache(partial(manipulated, manipulation))
            for judge in judges:
                self._row(judge, subject, manipulation.name, wanted, make)

    def _follow_gradient(self, judge: Judge, subject: Subject, load: Load, wanted: float) -> None:
        def one_step() -> _Picture:
            return self._picture(signed_step(_upward(judge, load()), load()["untouched"], wanted), load())

        def many_steps() -> _Picture:
            attacked = iterated(_upward(judge, load()), load()["untouched"], wanted, self.settings.steps)
            return self._picture(attacked, load())

        self._row(judge, subject, FGSM, wanted, one_step)
        self._row(judge, subject, ITERATED, wanted, many_steps)

    def _attack_universally(self, judge: Judge, subjects: Sequence[Subject], wanted: float) -> None:
        def with_tile(subject: Subject, tile: Callable[[], Tensor]) -> _Picture:
            found, images = tile(), subject.read(self.settings.device)
            difference = tiled(found, images["untouched"].shape[-2:])
            return self._picture(at_psnr(images["untouched"], difference, wanted), images)

        first, second = halves(subjects, self.settings.seed)
        for training, others in ((first, second), (second, first)):
            tile = cache(partial(self._train, judge, training, wanted))
            hashes = "".join(digest for subject in training for digest in subject.sha256.values())
            made_from = {"training": sha256(hashes.encode()).hexdigest()}
            for subject in others:
                self._row(judge, subject, UNIVERSAL, wanted, partial(with_tile, subject, tile), made_from)

    def _train(self, judge: Judge, training: Sequence[Subject], wanted: float) -> Tensor:
        if not training:
            raise NotApplicableError("a universal perturbation needs images of two contents")

        def target(subject: Subject) -> tuple[Score, Tensor]:
            images = subject.read(self.settings.device)
            return _upward(judge, images), images["untouched"]

        targets = [partial(target, subject) for subject in training]
        return universal_tile(targets, wanted, self.settings.steps, self.settings.device)

    def _picture(self, image: Tensor, images: Images) -> _Picture:
        return _Picture(image, images, self.witnesses)

    def _seed_of(self, subject: Subject) -> int:
        return self.settings.seed + crc32(subject.name.encode("utf-8", "surrogateescape"))

    def _row(
        self,
        judge: Judge,
        subject: Subject,
        attack: str,
        wanted: float | None,
        make: Callable[[], _Picture],
        made_from: dict[str, str] | None = None,
    ) -> Row:
        """The row of one score: from the file where it holds, else made and appended."""
        row = Row(
            image=subject.name,
            metric=judge.label,
            signature=judge.signature,
            reference=judge.reference,
            method=attack,
            sha256=subject.sha256,
            settings={"psnr": wanted, "seed": self.settings.seed, "steps": self.settings.steps},
            details={
                "content": subject.content,
                "made_from": {"witnesses": self._witnesses_digest, **(made_from or {})},
            },
        )
        kept = self.file.find(row.key)
        if kept and kept.sha256 == row.sha256 and kept.details.get("made_from") == row.details["made_from"]:
            row = replace(kept, metric=judge.label)
            self.kept += 1
        else:
            row = self._judged(row, judge, subject, make)
            self.file.append(row)
        self.rows.append(row)
        return row

    def _judged(self, row: Row, judge: Judge, subject: Subject, make: Callable[[], _Picture]) -> Row:
        try:
            if row.method in BY_GRADIENT and not judge.metric.differentiable:
                raise NotApplicableError("not differentiable")
            score, details = make().judged(judge)
        except (Exception, SystemExit) as error:
            return row.because(error, subject.paths.values())
        return replace(row, score=score, details={**row.details, **details})

    @cached_property
    def _witnesses_digest(self) -> str:
        described = [f"{witness.reference} {witness.metric.signature}\n" for witness in self.witnesses]
        return sha256("".join(described).encode()).hexdigest()[:16]


def _upward(judge: Judge, images: Images) -> Score:
    sign = 1 if judge.metric.higher_is_better else -1
    return lambda image: sign * judge.rate(image, images)


def halves(subjects: Sequence[Subject], seed: int) -> tuple[list[Subject], list[Subject]]:
    """The images of one half of the contents, drawn by the seed, and those of the other."""
    contents = sorted({subject.content for subject in subjects})
    random.Random(seed).shuffle(contents)
    drawn = set(contents[::2])
    return [each for each in subjects if each.content in drawn], [
        each for each in subjects if each.content not in drawn
    ]
