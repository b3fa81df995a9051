"""Near-duplicate images: pairs whose 16 x 16 grey thumbnails correlate, and the groups that the pairs form."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drmetric.errors import InputError
from drmetric.images.files import open_image

SIDE = 16
THRESHOLD = 0.999
_REDUCED_SIDE = 4 * SIDE
_ROWS_AT_ONCE = 2048


class DuplicatePair(NamedTuple):
    """Two near-duplicates, by their places in the list of thumbnails; `first` is less than `second`."""

    first: int
    second: int
    correlation: float


def thumbnails(files: Sequence[Path]) -> NDArray[np.float32]:
    """Grey thumbnails of image files, of mean 0 and norm 1, so that a scalar product is a correlation.

    Args:
        files: images; a JPEG is decoded at reduced size.

    Returns:
        float32 (N, 256). Where an image is all of one colour, its row is 0: it correlates with none.

    Raises:
        ImageFileError: a file cannot be read.
    """
    rows = np.zeros((len(files), SIDE * SIDE), np.float32)
    for row, file in zip(rows, files, strict=True):
        with open_image(file) as image:
            image.draft("L", (_REDUCED_SIDE, _REDUCED_SIDE))
            grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        row[:] = np.asarray(grey, np.float32).ravel()
        row -= row.mean()
        norm = np.linalg.norm(row)
        if norm:
            row /= norm
    return rows


def duplicate_pairs(rows: NDArray[np.float32], threshold: float = THRESHOLD) -> list[DuplicatePair]:
    """All pairs of thumbnails that correlate above a threshold.

    Args:
        rows: (N, 256), as `thumbnails` makes them.
        threshold: correlation, above 0 and below 1.

    Returns:
        The pairs, in the order of `first`, then of `second`.

    Raises:
        InputError: a threshold out of its range.
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold}; wanted a correlation between 0 and 1", f"threshold={THRESHOLD}")
    pairs = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        correlations = rows[start : start + _ROWS_AT_ONCE] @ rows[start:].T
        for first, second in np.argwhere(np.triu(correlations > threshold, k=1)).tolist():
            correlation = min(1.0, float(correlations[first, second]))
            pairs.append(DuplicatePair(start + first, start + second, correlation))
    return pairs


def duplicate_groups(count: int, pairs: Iterable[DuplicatePair]) -> list[int]:
    """The group of each of `count` images: the place of the first image that pairs connect it with, or its own."""
    parents = list(range(count))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for first, second, _ in pairs:
        one, other = sorted((root(first), root(second)))
        parents[other] = one
    return [root(place) for place in range(count)]
