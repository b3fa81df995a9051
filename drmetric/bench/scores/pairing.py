"""Which degraded input belongs to which restored image: by file name, never by order.

The rules, from the first to the last (names are compared without their suffix; upper and lower case and the
Unicode form count only where two degraded names differ by nothing else):

1. same name: ``0001.png`` pairs with ``0001.JPG``;
2. tag: the restored name is the degraded name, one of ``_ - .`` or a space, and a tag:
   ``0001_x4_SwinIR.png`` pairs with ``0001.png``;
3. input tag: the degraded name ends in one or more of `INPUT_TAGS`, which the restored name may lack:
   ``0001.png`` and ``0001_SwinIR.png`` pair with ``0001x4.png`` or with ``0001_lr.png``.

The longest matching name wins: ``0001_2_SwinIR.png`` pairs with ``0001_2.png`` even beside ``0001.png``.

Sub folders: a restored image is looked up in the degraded sub folder of the same name, or else with its
leading folders dropped (``methodA/0001.png`` in a flat folder). Where no such folder holds images it has no input: a
frame never pairs with that of another sequence. Images beside each other in one folder are looked up among all degraded
images, where that folder holds none. Several restored images may share one degraded input. Two single files pair
whatever their names.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from drmetric.errors import PairingError
from drmetric.images import list_images
from drmetric.images.files import unread_files

SEPARATORS = "_-. "
SCALE_TAGS = ("x2", "x3", "x4", "x8", "x16")
"""Input tags that need no separator before them (``0001x4.png``)."""
INPUT_TAGS = (*SCALE_TAGS, "lr", "lr2", "lr3", "lr4", "lq", "degraded", "input", "noisy", "blur", "blurry")
"""Endings, in any case, that a degraded name may carry and the restored name may lack."""

Rule = Literal["same name", "tag", "input tag", "two files", "no degraded"]

_SEPARATOR = f"[{re.escape(SEPARATORS)}]"
_TAGGED = re.compile(
    rf"(?P<bare>.+?)(?:{_SEPARATOR}?(?:{'|'.join(SCALE_TAGS)})|{_SEPARATOR}(?:{'|'.join(INPUT_TAGS)}))",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One image to score.

    Attributes:
        name: path of the restored image below its folder, with forward slashes.
        restored: the restored image.
        degraded: its degraded input; None where the metric needs none.
        degraded_name: path of the degraded input below its folder.
        rule: the rule that paired the two.
    """

    name: str
    restored: Path
    degraded: Path | None = None
    degraded_name: str | None = None
    rule: Rule = "no degraded"


@dataclass(frozen=True, slots=True)
class Pairing:
    """What `pair` found: each restored image is in exactly one of ``pairs`` and ``missing``.

    Attributes:
        pairs: sorted by name.
        missing: names of the restored images that have no degraded input.
        extra: names of the degraded inputs that no restored image uses.
        unread: how many files of each suffix are not read as images, in words; empty where there are none.
    """

    pairs: list[Pair]
    missing: list[str]
    extra: list[str]
    unread: str = ""


class Match(NamedTuple):
    """The degraded names that fit a restored name equally well (none, one, or more: ambiguous)."""

    rule: Rule
    degraded: list[str]


def pair(restored: Path, degraded: Path | None, *, suffix: str = "") -> Pairing:
    """Pair restored images with their degraded inputs by the rules above.

    Args:
        restored: a folder (read with its sub folders) or one image.
        degraded: a folder or one image; None for a metric that needs no degraded input.
        suffix: only restored images whose stem ends in it count, and the rules see their names without it.

    Raises:
        PairingError: a path does not exist, no image ends in the suffix, or several degraded inputs fit one
            image equally well.
        ImageFileError: a folder holds no images.
    """
    restored_files = named_files(restored, "restored")
    if degraded is None:
        return Pairing([Pair(name, path) for name, path in restored_files.items()], [], [], unread_files([restored]))
    degraded_files = named_files(degraded, "degraded")
    if restored.is_file() and degraded.is_file():
        matches = {restored.name: Match("two files", [degraded.name])}
    else:
        bare = _without_suffix(restored_files, suffix, restored)
        found_by_bare = match(bare, degraded_files)
        matches = {name: found_by_bare[short] for short, name in bare.items()}
    _refuse_ambiguous(matches, degraded)
    pairs = [
        Pair(name, restored_files[name], degraded_files[found.degraded[0]], found.degraded[0], found.rule)
        for name, found in matches.items()
        if found.degraded
    ]
    used = {each.degraded_name for each in pairs}
    return Pairing(
        pairs=pairs,
        missing=[name for name, found in matches.items() if not found.degraded],
        extra=[name for name in degraded_files if name not in used],
        unread=unread_files([restored, degraded]),
    )


def match(restored: Iterable[str], degraded: Iterable[str]) -> dict[str, Match]:
    """Apply the rules to names alone.

    Args:
        restored: relative paths of restored images, with forward slashes and suffixes.
        degraded: the same of degraded inputs.

    Returns:
        For each restored name, the degraded names that fit it best.
    """
    all_names = _Index()
    folders: defaultdict[str, _Index] = defaultdict(_Index)
    for name in degraded:
        all_names.add(name)
        folders[fold(str(PurePosixPath(name).parent))].add(name)

    def look_up(name: str) -> Match:
        folder = PurePosixPath(fold(str(PurePosixPath(name).parent)))
        for depth in range(len(folder.parts) + 1):
            below = str(PurePosixPath(*folder.parts[depth:]))
            if below in folders:
                return folders[below].find(name)
        return Match("same name", []) if folder.parts else all_names.find(name)

    return {name: look_up(name) for name in restored}


def added(pair: Pair) -> list[str]:
    """What the restored name adds to the degraded one: to the part of it that paired, then to it less more input tags.

    Of ``0001_lr_net.png`` and ``0001_lr.png`` these are ``_net`` and ``_lr_net``; of one without an input, its stem.
    """
    stem = _stem(pair.name)
    rests = {fold(prefix): stem[len(prefix) :] for prefix in _prefixes(stem)}
    bare = map(fold, _without_input_tags(_stem(pair.degraded_name or "")))
    return [rests[each] for each in bare if each in rests] or [stem]


class _Entry(NamedTuple):
    tags_removed: int
    stem: str
    name: str


class _Index:
    """Degraded names by their stem, and by their stem less one or more input tags."""

    def __init__(self) -> None:
        self._entries: defaultdict[str, list[_Entry]] = defaultdict(list)

    def add(self, name: str) -> None:
        stem = _stem(name)
        for tags_removed, bare in enumerate(_without_input_tags(stem)):
            self._entries[fold(bare)].append(_Entry(tags_removed, bare, name))

    def find(self, name: str) -> Match:
        stem = _stem(name)
        for prefix in _prefixes(fold(stem)):
            if prefix in self._entries:
                break
        else:
            return Match("same name", [])
        entries = self._entries[prefix]
        fewest = min(entry.tags_removed for entry in entries)
        best = [entry for entry in entries if entry.tags_removed == fewest]
        same_case = [entry for entry in best if stem.startswith(entry.stem)]
        rule: Rule = "input tag" if fewest else "same name" if prefix == fold(stem) else "tag"
        return Match(rule, [entry.name for entry in (same_case or best)])


def _stem(name: str) -> str:
    return unicodedata.normalize("NFC", PurePosixPath(name).stem)


def fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def _without_input_tags(stem: str) -> Iterator[str]:
    """The stem itself, then less its last input tag, less its last two, and so on."""
    yield stem
    while tagged := _TAGGED.fullmatch(stem):
        stem = tagged["bare"]
        yield stem


def _prefixes(stem: str) -> Iterator[str]:
    """The stem itself, then each part of it that a separator and a tag follow, from the longest."""
    yield stem
    for end in range(len(stem) - 2, 0, -1):
        if stem[end] in SEPARATORS:
            yield stem[:end]


def _without_suffix(names: Iterable[str], suffix: str, folder: Path) -> dict[str, str]:
    """The names whose stem ends in the suffix, by what is left of them without it."""
    paths = [PurePosixPath(name) for name in names]
    ending = [path for path in paths if path.stem.endswith(suffix)]
    if not ending:
        raise PairingError(
            f"no image of {str(folder)!r} has a name that ends in {suffix!r}, for example not {paths[0].name!r}",
            f"give the images such names as {paths[0].stem + suffix + paths[0].suffix!r}, or another suffix",
        )
    return {str(path.with_name(path.stem.removesuffix(suffix) + path.suffix)): str(path) for path in ending}


def named_files(path: Path, role: str) -> dict[str, Path]:
    """The images of a folder, or the one image, by their path below the folder; `role` is for the error."""
    refuse_absent(path, role)
    if path.is_file():
        return {path.name: path}
    files = {file.relative_to(path).as_posix(): file for file in list_images(path)}
    return dict(sorted(files.items()))


def named_outputs(folder: Path, suffix: str) -> dict[str, Path]:
    """The images of a folder whose stem ends in the suffix, by their path below the folder without it."""
    files = named_files(folder, "restored")
    return {bare: files[name] for bare, name in _without_suffix(files, suffix, folder).items()}


def absence(path: Path, role: str) -> PairingError | None:
    """The error of a path where there is nothing; `role` is for its message."""
    if path.exists():
        return None
    return PairingError(f"the {role} path {str(path)!r} does not exist", "give a folder of images or one image file")


def refuse_absent(path: Path, role: str) -> None:
    """Raise what `absence` finds."""
    if error := absence(path, role):
        raise error


def _refuse_ambiguous(matches: dict[str, Match], folder: Path) -> None:
    ambiguous = {name: found.degraded for name, found in matches.items() if len(found.degraded) > 1}
    if not ambiguous:
        return
    name, rivals = next(iter(ambiguous.items()))
    others = f" (and {len(ambiguous) - 1} more such images)" if len(ambiguous) > 1 else ""
    raise PairingError(
        f"{len(rivals)} images in {str(folder)!r} fit the restored image {name!r}{others}: "
        + ", ".join(repr(rival) for rival in rivals),
        f"keep one of them there, or name a sub folder of {folder}",
    )
