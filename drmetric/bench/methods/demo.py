"""A small methods board on the bundled images, to run and to change."""

from importlib.resources import as_file, files
from pathlib import Path
from shutil import copytree

CONFIG = """\
# Three ways to restore three photographs. Run it again after a change: drmetric bench methods demo.toml
[data]
degraded = "degraded"

[[methods]]
name = "sharp"
folder = "restored"
suffix = "_sharp"

[[methods]]
name = "blurred"
folder = "restored"
suffix = "_blurred"

[[methods]]
name = "over-sharpened"
folder = "restored"
suffix = "_oversharpened"

[[metrics]]
name = "driqa"

[[metrics]]
name = "gmsd"
label = "GMSD to the input"
reference = "degraded"

[[metrics]]
name = "lr_psnr"

[[metrics]]
name = "low_band_psnr"

[[metrics]]
name = "colour_difference"
"""


def write_demo(folder: Path) -> Path:
    """Copy the bundled images to a folder and write the configuration beside them; returns its path.

    A configuration that is there already is kept.
    """
    with as_file(files("drmetric") / "example") as example:
        for part in ("degraded", "restored"):
            copytree(example / part, folder / part, dirs_exist_ok=True)
    path = folder / "demo.toml"
    if not path.exists():
        path.write_text(CONFIG, encoding="utf-8")
    return path
