"""Images as tensors: files, the contract, the one resize, luma, tiles.

Values are sRGB code values in [0, 1]; nothing here linearises them.
"""

from drmetric.images.checks import (
    RANGE_TOLERANCE,
    as_doubles,
    as_floats,
    check_batch,
    check_image,
    check_input_range,
    check_pixels,
    check_same_device,
)
from drmetric.images.colour import luma, studio_luma
from drmetric.images.contexts import plain_defaults, without_autocast
from drmetric.images.convert import as_image
from drmetric.images.files import IMAGE_SUFFIXES, list_images, read_image, save_image
from drmetric.images.geometry import (
    Tile,
    from_random_origin,
    random_view,
    resize,
    rounded_to_8_bit,
    tiles,
    to_8_bit,
)
from drmetric.images.outputs import OVERSHOOT, LossInputs, RangeWatch, pull_home
from drmetric.images.scale import check_scale
from drmetric.images.windows import AT_ONCE, Source, Whole, mean_tiled, pool_tiled, resized, run_tiled

__all__ = [
    "AT_ONCE",
    "IMAGE_SUFFIXES",
    "OVERSHOOT",
    "RANGE_TOLERANCE",
    "LossInputs",
    "RangeWatch",
    "Source",
    "Tile",
    "Whole",
    "as_doubles",
    "as_floats",
    "as_image",
    "check_batch",
    "check_image",
    "check_input_range",
    "check_pixels",
    "check_same_device",
    "check_scale",
    "from_random_origin",
    "list_images",
    "luma",
    "mean_tiled",
    "plain_defaults",
    "pool_tiled",
    "pull_home",
    "random_view",
    "read_image",
    "resize",
    "resized",
    "rounded_to_8_bit",
    "run_tiled",
    "save_image",
    "studio_luma",
    "tiles",
    "to_8_bit",
    "without_autocast",
]
