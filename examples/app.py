"""A page to drop a degraded image and what was made of it on: score, quality map, consistency.

    pip install '.[examples]'
    python examples/app.py            # then open http://127.0.0.1:7860

Files are read as `drmetric score` reads them, and stay on this machine.
"""

import argparse
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from drmetric import create, example, read_image
from drmetric.errors import DrmetricError, InputError, optional
from drmetric.images.colour import luma
from drmetric.metrics.base import Metric

Row = tuple[str, str, str]
"""What was measured, the figure, and what it means."""

RED = (0.85, 0.1, 0.1)
CONSISTENCY = (
    ("lr_psnr", "{:.1f} dB", "higher: more like the input. The output made as small"),
    ("low_band_psnr", "{:.1f} dB", "higher: more like the input. Coarse content alone"),
    ("colour_difference", "{:.2f} ΔE", "lower: more like the input. Colours of blocks"),
)
EXAMPLES = [("coffee", "sharp"), ("coffee", "blurred"), ("chelsea", "oversharpened"), ("astronaut", "sharp")]


@cache
def metric(name: str) -> Metric:
    """Made once."""
    return create(name)


def judge(degraded_path: str | None, restored_path: str | None) -> tuple[list[Row], np.ndarray]:
    """The figures of an output beside its input, and the output with its map of quality laid over, uint8 (H, W, 3).

    Raises:
        DrmetricError: an image is missing or cannot be read, or the two do not belong together.
    """
    if degraded_path is None or restored_path is None:
        raise InputError("two images are needed: drop the input on the left, the output in the middle")
    degraded, restored = (read_image(path)[None] for path in (degraded_path, restored_path))
    with torch.no_grad():
        score, maps = metric("driqa")(restored, degraded, return_map=True)
        alone, error = metric("nriqa")(restored, return_uncertainty=True)
        rows = [
            ("DRIQA", f"{score.item():.3f}", "0 to 1, higher is better. Quality as a restoration of this input"),
            ("NRIQA", f"{alone.item():.3f} ± {error.item():.3f}", "0 to 1, higher is better. The output alone"),
            *(consistency(name, form, meaning, restored, degraded) for name, form, meaning in CONSISTENCY),
        ]
    return rows, overlay(restored, maps)


def consistency(name: str, form: str, meaning: str, restored: Tensor, degraded: Tensor) -> Row:
    """One figure of restoration consistency, or why there is none."""
    try:
        return name, form.format(metric(name)(restored, degraded).item()), meaning
    except DrmetricError as error:
        return name, "", error.args[0]


def overlay(image: Tensor, maps: Tensor) -> np.ndarray:
    """The image in grey, the redder the lower the local score."""
    quality = functional.interpolate(maps.sigmoid(), size=image.shape[-2:], mode="bilinear", align_corners=False)
    mixed = quality * luma(image) + (1 - quality) * torch.tensor(RED).view(1, 3, 1, 1)
    pixels: np.ndarray = (mixed[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return pixels


def build() -> Any:
    """The page, a ``gradio.Blocks``."""
    gradio = optional("gradio", "examples", "examples/app.py")

    def shown(degraded: str | None, restored: str | None) -> tuple[list[Row], np.ndarray]:
        try:
            return judge(degraded, restored)
        except DrmetricError as error:
            raise gradio.Error(str(error).replace("\n  fix:", " — fix:"), duration=None) from error

    with gradio.Blocks(title="drmetric", analytics_enabled=False) as page:
        gradio.Markdown("# drmetric\nHow good is an image as a restoration of its input, without the ground truth?")
        with gradio.Row():
            degraded, restored = (
                gradio.Image(label=label, type="filepath", image_mode=None, sources=["upload", "clipboard"], height=320)
                for label in ("Input: degraded, as the method got it", "Output: restored")
            )
            quality = gradio.Image(label="Where it is good; the redder, the worse", height=320, interactive=False)
        button = gradio.Button("Score", variant="primary")
        table = gradio.Dataframe(headers=["metric", "value", "meaning"], interactive=False, wrap=True, label="Scores")
        gradio.Examples(
            [
                [str(example.FOLDER / f"degraded/{photo}.png"), str(example.FOLDER / f"restored/{photo}_{kind}.png")]
                for photo, kind in EXAMPLES
            ],
            [degraded, restored],
        )
        button.click(shown, [degraded, restored], [table, quality])
    return page


def main() -> None:
    """Serve the page on this machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7860)
    options = parser.parse_args()
    build().launch(server_name="127.0.0.1", server_port=options.port)


if __name__ == "__main__":
    main()
