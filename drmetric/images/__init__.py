"""Images as tensors: files, the contract, the one resize, luma, tiles.

Values are code values in [0, 1] as stored in the file (almost always sRGB); nothing here linearises them.
"""

from drmetric.images.checks import RANGE_TOLERANCE, check_batch, check_image, check_same_device
from drmetric.images.colour import luma, studio_luma
from drmetric.images.files import IMAGE_SUFFIXES, list_images, read_image, save_image
from drmetric.images.geometry import Tile, resize, rounded_to_8_bit, tiles, to_8_bit, without_autocast

__all__ = [
    "IMAGE_SUFFIXES",
    "RANGE_TOLERANCE",
    "Tile",
    "check_batch",
    "check_image",
    "check_same_device",
    "list_images",
    "luma",
    "read_image",
    "resize",
    "rounded_to_8_bit",
    "save_image",
    "studio_luma",
    "tiles",
    "to_8_bit",
    "without_autocast",
]
