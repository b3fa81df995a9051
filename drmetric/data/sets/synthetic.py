"""Readers of distorted images that people rated against their pristine image.

No set has an official split: scenes are drawn 70/10/20 by a hash of their names, so that no scene is in two splits.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from drmetric.data.label_files import (
    Rated,
    RatedImage,
    SetFolder,
    drawn_split,
    number,
    read_csv,
    read_mat,
    read_words,
    read_xlsx,
)
from drmetric.data.make.building import read_manifest
from drmetric.distortions.kadid.types import KADID10K
from drmetric.errors import ConfigError

TID2013_TYPES = (
    "additive_gaussian_noise",
    "chroma_noise",
    "spatially_correlated_noise",
    "masked_noise",
    "high_frequency_noise",
    "impulse_noise",
    "quantization_noise",
    "gaussian_blur",
    "image_denoising",
    "jpeg",
    "jpeg2000",
    "jpeg_transmission_errors",
    "jpeg2000_transmission_errors",
    "non_eccentricity_pattern_noise",
    "local_block_distortions",
    "mean_shift",
    "contrast_change",
    "saturation_change",
    "multiplicative_gaussian_noise",
    "comfort_noise",
    "lossy_compression_of_noisy_images",
    "color_quantization_with_dither",
    "chromatic_aberrations",
    "sparse_sampling_and_reconstruction",
)
"""Names of TID2013's distortion types 1 to 24."""

LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
"""Folders of LIVE and how many images each holds, in the order of its label files."""

LIVE_DMOS = (-2.65, 111.78)
"""Least and greatest realigned DMOS of LIVE, rounded outwards."""


def kadid10k(root: Path) -> Rated:
    """KADID-10k (Lin, Hosu and Saupe, QoMEX 2019): 81 scenes, 25 distortions of 5 levels.

    ``dmos.csv`` and ``images/``, with distorted and pristine images. Score: the column dmos, which is a mean rating
    on 1..5 with 5 the best, to 0..1. Spread: the column var, which is a standard deviation, divided by 4. Subset:
    the distortion type, as `drmetric.distortions.kadid.types` names it.
    """
    folder = SetFolder(root)
    path = folder.labels("dmos.csv")
    for row in read_csv(path, ("dist_img", "ref_img", "dmos", "var")):
        content, type_, _ = _name_parts(row["dist_img"], r"(I\d\d)_(\d\d)_(\d\d)\.png", path)
        rated = RatedImage(
            image=folder.image(f"images/{row['dist_img']}"),
            score=(number(row, "dmos", path) - 1) / 4,
            content=content,
            reference=folder.image(f"images/{row['ref_img']}"),
            spread=number(row, "var", path) / 4,
            subset=KADID10K[int(type_)].name,
        )
        yield rated, drawn_split("kadid10k", content)


def tid2013(root: Path) -> Rated:
    """TID2013 (Ponomarenko et al., Signal Processing: Image Communication 30, 2015): 25 scenes, 24 distortions of 5
    levels.

    ``mos_with_names.txt``, ``distorted_images/`` and ``reference_images/``, with names in any case. Score: the MOS,
    0..9, divided by 9; it counts comparisons within a scene, so scores of two scenes are not on one scale. No
    spread: mos_std.txt is the deviation of the mean. Subset: the distortion type, one of `TID2013_TYPES`.
    """
    folder = SetFolder(root)
    path = folder.labels("mos_with_names.txt")
    for mos, name in read_words(path):
        content, type_, _ = _name_parts(name, r"(I\d\d)_(\d\d)_(\d)\.bmp", path)
        rated = RatedImage(
            image=folder.image(f"distorted_images/{name}"),
            score=number({"MOS": mos}, "MOS", path) / 9,
            content=content.upper(),
            reference=folder.image(f"reference_images/{content.upper()}.BMP"),
            subset=TID2013_TYPES[int(type_) - 1],
        )
        yield rated, drawn_split("tid2013", rated.content)


class _Csiq(NamedTuple):
    scene: str
    type: str
    level: str
    dmos: float
    spread: float | None


def csiq(root: Path) -> Rated:
    """CSIQ (Larson and Chandler, Journal of Electronic Imaging 19, 2010): 30 scenes, 6 distortions, 866 images.

    ``csiq.DMOS.xlsx`` or, if there is none, the ``csiq_label.txt`` that many repositories carry (lines
    ``1600.AWGN.1.png 0.061989``); ``src_imgs/`` and ``dst_imgs/<type>/``, or all in ``dst_imgs_all/``. Score: 1 - DMOS,
    which is 0..1 with 0 the best. Spread: dmos_std, which is in the spreadsheet only. Subset: the distortion type,
    awgn, blur, contrast, fnoise, jpeg or jpeg2000.
    """
    folder = SetFolder(root)
    path = folder.labels("csiq.DMOS.xlsx", "csiq_label.txt")
    for row in _csiq_spreadsheet(path) if path.suffix.lower() == ".xlsx" else _csiq_text(path):
        name = f"{row.scene}.{row.type}.{row.level}.png"
        rated = RatedImage(
            image=folder.image(f"dst_imgs/{row.type}/{name}", f"dst_imgs_all/{name}"),
            score=1 - row.dmos,
            content=row.scene,
            reference=folder.image(f"src_imgs/{row.scene}.png"),
            spread=row.spread,
            subset=row.type,
        )
        yield rated, drawn_split("csiq", row.scene)


def _csiq_spreadsheet(path: Path) -> Iterator[_Csiq]:
    types = {"noise": "awgn", "jpeg 2000": "jpeg2000"}
    for row in read_xlsx(path, ("image", "dst_type", "dst_lev", "dmos_std", "dmos"), sheet="all_by_image"):
        type_ = types.get(row["dst_type"], row["dst_type"])
        yield _Csiq(row["image"], type_, row["dst_lev"], number(row, "dmos", path), number(row, "dmos_std", path))


def _csiq_text(path: Path) -> Iterator[_Csiq]:
    for name, dmos in read_words(path):
        scene, type_, level = _name_parts(name, r"(\w+)\.(\w+)\.(\d)\.png", path)
        yield _Csiq(scene, type_.lower(), level, number({"DMOS": dmos}, "DMOS", path), None)


def live(root: Path) -> Rated:
    """LIVE release 2 (Sheikh, Sabir and Bovik, IEEE TIP 15, 2006): 29 scenes, 5 distortions, 779 images.

    ``dmos_realigned.mat``, ``refnames_all.mat``, ``refimgs/`` and the folders of `LIVE_FOLDERS`; the 203 copies of
    pristine images among the distorted ones are left out. Score: the realigned DMOS, which has no fixed range, from
    `LIVE_DMOS` to 1..0. No spread: dmos_std is the deviation of the mean. Subset: the folder.
    """
    folder = SetFolder(root)
    path = folder.labels("dmos_realigned.mat")
    dmos, is_copy = read_mat(path, "dmos_new"), read_mat(path, "orgs")
    references = read_mat(folder.labels("refnames_all.mat"), "refnames_all")
    names = [(type_, f"img{place + 1}.bmp") for type_, count in LIVE_FOLDERS.items() for place in range(count)]
    if not len(names) == len(dmos) == len(is_copy) == len(references):
        raise ConfigError(f"{path} has {len(dmos)} scores; wanted {len(names)}", "download LIVE's release 2 again")
    best, worst = LIVE_DMOS
    for (type_, name), opinion, copy, reference in zip(names, dmos, is_copy, references, strict=True):
        if not copy:
            rated = RatedImage(
                image=folder.image(f"{type_}/{name}"),
                score=(worst - opinion) / (worst - best),
                content=Path(reference).stem,
                reference=folder.image(f"refimgs/{reference}"),
                subset=type_,
            )
            yield rated, drawn_split("live", rated.content)


def _name_parts(name: str, pattern: str, path: Path) -> tuple[str, str, str]:
    match = re.fullmatch(pattern, name, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"{path}: {name!r} is no file name of this data set", f"download {path.name} again")
    first, second, third = match.groups()
    return first, second, third


def conditions(root: Path) -> Rated:
    """A folder of `drmetric.data.make.conditions.build`: KADID-10k's conditions on photographs of one's own.

    Score: the label, which is the mean opinion of the condition, 1..5, to 0..1, moved within its spread over
    contents. Content: the photograph; subset: the type of distortion. Splits are those of the folder.
    """
    for record in read_manifest(root / "manifest.jsonl"):
        image = RatedImage(
            image=root / record["image"],
            score=record["label"],
            content=record["content"],
            reference=root / record["reference"],
            subset=record["condition"].rpartition("-")[0],
        )
        yield image, record["split"]
