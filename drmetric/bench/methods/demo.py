"""A small methods board on the bundled images, to run and to change."""

from pathlib import Path

from drmetric import example
from drmetric.writing import write_whole

CONFIG = """\
# Three ways to restore three photographs. Run it again after a change, here: drmetric bench methods demo.toml -o .
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
"""


def write_demo(folder: Path) -> Path:
    """Copy the bundled images to a folder and write the configuration beside them; returns its path.

    An existing configuration is kept.
    """
    example.copy(folder)
    path = folder / "demo.toml"
    if not path.exists():
        write_whole(path, CONFIG.encode())
    return path
