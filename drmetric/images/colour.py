"""Luma of RGB code values (Recommendation ITU-R BT.601): the whole range as in JPEG, the studio range as in video."""

from torch import Tensor

__all__ = ["BT_601", "luma", "studio_luma"]

BT_601 = (0.299, 0.587, 0.114)
"""Weights of red, green and blue."""
_STUDIO = (65.481, 128.553, 24.966)


def luma(image: Tensor, weights: tuple[float, float, float] = BT_601) -> Tensor:
    """The weighted sum of red, green and blue.

    Args:
        image: (...,3,H,W) RGB of any scale, or (...,1,H,W) grey, which is its own luma.
        weights: of the three channels.

    Returns:
        (...,1,H,W) on the scale of the image.
    """
    if image.shape[-3] == 1:
        return image
    red, green, blue = (image[..., channel : channel + 1, :, :] for channel in range(3))
    return weights[0] * red + weights[1] * green + weights[2] * blue


def studio_luma(image: Tensor) -> Tensor:
    """(...,1,H,W) luma from 16/255 to 235/255 of (...,3,H,W) RGB in [0, 1]: MATLAB's rgb2ycbcr without its rounding.

    PSNR and SSIM "on Y" in super-resolution papers are of this.
    """
    return (luma(image, _STUDIO) + 16) / 255
