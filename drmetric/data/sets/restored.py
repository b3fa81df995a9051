"""Readers of restored images that people rated, with their pristine images and, where published, their inputs.

Raters compared restorations of one scene: scores of two scenes are not on one scale, so statistics within contents
say more than pooled ones.
"""

import re
from pathlib import Path

from drmetric.data.label_files import Rated, RatedImage, SetFolder, drawn_split, number, read_words
from drmetric.data.triplets import PIPAL_NAME, pipal_scores, pipal_split
from drmetric.errors import ConfigError

PIPAL_CATEGORIES = (
    "traditional_sr",
    "psnr_oriented_sr",
    "sr_with_kernel_mismatch",
    "gan_based_sr",
    "denoising",
    "sr_and_denoising",
    "traditional_distortion",
)
"""Names of PIPAL's categories 0 to 6, inferred from how many variants each has: the release does not name them."""

SRIQA_REGRESSION = ("SwinIR", "RealESRNet")
"""The super-resolvers of SRIQA-Bench that its authors call regression-based; the other eight are generative."""


def pipal(root: Path) -> Rated:
    """PIPAL (Gu et al., ECCV 2020): 23,200 restored or distorted versions of 200 scenes.

    Below `root`, in any folders: the labels, ``*.txt`` with lines ``A0001_00_00.bmp,1520.0648``; the images; the
    pristine ones ``A0001.bmp``; and, if there are any, the degraded inputs ``ref_A0001_00_00.bmp`` that the authors
    of CKDN matched to them. Score: (Elo - 900) / 1000, as the Elo lies in 916..1,836. Subset: the category, one of
    `PIPAL_CATEGORIES`. Split: the contents that `drmetric.data.triplets` trains on, and those it validates on; the
    labels of the official validation and test sets are not public.
    """
    files = {path.name: path for path in sorted(root.rglob("*.bmp"))}
    has_inputs = any(name.startswith("ref_") for name in files)
    for name, elo in pipal_scores(root).items():
        match = PIPAL_NAME.fullmatch(name)
        assert match is not None
        content, category, _ = match.groups()
        rated = RatedImage(
            image=files.get(name, root / name),
            score=(elo - 900) / 1000,
            content=content,
            reference=files.get(f"{content}.bmp", root / f"{content}.bmp"),
            subset=PIPAL_CATEGORIES[int(category)],
            degraded=files.get(f"ref_{name}", root / f"ref_{name}") if has_inputs else None,
        )
        yield rated, pipal_split(content)


def sriqa_bench(root: Path) -> Rated:
    """SRIQA-Bench (Chen, Wu, Ma and Zhang, CVPR 2025): 1,000 images, ten super-resolvers (x4) on 100 scenes.

    ``MOS/<scene>.txt`` with lines ``<scene>_SwinIRx4.png,85.0``, ``images/<method>/``, the pristine images in
    ``images/Original/`` and the degraded inputs in ``LRImages/``, both named ``<scene>_Original.png``. Score: the
    MOS, 0..100, divided by 100; its authors scaled it to the full range within each scene. Subset: "regression" or
    "generation". All images are test images. The 100 pristine images were rated too, and not always best; they
    are left out here, whereas the accuracies that the authors publish count pairs with them.
    """
    folder = SetFolder(root)
    label_files = sorted((root / "MOS").glob("*.txt"))
    if not label_files:
        raise ConfigError(
            f"no MOS/*.txt in {root}",
            f"unpack SRIQA-Bench so that {root / 'MOS'} exists, or give the folder where it does",
        )
    for path in label_files:
        scene = path.stem
        for name, mos in _sriqa_lines(path):
            match = re.fullmatch(rf"{re.escape(scene)}_(\w+?)(?:x4)?\.png", name)
            if match is None:
                raise ConfigError(f"{path}: {name!r} is no image of the scene {scene!r}", f"download {path.name} again")
            method = match[1]
            if method == "Original":
                continue
            rated = RatedImage(
                image=folder.image(f"images/{method}/{name}", f"images/{method}x4/{name}"),
                score=number({"MOS": mos}, "MOS", path) / 100,
                content=scene,
                reference=folder.image(f"images/Original/{scene}_Original.png"),
                subset="regression" if method in SRIQA_REGRESSION else "generation",
                degraded=folder.image(f"LRImages/{scene}_Original.png"),
            )
            yield rated, "test"


def _sriqa_lines(path: Path) -> list[tuple[str, str]]:
    """File names and scores; the authors' own reader takes a comma or a space between them."""
    pairs = []
    for line in filter(None, path.read_text(encoding="utf-8").splitlines()):
        words = re.split(r"[,\s]+", line.strip())
        if len(words) != 2:
            raise ConfigError(f"{path}: {line!r} is not a file name and a score", f"download {path.name} again")
        pairs.append((words[0], words[1]))
    return pairs


def qads(root: Path) -> Rated:
    """QADS (Zhou, Yao, Liu and Qiu, IEEE TIP 28, 2019): 980 images, 21 super-resolvers (x2, x3, x4) on 20 scenes.

    ``mos_with_names.txt`` with lines ``0.48980  img01_2_01.bmp``, ``super-resolved_images/`` and the pristine images in
    ``source_images/``; the degraded inputs are not part of the set. Score: the MOS as it is, 0..1. Subset: the
    scale, x2, x3 or x4. No official split: scenes are drawn 70/10/20 by a hash.
    """
    folder = SetFolder(root)
    path = folder.labels("mos_with_names.txt")
    for mos, name in read_words(path):
        match = re.fullmatch(r"(img\d\d)_(\d)_\d+\.\w+", name, re.IGNORECASE)
        if match is None:
            raise ConfigError(f"{path}: {name!r} is no file name of this data set", f"download {path.name} again")
        content = match[1].lower()
        rated = RatedImage(
            image=folder.image(f"super-resolved_images/{name}"),
            score=number({"MOS": mos}, "MOS", path),
            content=content,
            reference=folder.image(f"source_images/{content}.bmp"),
            subset=f"x{match[2]}",
        )
        yield rated, drawn_split("qads", content)
