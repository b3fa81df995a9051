"""The networks of this folder as a corpus asks for them: those fit to undo a given degradation.

    networks = "benchmarks.restorers.corpus:networks"     # in a corpus' TOML file

The published ones are read from ``$DRMETRIC_RESTORERS``, our own small ones from ``$DRMETRIC_SMALL_RESTORERS``, those
of wheels from ``$DRMETRIC_RESTORER_WHEELS`` (none where these two are not set; an error where they name a folder
without any).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.restorers.catalogue import names
from benchmarks.restorers.loading import LoadedRestorer, load
from benchmarks.restorers.small import SmallRestorer, load_small
from benchmarks.restorers.wheels import FOLDER_VARIABLE, WHEEL_RESTORERS, load_wheel
from drmetric.errors import WeightsError
from drmetric.images import resize

DENOISER = "dncnn_gray_s25"
SMALL_VARIABLE = "DRMETRIC_SMALL_RESTORERS"
Network = Callable[[Tensor], Tensor]
_NOISE = ("gaussian_noise", "poisson_noise")
_COSTLY = ("dncnn3_sr", "dncnn3_denoise", "dncnn_gray_s25")  # a second an image and more; CDnCNN stands for them
_VIA_QUARTER = ("realesr_general_x4v3", "srgan_lt_x4", "pcarn_m_x234")


@cache
def _loaded(name: str) -> LoadedRestorer:
    return load(name)


@cache
def _small() -> dict[str, SmallRestorer]:
    folder = os.environ.get(SMALL_VARIABLE)
    if not folder:
        return {}
    loaded = load_small(Path(folder).expanduser())
    if not loaded:
        raise WeightsError(
            f"no small restorer in {folder} ({SMALL_VARIABLE})",
            f"python -m benchmarks.restorers.small PHOTOGRAPHS {folder}",
        )
    return loaded


def _in_wheels(scale: int) -> dict[str, Network]:
    if not os.environ.get(FOLDER_VARIABLE):
        return {}
    return {name: load_wheel(name) for name, restorer in WHEEL_RESTORERS.items() if restorer.scale == scale}


def _published(image: Tensor, name: str, scale: int) -> Tensor:
    restored: Tensor = _loaded(name)(image, scale)
    return restored


def _quarter_then_x4(image: Tensor, name: str) -> Tensor:
    """A super-resolver as a restorer of large degraded images: what it cannot read, it invents."""
    return _published(resize(image, (image.shape[-2] // 4, image.shape[-1] // 4)), name, 4)


def denoiser(noisy: Tensor) -> Tensor:
    """The network behind KADID-10k's distortion "denoise", on the channels of (1,3,h,w) one by one."""
    denoised: Tensor = _loaded(DENOISER).network(noisy)
    return denoised.clamp(0, 1)


def networks(steps: Sequence[Mapping[str, Any]]) -> dict[str, Network]:
    """Networks by name for a degradation of these `steps` (see `drmetric.distortions.degrade`)."""
    operations = {step["op"] for step in steps}
    scale = next((step["scale"] for step in steps if "scale" in step), 1)
    if scale > 1:
        fit: dict[str, Network] = {
            name: partial(_published, name=name, scale=scale)
            for name in names("super_resolution", scale)
            if name not in _COSTLY
        }
        small = {name: network for name, network in _small().items() if network.scale == 4}
        return fit | small | _in_wheels(scale)
    wanted = [
        *(names("denoising") if operations & set(_NOISE) else []),
        *(names("jpeg") if "jpeg" in operations else []),
        *(names("deraining") if "rain" in operations else []),
        *(names("dehazing") if "haze" in operations else []),
    ]
    fit = {name: partial(_published, name=name, scale=1) for name in wanted if name not in _COSTLY}
    fit |= {f"{name}_via_quarter": partial(_quarter_then_x4, name=name) for name in _VIA_QUARTER}
    fit |= {name: network for name, network in _small().items() if network.scale == 1}
    if operations & {*_NOISE, "jpeg"}:
        fit |= _in_wheels(1)
    return fit
