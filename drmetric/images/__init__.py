"""Images as tensors: files, the contract, the one resize, luma, tiles.

Values are code values in [0, 1] as stored in the file (almost always sRGB); nothing here linearises them.
"""

from drmetric.images.checks import RANGE_TOLERANCE, check_batch, check_image, check_same_device
from drmetric.images.colour import luma, studio_luma
from drmetric.images.contexts import plain_defaults, without_autocast
from drmetric.images.convert import as_image
from drmetric.images.files import IMAGE_SUFFIXES, list_images, read_image, save_image
from drmetric.images.geometry import (
    Tile,
    from_random_origin,
    resize,
    rounded_to_8_bit,
    run_tiled,
    tiles,
    to_8_bit,
)
from drmetric.images.outputs import OVERSHOOT, LossInputs, RangeWatch, pull_home
from drmetric.images.scale import check_scale

__all__ = [
    "IMAGE_SUFFIXES",
    "OVERSHOOT",
    "RANGE_TOLERANCE",
    "LossInputs",
    "RangeWatch",
    "Tile",
    "as_image",
    "check_batch",
    "check_image",
    "check_same_device",
    "check_scale",
    "from_random_origin",
    "list_images",
    "luma",
    "plain_defaults",
    "pull_home",
    "read_image",
    "resize",
    "rounded_to_8_bit",
    "run_tiled",
    "save_image",
    "studio_luma",
    "tiles",
    "to_8_bit",
    "without_autocast",
]
