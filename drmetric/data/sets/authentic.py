"""Readers of photographs, and of generated images, that people rated without a reference."""

import csv
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path

from drmetric.data.label_files import (
    Rated,
    RatedImage,
    SetFolder,
    drawn_split,
    drawn_validation,
    number,
    official_split,
    read_csv,
    read_mat,
    read_xlsx,
)

_LIVE_ITW_TRAINING_IMAGES = 7


def koniq10k(root: Path) -> Rated:
    """KonIQ-10k (Hosu, Lin, Sziranyi and Saupe, IEEE TIP 29, 2020): 10,073 photographs.

    ``koniq10k_distributions_sets.csv`` and the photographs in ``1024x768/``, or if there is no such folder in
    ``512x384/``. Score: the MOS, 1..100, to 0..1. Spread: SD, of ratings on 1..5, divided by 4. Official split (7,058
    / 1,000 / 2,015).
    """
    folder = SetFolder(root)
    path = folder.labels("koniq10k_distributions_sets.csv")
    size = "1024x768" if folder.has("1024x768") else "512x384"
    for row in read_csv(path, ("image_name", "MOS", "SD", "set")):
        name = row["image_name"]
        rated = RatedImage(
            image=folder.image(f"{size}/{name}"),
            score=(number(row, "MOS", path) - 1) / 99,
            content=Path(name).stem,
            spread=number(row, "SD", path) / 4,
        )
        yield rated, official_split(row, path)


def spaq(root: Path) -> Rated:
    """SPAQ (Fang, Zhu, Zeng, Ma and Wang, CVPR 2020): 11,125 photographs of 66 smartphones.

    ``Annotations/MOS and Image attribute scores.xlsx`` and ``TestImage/``. Score: the MOS, 0..100, to 0..1. No
    official split: contents are drawn 70/10/20 by a hash.
    """
    folder = SetFolder(root)
    path = folder.labels("Annotations/MOS and Image attribute scores.xlsx")
    for row in read_xlsx(path, ("Image name", "MOS")):
        content = Path(row["Image name"]).stem
        image = folder.image(f"TestImage/{row['Image name']}")
        yield RatedImage(image, number(row, "MOS", path) / 100, content), drawn_split("spaq", content)


def live_itw(root: Path) -> Rated:
    """LIVE In the Wild, or ChallengeDB (Ghadiyaram and Bovik, IEEE TIP 25, 2016): 1,162 photographs.

    ``Data/AllImages_release.mat``, ``Data/AllMOS_release.mat``, ``Data/AllStdDev_release.mat`` and ``Images/``. The
    first 7, of ``Images/trainingImages/``, taught the raters the task and are left out, as usual. Score and spread:
    MOS and standard deviation on 0..100, divided by 100. No official split: contents are drawn 70/10/20 by a hash.
    """
    folder = SetFolder(root)
    names, opinions, deviations = (
        read_mat(folder.labels(f"Data/{variable}.mat"), variable)
        for variable in ("AllImages_release", "AllMOS_release", "AllStdDev_release")
    )
    ratings = zip(names, opinions, deviations, strict=True)
    for name, opinion, deviation in islice(ratings, _LIVE_ITW_TRAINING_IMAGES, None):
        rated = RatedImage(
            image=folder.image(f"Images/{name}"),
            score=opinion / 100,
            content=Path(name).stem,
            spread=deviation / 100,
        )
        yield rated, drawn_split("live_itw", rated.content)


def bid(root: Path) -> Rated:
    """BID, the blurred image database (Ciancio et al., IEEE TIP 20, 2011): 586 photographs.

    ``DatabaseGrades.xlsx`` and the photographs ``DatabaseImage0001.JPG`` ... beside it or in ``ImageDatabase/``.
    Score: the average subjective grade, 0..5, divided by 5; the same for the spread, if there is a column std. No
    official split: contents are drawn 70/10/20 by a hash.
    """
    folder = SetFolder(root)
    path = folder.labels("DatabaseGrades.xlsx")
    for row in read_xlsx(path, ("Image Number", "Average Subjective Grade")):
        content = f"DatabaseImage{number(row, 'Image Number', path):04.0f}"
        rated = RatedImage(
            image=folder.image(f"{content}.JPG", f"ImageDatabase/{content}.JPG"),
            score=number(row, "Average Subjective Grade", path) / 5,
            content=content,
            spread=number(row, "std", path) / 5 if row.get("std") else None,
        )
        yield rated, drawn_split("bid", content)


def uhd_iqa(root: Path) -> Rated:
    """UHD-IQA (Hosu, Agnolucci, Wiedemann, Iso and Saupe, ECCV Workshops 2024): 6,073 photographs 3,840 px wide.

    ``uhd-iqa-metadata.csv`` and the photographs in ``training/``, ``validation/`` and ``test/``. Score: the quality
    MOS as it is, 0..1. Subset: the column of that name. Official split (4,269 / 904 / 900).
    """
    folder = SetFolder(root)
    path = folder.labels("uhd-iqa-metadata.csv")
    for row in read_csv(path, ("image_name", "quality_mos", "set", "subset")):
        rated = RatedImage(
            image=folder.image(f"{row['set']}/{row['image_name']}"),
            score=number(row, "quality_mos", path),
            content=Path(row["image_name"]).stem,
            subset=row["subset"],
        )
        yield rated, official_split(row, path)


def biq2021(root: Path) -> Rated:
    """BIQ2021 (Ahmed and Asif, Journal of Electronic Imaging 31, 2022): 12,000 photographs of 512 px.

    ``Train (Images and MOS).csv``, ``Test (Images and MOS).csv`` and ``Images/``. Score: the MOS as it is, 0..1.
    Subset: ss01, ss02 or ss03. Official split (10,000 / 2,000), with validation drawn from its training part, 10 %
    by a hash of the content.

    The content is the group of near-duplicates, so training and validation share none. The official split does
    divide groups: 116 test images have a near-duplicate in its training part, and their content tells which. The
    groups are in ``biq2021_duplicates.csv`` beside this file, written by ``benchmarks/data/duplicates.py``.
    """
    folder = SetFolder(root)
    for part in ("Train", "Test"):
        path = folder.labels(f"{part} (Images and MOS).csv")
        for row in read_csv(path, ("Image Name", "MOS")):
            name = row["Image Name"]
            content = _biq2021_groups().get(name.lower(), Path(name).stem)
            rated = RatedImage(
                image=folder.image(f"Images/{name}"),
                score=number(row, "MOS", path),
                content=content,
                subset=name.split()[0],
            )
            yield rated, "test" if part == "Test" else drawn_validation("biq2021", content)


@cache
def _biq2021_groups() -> dict[str, str]:
    text = (files("drmetric.data.sets") / "biq2021_duplicates.csv").read_text(encoding="utf-8")
    return {row["image"].lower(): row["group"] for row in csv.DictReader(text.splitlines())}


def agiqa3k(root: Path) -> Rated:
    """AGIQA-3K (Li et al., IEEE TCSVT 2023): 2,982 images that six text-to-image models generated.

    ``data.csv`` and the images beside it or in ``AGIQA-3K/``. Score and spread: MOS and standard deviation of the
    perceptual quality on 0..5, divided by 5. Content: the prompt. Subset: the model, as file names begin. No
    official split: contents are drawn 70/10/20 by a hash.
    """
    folder = SetFolder(root)
    path = folder.labels("data.csv")
    for row in read_csv(path, ("name", "prompt", "mos_quality", "std_quality")):
        rated = RatedImage(
            image=folder.image(row["name"], f"AGIQA-3K/{row['name']}"),
            score=number(row, "mos_quality", path) / 5,
            content=row["prompt"].strip(),
            spread=number(row, "std_quality", path) / 5,
            subset=row["name"].split("_")[0],
        )
        yield rated, drawn_split("agiqa3k", rated.content)
