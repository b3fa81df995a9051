"""Give NARIQA's weights a bank: the mean features of a folder of high-quality photographs.

python -m benchmarks.make_bank WEIGHTS FOLDER OUTPUT
"""

import argparse
from pathlib import Path

from drmetric.images.files import list_images, read_image
from drmetric.metrics.nariqa import write_bank


def main() -> None:
    """Write the weights with their bank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    files = list_images(options.folder)
    write_bank(options.weights, ((file.name, read_image(file)[None]) for file in files), options.output)
    print(f"{options.output}: the bank holds the mean features of {len(files)} photographs")


if __name__ == "__main__":
    main()
