"""SRIJ's rated images as folders that pair by name, to score them: the spreads of gaming reports.

python -m benchmarks.data.srij_folders ../shared/data/human/srij runs/srij
drmetric score runs/srij/restored --degraded runs/srij/degraded -o runs/srij/driqa.jsonl
drmetric score runs/srij/restored --degraded runs/srij/truth --metric lpips -o runs/srij/lpips.jsonl
drmetric bench gaming driqa lpips --spread runs/srij/driqa.jsonl --spread runs/srij/lpips.jsonl
"""

import argparse
import csv
import shutil
from pathlib import Path


def main() -> None:
    """Copy restored/, degraded/ and truth/, one file a rated image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    with (options.root / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] != "HD"]
    for folder, column in {"restored": "sr_path", "degraded": "lr_path", "truth": "gt_path"}.items():
        (options.output / folder).mkdir(parents=True, exist_ok=True)
        for row in rows:
            name = f"{row['scene']}-{row['scale']}-{row['method']}.png"
            shutil.copyfile(options.root / row[column], options.output / folder / name)
    print(f"{options.output}: {len(rows)} rated images")


if __name__ == "__main__":
    main()
