"""The restorers by name: what each is for, how to build it, and where its weights come from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn

from benchmarks.restorers.adversarial import PCARN, SRGAN, FastSRGAN
from benchmarks.restorers.distillation import BSRN, EFDN, IMDN, RFDN, RLFN
from benchmarks.restorers.efficient import FMEN, SCET, LWFANet, MobileSR, NASNetBN
from benchmarks.restorers.weather import AODNet, PReNet
from drmetric.errors import optional

Task = Literal["super_resolution", "denoising", "jpeg", "dehazing", "deraining"]


@dataclass(frozen=True)
class Restorer:
    """One use of one network.

    Attributes:
        name: what `load` takes.
        file: the weights, a safetensors file.
        sha256: the first 16 hex digits of the file's SHA-256.
        task: what the network undoes.
        scales: the factors by which it can enlarge; 1 keeps the size.
        training: "psnr" if trained with a pixel loss or a like measure of fidelity, "gan" if adversarially.
        build: makes the network with random weights.
        paper: where it is described.
        origin: the repository, commit and path that published the weights.
        licence: the licence of the weights as their publisher states it.
        twin: the name of the same network in the other training.
        grey: a network of one channel is applied to each of "channels", or to the BT.601 "luma" alone, which
            keeps the colour differences; None if it takes RGB.
        sigma: the standard deviation of the Gaussian noise it was trained for, on the scale of 255.
    """

    name: str
    file: str
    sha256: str
    task: Task
    scales: tuple[int, ...]
    training: Literal["psnr", "gan"]
    build: Callable[[], nn.Module]
    paper: str
    origin: str
    licence: str
    twin: str | None = None
    grey: Literal["channels", "luma"] | None = None
    sigma: int | None = None


def _spandrel(architecture: str, **shape: Any) -> nn.Module:
    module = optional(f"spandrel.architectures.{architecture}", "bench", "this restorer")
    network: nn.Module = getattr(module, architecture)(**shape)
    return network


def _compact(depth: int) -> nn.Module:
    return _spandrel("Compact", num_feat=64, num_conv=depth, upscale=4, act_type="prelu")


def _dncnn(channels: int, depth: int) -> nn.Module:
    return _spandrel("DnCNN", in_nc=channels, out_nc=channels, nc=64, nb=depth, act_mode="R")


_ESR = "NTIRE 2022 efficient super-resolution report (Li et al., CVPR Workshops 2022)"
_DNCNN = "Zhang, Zuo, Chen, Meng, Zhang, IEEE TIP 26(7), 2017"
_REAL_ESRGAN = "Wang, Xie, Dong, Shan, ICCV Workshops 2021 (Real-ESRGAN)"
_PCARN = "Ahn, Kang, Sohn, arXiv:1903.02240"
_SRGAN = "Ledig et al., CVPR 2017"
_UPSCAYL = "upscayl/custom-models@4b6d2cf:models"
_UNCLEAR = "none in the repository, whose README links that of xinntao/Real-ESRGAN-ncnn-vulkan"


def _challenge(name: str, sha256: str, build: Callable[[], nn.Module], file: str, paper: str = _ESR) -> Restorer:
    return Restorer(
        name=name,
        file=f"{name}.safetensors",
        sha256=sha256,
        task="super_resolution",
        scales=(4,),
        training="psnr",
        build=build,
        paper=paper,
        origin=f"ofsoundof/NTIRE2022_ESR@e95ba4a:model_zoo/{file}.pth",
        licence="MIT (c) 2022 NTIRE 2022 Challenge on Efficient SR Organizers",
    )


def _pcarn(name: str, sha256: str, training: Literal["psnr", "gan"], file: str, twin: str) -> Restorer:
    return Restorer(
        name=name,
        file=f"{name}.safetensors",
        sha256=sha256,
        task="super_resolution",
        scales=(2, 3, 4),
        training=training,
        build=PCARN,
        paper=_PCARN,
        origin=f"nmhkahn/PCARN-pytorch@dde2b7c:checkpoints/{file}.pth",
        licence="MIT (c) 2019 Namhyuk Ahn",
        twin=twin,
    )


def _adversarial(
    name: str, sha256: str, scale: int, build: Callable[[], nn.Module], paper: str, origin: str, licence: str
) -> Restorer:
    return Restorer(
        name=name,
        file=f"{name}.safetensors",
        sha256=sha256,
        task="super_resolution",
        scales=(scale,),
        training="gan",
        build=build,
        paper=paper,
        origin=origin,
        licence=licence,
    )


def _colour_denoiser(sigma: int, sha256: str) -> Restorer:
    return Restorer(
        name=f"cdncnn_color_s{sigma}",
        file=f"cdncnn_color_s{sigma}.safetensors",
        sha256=sha256,
        task="denoising",
        scales=(1,),
        training="psnr",
        build=partial(_dncnn, 3, 20),
        paper=_DNCNN,
        origin=f"cszn/DnCNN@e93b278:model/specifics_color/color_sigma={sigma}.mat",
        licence="none stated",
        sigma=sigma,
    )


def _dncnn3(name: str, task: Task, scales: tuple[int, ...], grey: Literal["channels", "luma"]) -> Restorer:
    return Restorer(
        name=name,
        file="dncnn3_gray.safetensors",
        sha256="a52a007595af6395",
        task=task,
        scales=scales,
        training="psnr",
        build=partial(_dncnn, 1, 20),
        paper=_DNCNN,
        origin="cszn/DnCNN@e93b278:model/DnCNN3.mat",
        licence="none stated",
        grey=grey,
    )


_ALL = (
    _challenge("imdn_x4", "866a621af41a3fc7", IMDN, "imdn_baseline", "Hui, Gao, Yang, Wang, ACM MM 2019"),
    _challenge("rfdn_x4", "5d1718d63bc5d9e7", RFDN, "rfdn_baseline", "Liu, Tang, Wu, ECCV Workshops 2020"),
    _challenge("efdn_x4", "07f9d0b77889576c", EFDN, "team01_efdn", "Wang, CVPR Workshops 2022"),
    _challenge("rlfn_x4", "ce48a0dba17c2125", RLFN, "team04_rlfn", "Kong et al., CVPR Workshops 2022"),
    _challenge("bsrn_x4", "62988c2d350633a8", BSRN, "team18_bsrn", "Li et al., CVPR Workshops 2022 (BSRN)"),
    _challenge("fmen_x4", "652e352a6e43bd0d", FMEN, "team03_fmen", "Du et al., CVPR Workshops 2022"),
    _challenge("mobilesr_x4", "3e796de46366611e", MobileSR, "team20_mobilesr"),
    _challenge("scet_x4", "9e5f3770c27189f1", SCET, "team30_scet", "Zou et al., CVPR Workshops 2022"),
    _challenge("lwfanet_x4", "c8e5b9c1299112dd", LWFANet, "team27_lwfanet"),
    _challenge("nasnetbn_x4", "348cdae64760243b", NASNetBN, "team28_nasnetbn"),
    _pcarn("pcarn_m_l1_x234", "fd9c4128f9d9c3b6", "psnr", "PCARN-M-L1", "pcarn_m_x234"),
    _pcarn("pcarn_m_x234", "07ed4cb3988950f8", "gan", "PCARN-M", "pcarn_m_l1_x234"),
    _adversarial(
        "fast_srgan_x4",
        "fcd13f503a5df8fe",
        4,
        FastSRGAN,
        _SRGAN,
        "HasnainRaz/Fast-SRGAN@2c09baa:models/model.pt",
        "MIT (c) 2019 Hasnain Raza",
    ),
    _adversarial(
        "srgan_lt_x4",
        "73b38ca3fef296b1",
        4,
        partial(SRGAN, 4),
        _SRGAN,
        "leftthomas/SRGAN@b0323c6:epochs/netG_epoch_4_100.pth",
        "MIT (c) 2020 Hao Ren",
    ),
    _adversarial(
        "srgan_lt_x2",
        "5476be6df943a52f",
        2,
        partial(SRGAN, 2),
        _SRGAN,
        "leftthomas/SRGAN@b0323c6:epochs/netG_epoch_2_100.pth",
        "MIT (c) 2020 Hao Ren",
    ),
    _adversarial(
        "realesr_general_x4v3",
        "7461260f405a7dd4",
        4,
        partial(_compact, 32),
        _REAL_ESRGAN,
        f"{_UPSCAYL}/RealESRGAN_General_x4_v3.bin",
        _UNCLEAR,
    ),
    _adversarial(
        "realesr_general_wdn_x4v3",
        "232f1ee97095afb2",
        4,
        partial(_compact, 32),
        _REAL_ESRGAN,
        f"{_UPSCAYL}/RealESRGAN_General_WDN_x4_v3.bin",
        _UNCLEAR,
    ),
    _adversarial(
        "lsdir_compact_c3_x4",
        "66df6b444d7675ad",
        4,
        partial(_compact, 16),
        "4xLSDIRCompactC3 by Phhofm, without a paper",
        f"{_UPSCAYL}/4xLSDIRCompactC3.bin",
        "none stated",
    ),
    _adversarial(
        "realesr_animevideov3_x4",
        "4e23f20f7ce770f4",
        4,
        partial(_compact, 16),
        _REAL_ESRGAN,
        f"{_UPSCAYL}/realesr-animevideov3-x4.bin",
        "BSD-3-Clause (xinntao/Real-ESRGAN)",
    ),
    _dncnn3("dncnn3_sr", "super_resolution", (2, 3, 4), "luma"),
    Restorer(
        name="dncnn_gray_s25",
        file="dncnn_gray_s25.safetensors",
        sha256="00b16e59b240f2a7",
        task="denoising",
        scales=(1,),
        training="psnr",
        build=partial(_dncnn, 1, 17),
        paper=_DNCNN,
        origin="cszn/KAIR@fc1732f:model_zoo/dncnn_25.pth",
        licence="MIT (c) 2019 Kai Zhang",
        grey="channels",
        sigma=25,
    ),
    _colour_denoiser(15, "cdac76154ceef26b"),
    _colour_denoiser(25, "9f964cbe7495c31f"),
    _colour_denoiser(50, "587180d485275d27"),
    _dncnn3("dncnn3_denoise", "denoising", (1,), "channels"),
    _dncnn3("dncnn3_jpeg", "jpeg", (1,), "luma"),
    Restorer(
        name="aodnet",
        file="aodnet.safetensors",
        sha256="631c578510ea61f8",
        task="dehazing",
        scales=(1,),
        training="psnr",
        build=AODNet,
        paper="Li, Peng, Wang, Xu, Feng, ICCV 2017",
        origin="MayankSingal/PyTorch-Image-Dehazing@dc26717:snapshots/dehazer.pth",
        licence="MIT (c) 2018 SMonk",
    ),
    Restorer(
        name="prenet_rain100l",
        file="prenet_rain100l.safetensors",
        sha256="481a1bfd2d4eeb45",
        task="deraining",
        scales=(1,),
        training="psnr",
        build=PReNet,
        paper="Ren, Zuo, Hu, Zhu, Meng, CVPR 2019",
        origin="csdwren/PReNet@6d908d1:logs/Rain100L/PReNet6/net_latest.pth",
        licence="none stated",
    ),
)

RESTORERS: dict[str, Restorer] = {restorer.name: restorer for restorer in _ALL}
"""All restorers. DnCNN-3 stands here three times, once for each of its tasks."""


def names(task: Task | None = None, scale: int | None = None) -> list[str]:
    """The names of the restorers for a task and at a scale; None is any."""
    return [
        restorer.name
        for restorer in RESTORERS.values()
        if task in (None, restorer.task) and (scale is None or scale in restorer.scales)
    ]
