"""Runs the command as a user does, and writes the folders that it is run on."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from drmetric.cli.app import app

SCORE_PSNR = ("--metric", "psnr", "--device", "cpu")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def write_image(file: Path, seed: int, size: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(file)


def write_folders(folder: Path, count: int, size: int) -> tuple[Path, Path]:
    for i in range(count):
        write_image(folder / "restored" / f"{i:02}_net.png", i, size)
        write_image(folder / "degraded" / f"{i:02}.png", 1000 + i, size // 2)
    return folder / "restored", folder / "degraded"
