"""Presets and composites: a challenge's score is the whole formula or nothing, and what is missing is said first."""

import json
import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from drmetric.bench.composites import CompositeEntry
from drmetric.bench.methods.board import judges_of, run
from drmetric.bench.methods.config import PRESETS, Config
from drmetric.bench.methods.report.files import write_report
from drmetric.bench.methods.report.lock import verify
from drmetric.cli.bench import commands
from drmetric.errors import ConfigError
from drmetric.metrics.pyiqa_metric import pyiqa_class
from tests.boards import CONFIG, metrics, write_board

PHOTOS = ("cat", "coffee")
OF_NTIRE = ("LPIPS", "DISTS", "CLIP-IQA", "MANIQA", "MUSIQ", "NIQE")
HALVES = """
[[composites]]
name = "halves"
terms = [{ metric = "psnr", scale = 0.5 }, { metric = "ssim", offset = -0.9, least = 0 }]
"""


class Constant(nn.Module):
    """A metric of pyiqa: the mean of the image times a factor; `niqe` beyond 10, where its term is cut off."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor)))

    def forward(self, image, reference=None):
        return self.factor * (image if reference is None else (image - reference).abs()).mean()


FACTORS = {"lpips": 1, "dists": 2, "clipiqa": 1, "maniqa": 0.5, "musiq": 90, "niqe": 40}


@pytest.fixture
def stand_in(monkeypatch):
    """pyiqa, of which `missing` names cannot be downloaded."""
    pyiqa, configs = ModuleType("pyiqa"), ModuleType("pyiqa.default_model_configs")

    def create_metric(name, device):
        if name in pyiqa.missing:
            raise OSError("no route to host")
        return Constant(FACTORS[name])

    pyiqa.__version__, pyiqa.create_metric, pyiqa.missing = "0.0", create_metric, ()
    configs.DEFAULT_CONFIGS = {
        name: {"metric_opts": {"type": name}, "metric_mode": "FR" if name in ("lpips", "dists") else "NR"}
        for name in FACTORS
    }
    monkeypatch.setitem(sys.modules, "pyiqa", pyiqa)
    monkeypatch.setitem(sys.modules, "pyiqa.default_model_configs", configs)
    pyiqa_class.cache_clear()
    yield pyiqa
    pyiqa_class.cache_clear()


def board(folder, preset="", text="\n"):
    return Config.read(write_board(folder, text, photos=PHOTOS), preset)


def scores_of(result, label):
    return result.scores.values[[judge.label for judge in result.scores.judges].index(label)]


def test_a_composite_is_worked_out_image_by_image_and_does_not_count(tmp_path):
    config = board(tmp_path, text=metrics("psnr", "ssim") + HALVES)
    result = run(config, tmp_path / "out", n_bootstrap=20)
    psnr, ssim = scores_of(result, "psnr"), scores_of(result, "ssim")
    assert scores_of(result, "halves") == pytest.approx(0.5 * psnr + (ssim - 0.9).clip(min=0))
    rows = [json.loads(line) for line in (tmp_path / "out/scores.jsonl").read_text().splitlines()]
    assert {row["metric"] for row in rows} == {"psnr", "ssim"}
    alone = run(board(tmp_path, text=metrics("psnr", "ssim")), tmp_path / "out", n_bootstrap=20)
    assert result.ranking.mean_ranks.tolist() == alone.ranking.mean_ranks.tolist()
    assert "halves = 0.5 psnr + max(0, -0.9 + ssim), image by image" in result.notes[-1]


def test_its_report_has_a_column_and_its_lock_holds(tmp_path):
    config = board(tmp_path, text=metrics("psnr", "ssim") + HALVES)
    write_report(run(config, tmp_path / "out", n_bootstrap=20), config, tmp_path / "out")
    assert "halves" in (tmp_path / "out/table.md").read_text().splitlines()[2]
    assert verify(tmp_path / "out/lock.json", sample=4).differences == []


def test_an_image_without_one_of_the_parts_has_no_composite(tmp_path):
    config = board(tmp_path, text=metrics("psnr", "ssim") + HALVES)
    (tmp_path / "blend/cat.png").write_bytes(b"no image")
    result = run(config, tmp_path / "out", n_bootstrap=20)
    known = torch.tensor(scores_of(result, "halves")).isfinite()
    assert known.tolist() == [[False, True], [True, True], [True, True]]


def test_the_score_of_ntire(stand_in, tmp_path):
    result = run(board(tmp_path, "ntire-sr"), tmp_path / "out", n_bootstrap=20)
    lpips, dists, clipiqa, maniqa, musiq, niqe = (scores_of(result, label) for label in OF_NTIRE)
    assert (niqe > 10).any()
    cut = (10 - niqe).clip(min=0) / 10
    expected = (1 - lpips) + (1 - dists) + clipiqa + maniqa + musiq / 100 + cut
    assert scores_of(result, "NTIRE perceptual") == pytest.approx(expected)
    assert "channel:y|shave:4" in result.scores.judges[0].signature


def test_of_its_score_nothing_is_left_where_a_part_is_missing(stand_in, tmp_path):
    stand_in.missing = ("maniqa",)
    said = []
    result = run(board(tmp_path, "ntire-sr"), tmp_path / "out", n_bootstrap=20, warn=said.append)
    assert [judge.label for judge in result.scores.judges] == [
        "PSNR-Y",
        *(each for each in OF_NTIRE if each != "MANIQA"),
    ]
    assert said[0].startswith("MANIQA will not score: WeightsError")
    formula = "(1 - LPIPS) + (1 - DISTS) + CLIP-IQA + MANIQA + 0.01 MUSIQ + max(0, 1 - 0.1 NIQE)"
    assert said[1].startswith(f"NTIRE perceptual will not score: it is {formula}, ")
    assert said[1].endswith("and without MANIQA there is none")


def test_without_pyiqa_all_that_is_missing_is_named_before_the_first_image(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    pyiqa_class.cache_clear()
    path = write_board(tmp_path, "\n", photos=PHOTOS)
    done = CliRunner().invoke(commands, ["methods", str(path), "--preset", "ntire-sr", "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    for name in (*OF_NTIRE, "NTIRE perceptual"):
        assert f"{name} will not score" in done.output
    assert "PSNR-Y" in (tmp_path / "out/table.md").read_text()
    assert "| NTIRE perceptual" not in (tmp_path / "out/table.md").read_text()
    lock = json.loads((tmp_path / "out/lock.json").read_text())
    assert lock["config"]["text"].startswith('preset = "ntire-sr"\n')


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_preset_is_a_board_of_its_own(path, stand_in, tmp_path):
    config = board(tmp_path, path.stem, "\n")
    labels = [entry.title for entry in config.metrics]
    assert labels
    judges, unmade, skipped = judges_of(config)
    assert {judge.label for judge in judges} | set(unmade) | set(skipped) >= set(labels)


def test_metrics_of_the_file_stand_beside_those_of_the_preset(tmp_path):
    config = board(tmp_path, text=metrics("nriqa", "psnr"))
    named = Config.parse('preset = "dr"\n' + config.text, tmp_path, "board", "board.toml")
    names = [entry.name for entry in named.metrics]
    assert names == ["driqa", "nriqa", "lr_psnr", "low_band_psnr", "colour_difference", "psnr"]


@pytest.mark.parametrize(
    ("text", "preset", "message"),
    [
        ("\n", "ntire", "unknown preset 'ntire'; known: dr, fr, ntire-sr"),
        ('[[composites]]\nname = "a"\nterms = []\n', "dr", "wanted a name and terms alone"),
        ('[[composites]]\nname = "a"\nterms = [{ metric = "psnr", weight = 2 }]\n', "dr", "unknown entry 'weight'"),
    ],
)
def test_mistakes_in_the_file_are_named(text, preset, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        board(tmp_path, preset, text)


@pytest.mark.parametrize(
    ("composite", "message"),
    [
        ({"name": "a", "terms": [{"metric": "SSIM"}]}, "no .* is called so"),
        ({"name": "psnr", "terms": [{"metric": "psnr"}]}, "two columns are called 'psnr'"),
        ({"name": "a", "terms": [{"metric": "low_band_psnr"}]}, "meets the degraded input"),
    ],
)
def test_mistakes_in_a_composite_are_named(composite, message, tmp_path):
    judges, _, _ = judges_of(board(tmp_path, text=metrics("psnr", "low_band_psnr")))
    with pytest.raises(ConfigError, match=message):
        CompositeEntry.read(composite, "board.toml, [[composites]]").make(judges, {})


def test_two_names_of_a_preset_must_agree(tmp_path):
    path = write_board(tmp_path, "\n", photos=PHOTOS, config='preset = "dr"\n' + CONFIG)
    assert Config.read(path, "dr").text == path.read_text()
    with pytest.raises(ConfigError, match="names the preset 'dr'; --preset says 'fr'"):
        Config.read(path, "fr")
