"""The photographs of BIQ2021's subset ss03 that people rate best, as a folder of pristine images for a corpus.

    python -m benchmarks.data.best_photographs $DRMETRIC_BIQ2021 $DRMETRIC_DATA/biq2021-best
    python -m benchmarks.data.best_photographs $DRMETRIC_BIQ2021 $DRMETRIC_DATA/biq2021-good --least 0.75 --below 0.8

Those of the training split with a mean opinion of .8 and more, or between two others, one of each group of
near-duplicates; links, not copies.
"""

import argparse
import math
from pathlib import Path

from drmetric.data.rated import read_opinions

SUBSET = "ss03"


def main() -> None:
    """Link the photographs and print how many there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("biq2021", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--least", type=float, default=0.8, help="mean opinion, 0..1")
    parser.add_argument("--below", type=float, default=math.inf, help="leave out groups with one rated so or better")
    options = parser.parse_args()
    rated = [r for r in read_opinions("biq2021", options.biq2021, "train") if r.subset == SUBSET]
    better = {r.content for r in rated if r.score >= options.below}
    one_of_each = {r.content: r.image for r in rated if r.score >= options.least and r.content not in better}
    options.output.mkdir(parents=True, exist_ok=True)
    for image in one_of_each.values():
        link = options.output / image.name.replace(" ", "_")
        if not link.exists():
            link.symlink_to(image.resolve())
    print(f"{len(one_of_each)} photographs in {options.output}")


if __name__ == "__main__":
    main()
