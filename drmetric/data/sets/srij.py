"""SRIJ: seven super-resolvers (x2, x3, x4) on 32 scenes, rated by 36 people.

Paper: Beron, Benitez-Restrepo and Bovik, IEEE Access 8, 2020.
Layout: ``labels.csv`` with the columns scene, method, scale, sr_path, lr_path, gt_path, score and score_std, and the
images that it names: super-resolved ones (grey), their inputs, and the ground truth. As published the ground truth is
shifted by up to scale - 1 pixels against the outputs, and there are no inputs: make both again.
Score and spread: mean and standard deviation of the opinions, 0..100, divided by 100. Subset: the scale, x2, x3 or x4;
within a scene the scale alone explains most of the opinions. The rated ground truth (method HD) is left out.
Split: all images are test images.
Terms: research only; its authors ask to be told.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, number, read_csv
from drmetric.data.rated import Rated, RatedImage, RatedSet

COLUMNS = ("scene", "method", "scale", "sr_path", "lr_path", "gt_path", "score", "score_std")


def read(root: Path) -> Rated:
    """The super-resolved images with their ground truth and inputs."""
    folder = SetFolder(root)
    path = folder.labels("labels.csv")
    for row in read_csv(path, COLUMNS):
        if row["method"] != "HD":
            rated = RatedImage(
                image=folder.image(row["sr_path"]),
                score=number(row, "score", path) / 100,
                content=row["scene"],
                reference=folder.image(row["gt_path"]),
                spread=number(row, "score_std", path) / 100,
                subset=f"x{row['scale']}",
                degraded=folder.image(row["lr_path"]),
            )
            yield rated, "test"


SET = RatedSet(read)
