"""The places that a report shows: the images worth looking at, and within them the crop where outputs differ most."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.disagreement import Disagreement, disagreements, spreads
from drmetric.bench.methods.files import DEGRADED, TRUTH, Picture
from drmetric.errors import DrmetricError
from drmetric.images import as_doubles, read_image, resize, to_8_bit
from drmetric.statistics import Array

SIDE = 192
"""Pixels along a side of a crop, where the image is that large."""
MOST_PLACES = 12
MOST_CROPS = 360
"""Over all places: at about 30 kB each as JPEG a page of at most 15 MB."""
MOST_PNG_BYTES = 9_000_000
"""Above this total of lossless crops, all are JPEG."""
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Box:
    """A part of an image: the corner and the sides as shares of height and width."""

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class Place:
    """A crop of one image from the degraded input, each method and the ground truth.

    Attributes:
        image: its number.
        box: where the crop is.
        size: of the crops, height and width in pixels.
        crops: (3, *size) 8-bit by name of the method, in the order to show them: the best by the first metric first.
        disagreement: of two metrics, where that is what the place shows.
    """

    image: int
    box: Box
    size: tuple[int, int]
    crops: dict[str, Tensor]
    disagreement: Disagreement | None = None


def choose(board: MethodBoard) -> list[Place]:
    """Places where methods differ most, in one half, and where metrics disagree most, in the other."""
    per_place = len(board.scores.methods) + 2
    n_places = max(2, min(MOST_PLACES, MOST_CROPS // per_place))
    values = _of_quality(board)
    apart = spreads(values)
    widest = sorted(range(len(apart)), key=lambda image: (-apart[image], image))
    opposed = disagreements(values)[: n_places // 2]
    wanted: list[tuple[int, Disagreement | None]] = [(image, None) for image in widest[: n_places - len(opposed)]]
    wanted += [(found.image, found) for found in opposed]
    places = [_place(board, image, disagreement) for image, disagreement in wanted]
    return [place for place in places if place is not None]


def _of_quality(board: MethodBoard) -> Array:
    """The scores without those of guards, which say something else; all, where there are no others."""
    counted = np.array([judge.judges_quality for judge in board.scores.judges])
    values = board.ranking.values
    return np.where(counted[:, None, None], values, np.nan) if counted.any() else values


def _place(board: MethodBoard, image: int, disagreement: Disagreement | None) -> Place | None:
    """The place of an image, or None where fewer than two outputs can be read."""
    picture = board.pictures[image]
    ordered = [board.scores.methods[method] for method in board.ranking.order]
    outputs = _read_all({name: picture.restored[name] for name in ordered if name in picture.restored})
    compared = list(outputs.values())
    if disagreement is not None:
        names = [board.scores.methods[method] for method in disagreement.methods]
        compared = [outputs[name] for name in names if name in outputs]
    if len(compared) < 2:
        return None
    references = _read_all(_references(picture))
    ends = [{name: references[name]} if name in references else {} for name in (DEGRADED, TRUTH)]
    size = max((output.shape[-2:] for output in outputs.values()), key=lambda shape: shape.numel())
    box, crop_size = _most_different(compared, (size[0], size[1]), references.get(DEGRADED))
    crops = {name: _crop(shown, box, crop_size) for name, shown in (ends[0] | outputs | ends[1]).items()}
    return Place(image, box, crop_size, crops, disagreement)


def _references(picture: Picture) -> dict[str, Path]:
    found = {DEGRADED: picture.degraded, TRUTH: picture.truth}
    return {name: path for name, path in found.items() if path is not None}


def _read_all(paths: Mapping[str, Path]) -> dict[str, Tensor]:
    """The images that can be read; the others have failed already, and are in the list of failures."""
    images = {}
    for name, path in paths.items():
        try:
            images[name] = read_image(path)
        except DrmetricError:
            continue
    return images


def _most_different(
    images: Sequence[Tensor], size: tuple[int, int], degraded: Tensor | None
) -> tuple[Box, tuple[int, int]]:
    """The box around the place of the largest deviation between the images, on the pixel grid of a smaller input."""
    same_size = torch.stack([resize(image[None], size)[0] for image in images])
    deviation = same_size.std(dim=0, correction=0).mean(dim=0)
    height, width = min(SIDE, size[0]), min(SIDE, size[1])
    core = (math.ceil(height / 3), math.ceil(width / 3))
    sums = _box_sums(deviation, *core)
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    step = max(1, round(size[0] / degraded.shape[-2])) if degraded is not None else 1
    top = min(max(row - (height - core[0]) // 2, 0), size[0] - height) // step * step
    left = min(max(column - (width - core[1]) // 2, 0), size[1] - width) // step * step
    return Box(top / size[0], left / size[1], height / size[0], width / size[1]), (height, width)


def _box_sums(values: Tensor, height: int, width: int) -> Tensor:
    """Sums over all boxes of this size within (H, W)."""
    total = functional.pad(as_doubles(values).cumsum(0).cumsum(1), (1, 0, 1, 0))
    rows = total[height:] - total[:-height]
    return rows[:, width:] - rows[:, :-width]


def _crop(image: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
    """The part as 8-bit RGB; of an image of another size enlarged by whole pixels, so that these can be seen."""
    height, width = image.shape[-2:]
    top, left = round(box.top * height), round(box.left * width)
    bottom, right = round((box.top + box.height) * height), round((box.left + box.width) * width)
    part = image[:, top : max(bottom, top + 1), left : max(right, left + 1)]
    if tuple(part.shape[-2:]) != size:
        part = functional.interpolate(part[None], size=size, mode="nearest")[0]
    return to_8_bit(part)


def encode(places: Sequence[Place]) -> tuple[list[dict[str, str]], str]:
    """Data URIs of the crops of each place by name, and the format in words: PNG, or JPEG where that is too much."""
    crops = [place.crops for place in places]
    as_png = [{name: _file(crop, "PNG") for name, crop in of.items()} for of in crops]
    if sum(len(file) for of in as_png for file in of.values()) <= MOST_PNG_BYTES:
        return [{name: _data_uri(file, "png") for name, file in of.items()} for of in as_png], "PNG, lossless"
    as_jpeg = [{name: _data_uri(_file(crop, "JPEG"), "jpeg") for name, crop in of.items()} for of in crops]
    return as_jpeg, f"JPEG of quality {JPEG_QUALITY}: judge artefacts by the files"


def _file(crop: Tensor, form: str) -> bytes:
    options = {"quality": JPEG_QUALITY, "subsampling": 0} if form == "JPEG" else {}
    stream = io.BytesIO()
    Image.fromarray(crop.permute(1, 2, 0).contiguous().numpy()).save(stream, format=form, **options)
    return stream.getvalue()


def _data_uri(file: bytes, form: str) -> str:
    return f"data:image/{form};base64,{base64.b64encode(file).decode()}"
