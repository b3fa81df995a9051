"""Near-duplicate images within and between folders.

    python -m benchmarks.data.duplicates DIR [DIR...] --threshold .97
    python -m benchmarks.data.duplicates BIQ2021/Images --groups drmetric/data/sets/biq2021_duplicates.csv

Prints every pair of images whose 16 x 16 grey thumbnails correlate above the threshold, the most alike first, and
how many there are. `--groups` writes the images that have a near-duplicate, each with its group: the stem of the
first file that a chain of pairs connects it with.
"""

import argparse
import csv
from pathlib import Path

from rich.console import Console

from drmetric.data.duplicates import THRESHOLD, DuplicatePair, duplicate_groups, duplicate_pairs, thumbnails
from drmetric.images import list_images


def write_groups(files: list[Path], pairs: list[DuplicatePair], output: Path) -> None:
    """Write a CSV file with the columns image (file name) and group."""
    groups = duplicate_groups(len(files), pairs)
    paired = sorted({place for pair in pairs for place in pair[:2]})
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "group"])
        writer.writerows([files[place].name, files[groups[place]].stem] for place in paired)


def main() -> None:
    """Read the folders and print the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="correlation (default: %(default)s)")
    parser.add_argument("--groups", type=Path, metavar="CSV", help="also write the groups of near-duplicates")
    options = parser.parse_args()
    if options.groups and len(options.folders) > 1:
        parser.error("--groups takes one folder: it names images by their file names")

    console = Console(soft_wrap=True, highlight=False)
    files = [file for folder in options.folders for file in list_images(folder)]
    pairs = duplicate_pairs(thumbnails(files), options.threshold)
    for pair in sorted(pairs, key=lambda pair: -pair.correlation):
        console.print(f"{pair.correlation:.5f}  {files[pair.first]}  {files[pair.second]}", markup=False)
    images = len({place for pair in pairs for place in pair[:2]})
    console.print(f"{len(files)} images, {len(pairs)} pairs above {options.threshold}, of {images} images")
    if options.groups:
        write_groups(files, pairs, options.groups)


if __name__ == "__main__":
    main()
