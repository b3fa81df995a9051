"""Miniatures of sets of human opinions: photographs in noise, the less the better rated."""

import csv
from pathlib import Path

import numpy as np

from drmetric.data.make.building import write_records
from drmetric.images import resize, save_image
from tests.contract import noisy, photos


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


def write_sriqa_bench(root: Path, scenes: int = 3, methods: int = 4) -> Path:
    """Scenes of 64 pixels, restorations of them in more and more noise, and inputs of 16 pixels."""
    for folder in ("MOS", "LRImages", "images/Original", *(f"images/M{method}" for method in range(methods))):
        (root / folder).mkdir(parents=True)
    for scene in range(scenes):
        pristine = photos(64 + scene)[scene % 3][None]
        save_image(pristine[0], root / f"images/Original/s{scene}_Original.png")
        save_image(resize(pristine, (16, 16))[0], root / f"LRImages/s{scene}_Original.png")
        lines = [f"s{scene}_Original.png,100.0"]
        for method in range(methods):
            restored = noisy(pristine, 0.05 * (1 + method), seed=10 * scene + method)
            save_image(restored[0], root / f"images/M{method}/s{scene}_M{method}x4.png")
            lines.append(f"s{scene}_M{method}x4.png,{90 - 20 * method}")
        (root / f"MOS/s{scene}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_bapps(root: Path, pairs: int = 6, *, degraded: bool = False) -> Path:
    """Pairs of noisy photographs in val/cnn and val/superres; three of four people chose the less noisy one."""
    kinds = ("ref", "p0", "p1", *(("degraded",) if degraded else ()))
    for subset in ("cnn", "superres"):
        for kind in (*kinds, "judge"):
            (root / "2afc/val" / subset / kind).mkdir(parents=True)
        for index in range(pairs):
            pristine = photos(48)[index % 3][None]
            sigmas = (0.05, 0.15) if index % 2 else (0.15, 0.05)
            versions = [noisy(pristine, sigma, seed=2 * index + place) for place, sigma in enumerate(sigmas)]
            files = dict(zip(kinds, (pristine, *versions, resize(pristine, (12, 12))), strict=False))
            for kind, image in files.items():
                save_image(image[0], root / "2afc/val" / subset / kind / f"{index:06d}.png")
            np.save(root / "2afc/val" / subset / f"judge/{index:06d}.npy", np.array([0.25 if index % 2 else 0.75]))
    return root
