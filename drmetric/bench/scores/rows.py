"""`Row`: the one schema of everything that drmetric scores."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from drmetric.errors import DrmetricError, NotApplicableError

HASHED = ("restored", "degraded", "truth")
"""The kinds of files whose hashes a row may have."""
WORDS = {"degraded": "degraded input", "truth": "ground truth"}
"""What people call the kinds beside the restored."""
ONE_COLOUR = "one_colour"
"""In the details of a row: whether the image is of one colour throughout."""


class Failure(NamedTuple):
    """A score that is missing; `image` or `method` is empty where the error concerns all of them."""

    metric: str
    method: str
    image: str
    error: str


@dataclass(frozen=True, slots=True)
class Row:
    """One score of one image, or why there is none.

    Attributes:
        image: path of the restored image below its folder; on a board of methods of the input that it was made from.
        metric: what the run called the metric.
        signature: text that pins every choice which can change the score.
        reference: the image that the metric met: "none", "degraded" or "truth".
        method: what made the image: a restoration method, or an attack.
        degraded: path of the degraded input below its folder, where the metric met it.
        score: what the metric returned; finite.
        standard_error: of the score, where it was asked for, in its units.
        height, width: size of the image in pixels.
        seconds: spent in the metric, without reading the files; the first of the images that share a reference bears
            the cost of that.
        device: what computed the score; a GPU by its name.
        consistency: of the image with its degraded input, beside the score of a metric that knows that input alone, by
            the names of `drmetric.metrics.consistency`.
        sha256: of the files that were scored, in hexadecimal, by kind: "restored", "degraded", "truth".
        error, error_type: why there is no score, on one line, and the class of the error.
        settings: what else tells rows apart; of an attacked image its PSNR, the seed and the steps. JSON lines only.
        details: what else there is to say; of it CSV and Parquet hold `ONE_COLOUR` alone.
    """

    image: str
    metric: str
    signature: str
    reference: str
    method: str | None = None
    degraded: str | None = None
    score: float | None = None
    standard_error: float | None = None
    height: int | None = None
    width: int | None = None
    seconds: float | None = None
    device: str | None = None
    consistency: Mapping[str, float] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    error_type: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells rows of a file apart; of equal ones the last counts."""
        return (self.method, self.image, self.signature, self.reference, *sorted(self.settings.items()))

    @property
    def is_applicable(self) -> bool:
        """False where the metric says nothing about this kind of image, which is no fault of it."""
        return self.error_type != NotApplicableError.__name__

    @property
    def failed(self) -> bool:
        """Whether the score is missing and should not be."""
        return self.score is None and self.is_applicable

    @property
    def failure(self) -> Failure:
        """Of a row that failed."""
        return Failure(self.metric, self.method or "", self.image, f"{self.error_type}: {self.error}")

    def because(self, error: BaseException, files: Iterable[Path] = ()) -> Self:
        """The row without a score because of an error, on one line; of `files` it names no folders."""
        message = error.problem if isinstance(error, DrmetricError) else str(error)
        for path in files:
            message = message.replace(str(path), path.name)
        return replace(self, error=" ".join(message.split()), error_type=type(error).__name__)


def suspects(rows: Iterable[Row]) -> list[str]:
    """A sentence for each method of which outputs are the very files that they are compared with, or of one colour.

    The first is so where a folder is given twice, lies within that of the outputs, or was copied for want of outputs;
    the second where a run failed, or a filter of unsafe images blackened what a diffusion model made.
    """
    images: dict[str | None, set[str]] = {}
    found: dict[tuple[str | None, str], set[str]] = {}
    for row in rows:
        images.setdefault(row.method, set()).add(row.image)
        kinds = [kind for kind in HASHED[1:] if kind in row.sha256 and row.sha256[kind] == row.sha256.get("restored")]
        for what in (*kinds, *([ONE_COLOUR] if row.details.get(ONE_COLOUR) else [])):
            found.setdefault((row.method, what), set()).add(row.image)
    sentences = []
    for (method, what), names in found.items():
        verb, whose = ("is", "its") if len(names) == 1 else ("are", "their")
        said = "of one colour throughout" if what == ONE_COLOUR else f"byte for byte {whose} {WORDS[what]}"
        prefix = f"{method}: " if method else ""
        sentences.append(f"{prefix}{len(names)} of {len(images[method])} outputs {verb} {said}, such as {min(names)!r}")
    return sentences
