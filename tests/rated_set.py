"""Miniatures of sets of human opinions: photographs in noise, the less the better rated."""

import csv
from pathlib import Path

from contract import noisy, photos

from drmetric.data.building import write_records
from drmetric.images import save_image


def write_biq2021(root: Path, train: int = 40, test: int = 12, side: int = 64) -> Path:
    """Write `train` and `test` images of two subsets and their official label files below `root`."""
    (root / "Images").mkdir(parents=True)
    pictures = photos(side)
    for start, count, label_file in ((0, train, "Train"), (train, test, "Test")):
        rows = []
        for index in range(start, start + count):
            score = (index * 7 % 20) / 20
            name = f"ss0{1 + index % 2} ({2100 + index}).jpg"
            save_image(noisy(pictures[index % 3][None], 0.3 * (1 - score), seed=index)[0], root / "Images" / "x.png")
            (root / "Images" / "x.png").rename(root / "Images" / name)
            rows.append((name, score))
        with (root / f"{label_file} (Images and MOS).csv").open("w", newline="") as file:
            csv.writer(file).writerows([("Image Name", "MOS"), *rows])
    return root


def write_conditions(root: Path, contents: int = 8) -> Path:
    """Noisy photographs with their references, as a folder of drmetric conditions."""
    records = []
    for index in range(contents):
        folder = Path("images") / f"photo{index}"
        (root / folder).mkdir(parents=True)
        reference = photos(64)[index % 3]
        save_image(reference, root / folder / "reference.png")
        for level in (1, 2, 3):
            file = folder / f"white_noise-{level}.png"
            save_image(noisy(reference[None], 0.08 * level, seed=index)[0], root / file)
            record = {"content": folder.name, "split": "validation" if index < 2 else "train", "label": 1 - 0.3 * level}
            paths = {"image": str(file), "reference": str(folder / "reference.png")}
            records.append(record | paths | {"condition": f"white_noise-{level}"})
    write_records(root / "manifest.jsonl", records)
    return root
