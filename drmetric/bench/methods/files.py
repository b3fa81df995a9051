"""Which files of a methods board belong together: each degraded input, if given, its outputs and its ground truth."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drmetric.bench.scores.pairing import Rule, absence, fold, match, named_files, named_outputs, pair
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
    """One degraded input, named by its path below its folder, with its ground truth and its outputs by method.

    Where a board has no inputs, it is named as its truth, or else as its outputs.
    """

    name: str
    degraded: Path | None
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
        pictures: sorted by name; a method without an output of one of them is missing in its `restored`.
        strays: outputs without a degraded input; where there are none, without ground truth.
        notes: what the reader of the results should know, in sentences.
    """

    pictures: list[Picture]
    strays: list[Failure]
    notes: list[str]


def collect(degraded: Path | None, truth: Path | None, methods: Sequence[Method]) -> Collection:
    """Pair the files of all methods by the rules of `drmetric.bench.scores.pairing`.

    They pair with the degraded inputs; where there are none, with the truth; without either, outputs of one name are of
    one picture.

    Raises:
        ConfigError: a method has several outputs of one picture, or several folders do not exist.
        PairingError: a folder does not exist, names are ambiguous, or nothing pairs.
        ImageFileError: a folder holds no images.
    """
    given = {"degraded": degraded, "truth": truth}
    folders = [(path, role) for role, path in given.items() if path] + [(each.folder, "output") for each in methods]
    refuse_all([error for path, role in folders if (error := absence(path, role))])
    if degraded is not None:
        inputs, (restored, strays) = named_files(degraded, "degraded"), _paired(degraded, DEGRADED, methods)
        truths = {} if truth is None else _truths(sorted(inputs), named_files(truth, "truth"))
        names = sorted(inputs)
    elif truth is not None:
        inputs, (restored, strays) = {}, _paired(truth, TRUTH, methods)
        truths = named_files(truth, "truth")
        names = sorted(truths)
    else:
        inputs, truths, restored, strays = {}, {}, _of_one_name(methods), []
        names = sorted(restored)
    pictures = [Picture(name, inputs.get(name), truths.get(name), restored.get(name, {})) for name in names]
    return Collection(pictures, strays, _notes(pictures, degraded, truth))


def _paired(folder: Path, kind: str, methods: Sequence[Method]) -> tuple[dict[str, dict[str, Path]], list[Failure]]:
    """The outputs that pair with images of a folder, by the names of these and by method, and those that do not."""
    found, strays = [], []
    for method in methods:
        pairing = pair(method.folder, folder, suffix=method.suffix)
        strays += [Failure("", method.name, name, f"no {kind} has the name of this image") for name in pairing.missing]
        found += [(each.degraded_name or "", method, each.restored) for each in pairing.pairs]
    if not found:
        raise PairingError(
            f"no output of any method has the name of a {kind} in {str(folder)!r}, such as "
            f"{next(iter(named_files(folder, kind)))!r}",
            "name each output as its input, which may add a tag: 0001.png and 0001_tag.png",
        )
    return _by_picture(found), strays


def _of_one_name(methods: Sequence[Method]) -> dict[str, dict[str, Path]]:
    """All outputs; those of one name, whatever its suffix, case and Unicode form, are called as the first of them."""
    names: dict[str, str] = {}
    found = [
        (names.setdefault(fold(name.removesuffix(path.suffix)), name), method, path)
        for method in methods
        for name, path in named_outputs(method.folder, method.suffix).items()
    ]
    restored = _by_picture(found)
    if all(len(of_methods) < len(methods) for of_methods in restored.values()):
        raise PairingError(
            f"no image has an output of its name by every method; {min(restored)!r} has none by "
            f"{next(each.name for each in methods if each.name not in restored[min(restored)])!r}",
            "name the outputs of an image alike in all folders",
        )
    return restored


def _by_picture(outputs: Iterable[tuple[str, Method, Path]]) -> dict[str, dict[str, Path]]:
    """Outputs by the names of their pictures and by method; raises `ConfigError` where a method has several of one."""
    restored: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for name, method, path in outputs:
        if method.name in restored[name]:
            both = [each.relative_to(method.folder) for each in (restored[name][method.name], path)]
            first, second = (each.as_posix() for each in both)
            problem = f"method {method.name!r} has several outputs of {name!r}: {first!r} and {second!r}"
            if both[0].parent != both[1].parent:
                raise ConfigError(problem, f"name its sub folders, a method each, such as {method.folder}/*")
            if first.rpartition(".")[0] == second.rpartition(".")[0]:
                raise ConfigError(problem, f"keep one of the two in {method.folder}")
            raise ConfigError(problem, 'suffix = "_NAME"  # in its [[methods]]: the end of the names of its files')
        restored[name][method.name] = path
    return dict(restored)


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


def _notes(pictures: Sequence[Picture], degraded: Path | None, truth: Path | None) -> list[str]:
    notes = [] if degraded else ["Without degraded inputs nothing says whether outputs are restorations of them."]
    if unused := [picture.name for picture in pictures if not picture.restored]:
        notes.append(
            f"{len(unused)} of {len(pictures)} images have no output of any method, such as {unused[0]!r}; they count "
            "as failures of every method."
        )
    without = [picture.name for picture in pictures if picture.truth is None]
    if truth is not None and without:
        notes.append(f"{len(without)} of {len(pictures)} images have no ground truth, such as {without[0]!r}.")
    return notes
