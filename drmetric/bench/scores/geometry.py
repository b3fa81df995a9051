"""Outputs that cannot be of their inputs, by the sizes of the files: a shape or a scale of their own.

A wrong size must not be scored: a restored image that was made smaller looks sharper, and would win.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from drmetric.errors import ImageFileError, InputError
from drmetric.images.files import read_size
from drmetric.images.scale import Scales, Size, common_scale, doubt_of, pixels, problem_of, scales_of

Key = TypeVar("Key")
Sizes = tuple[Size, Size]
"""Of an output and of its input."""


def read_sizes(pairs: Mapping[Key, tuple[Path, Path]]) -> dict[Key, Sizes]:
    """The sizes of output and input; pairs with a file that cannot be read are left out: they fail when scored."""
    size = cache(read_size)
    found = {}
    for key, (output, degraded) in pairs.items():
        try:
            found[key] = (size(output), size(degraded))
        except ImageFileError:
            continue
    return found


def known_scales(sizes: Iterable[Sizes]) -> list[Scales]:
    """The scales of those pairs that have any."""
    return [scales for each in sizes if (scales := scales_of(*each)) is not None]


def majority(scales: Sequence[Scales]) -> float | None:
    """The scale of more than half of two or more; None where there is none."""
    scale = common_scale(scales)
    agreeing = 0 if scale is None else sum(each.holds(scale) for each in scales)
    return scale if len(scales) > 1 and 2 * agreeing > len(scales) else None


def scales_of_folder(sizes: Mapping[Key, Sizes], inputs: Mapping[Key, Path]) -> dict[Key, float]:
    """The scale that each output should have: that of most outputs of its input, or else of most of the folder."""
    by_input: dict[Path, list[Scales]] = {}
    for key, each in sizes.items():
        by_input.setdefault(inputs[key], []).extend(known_scales([each]))
    of_folder = common_scale(known_scales(sizes.values()))
    own = {path: majority(scales) for path, scales in by_input.items()}
    expected = {key: own[inputs[key]] or of_folder for key in sizes}
    return {key: scale for key, scale in expected.items() if scale is not None}


def misfits(sizes: Mapping[Key, Sizes], expected: Mapping[Key, float]) -> dict[Key, InputError]:
    """The pairs that no scale explains, or not the one that is expected of them, with what is wrong."""
    found = {}
    for key, (output, degraded) in sizes.items():
        scales = scales_of(output, degraded)
        if scales is None:
            found[key] = InputError(problem_of(output, degraded), "restore the whole upright input, and save all of it")
        elif key in expected and not scales.holds(expected[key]):
            found[key] = InputError(
                f"restored is {pixels(output)}, {scales.plainest:.4g} times its input ({pixels(degraded)}), where "
                f"{expected[key]:.4g} times is expected as of its fellows",
                "if that is its scale, score it in a folder of its own; else restore it again at that of the others",
            )
    return found


def odd_scales(files: Mapping[str, tuple[Path, Path]]) -> list[str]:
    """A sentence on the outputs, given with their inputs by name, that may have been cropped; none where none was."""
    sizes = read_sizes(files)
    doubts = {name: doubt for name, each in sizes.items() if (doubt := doubt_of(*each))}
    if not doubts:
        return []
    name, doubt = next(iter(doubts.items()))
    return [f"{len(doubts)} of {len(sizes)} outputs may have been cropped, such as {name!r}: {doubt}"]


def are_swapped(sizes: Iterable[Sizes]) -> bool:
    """Whether every output is smaller than its input, as where the two folders were swapped."""
    given = list(sizes)
    return bool(given) and all(
        scales_of(output, degraded) is None and scales_of(degraded, output) is not None for output, degraded in given
    )
