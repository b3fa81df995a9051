"""The scale of a board: how many times as large as its input each output should be.

Of each picture it is, in this order: the one that [data] scale states; that of the truth; that of most of its outputs;
where these are two of a kind, the largest; and where a picture has one output, that of most outputs of the board. Where
this leaves a doubt the board is refused: an output that was made smaller looks sharper, and must not win.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from drmetric.bench.methods.files import Picture
from drmetric.bench.scores.geometry import known_scales, majority, misfits, read_sizes
from drmetric.errors import ConfigError, InputError
from drmetric.images.scale import Scales, common_scale, scales_of

Output = tuple[str, str]
"""The names of a method and of a picture."""


def wrong_sizes(pictures: Sequence[Picture], stated: float = 0.0) -> dict[Output, InputError]:
    """The outputs whose size does not fit their input and the scale of their picture, with what is wrong.

    Args:
        pictures: of the board.
        stated: the scale, or 0 to find it.

    Raises:
        ConfigError: outputs differ in scale, and nothing says which is right.
    """
    sizes = read_sizes(
        {
            (method, picture.name): (path, picture.degraded)
            for picture in pictures
            if picture.degraded is not None
            for method, path in picture.restored.items()
        }
    )
    if stated:
        return misfits(sizes, dict.fromkeys(sizes, stated))
    truths = read_sizes({each.name: (each.truth, each.degraded) for each in pictures if each.truth and each.degraded})
    by_picture: dict[str, list[Scales]] = defaultdict(list)
    for (_, name), each in sizes.items():
        by_picture[name].extend(known_scales([each]))
    scales = _found({name: found for name, found in by_picture.items() if found and name not in truths})
    of_truth = {name: known.plainest for name, each in truths.items() if (known := scales_of(*each)) is not None}
    expected = scales | of_truth
    return misfits(sizes, {output: expected[output[1]] for output in sizes if output[1] in expected})


def unlike_sizes(pictures: Sequence[Picture]) -> list[str]:
    """A sentence on the pictures without an input whose outputs differ in size, if there are any."""
    alone = [picture for picture in pictures if picture.degraded is None and picture.restored]
    sizes = read_sizes(
        {
            (method, picture.name): (path, picture.truth or next(iter(picture.restored.values())))
            for picture in alone
            for method, path in picture.restored.items()
        }
    )
    unlike = dict.fromkeys(name for (_, name), (output, other) in sizes.items() if output != other)
    if not unlike:
        return []
    return [
        f"Of {len(unlike)} of {len(alone)} images, such as {next(iter(unlike))!r}, outputs differ in size, from one "
        "another or from the truth; one that was made smaller looks sharper."
    ]


def _found(by_picture: Mapping[str, Sequence[Scales]]) -> dict[str, float]:
    """The scale of each picture, from those of its outputs."""
    everywhere = [scales for found in by_picture.values() for scales in found]
    of_board = common_scale(everywhere)
    chosen: dict[str, float] = {}
    for name, found in by_picture.items():
        largest = common_scale(found)
        assert largest is not None
        assert of_board is not None
        if (most := majority(found)) is not None:
            chosen[name] = most
        elif len(found) > 1:
            chosen[name] = largest
            if not any(scales.holds(largest) and scales.holds(of_board) for scales in found):
                raise _doubt(name, largest, of_board)
        else:
            chosen[name] = of_board
            if larger := [each for each in everywhere if each.low >= of_board and not each.holds(of_board)]:
                raise _doubt(name, larger[0].plainest, of_board)
    return chosen


def _doubt(name: str, larger: float, of_board: float) -> ConfigError:
    return ConfigError(
        f"which scale is right for the outputs of {name!r}? Most outputs are {of_board:.4g} times as large as their "
        f"inputs, others {larger:.4g} times",
        f"scale = {of_board:.4g}  # in [data]; or truth = FOLDER, which shows it",
    )
