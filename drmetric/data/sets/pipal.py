"""PIPAL: 23,200 restored or distorted versions of 200 scenes.

Paper: Gu et al., ECCV 2020; the matched inputs and the degraded-reference protocol are those of CKDN (Zheng et al.,
ICCV 2021).
Layout: in any folders, the labels, ``*.txt`` with lines ``A0001_00_00.bmp,1520.0648``; the images; the pristine ones
``A0001.bmp``; and, if there are any, the degraded inputs ``ref_A0001_00_00.bmp`` that the authors of CKDN matched to
them.
Score: (Elo - 900) / 1000, as the Elo lies in 916..1,836. Raters compared versions of one scene: scores of two scenes
are not on one scale. Subset: the category, one of `CATEGORIES`.
Split: an eighth of the contents for validation, by a hash, the others for training; the labels of the official
validation and test sets are not public. Triplets have, moreover, disjoint distortion codes, `TRAINING_CODES` and
`VALIDATION_CODES`, without the traditional distortions.
Terms: see its page.
"""

import re
from pathlib import Path

from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import Split, drawn_validation
from drmetric.errors import ConfigError

CATEGORIES = (
    "traditional_sr",
    "psnr_oriented_sr",
    "sr_with_kernel_mismatch",
    "gan_based_sr",
    "denoising",
    "sr_and_denoising",
    "traditional_distortion",
)
"""Names of the categories 0 to 6, inferred from how many variants each has: the release does not name them."""

NAME = re.compile(r"A\d{4}_\d{2}_\d{2}\.bmp")
"""Content, category and variant of a rated image."""

VALIDATION_SHARE = 25 / 200


def _codes(text: str) -> frozenset[str]:
    """``"00:0-1,8 01:3"`` to {"00_00", "00_01", "00_08", "01_03"}."""
    codes = set()
    for category in text.split():
        number, spans = category.split(":")
        for span in spans.split(","):
            first, _, last = span.partition("-")
            codes |= {f"{number}_{variant:02d}" for variant in range(int(first), int(last or first) + 1)}
    return frozenset(codes)


TRAINING_CODES = _codes("00:0-1,8-11 01:0-8 02:0-9 03:0-4,11-16 04:8-12 05:0-3,8-12")
VALIDATION_CODES = _codes("00:2-7 01:9-15 03:5-10,17-23 04:0-7 05:4-7,13")


def read(root: Path) -> Rated:
    """The images with their pristine ones and, where there are any, their degraded inputs."""
    files = {path.name: path for path in sorted(root.rglob("*.bmp"))}
    has_inputs = any(name.startswith("ref_") for name in files)
    for name, elo in sorted(_ratings(root).items()):
        content, category, _ = name.split("_")
        rated = RatedImage(
            image=files.get(name, root / name),
            score=(elo - 900) / 1000,
            content=content,
            reference=files.get(f"{content}.bmp", root / f"{content}.bmp"),
            subset=CATEGORIES[int(category)],
            degraded=files.get(f"ref_{name}", root / f"ref_{name}") if has_inputs else None,
        )
        yield rated, drawn_validation("pipal", content, VALIDATION_SHARE)


def _ratings(root: Path) -> dict[str, float]:
    """Elo of each rated image by its file name; text files that are no labels are left out."""
    lines = [
        line.split(",")
        for file in sorted(root.rglob("*.txt"))
        for line in file.read_text("utf-8", "replace").splitlines()
    ]
    ratings = {name.strip(): float(rest[0]) for name, *rest in lines if rest and NAME.fullmatch(name.strip())}
    if not ratings:
        raise ConfigError(
            f"no PIPAL labels (*.txt with lines 'A0001_00_00.bmp,1520.0648') below {root}",
            "unpack Train_Label.zip, Train_Ref.zip, the Train_Dist archives and the matched degraded images there",
        )
    return ratings


def in_protocol(rated: RatedImage, split: Split) -> bool:
    """Whether the distortion code is one of the split's in the degraded-reference protocol."""
    return rated.image.stem.partition("_")[2] in (TRAINING_CODES if split == "train" else VALIDATION_CODES)


SET = RatedSet(read, groups="content", in_protocol=in_protocol)
