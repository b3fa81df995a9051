"""The page of examples/app.py, as far as it needs no browser."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from drmetric import DRIQA, example
from drmetric.adapters import installed
from drmetric.errors import DrmetricError, InputError, MissingDependencyError

APP = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "examples/app.py"), run_name="app"))
INPUT, SHARP, BLURRED = (
    str(example.FOLDER / f"{name}.png")
    for name in ("degraded/coffee", "restored/coffee_sharp", "restored/coffee_blurred")
)


def test_the_score_is_that_of_the_package_and_the_rest_stands_beside_it() -> None:
    rows, picture = APP.judge(INPUT, SHARP)
    score = DRIQA()(example.image("restored/coffee_sharp"), example.image("degraded/coffee")).item()
    assert rows[0][:2] == ("DRIQA", f"{score:.3f}")
    assert [name for name, _, _ in rows] == ["DRIQA", "NRIQA", "lr_psnr", "low_band_psnr", "colour_difference"]
    assert all(value for _, value, _ in rows)
    assert (picture.shape, picture.dtype) == ((192, 192, 3), np.uint8)


def test_the_worse_output_is_redder() -> None:
    good, bad = (APP.judge(INPUT, path)[1].astype(float).mean(axis=(0, 1)) for path in (SHARP, BLURRED))
    assert bad[0] - bad[1] > good[0] - good[1] > 0


def test_what_does_not_apply_says_why() -> None:
    same_size = str(example.FOLDER / "degraded/chelsea.png"), str(example.FOLDER / "restored/chelsea_sharp.png")
    row = APP.judge(*same_size)[0][2]
    assert row[1] == ""
    assert "for super-resolution" in row[2]


@pytest.mark.parametrize(("degraded", "restored"), [(None, SHARP), (SHARP, INPUT), (INPUT, "nowhere.png")])
def test_mistakes_are_typed_errors(degraded: str | None, restored: str) -> None:
    with pytest.raises(DrmetricError):
        APP.judge(degraded, restored)


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingDependencyError, match=r"drmetric\[examples\]"):
        APP.build()


@pytest.mark.slow
@pytest.mark.skipif(not installed("gradio"), reason="gradio is not installed")
def test_the_page_is_built_and_its_button_scores() -> None:
    page = APP.build()
    (shown,) = [each.fn for each in page.fns.values() if getattr(each.fn, "__name__", "") == "shown"]
    assert shown(INPUT, SHARP)[0][0][0] == "DRIQA"
    import gradio

    with pytest.raises(gradio.Error, match="two images are needed"):
        shown(None, SHARP)


def test_nothing_dropped_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InputError, match="drop the input on the left"):
        APP.judge(None, None)
