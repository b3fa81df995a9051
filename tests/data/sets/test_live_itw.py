"""LIVE In the Wild in miniature, and the published set where there is one."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from drmetric.data.rated import read_opinions
from tests.data.sets.layouts import check, published, rated, touch

LABELS = "Data/AllMOS_release.mat"


def write(root: Path) -> None:
    training, names = [f"t{n}.bmp" for n in range(1, 8)], [f"{n}.bmp" for n in range(20, 62)] + ["62.JPG"]
    (root / "Data").mkdir(parents=True)
    count = len(training + names)
    listed = np.array([training + names], dtype=object).T
    savemat(root / "Data/AllImages_release.mat", {"AllImages_release": listed})
    savemat(root / "Data/AllMOS_release.mat", {"AllMOS_release": np.arange(count)[None] * 2.0})
    savemat(root / "Data/AllStdDev_release.mat", {"AllStdDev_release": np.full((1, count), 19.5)})
    touch(root, [f"Images/{name}" for name in names] + [f"Images/trainingImages/{name}" for name in training])


def test_images_scores_and_contents_without_the_raters_training_images(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "live_itw",
        tmp_path,
        43,
        rated("Images/20.bmp", 0.14, "20", spread=0.195),
        rated("Images/62.JPG", 0.98, "62", spread=0.195),
    )


def test_published_set() -> None:
    root = published("live_itw")
    assert (len(read_opinions("live_itw", root)), len(read_opinions("live_itw", root, "test"))) == (1162, 256)
