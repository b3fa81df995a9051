"""Give NARIQA's weights a bank: the mean features of a folder of high-quality photographs.

    python -m benchmarks.make_bank WEIGHTS $DRMETRIC_DATA/cid22-training OUTPUT \\
        --exclude benchmarks/splits/cid22-graphics.txt 3316926_opo25u.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from drmetric.images.files import list_images, read_image
from drmetric.metrics.nariqa import write_bank


def photographs(folder: Path, exclude: Sequence[str]) -> list[Path]:
    """The images of a folder but those named, or named in a text file, a name a line; a name that is not there raises
    `ValueError`."""
    lists = [Path(each) for each in exclude if each.endswith(".txt")]
    left_out = {each for each in exclude if not each.endswith(".txt")}
    left_out |= {name for each in lists for name in each.read_text(encoding="utf-8").splitlines()}
    files = list_images(folder)
    if missing := left_out - {file.name for file in files}:
        raise ValueError(f"not in {folder}: {', '.join(sorted(missing))}")
    return [file for file in files if file.name not in left_out]


def main() -> None:
    """Write the weights with their bank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--exclude", nargs="*", default=[], metavar="NAME", help="files, or .txt files that list them")
    options = parser.parse_args()
    files = photographs(options.folder, options.exclude)
    write_bank(options.weights, ((file.name, read_image(file)[None]) for file in files), options.output)
    print(f"{options.output}: the bank holds the mean features of {len(files)} photographs")


if __name__ == "__main__":
    main()
