"""LIVE In the Wild, or ChallengeDB: 1,162 phone photographs.

Paper: Ghadiyaram and Bovik, IEEE TIP 25, 2016.
Layout: ``Data/AllImages_release.mat``, ``Data/AllMOS_release.mat``, ``Data/AllStdDev_release.mat`` and ``Images/``. The
first 7, of ``Images/trainingImages/``, taught the raters the task and are left out, as usual.
Score and spread: MOS and standard deviation on 0..100, divided by 100.
Split: none official; contents are drawn 70/10/20 by a hash.
Terms: free, with notice and citation.
"""

from itertools import islice
from pathlib import Path

from drmetric.data.label_files import SetFolder, read_mat
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split

TRAINING_IMAGES = 7


def read(root: Path) -> Rated:
    """The photographs, each its own content."""
    folder = SetFolder(root)
    names, opinions, deviations = (
        read_mat(folder.labels(f"Data/{variable}.mat"), variable)
        for variable in ("AllImages_release", "AllMOS_release", "AllStdDev_release")
    )
    ratings = zip(names, opinions, deviations, strict=True)
    for name, opinion, deviation in islice(ratings, TRAINING_IMAGES, None):
        rated = RatedImage(
            image=folder.image(f"Images/{name}"),
            score=opinion / 100,
            content=Path(name).stem,
            spread=deviation / 100,
        )
        yield rated, drawn_split("live_itw", rated.content)


SET = RatedSet(read)
