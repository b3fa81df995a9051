"""Which files of a methods board belong together: each degraded input, its outputs and its ground truth."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drmetric.bench.scores.pairing import Rule, absence, match, named_files, pair
from drmetric.bench.scores.rows import Failure
from drmetric.errors import ConfigError, PairingError, refuse_all

DEGRADED, TRUTH = "degraded input", "ground truth"
"""What reports call the images beside the methods' outputs."""


@dataclass(frozen=True)
class Method:
    """One [[methods]] table: where the outputs of a restoration method are.

    Attributes:
        name: what to call it.
        folder: of its outputs.
        suffix: only files whose name (without .png) ends in it are its outputs, as where BasicSR writes
            ``0001_EDSR.png`` and ``0001_RCAN.png`` into one folder; names pair without it.
    """

    name: str
    folder: Path
    suffix: str = ""


@dataclass(frozen=True)
class Picture:
    """One degraded input, named by its path below its folder, with its ground truth and its outputs by method."""

    name: str
    degraded: Path
    truth: Path | None
    restored: Mapping[str, Path]

    def files(self, method: str | None) -> dict[str, Path]:
        """Those that there are of one output, by kind: "restored", "degraded" and "truth"."""
        found = {"restored": self.restored.get(method or ""), "degraded": self.degraded, "truth": self.truth}
        return {kind: path for kind, path in found.items() if path is not None}


@dataclass(frozen=True)
class Collection:
    """What `collect` found.

    Attributes:
        pictures: one an input, sorted by name; a method without an output of one of them is missing in its `restored`.
        strays: outputs without a degraded input.
        notes: what the reader of the results should know, in sentences.
    """

    pictures: list[Picture]
    strays: list[Failure]
    notes: list[str]


def collect(degraded: Path, truth: Path | None, methods: Sequence[Method]) -> Collection:
    """Pair the files of all methods with the degraded inputs by the rules of `drmetric.bench.scores.pairing`.

    Raises:
        ConfigError: a method has several outputs of one input, or several folders do not exist.
        PairingError: a folder does not exist, names are ambiguous, or nothing pairs.
        ImageFileError: a folder holds no images.
    """
    outputs = [(each.folder, "output") for each in methods]
    folders = [(degraded, "degraded"), *([(truth, "truth")] if truth else []), *outputs]
    refuse_all([error for path, role in folders if (error := absence(path, role))])
    inputs = named_files(degraded, "degraded")
    restored: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    strays = []
    for method in methods:
        pairing = pair(method.folder, degraded, suffix=method.suffix)
        strays += [
            Failure("", method.name, name, "no degraded input has the name of this image") for name in pairing.missing
        ]
        for each in pairing.pairs:
            assert each.degraded_name is not None
            if method.name in restored[each.degraded_name]:
                other = restored[each.degraded_name][method.name].relative_to(method.folder)
                problem = (
                    f"method {method.name!r} has several outputs of the input {each.degraded_name!r}: "
                    f"{other.as_posix()!r} and {each.name!r}"
                )
                if other.parent != Path(each.name).parent:
                    raise ConfigError(problem, f"name its sub folders, a method each, such as {method.folder}/*")
                raise ConfigError(problem, 'suffix = "_NAME"  # in its [[methods]]: the end of the names of its files')
            restored[each.degraded_name][method.name] = each.restored
    if not restored:
        raise PairingError(
            f"no output of any method has the name of an input in {str(degraded)!r}, such as {next(iter(inputs))!r}",
            "name each output as its input, which may add a tag: 0001.png and 0001_tag.png",
        )
    truths = {} if truth is None else _truths(sorted(inputs), named_files(truth, "truth"))
    pictures = [Picture(name, inputs[name], truths.get(name), restored.get(name, {})) for name in sorted(inputs)]
    return Collection(pictures, strays, _notes(pictures, truth))


def _truths(inputs: Sequence[str], truths: Mapping[str, Path]) -> dict[str, Path]:
    """Ground truth by input: paired as an output is, and else as an input whose name adds a tag to the truth's."""
    claims: defaultdict[str, defaultdict[Rule, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, found in match(truths, inputs).items():
        for each in found.degraded:
            claims[each][found.rule].add(name)
    for name, found in match([each for each in inputs if each not in claims], truths).items():
        claims[name][found.rule].update(found.degraded)
    chosen = {}
    for name, by_rule in claims.items():
        rules: Iterable[Rule] = ("same name", "tag", "input tag")
        best = sorted(next((by_rule[rule] for rule in rules if by_rule.get(rule)), ()))
        if len(best) > 1:
            raise PairingError(
                f"{len(best)} ground truths fit the input {name!r}: {', '.join(map(repr, best))}",
                "keep one of them in the folder of the truth",
            )
        if best:
            chosen[name] = truths[best[0]]
    if not chosen:
        raise PairingError(
            f"no ground truth has the name of an input: {next(iter(truths))!r} does not match {inputs[0]!r}",
            "name each truth as its input, which may add a tag: 0001.png and 0001x4.png",
        )
    return chosen


def _notes(pictures: Sequence[Picture], truth: Path | None) -> list[str]:
    notes = []
    if unused := [picture.name for picture in pictures if not picture.restored]:
        notes.append(
            f"{len(unused)} degraded inputs have no output of any method, such as {unused[0]!r}; they count as "
            "failures of every method."
        )
    without = [picture.name for picture in pictures if picture.truth is None]
    if truth is not None and without:
        notes.append(f"{len(without)} of {len(pictures)} images have no ground truth, such as {without[0]!r}.")
    return notes
