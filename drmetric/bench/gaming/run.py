"""How far a metric can be gamed: what its score gains from changes that do not help the image.

`run` attacks images with `drmetric.bench.gaming.attacks` at stated PSNRs, one line of gaming.jsonl a metric, image,
attack and PSNR (so a killed run goes on where it stopped). Gains are counted in the metric's own spread
(`drmetric.bench.gaming.spread`), and witnesses say what they see of the same images. The universal perturbation is
trained on the images of one half of the contents and applied to those of the other, both ways round.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from hashlib import sha256
from pathlib import Path
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
from drmetric.bench.gaming.spread import DISTORTIONS, OWN, Spread, spread_in
from drmetric.bench.gaming.subjects import (
    Images,
    Settings,
    Subject,
    Witness,
    ask_witnesses,
    make_judges,
    make_witnesses,
    rate,
    read_subjects,
)
from drmetric.bench.methods.files import Failure
from drmetric.bench.methods.scores import Judge, Progress
from drmetric.bench.scores.records import Failed
from drmetric.bench.scores.score_file import Row, ScoreFile
from drmetric.distortions.kadid.types import distort
from drmetric.errors import ConfigError, NotApplicableError

KEY = ("signature", "reference", "image", "attack", "psnr", "seed", "steps")
"""What tells rows of gaming.jsonl apart; a row holds as long as its "inputs" are the same."""
UNTOUCHED, FGSM, ITERATED, UNIVERSAL = "untouched", "FGSM", "iterated", "universal"
BY_HAND = tuple(manipulation.name for manipulation in MANIPULATIONS)
BY_GRADIENT = (FGSM, ITERATED, UNIVERSAL)

Load = Callable[[], Images]


@dataclass(frozen=True)
class GamingReport:
    """A finished report.

    Attributes:
        spreads: of each metric, in the order of `judges`.
        rows: of this run, also those kept from an earlier one; see `KEY`.
        unavailable: {witness: why it cannot testify}.
        failures: scores that are missing and should not be.
        kept: how many rows were kept.
    """

    settings: Settings
    subjects: list[Subject]
    judges: list[Judge]
    spreads: list[Spread]
    witnesses: list[Witness]
    unavailable: dict[str, str]
    rows: list[Row]
    failures: list[Failure]
    kept: int


def run(settings: Settings, output: Path, progress: Progress = lambda done, total: None) -> GamingReport:
    """Attack all metrics on all images.

    Args:
        settings: see there.
        output: folder of gaming.jsonl; rows that are there already and still hold are kept.
        progress: called with the numbers of rounds (images, and trainings of a universal perturbation) done and in
            all.

    Raises:
        ConfigError: a reference that is missing, a metric named twice, a PSNR that is none.
        PairingError, ImageFileError: folders that are missing, empty or do not pair.
        InputError: a metric or an option that does not exist, a spread file that is none.
    """
    if not settings.psnrs or any(not 0 < wanted <= 70 for wanted in settings.psnrs):
        raise ConfigError(f"PSNRs are {list(settings.psnrs)}; wanted some above 0, up to 70 dB", "--psnr 40")
    subjects = read_subjects(settings)
    judges, failures = make_judges(settings)
    witnesses, unavailable = make_witnesses(settings)
    spreads = [_spread_of(judge, settings.spreads) for judge in judges]
    output.mkdir(parents=True, exist_ok=True)
    with ScoreFile(output / "gaming.jsonl", KEY) as file:
        runner = _Runner(settings, judges, [spread is None for spread in spreads], witnesses, file)
        runner.run(subjects, progress)
    failures += [Failure(r["metric"], r["attack"], r["image"], r["error"]) for r in runner.rows if "error" in r]
    return GamingReport(
        settings=settings,
        subjects=subjects,
        judges=judges,
        spreads=[
            spread or _own_spread(judge, runner.rows, len(subjects))
            for judge, spread in zip(judges, spreads, strict=True)
        ],
        witnesses=witnesses,
        unavailable=unavailable,
        rows=runner.rows,
        failures=failures,
        kept=runner.kept,
    )


def _spread_of(judge: Judge, files: Sequence[Path]) -> Spread | None:
    """That of the first file that has one."""
    return next((spread for file in files if (spread := spread_in(file, judge)) is not None), None)


def _own_spread(judge: Judge, rows: Sequence[Row], n_images: int) -> Spread:
    scores = [
        row["score"]
        for row in rows
        if row["psnr"] is None and row["metric"] == judge.label and row["score"] is not None
    ]
    return Spread.of(f"the {n_images} images of the report, {OWN}", scores)


@dataclass
class _Picture:
    """An attacked image, for all metrics that look at it."""

    image: Tensor
    images: Images
    witnesses: Sequence[Witness]

    @cached_property
    def seen(self) -> dict[str, float | str]:
        return ask_witnesses(self.witnesses, self.image, self.images)

    def judged(self, judge: Judge) -> Row:
        with torch.no_grad():
            score = float(rate(judge.metric, judge.reference, self.image, self.images))
        if not math.isfinite(score):
            raise ArithmeticError(f"the score is {score}")
        reached = psnr(self.image, self.images["image"])
        return {"score": score, "reached": reached if math.isfinite(reached) else None, "witnesses": self.seen}


@dataclass
class _Runner:
    """Makes the rows of a report, or finds them in the file.

    `own_spread` says of each metric whether its spread is that of the images, which are then distorted for it.
    """

    settings: Settings
    judges: Sequence[Judge]
    own_spread: Sequence[bool]
    witnesses: Sequence[Witness]
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

    def _attack(self, subject: Subject) -> list[int]:
        """All attacks but the universal one; returns the numbers of the metrics that could score the image."""
        load = cache(lambda: subject.read(self.settings.device))
        untouched = cache(lambda: self._picture(load()["image"], load()))
        usable = [
            number
            for number, judge in enumerate(self.judges)
            if self._row(judge, subject, UNTOUCHED, None, untouched)["score"] is not None
        ]
        self._distort(subject, load, [number for number in usable if self.own_spread[number]])
        for wanted in self.settings.psnrs:
            self._manipulate(subject, load, [self.judges[number] for number in usable], wanted)
            for number in usable:
                self._follow_gradient(self.judges[number], subject, load, wanted)
        return usable

    def _distort(self, subject: Subject, load: Load, usable: Sequence[int]) -> None:
        def distorted(kind: str, level: int) -> _Picture:
            image = distort(load()["image"], kind, level, self._seed_of(subject), stretch=False)
            return _Picture(image, load(), ())

        for kind, level in DISTORTIONS:
            make = cache(partial(distorted, kind, level))
            for number in usable:
                self._row(self.judges[number], subject, f"KADID-10k {kind} {level}", None, make)

    def _manipulate(self, subject: Subject, load: Load, judges: Sequence[Judge], wanted: float) -> None:
        def manipulated(by: Manipulation) -> _Picture:
            image = load()["image"]
            difference = by.difference(image, wanted, self._seed_of(subject))
            return self._picture(at_psnr(image, difference, wanted, by.limit), load())

        for manipulation in MANIPULATIONS:
            make = cache(partial(manipulated, manipulation))
            for judge in judges:
                self._row(judge, subject, manipulation.name, wanted, make)

    def _follow_gradient(self, judge: Judge, subject: Subject, load: Load, wanted: float) -> None:
        def one_step() -> _Picture:
            return self._picture(signed_step(_upward(judge, load()), load()["image"], wanted), load())

        def many_steps() -> _Picture:
            attacked = iterated(_upward(judge, load()), load()["image"], wanted, self.settings.steps)
            return self._picture(attacked, load())

        self._row(judge, subject, FGSM, wanted, one_step)
        self._row(judge, subject, ITERATED, wanted, many_steps)

    def _attack_universally(self, judge: Judge, subjects: Sequence[Subject], wanted: float) -> None:
        def with_tile(subject: Subject, tile: Callable[[], Tensor]) -> _Picture:
            found, images = tile(), subject.read(self.settings.device)
            difference = tiled(found, images["image"].shape[-2:])
            return self._picture(at_psnr(images["image"], difference, wanted), images)

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
            return _upward(judge, images), images["image"]

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
        inputs: dict[str, str] | None = None,
    ) -> Row:
        """The row of one score: from the file where it holds, else made and appended."""
        row: Row = {
            "metric": judge.label,
            "signature": judge.metric.signature,
            "reference": judge.reference,
            "image": subject.name,
            "content": subject.content,
            "attack": attack,
            "psnr": wanted,
            "seed": self.settings.seed,
            "steps": self.settings.steps,
            "inputs": {**subject.sha256, "witnesses": self._witnesses_digest, **(inputs or {})},
        }
        kept = self.file.find(row)
        if kept is not None and kept["inputs"] == row["inputs"]:
            row = {**kept, "metric": judge.label}
            self.kept += 1
        else:
            row |= self._judged(judge, subject, make, attack in BY_GRADIENT)
            self.file.append(row)
        self.rows.append(row)
        return row

    def _judged(self, judge: Judge, subject: Subject, make: Callable[[], _Picture], by_gradient: bool) -> Row:
        try:
            if by_gradient and not judge.metric.differentiable:
                raise NotApplicableError("not differentiable")
            return make().judged(judge)
        except NotApplicableError as error:
            return {"score": None, "not_applicable": error.problem}
        except Exception as error:
            failed = Failed.because("", error)
            message = f"{failed.error_type}: {failed.error}"
            for path in subject.paths.values():
                message = message.replace(str(path), path.name)
            return {"score": None, "error": message}

    @cached_property
    def _witnesses_digest(self) -> str:
        described = [f"{witness.reference} {witness.metric.signature}\n" for witness in self.witnesses]
        return sha256("".join(described).encode()).hexdigest()[:16]


def _upward(judge: Judge, images: Images) -> Score:
    sign = 1 if judge.metric.higher_is_better else -1
    return lambda image: sign * rate(judge.metric, judge.reference, image, images)


def halves(subjects: Sequence[Subject], seed: int) -> tuple[list[Subject], list[Subject]]:
    """The images of one half of the contents, drawn by the seed, and those of the other."""
    contents = sorted({subject.content for subject in subjects})
    random.Random(seed).shuffle(contents)
    drawn = set(contents[::2])
    return [each for each in subjects if each.content in drawn], [
        each for each in subjects if each.content not in drawn
    ]
