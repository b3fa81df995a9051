"""PSNR, SSIM, LPIPS and piq's metrics behind the face of all others: the usual figures beside DRIQA's.

All are full-reference: made for a pristine reference of the size of the image. The reference may be of
another size, such as the degraded input of a super-resolver: it is brought to the image's size by
`drmetric.images.resize`, and the figure is then "against the upscaled input". Colours are RGB in [0, 1], and
every image has its own score: nothing is pooled over the batch.
"""

import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from kornia.metrics import ssim
from safetensors.torch import load_file
from torch import Tensor, nn

from drmetric.checkpoints import WeightsFile, home
from drmetric.errors import InputError, MissingDependencyError, WeightsError
from drmetric.images import resize
from drmetric.metrics.base import LearnedMetric, Metric, Mode

INFINITY = float("inf")


def optional(package: str, extra: str = "bench") -> Any:
    """A package of one of our extras; where torchvision does not fit torch, its import raises RuntimeError."""
    try:
        return import_module(package)
    except (ImportError, RuntimeError) as error:
        raise MissingDependencyError(
            f"this metric needs the package {package}, and it does not import: {error}",
            f"pip install 'drmetric[{extra}]'",
        ) from error


def _without_nan(gradient: Tensor) -> Tensor:
    return gradient.nan_to_num(0.0, 0.0, 0.0)


def same_size(image: Tensor, reference: Tensor | None) -> Tensor:
    """(N,3,H,W) the reference at the size and batch of the image."""
    assert reference is not None
    height, width = image.shape[-2:]
    return resize(reference, (height, width)).expand_as(image)


class FullReference(Metric):
    """A metric of two images of one size, (N,3,H,W) float32 in [0, 1], outside autocast."""

    mode: ClassVar[Mode] = "fr"
    settings: ClassVar[str]

    @abstractmethod
    def _compare(self, image: Tensor, reference: Tensor) -> Tensor:
        """(N,) scores."""

    @property
    def signature(self) -> str:
        return f"{self.name}|{self.settings}|input:rgb01|resize:bicubic-aa|drmetric:{version('drmetric')}"

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            return self._compare(image, same_size(image, reference))


CHANNELS = ("rgb", "y")


def luma(image: Tensor) -> Tensor:
    """(N,1,H,W) luma, 16/255 to 235/255, of (N,3,H,W) RGB: BT.601 at studio range, MATLAB's rgb2ycbcr unrounded."""
    weights = image.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((image * weights).sum(dim=1, keepdim=True) + 16) / 255


class PixelProtocol(FullReference):
    """PSNR or SSIM under a named protocol: of RGB or of luma, with or without the border of the image.

    Args:
        channel: "rgb", or "y" for `luma` alone, as is usual in super-resolution; the range stays 1 (255 of 8 bits).
        shave: pixels left out at each side, in super-resolution usually the scale factor.

    Raises:
        InputError: an unknown channel, or a border that is no whole number from 0 up.
    """

    formula: ClassVar[str]

    def __init__(self, channel: str = "rgb", shave: int = 0) -> None:
        super().__init__()
        if channel not in CHANNELS:
            raise InputError(f"unknown channel {channel!r}; known: {', '.join(CHANNELS)}", 'channel="y"')
        if not isinstance(shave, int) or isinstance(shave, bool) or shave < 0:
            raise InputError(f"shave is {shave!r}; wanted whole pixels, 0 or more", "shave=4")
        self.channel, self.shave = channel, shave
        self.min_size = type(self).min_size + 2 * shave  # type: ignore[misc]

    @property
    def settings(self) -> str:  # type: ignore[override]
        return f"channel:{self.channel}|shave:{self.shave}|{self.formula}"

    def _compare(self, image: Tensor, reference: Tensor) -> Tensor:
        return self._compare_channels(self._channels(image), self._channels(reference))

    def _channels(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        inner = image[..., self.shave : height - self.shave, self.shave : width - self.shave]
        return luma(inner) if self.channel == "y" else inner

    @abstractmethod
    def _compare_channels(self, image: Tensor, reference: Tensor) -> Tensor:
        """(N,) scores of (N,C,H,W) images of one or three channels."""


class PSNR(PixelProtocol):
    """Peak signal-to-noise ratio in dB of each image, over all channels; identical images score 100.

    ``PSNR(channel="y", shave=4)`` is the figure of papers on super-resolution by 4; see `PixelProtocol`.
    """

    name: ClassVar[str] = "psnr"
    score_range: ClassVar[tuple[float, float]] = (0.0, 100.0)
    formula: ClassVar[str] = "range:1|limit:100dB"

    def _compare_channels(self, image: Tensor, reference: Tensor) -> Tensor:
        mean_square = (image - reference).square().mean(dim=(1, 2, 3))
        return -10 * torch.log10(mean_square.clamp_min(1e-10))


class SSIM(PixelProtocol):
    """Structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004), mean over the channels.

    Gaussian window of 11 pixels, sigma 1.5, whole windows only, no downsampling: scikit-image's
    ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)``. Channel and border:
    see `PixelProtocol`.
    """

    name: ClassVar[str] = "ssim"
    score_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    min_size: ClassVar[int] = 11
    formula: ClassVar[str] = "window:11|sigma:1.5|border:valid"

    def _compare_channels(self, image: Tensor, reference: Tensor) -> Tensor:
        local: Tensor = ssim(image, reference, window_size=11, padding="valid")
        return local.mean(dim=(1, 2, 3))


class PiqMetric(FullReference):
    """A metric of the package piq with its default settings; gradients that piq makes NaN are 0.

    Raises:
        MissingDependencyError: piq is not installed, or does not import.
    """

    function: ClassVar[str]
    min_size: ClassVar[int] = 32

    def __init__(self) -> None:
        super().__init__()
        self._function: Callable[..., Tensor] = getattr(optional("piq"), self.function)

    @property
    def settings(self) -> str:  # type: ignore[override]
        return f"piq:{version('piq')}"

    def _compare(self, image: Tensor, reference: Tensor) -> Tensor:
        image = image.clamp(0, 1)
        if image.requires_grad:
            # Square roots of 0 give NaN where the image equals its reference.
            image.register_hook(_without_nan)  # type: ignore[no-untyped-call]
        return self._function(image, reference.clamp(0, 1), data_range=1.0, reduction="none")


class MSSSIM(PiqMetric):
    """Multi-scale SSIM, five scales (Wang, Simoncelli, Bovik, Asilomar 2003)."""

    name: ClassVar[str] = "ms_ssim"
    function: ClassVar[str] = "multi_scale_ssim"
    min_size: ClassVar[int] = 161


class VIF(PiqMetric):
    """Visual information fidelity in the pixel domain (Sheikh, Bovik, IEEE TIP 15(2), 2006).

    Identical images score 1; more contrast than the reference can score above 1.
    """

    name: ClassVar[str] = "vif"
    function: ClassVar[str] = "vif_p"
    score_range: ClassVar[tuple[float, float]] = (0.0, INFINITY)
    min_size: ClassVar[int] = 41


class FSIM(PiqMetric):
    """Feature similarity with its chromatic part, FSIMc (Zhang, Zhang, Mou, Zhang, IEEE TIP 20(8), 2011)."""

    name: ClassVar[str] = "fsim"
    function: ClassVar[str] = "fsim"


class GMSD(PiqMetric):
    """Gradient magnitude similarity deviation (Xue et al., IEEE TIP 23(2), 2014); lower is better."""

    name: ClassVar[str] = "gmsd"
    function: ClassVar[str] = "gmsd"
    higher_is_better: ClassVar[bool] = False


class HaarPSI(PiqMetric):
    """Haar wavelet perceptual similarity (Reisenhofer, Bosse, Kutyniok, Wiegand, SPIC 61, 2018)."""

    name: ClassVar[str] = "haarpsi"
    function: ClassVar[str] = "haarpsi"


class MDSI(PiqMetric):
    """Mean deviation similarity index (Ziaei Nafchi et al., IEEE Access 4, 2016); lower is better."""

    name: ClassVar[str] = "mdsi"
    function: ClassVar[str] = "mdsi"
    higher_is_better: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float]] = (0.0, INFINITY)


BACKBONES = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}


def find_backbone(net: str, backbone: str | Path | None = None, metric: str = "LPIPS") -> Path:
    """The file of an ImageNet backbone, with torchvision's keys; never downloaded.

    The first that is there of: `backbone`, ``$DRMETRIC_LPIPS_BACKBONE``,
    ``$DRMETRIC_HOME/<name>*.safetensors`` and torchvision's own ``<name>-*.pth`` in torch hub's cache;
    <name> is squeezenet1_1, alexnet or vgg16.

    Args:
        net: "squeeze", "alex" or "vgg".
        backbone: a file; no other is looked for then.
        metric: "LPIPS" or "DISTS", which has ``$DRMETRIC_DISTS_BACKBONE``.

    Raises:
        WeightsError: a given file is missing, or nothing was given and nothing was found.
    """
    name = BACKBONES[net]
    given = backbone or os.environ.get(f"DRMETRIC_{metric}_BACKBONE")
    if given and Path(given).expanduser().is_file():
        return Path(given).expanduser()
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    found = [*sorted(home().glob(f"{name}*.safetensors")), *sorted(cache.glob(f"{name}-*.pth"))]
    if given or not found:
        where = str(given) if given else f"{home()} or {cache}"
        raise WeightsError(
            f"{metric} with net={net!r} needs torchvision's {name}, and it is not at {where}",
            f"python -c \"from torchvision.models import *; {name}(weights='DEFAULT')\"  # downloads it",
        )
    return found[0]


def load_backbone(module: nn.Module, numbers: Mapping[str, str], path: Path, net: str, metric: str) -> None:
    """Load a module with the layers of torchvision's `features` in a file.

    Args:
        module: the layers.
        numbers: of each key of the module's state, the number and kind in `features`, such as "0.weight".
        path: what `find_backbone` found.
        net: as there.
        metric: the class that needs it, for the error.

    Raises:
        WeightsError: the file does not hold this network.
    """
    pretrained = (
        load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    )
    try:
        module.load_state_dict({key: pretrained[f"features.{number}"] for key, number in numbers.items()})
    except (KeyError, RuntimeError) as error:
        raise WeightsError(
            f"{path} does not hold torchvision's {BACKBONES[net]}: {error}",
            f'{metric}(backbone="{BACKBONES[net]}.safetensors")',
        ) from error


class LPIPS(LearnedMetric):
    """Learned perceptual distance, version 0.1 (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018).

    The heads are those inside the package `lpips`; the backbone is looked for by `find_backbone`.

    Args:
        net: "squeeze", "alex" or "vgg".
        backbone: a .safetensors or .pth file with torchvision's keys.

    Raises:
        InputError: an unknown net.
        WeightsError: no backbone, or a file of another network.
        MissingDependencyError: lpips or torchvision is not installed, or does not import.
    """

    name: ClassVar[str] = "lpips"
    mode: ClassVar[Mode] = "fr"
    higher_is_better: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float]] = (0.0, INFINITY)
    min_size: ClassVar[int] = 32
    licence: ClassVar[str] = "BSD-2-Clause"

    def __init__(self, net: str = "squeeze", *, backbone: str | Path | None = None) -> None:
        if net not in BACKBONES:
            raise InputError(f"unknown net {net!r}; known: {', '.join(BACKBONES)}", 'LPIPS("squeeze")')
        self.net = net
        super().__init__(find_backbone(net, backbone))

    def _settings(self) -> dict[str, str]:
        return {"net": self.net, "lpips": version("lpips"), "input": "rgb01", "resize": "bicubic-aa"}

    def _build(self, file: WeightsFile) -> nn.Module:
        lpips = optional("lpips")
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            network: nn.Module = lpips.LPIPS(net=self.net, pnet_rand=True, verbose=False)
        backbone = network.get_submodule("net")
        # lpips cuts torchvision's `features` into slices and keeps the numbers of the layers.
        numbers = {key: key.split(".", 1)[1] for key in backbone.state_dict()}
        load_backbone(backbone, numbers, file.path, self.net, "LPIPS")
        return network

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            distance: Tensor = self.network(image, same_size(image, reference), normalize=True)
            return distance.flatten()
