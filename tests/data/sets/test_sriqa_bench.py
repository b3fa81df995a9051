"""SRIQA-Bench in miniature."""

import re
from pathlib import Path

import pytest

from drmetric.data.rated import read_opinions, read_triplets
from drmetric.errors import ConfigError
from tests.data.sets.layouts import check, rated, touch

LABELS = "MOS/*.txt"
METHODS = {"SwinIR": 12.5, "SUPIR": 100.0}


def write(root: Path) -> None:
    (root / "MOS").mkdir(parents=True)
    for scene, separator in (("online4", ","), ("srtest18", " ")):
        scores = {f"{scene}_{method}x4.png": mos for method, mos in METHODS.items()}
        lines = (f"{name}{separator}{mos}\n" for name, mos in {**scores, f"{scene}_Original.png": 80.0}.items())
        (root / f"MOS/{scene}.txt").write_text("".join(lines))
        touch(root, [f"images/{method}/{scene}_{method}x4.png" for method in METHODS])
        touch(root, [f"images/Original/{scene}_Original.png", f"LRImages/{scene}_Original.png"])


def test_images_scores_and_contents_without_the_pristine_ones(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "sriqa_bench",
        tmp_path,
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
    )


def test_triplets_are_grouped_by_their_input(tmp_path: Path) -> None:
    write(tmp_path)
    triplets = read_triplets("sriqa_bench", tmp_path, "test")
    assert [triplet.content for triplet in triplets] == ["online4", "online4", "srtest18", "srtest18"]
    assert {triplet.group for triplet in triplets[:2]} == {str(tmp_path / "LRImages/online4_Original.png")}


@pytest.mark.parametrize("line", ["online4_SwinIRx4.png", "online5_SwinIRx4.png,3", "online4_SwinIRx4.png,good"])
def test_broken_lines_are_quoted(tmp_path: Path, line: str) -> None:
    write(tmp_path)
    (tmp_path / "MOS/online4.txt").write_text(line + "\n")
    with pytest.raises(ConfigError, match=re.escape(line.split(",")[-1] if "good" in line else line.split(",")[0])):
        read_opinions("sriqa_bench", tmp_path)


def test_folders_named_with_the_scale_are_read(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "images/SwinIR").rename(tmp_path / "images/SwinIRx4")
    assert len(read_opinions("sriqa_bench", tmp_path)) == 4
