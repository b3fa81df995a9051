"""The photographs of BIQ2021's subset ss03 that people rate best, as a folder of pristine images for a corpus.

    python -m benchmarks.best_photographs $DRMETRIC_BIQ2021 $DRMETRIC_DATA/biq2021-best

Those of the training split with a mean opinion of .8 and more, one of each group of near-duplicates; links, not copies.
"""

import argparse
from pathlib import Path

from drmetric.data.opinions import read_opinions

SUBSET, LEAST = "ss03", 0.8


def main() -> None:
    """Link the photographs and print how many there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("biq2021", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    good = [r for r in read_opinions("biq2021", options.biq2021, "train") if r.subset == SUBSET and r.score >= LEAST]
    one_of_each = {rated.content: rated.image for rated in good}
    options.output.mkdir(parents=True, exist_ok=True)
    for image in one_of_each.values():
        link = options.output / image.name.replace(" ", "_")
        if not link.exists():
            link.symlink_to(image.resolve())
    print(f"{len(one_of_each)} photographs in {options.output}")


if __name__ == "__main__":
    main()
