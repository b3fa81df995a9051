"""SRIJ's rated images as folders that pair by name, to score them: the spreads of gaming reports.

python -m benchmarks.data.srij_folders DIR runs/srij  # the folder of SRIJ, see drmetric/data/sets/srij.py
drmetric score runs/srij/restored --degraded runs/srij/degraded -o runs/srij/driqa.jsonl
drmetric score runs/srij/restored --degraded runs/srij/truth --metric lpips -o runs/srij/lpips.jsonl
drmetric bench gaming driqa lpips --spread runs/srij/driqa.jsonl --spread runs/srij/lpips.jsonl
"""

import argparse
import shutil
from pathlib import Path

from drmetric.data.rated import read_triplets


def main() -> None:
    """Copy restored/, degraded/ and truth/, one file a rated image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    triplets = read_triplets("srij", options.root, "test")
    for folder in ("restored", "degraded", "truth"):
        (options.output / folder).mkdir(parents=True, exist_ok=True)
    for triplet in triplets:
        name = triplet.restored.name
        shutil.copyfile(triplet.restored, options.output / "restored" / name)
        shutil.copyfile(triplet.degraded, options.output / "degraded" / name)
        shutil.copyfile(triplet.pristine, options.output / "truth" / name)
    print(f"{options.output}: {len(triplets)} rated images")


if __name__ == "__main__":
    main()
