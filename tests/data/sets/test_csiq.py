"""CSIQ in miniature, with the official spreadsheet and with the text file of others."""

from pathlib import Path

import pytest

from drmetric.data.rated import read_opinions
from drmetric.errors import ConfigError
from tests.data.sets.layouts import check, rated, touch, write_xlsx

LABELS = "csiq.DMOS.xlsx"
SCENES = (1600, "boston", "bridge", "butter_flower", "cactus", "couple", "elk", "fisher", "foxy", "geckos")
FOLDERS = {"noise": "AWGN", "blur": "BLUR", "contrast": "contrast", "jpeg 2000": "jpeg2000"}


def write(root: Path) -> None:
    ratings = [(scene, type_, n / 10) for n, scene in enumerate(SCENES, 1) for type_ in FOLDERS]
    rows = [(scene, 1, type_, 3, 0.0625, dmos) for scene, type_, dmos in ratings]
    headings = ("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos")
    write_xlsx(root / LABELS, {"z_crit": [("z",)], "all_by_image": [headings, *rows]})
    for scene, type_, _ in ratings:
        folder = FOLDERS[type_]
        touch(root, [f"src_imgs/{scene}.png", f"dst_imgs/{folder.lower()}/{scene}.{folder}.3.png"])


def test_images_scores_and_contents(tmp_path: Path) -> None:
    write(tmp_path)
    first, last = "dst_imgs/awgn/1600.AWGN.3.png", "dst_imgs/jpeg2000/geckos.jpeg2000.3.png"
    check(
        "csiq",
        tmp_path,
        40,
        rated(first, 0.9, "1600", reference="src_imgs/1600.png", spread=0.0625, subset="awgn"),
        rated(last, 0, "geckos", reference="src_imgs/geckos.png", spread=0.0625, subset="jpeg2000"),
    )


def test_text_reads_as_the_spreadsheet_without_spread(tmp_path: Path) -> None:
    write(tmp_path)
    images = read_opinions("csiq", tmp_path)
    lines = [f"{each.image.name} {1 - each.score:.6f}" for each in images]
    (tmp_path / LABELS).unlink()
    (tmp_path / "csiq_label.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "dst_imgs_all").mkdir()
    for each in images:
        each.image.rename(tmp_path / "dst_imgs_all" / each.image.name)
    read = {each.image.name: each for each in read_opinions("csiq", tmp_path)}
    for each in images:
        found = read[each.image.name]
        assert found.score == pytest.approx(each.score)
        assert (found.content, found.reference, found.subset) == (each.content, each.reference, each.subset)
        assert found.spread is None


def test_spreadsheet_without_sheet_or_headings_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    write_xlsx(tmp_path / LABELS, {"other": [("image", "dmos")]})
    with pytest.raises(ConfigError, match="all_by_image"):
        read_opinions("csiq", tmp_path)
    write_xlsx(tmp_path / LABELS, {"all_by_image": [("image", "dmos")]})
    with pytest.raises(ConfigError, match="no line of headings with image, dst_type"):
        read_opinions("csiq", tmp_path)
