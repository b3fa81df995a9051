"""Whether a score falls when the output leaves its input: `run` makes every change of every image, and scores it.

One line of fidelity.jsonl a metric, image, probe and level, so that an interrupted run is continued. The figures of
the rows are made by `drmetric.bench.fidelity.figures`. Tensors in place of files: `drmetric.bench.fidelity.tensors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drmetric.bench.fidelity.opinion import Opinion
from drmetric.bench.fidelity.prober import Prober
from drmetric.bench.fidelity.settings import Scene, Settings
from drmetric.bench.judges import UNTOUCHED, Judge
from drmetric.bench.scores.rows import Failure, Row
from drmetric.bench.scores.run import Progress
from drmetric.bench.scores.spread import Spread, spread_of
from drmetric.bench.scores.store import ScoreFile
from drmetric.bench.scores.subjects import prepare
from drmetric.errors import ConfigError
from drmetric.metrics.pixel import PSNR


@dataclass(frozen=True)
class FidelityReport:
    """A finished report.

    Attributes:
        spreads: of each metric, in the order of `judges`.
        witnesses: what measured how plainly a change is seen, against the unchanged image.
        rows: of this run, also those kept from an earlier one. The method of a row is its probe; its settings are
            "level", "amount" and "seed"; its details the "content", of local changes where the map points ("auc",
            "auc_of_change"), and "made_from", by which an earlier row holds or does not.
        failures: scores that are missing and should not be.
        kept: how many rows were kept.
    """

    settings: Settings
    subjects: Sequence[Scene]
    judges: list[Judge]
    spreads: list[Spread]
    witnesses: list[Judge]
    rows: list[Row]
    failures: list[Failure]
    kept: int


def run(settings: Settings, output: Path, progress: Progress = lambda done, total: None) -> FidelityReport:
    """Probe all metrics on all images.

    Args:
        settings: see there.
        output: folder of fidelity.jsonl; rows that exist and still hold are kept.
        progress: called with the numbers of images done and in all.

    Raises:
        ConfigError: a reference that is missing, a metric named twice, a tolerance below 0, or several things that are
            missing.
        WeightsError, MissingDependencyError: a metric whose weights or package are missing.
        PairingError, ImageFileError: folders that are missing, empty or do not pair.
        InputError: a metric or an option that does not exist, a file that is not one of scores.
    """
    if not settings.tolerance >= 0:
        raise ConfigError(f"the tolerance is {settings.tolerance}; wanted 0 or more", "--tolerance 0.025")
    judges, subjects = prepare(settings.metrics, settings.folders)
    with ScoreFile.read(output / "fidelity.jsonl") as file:
        return probe(settings, subjects, judges, file, progress)


def probe(
    settings: Settings,
    subjects: Sequence[Scene],
    judges: list[Judge],
    file: ScoreFile,
    progress: Progress = lambda done, total: None,
) -> FidelityReport:
    """Probe judges on subjects; the rows go to a file that is open."""
    witnesses = [Judge("PSNR to the unchanged", UNTOUCHED, PSNR())]
    witnesses += [Judge("opinion of the change", UNTOUCHED, Opinion())] if settings.opinion else []
    spreads = [spread_of(judge, settings.spreads) for judge in judges]
    prober = Prober(
        settings, judges, witnesses, file, {j.label for j, s in zip(judges, spreads, strict=True) if s is None}
    )
    prober.run(subjects, progress)
    return FidelityReport(
        settings=settings,
        subjects=subjects,
        judges=judges,
        spreads=[
            spread or Spread.of_report(prober.undamaged_scores(judge), len(subjects))
            for judge, spread in zip(judges, spreads, strict=True)
        ],
        witnesses=witnesses,
        rows=prober.rows,
        failures=[row.failure for row in prober.rows if row.failed],
        kept=prober.kept,
    )
