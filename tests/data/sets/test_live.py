"""LIVE release 2 in miniature."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from drmetric.data.rated import read_opinions
from drmetric.data.sets.live import FOLDERS
from drmetric.errors import ConfigError
from tests.data.sets.layouts import check, rated, touch

LABELS = "refnames_all.mat"


def write(root: Path) -> None:
    count = sum(FOLDERS.values())
    scenes = {n * 227: f"scene{n}.bmp" for n in range(2)} | {982 - n: f"scene{n}.bmp" for n in range(1, 20)}
    names = np.array([[scenes.get(n, "copy.bmp") for n in range(count)]], dtype=object)
    copies = np.array([[n not in scenes for n in range(count)]], dtype=np.uint8)
    opinions = np.where(copies, 0, 54.565)
    opinions[0, 981] = 111.78
    root.mkdir(parents=True, exist_ok=True)
    savemat(root / "dmos_realigned.mat", {"dmos_new": opinions, "orgs": copies})
    savemat(root / "refnames_all.mat", {"refnames_all": names})
    touch(root, [f"refimgs/{name}" for name in scenes.values()])
    touch(root, ["jp2k/img1.bmp", "jpeg/img1.bmp", *(f"fastfading/img{175 - n}.bmp" for n in range(1, 20))])


def test_images_scores_and_contents_without_copies_of_pristine_images(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "live",
        tmp_path,
        21,
        rated("jp2k/img1.bmp", 0.5, "scene0", reference="refimgs/scene0.bmp", subset="jp2k"),
        rated("fastfading/img173.bmp", 0.5, "scene2", reference="refimgs/scene2.bmp", subset="fastfading"),
        rated("fastfading/img174.bmp", 0, "scene1", reference="refimgs/scene1.bmp", subset="fastfading"),
    )


def test_label_file_of_another_length_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    savemat(tmp_path / "dmos_realigned.mat", {"dmos_new": np.zeros((1, 3)), "orgs": np.zeros((1, 3))})
    with pytest.raises(ConfigError, match="3 scores; wanted 982"):
        read_opinions("live", tmp_path)
