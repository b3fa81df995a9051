"""Readers of rated images: every official layout in miniature, scores by hand, splits, and errors."""

import csv
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import openpyxl
import pytest
from scipy.io import savemat

from drmetric.data.label_files import drawn_split
from drmetric.data.rated import OPINIONS, RatedImage, Split, read_opinions
from drmetric.data.sets.synthetic import LIVE_FOLDERS, TID2013_TYPES
from drmetric.errors import ConfigError, MissingDependencyError

SPLITS: tuple[Split, ...] = get_args(Split)
TWINS = ("ss03 (5545).jpg", "ss03 (6785).jpg")
"""Two files of BIQ2021 that show the same photograph."""


def share(kind: str, content: str) -> float:
    return zlib.crc32(f"{kind}/{content}".encode()) / 2**32


def touch(root: Path, names: Iterable[str]) -> None:
    """Empty image files: readers only list them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_xlsx(path: Path, sheets: dict[str, list[Sequence[object]]]) -> None:
    """Sheets with an empty line above the headings, as some official ones have."""
    book = openpyxl.Workbook()
    assert book.active is not None
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        sheet.append([])
        for row in rows:
            sheet.append(list(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def koniq10k(root: Path) -> None:
    rows = [("1.jpg", 1, 0, "training"), ("2.jpg", 100, 0.8, "validation"), ("3.jpg", 50.5, 0.4, "test")]
    table = [(name, *[0.2] * 5, 100, mos, sd, part) for name, mos, sd, part in rows]
    write_csv(
        root / "koniq10k_distributions_sets.csv",
        [("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "set"), *table],
    )
    touch(root, [f"{size}/{name}" for name, *_ in rows for size in ("1024x768", "512x384")])


def spaq(root: Path) -> None:
    rows = [(f"{n:05d}.jpg", 2.5 * n, 50, 50) for n in range(1, 31)]
    write_xlsx(
        root / "Annotations/MOS and Image attribute scores.xlsx",
        {"Sheet1": [("Image name", "MOS", "Brightness", "Colorfulness"), *rows]},
    )
    touch(root, [f"TestImage/{row[0]}" for row in rows])


def live_itw(root: Path) -> None:
    training, rated = [f"t{n}.bmp" for n in range(1, 8)], [f"{n}.bmp" for n in range(20, 62)] + ["62.JPG"]
    (root / "Data").mkdir(parents=True)
    count = len(training + rated)
    names = np.array([training + rated], dtype=object).T
    savemat(root / "Data/AllImages_release.mat", {"AllImages_release": names})
    savemat(root / "Data/AllMOS_release.mat", {"AllMOS_release": np.arange(count)[None] * 2.0})
    savemat(root / "Data/AllStdDev_release.mat", {"AllStdDev_release": np.full((1, count), 19.5)})
    touch(root, [f"Images/{name}" for name in rated] + [f"Images/trainingImages/{name}" for name in training])


def bid(root: Path) -> None:
    rows = [(n, 4.5 if n == 7 else 1.25, 0.5, 3) for n in range(7, 40)]
    headings = ("Image Number", "Average Subjective Grade", "std", "Observer 1")
    write_xlsx(root / "DatabaseGrades.xlsx", {"Plan1": [headings, *rows, (None, 1.3, None, None)], "Plan2": [("x",)]})
    touch(root, [f"DatabaseImage{row[0]:04d}.JPG" for row in rows])


def uhd_iqa(root: Path) -> None:
    rows = [("1.jpg", 0.76, "training", ""), ("2.jpg", 0.5, "validation", "macro"), ("3.jpg", 0.25, "test", "")]
    write_csv(root / "uhd-iqa-metadata.csv", [("image_name", "quality_mos", "set", "subset"), *rows])
    touch(root, [f"{part}/{name}" for name, _, part, _ in rows])


def biq2021(root: Path) -> None:
    train = [(f"ss01 ({n}).jpg", 0.25) for n in range(2100, 2140)] + [("ss02 (1014).jpg", 0.125), (TWINS[0], 0.75)]
    test = [(f"ss02 ({n}).jpg", 0.5) for n in range(2100, 2103)] + [(TWINS[1], 1)]
    write_csv(root / "Train (Images and MOS).csv", [("Image Name", "MOS", "", ""), *((*row, "", "") for row in train)])
    write_csv(root / "Test (Images and MOS).csv", [("Image Name", "MOS"), *test])
    names = [name for name, _ in train + test]
    touch(root, [f"Images/{name.replace('(1014).jpg', '(1014).JPG')}" for name in names])


def agiqa3k(root: Path) -> None:
    names = [(model, n) for n in range(20) for model in ("DALLE2_normal", "sd1.5_lowstep")]
    rows = [(f"{model}_{n:03d}.jpg", f"prompt {n}", 0.2 * n, 0.5) for model, n in names]
    write_csv(root / "data.csv", [("name", "prompt", "mos_quality", "std_quality"), *rows])
    touch(root, [row[0] for row in rows])


def kadid10k(root: Path) -> None:
    rows = [
        (f"I{scene:02d}_{type_:02d}_01.png", f"I{scene:02d}.png", scene / 10 + 1, 0.4)
        for scene in range(1, 21)
        for type_ in (2, 25)
    ]
    write_csv(root / "dmos.csv", [("dist_img", "ref_img", "dmos", "var"), *rows])
    touch(root, [f"images/{name}" for row in rows for name in row[:2]])


def tid2013(root: Path) -> None:
    names = [f"i{scene:02d}_{type_:02d}_5.bmp" for scene in range(1, 26) for type_ in (1, 24)]
    lines = (f"{n * 0.09:.5f} {name.upper() if n % 2 else name}" for n, name in enumerate(names))
    root.mkdir(parents=True)
    (root / "mos_with_names.txt").write_text("\r\n".join(lines) + "\r\n")
    touch(root, [f"distorted_images/{name if n % 3 else name.upper()}" for n, name in enumerate(names)])
    touch(root, [f"reference_images/{f'I{n:02d}.BMP' if n < 25 else 'i25.bmp'}" for n in range(1, 26)])


CSIQ_SCENES = (1600, "boston", "bridge", "butter_flower", "cactus", "couple", "elk", "fisher", "foxy", "geckos")
CSIQ_FOLDERS = {"noise": "AWGN", "blur": "BLUR", "contrast": "contrast", "jpeg 2000": "jpeg2000"}


def csiq(root: Path) -> None:
    ratings = [(scene, type_, n / 10) for n, scene in enumerate(CSIQ_SCENES, 1) for type_ in CSIQ_FOLDERS]
    rows = [(scene, 1, type_, 3, 0.0625, dmos) for scene, type_, dmos in ratings]
    headings = ("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos")
    write_xlsx(root / "csiq.DMOS.xlsx", {"z_crit": [("z",)], "all_by_image": [headings, *rows]})
    for scene, type_, _ in ratings:
        folder = CSIQ_FOLDERS[type_]
        touch(root, [f"src_imgs/{scene}.png", f"dst_imgs/{folder.lower()}/{scene}.{folder}.3.png"])


def live(root: Path) -> None:
    count = sum(LIVE_FOLDERS.values())
    rated = {n * 227: f"scene{n}.bmp" for n in range(2)} | {982 - n: f"scene{n}.bmp" for n in range(1, 20)}
    names = np.array([[rated.get(n, "copy.bmp") for n in range(count)]], dtype=object)
    copies = np.array([[n not in rated for n in range(count)]], dtype=np.uint8)
    root.mkdir(parents=True)
    savemat(root / "dmos_realigned.mat", {"dmos_new": np.where(copies, 0, 54.565), "orgs": copies})
    savemat(root / "refnames_all.mat", {"refnames_all": names})
    touch(root, [f"refimgs/{name}" for name in rated.values()])
    touch(root, ["jp2k/img1.bmp", "jpeg/img1.bmp", *(f"fastfading/img{175 - n}.bmp" for n in range(1, 20))])


def pipal(root: Path) -> None:
    for scene in range(1, 34):
        names = [f"A{scene:04d}_{category:02d}_01.bmp" for category in (0, 6)]
        (root / "Train_Label").mkdir(parents=True, exist_ok=True)
        lines = (f"{name},{1000 + 100 * place + 0.5 * scene}\n" for place, name in enumerate(names))
        (root / f"Train_Label/A{scene:04d}.txt").write_text("".join(lines))
        touch(root, [f"Train_Ref/A{scene:04d}.bmp", *(f"Train_Dist/Distortion_1/{name}" for name in names)])
        touch(root, [f"Degraded/ref_{name}" for name in names])


SRIQA_METHODS = {"SwinIR": 12.5, "SUPIR": 100.0}


def sriqa_bench(root: Path) -> None:
    (root / "MOS").mkdir(parents=True)
    for scene, separator in (("online4", ","), ("srtest18", " ")):
        scores = {f"{scene}_{method}x4.png": mos for method, mos in SRIQA_METHODS.items()}
        lines = (f"{name}{separator}{mos}\n" for name, mos in {**scores, f"{scene}_Original.png": 80.0}.items())
        (root / f"MOS/{scene}.txt").write_text("".join(lines))
        touch(root, [f"images/{method}/{scene}_{method}x4.png" for method in SRIQA_METHODS])
        touch(root, [f"images/Original/{scene}_Original.png", f"LRImages/{scene}_Original.png"])


def qads(root: Path) -> None:
    names = [f"img{scene:02d}_{scale}_{method}.png" for scene in range(1, 21) for scale in (2, 4) for method in (1, 21)]
    root.mkdir(parents=True)
    (root / "mos_with_names.txt").write_text("".join(f"{n / 80:.5f}  {name}\n" for n, name in enumerate(names)))
    touch(root, [f"super-resolved_images/{name}" for name in names])
    touch(root, [f"source_images/img{scene:02d}.bmp" for scene in range(1, 21)])


AUTHENTIC = (koniq10k, spaq, live_itw, bid, uhd_iqa, biq2021, agiqa3k)
SYNTHETIC = (kadid10k, tid2013, csiq, live)
RESTORED = (pipal, sriqa_bench, qads)
WRITERS: dict[str, Callable[[Path], None]] = {writer.__name__: writer for writer in (*AUTHENTIC, *SYNTHETIC, *RESTORED)}


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def write(kind: str) -> Path:
        WRITERS[kind](tmp_path / kind)
        return tmp_path / kind

    return write


def test_every_set_is_tried_and_described() -> None:
    assert set(WRITERS) | {"conditions", "corpus"} == set(OPINIONS)  # those: test_conditions, test_corpus
    assert all(each.description and each.terms and each.read.__doc__ for each in OPINIONS.values())


def rated(image: str, score: float, content: str, **more: Any) -> RatedImage:
    """A rated image with its paths below the folder of the set."""
    files = {name: Path(more.pop(name)) for name in ("reference", "degraded") if name in more}
    return RatedImage(Path(image), score, content, **files, **more)


EXPECTED = {
    "koniq10k": [
        3,
        rated("1024x768/1.jpg", 0, "1", spread=0),
        rated("1024x768/2.jpg", 1, "2", spread=0.2),
        rated("1024x768/3.jpg", 0.5, "3", spread=0.1),
    ],
    "spaq": [30, rated("TestImage/00030.jpg", 0.75, "00030")],
    "live_itw": [
        43,
        rated("Images/20.bmp", 0.14, "20", spread=0.195),
        rated("Images/62.JPG", 0.98, "62", spread=0.195),
    ],
    "bid": [33, rated("DatabaseImage0007.JPG", 0.9, "DatabaseImage0007", spread=0.1)],
    "uhd_iqa": [3, rated("validation/2.jpg", 0.5, "2", subset="macro"), rated("test/3.jpg", 0.25, "3")],
    "biq2021": [
        46,
        rated("Images/ss02 (1014).JPG", 0.125, "ss02 (1014)", subset="ss02"),
        rated(f"Images/{TWINS[0]}", 0.75, "ss03 (5545)", subset="ss03"),
        rated(f"Images/{TWINS[1]}", 1, "ss03 (5545)", subset="ss03"),
    ],
    "agiqa3k": [40, rated("sd1.5_lowstep_019.jpg", 0.76, "prompt 19", spread=0.1, subset="sd1.5")],
    "kadid10k": [
        40,
        rated("images/I20_02_01.png", 0.5, "I20", reference="images/I20.png", spread=0.1, subset="lens_blur"),
        rated("images/I01_25_01.png", 0.025, "I01", reference="images/I01.png", spread=0.1, subset="contrast_change"),
    ],
    "tid2013": [
        50,
        rated("distorted_images/I01_01_5.BMP", 0, "I01", reference="reference_images/I01.BMP", subset=TID2013_TYPES[0]),
        rated(
            "distorted_images/i25_24_5.bmp", 0.49, "I25", reference="reference_images/i25.bmp", subset=TID2013_TYPES[23]
        ),
    ],
    "csiq": [
        40,
        rated(
            "dst_imgs/awgn/1600.AWGN.3.png", 0.9, "1600", reference="src_imgs/1600.png", spread=0.0625, subset="awgn"
        ),
        rated(
            "dst_imgs/jpeg2000/geckos.jpeg2000.3.png",
            0,
            "geckos",
            reference="src_imgs/geckos.png",
            spread=0.0625,
            subset="jpeg2000",
        ),
    ],
    "live": [
        21,
        rated("jp2k/img1.bmp", 0.5, "scene0", reference="refimgs/scene0.bmp", subset="jp2k"),
        rated("fastfading/img174.bmp", 0.5, "scene1", reference="refimgs/scene1.bmp", subset="fastfading"),
    ],
    "pipal": [
        66,
        rated(
            "Train_Dist/Distortion_1/A0002_06_01.bmp",
            0.201,
            "A0002",
            reference="Train_Ref/A0002.bmp",
            subset="traditional_distortion",
            degraded="Degraded/ref_A0002_06_01.bmp",
        ),
    ],
    "sriqa_bench": [
        4,
        rated(
            "images/SwinIR/online4_SwinIRx4.png",
            0.125,
            "online4",
            reference="images/Original/online4_Original.png",
            subset="regression",
            degraded="LRImages/online4_Original.png",
        ),
        rated(
            "images/SUPIR/srtest18_SUPIRx4.png",
            1,
            "srtest18",
            reference="images/Original/srtest18_Original.png",
            subset="generation",
            degraded="LRImages/srtest18_Original.png",
        ),
    ],
    "qads": [
        80,
        rated(
            "super-resolved_images/img20_4_21.png", 79 / 80, "img20", reference="source_images/img20.bmp", subset="x4"
        ),
    ],
}
"""How many images the miniature of each set has, and some of them."""


@pytest.mark.parametrize("kind", WRITERS)
def test_images_scores_and_contents_are_those_of_the_layout(folder: Callable[[str], Path], kind: str) -> None:
    root = folder(kind)
    images = read_opinions(kind, root)
    assert [each.image for each in images] == sorted(each.image for each in images)
    by_path = {each.image.relative_to(root): each for each in images}
    count, *expected = EXPECTED[kind]
    assert len(images) == len(by_path) == count
    for each in expected:
        found = by_path[each.image]
        below = [file and file.relative_to(root) for file in (found.reference, found.degraded)]
        assert below == [each.reference, each.degraded]
        assert (found.content, found.subset) == (each.content, each.subset)
        assert found.score == pytest.approx(each.score, abs=1e-5)
        assert found.spread == (None if each.spread is None else pytest.approx(each.spread))


SPLITS_OF: dict[str, tuple[Split, ...]] = {"pipal": ("train", "validation"), "sriqa_bench": ("test",)}
"""Of the sets that lack one of the three."""


@pytest.mark.parametrize("kind", WRITERS)
def test_splits_make_up_the_set_and_share_no_content(folder: Callable[[str], Path], kind: str) -> None:
    root = folder(kind)
    parts = {split: read_opinions(kind, root, split) for split in SPLITS_OF.get(kind, SPLITS)}
    whole = read_opinions(kind, root)
    assert sorted((rated for part in parts.values() for rated in part), key=lambda rated: rated.image) == whole
    contents = {split: {rated.content for rated in parts.get(split, [])} for split in SPLITS}
    assert not contents["train"] & contents["validation"]
    if kind != "biq2021":
        assert not contents["test"] & (contents["train"] | contents["validation"])


OWN_SPLIT = ("koniq10k", "uhd_iqa", "biq2021", "pipal", "sriqa_bench")


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind not in OWN_SPLIT])
def test_sets_without_official_split_are_drawn_by_content(folder: Callable[[str], Path], kind: str) -> None:
    root = folder(kind)
    for split, low, high in (("train", 0, 0.7), ("validation", 0.7, 0.8), ("test", 0.8, 1)):
        images = read_opinions(kind, root, split)  # type: ignore[arg-type]
        assert all(low <= share(kind, each.content) < high for each in images)


def test_drawn_splits_have_the_stated_shares() -> None:
    drawn = [drawn_split("spaq", f"{n:05d}") for n in range(1, 11126)]
    shares = {split: drawn.count(split) / len(drawn) for split in SPLITS}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01)


@pytest.mark.parametrize("kind", ["koniq10k", "uhd_iqa"])
def test_official_splits_are_kept(folder: Callable[[str], Path], kind: str) -> None:
    root = folder(kind)
    assert [[each.content for each in read_opinions(kind, root, split)] for split in SPLITS] == [["1"], ["2"], ["3"]]


def test_biq2021_draws_validation_from_its_training_part(folder: Callable[[str], Path]) -> None:
    root = folder("biq2021")
    train, validation, test = (read_opinions("biq2021", root, split) for split in SPLITS)
    assert (len(train) + len(validation), len(test)) == (42, 4)
    assert all(share("biq2021", each.content) < 0.1 for each in validation)
    assert all(share("biq2021", each.content) >= 0.1 for each in train)


def test_biq2021_contents_tell_test_images_with_a_twin_in_the_training_part(folder: Callable[[str], Path]) -> None:
    root = folder("biq2021")
    trained = {each.content for split in SPLITS[:2] for each in read_opinions("biq2021", root, split)}
    twins = [each for each in read_opinions("biq2021", root, "test") if each.content in trained]
    assert [each.image.name for each in twins] == [TWINS[1]]


def test_koniq10k_falls_back_on_half_size(folder: Callable[[str], Path]) -> None:
    root = folder("koniq10k")
    (root / "1024x768").rename(root / "elsewhere")
    assert {each.image.parent.name for each in read_opinions("koniq10k", root)} == {"512x384"}


@pytest.mark.parametrize(
    ("kind", "moved", "inside"), [("bid", "*.JPG", "ImageDatabase"), ("agiqa3k", "*.jpg", "AGIQA-3K")]
)
def test_images_in_a_folder_of_their_own(folder: Callable[[str], Path], kind: str, moved: str, inside: str) -> None:
    root = folder(kind)
    scores = [each.score for each in read_opinions(kind, root)]
    (root / inside).mkdir()
    for file in root.glob(moved):
        file.rename(root / inside / file.name)
    assert [each.score for each in read_opinions(kind, root)] == scores


def test_folders_in_another_case_are_found(folder: Callable[[str], Path]) -> None:
    root = folder("spaq")
    (root / "Annotations").rename(root / "annotations")
    assert len(read_opinions("spaq", root)) == 30


def test_csiq_text_reads_as_the_spreadsheet_without_spread(folder: Callable[[str], Path]) -> None:
    root = folder("csiq")
    images = read_opinions("csiq", root)
    lines = [f"{each.image.name} {1 - each.score:.6f}" for each in images]
    (root / "csiq.DMOS.xlsx").unlink()
    (root / "csiq_label.txt").write_text("\n".join(lines) + "\n")
    (root / "dst_imgs_all").mkdir()
    for each in images:
        each.image.rename(root / "dst_imgs_all" / each.image.name)
    read = {each.image.name: each for each in read_opinions("csiq", root)}
    for each in images:
        found = read[each.image.name]
        assert found.score == pytest.approx(each.score)
        assert (found.content, found.reference, found.subset) == (each.content, each.reference, each.subset)
        assert found.spread is None


LABELS = {
    "koniq10k": "koniq10k_distributions_sets.csv",
    "spaq": "Annotations/MOS and Image attribute scores.xlsx",
    "live_itw": "Data/AllMOS_release.mat",
    "bid": "DatabaseGrades.xlsx",
    "uhd_iqa": "uhd-iqa-metadata.csv",
    "biq2021": "Test (Images and MOS).csv",
    "agiqa3k": "data.csv",
    "kadid10k": "dmos.csv",
    "tid2013": "mos_with_names.txt",
    "csiq": "csiq.DMOS.xlsx",
    "live": "refnames_all.mat",
    "qads": "mos_with_names.txt",
}
"""Of the sets with a fixed list of label files."""


@pytest.mark.parametrize("kind", LABELS)
def test_missing_label_file_is_named(folder: Callable[[str], Path], kind: str) -> None:
    root = folder(kind)
    (root / LABELS[kind]).unlink()
    with pytest.raises(ConfigError, match=rf"(?s)no {re.escape(LABELS[kind])}.*fix: unpack"):
        read_opinions(kind, root)


@pytest.mark.parametrize("kind", LABELS)
def test_broken_label_file_is_named(folder: Callable[[str], Path], kind: str) -> None:
    root = folder(kind)
    (root / LABELS[kind]).write_text("nothing of the kind\n")
    with pytest.raises(ConfigError, match=re.escape(LABELS[kind].split("/")[-1])):
        read_opinions(kind, root)


@pytest.mark.parametrize(("kind", "message"), [("pipal", "no PIPAL labels"), ("sriqa_bench", r"no MOS/\*\.txt")])
def test_missing_label_files_of_a_folder_are_named(folder: Callable[[str], Path], kind: str, message: str) -> None:
    root = folder(kind)
    for file in root.rglob("*.txt"):
        file.unlink()
    with pytest.raises(ConfigError, match=rf"(?s){message}.*fix: unpack"):
        read_opinions(kind, root)


@pytest.mark.parametrize("line", ["online4_SwinIRx4.png", "online5_SwinIRx4.png,3", "online4_SwinIRx4.png,good"])
def test_broken_lines_of_sriqa_bench_are_quoted(folder: Callable[[str], Path], line: str) -> None:
    root = folder("sriqa_bench")
    (root / "MOS/online4.txt").write_text(line + "\n")
    with pytest.raises(ConfigError, match=re.escape(line.split(",")[-1] if "good" in line else line.split(",")[0])):
        read_opinions("sriqa_bench", root)


def test_sriqa_bench_reads_folders_named_with_the_scale(folder: Callable[[str], Path]) -> None:
    root = folder("sriqa_bench")
    (root / "images/SwinIR").rename(root / "images/SwinIRx4")
    assert len(read_opinions("sriqa_bench", root)) == 4


def test_pipal_without_matched_inputs_has_none_and_with_some_wants_all(folder: Callable[[str], Path]) -> None:
    root = folder("pipal")
    inputs = sorted((root / "Degraded").iterdir())
    inputs[0].unlink()
    with pytest.raises(ConfigError, match=f"1 of the 165 pipal images are missing.*{inputs[0].name}"):
        read_opinions("pipal", root)
    for file in inputs[1:]:
        file.unlink()
    assert {each.degraded for each in read_opinions("pipal", root)} == {None}


def test_pipal_validates_on_the_contents_that_its_triplets_do(folder: Callable[[str], Path]) -> None:
    root = folder("pipal")
    assert all(share("pipal", each.content) < 1 / 8 for each in read_opinions("pipal", root, "validation"))
    assert all(share("pipal", each.content) >= 1 / 8 for each in read_opinions("pipal", root, "train"))


@pytest.mark.parametrize("kind", ["kadid10k", "tid2013", "csiq", "live"])
def test_missing_images_are_counted_and_named(folder: Callable[[str], Path], kind: str) -> None:
    root = folder(kind)
    images = read_opinions(kind, root)
    gone = [images[0].image, images[1].image, images[2].reference]
    for file in gone:
        assert file is not None
        file.unlink()
    wanted = len({file for each in images for file in (each.image, each.reference)})
    with pytest.raises(ConfigError, match=f"3 of the {wanted} {kind} images are missing") as caught:
        read_opinions(kind, root)
    assert images[0].image.name.lower() in str(caught.value).lower()


def test_only_the_images_of_the_split_must_be_there(folder: Callable[[str], Path]) -> None:
    root = folder("koniq10k")
    (root / "1024x768/3.jpg").unlink()
    assert read_opinions("koniq10k", root, "train")
    with pytest.raises(ConfigError, match=r"1 of the 1 koniq10k images are missing below .*: 1024x768/3\.jpg\n"):
        read_opinions("koniq10k", root, "test")


def test_unknown_sets_and_splits_are_refused(folder: Callable[[str], Path]) -> None:
    root = folder("koniq10k")
    with pytest.raises(ConfigError, match=r"(?s)'koniq'.*one of: koniq10k, spaq"):
        read_opinions("koniq", root)
    with pytest.raises(ConfigError, match=r"(?s)'val'.*one of: train, validation, test"):
        read_opinions("koniq10k", root, "val")  # type: ignore[arg-type]


def uhd_with(root: Path, **changed: str) -> Path:
    row = {"image_name": "1.jpg", "quality_mos": "0.5", "set": "training", "subset": "", **changed}
    write_csv(root / "uhd-iqa-metadata.csv", [row.keys(), row.values()])
    touch(root, ["training/1.jpg"])
    return root


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"quality_mos": "0.5"}, "no validation images"),
        ({"quality_mos": ""}, "quality_mos is ''; wanted a number"),
        ({"quality_mos": "nan"}, "quality_mos is 'nan'; wanted a number"),
        ({"set": "trial"}, "unknown set 'trial'"),
    ],
)
def test_unusable_rows_are_refused(tmp_path: Path, changed: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_opinions("uhd_iqa", uhd_with(tmp_path, **changed), "validation")


def test_scores_on_another_scale_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)1\.jpg in uhd_iqa.*is 76; wanted 0\.\.1.*official"):
        read_opinions("uhd_iqa", uhd_with(tmp_path, quality_mos="76"))


def test_live_of_another_length_is_refused(folder: Callable[[str], Path]) -> None:
    root = folder("live")
    savemat(root / "dmos_realigned.mat", {"dmos_new": np.zeros((1, 3)), "orgs": np.zeros((1, 3))})
    with pytest.raises(ConfigError, match="3 scores; wanted 982"):
        read_opinions("live", root)


def test_spreadsheet_without_sheet_or_headings_is_refused(folder: Callable[[str], Path]) -> None:
    root = folder("csiq")
    write_xlsx(root / "csiq.DMOS.xlsx", {"other": [("image", "dmos")]})
    with pytest.raises(ConfigError, match="all_by_image"):
        read_opinions("csiq", root)
    write_xlsx(root / "csiq.DMOS.xlsx", {"all_by_image": [("image", "dmos")]})
    with pytest.raises(ConfigError, match="no line of headings with image, dst_type"):
        read_opinions("csiq", root)


def test_matlab_files_need_scipy(folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder("live")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'drmetric\[bench\]'"):
        read_opinions("live", root)


REAL = {"biq2021": (12000, 2000), "live_itw": (1162, 256)}
"""Images of the whole set and of its test split."""


@pytest.mark.parametrize("kind", REAL)
def test_published_set(kind: str) -> None:
    root = Path(os.environ.get("DRMETRIC_HUMAN_DATA", "")) / kind
    if not root.is_dir():
        pytest.skip(f"set DRMETRIC_HUMAN_DATA to a folder with the published {kind}/ in it")
    assert (len(read_opinions(kind, root)), len(read_opinions(kind, root, "test"))) == REAL[kind]
    if kind == "biq2021":
        trained = {each.content for split in SPLITS[:2] for each in read_opinions(kind, root, split)}
        assert sum(each.content in trained for each in read_opinions(kind, root, "test")) == 116
