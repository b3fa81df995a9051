import csv
import json

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data
from typer.testing import CliRunner

from drmetric.bench.agreement import leaderboard
from drmetric.bench.agreement.leaderboard import Config, run
from drmetric.cli.bench import commands
from drmetric.errors import ConfigError, InputError, WeightsError
from drmetric.images import save_image
from drmetric.metrics import registry
from drmetric.metrics.base import Metric

PHOTOS = ("astronaut", "coffee", "chelsea")


class Sharpness(Metric):
    """No reference; counts its calls and refuses what FAIL names."""

    name, mode = "sharpness", "nr"
    calls = 0
    fails = staticmethod(lambda image: False)

    @property
    def signature(self):
        return "sharpness|1"

    def _score(self, image, reference):
        Sharpness.calls += 1
        if self.fails(image):
            raise RuntimeError("no idea")
        return (image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))


class Blurriness(Sharpness):
    name, higher_is_better = "blurriness", False

    @property
    def signature(self):
        return "blurriness|1"

    def _score(self, image, reference):
        return -super()._score(image, reference)


class NoWeights(Sharpness):
    name = "no_weights"

    def __init__(self):
        raise WeightsError("its weights are elsewhere", "look there")


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch):
    for metric in (Sharpness, Blurriness, NoWeights):
        monkeypatch.setitem(registry._METRICS, metric.name, f"{__name__}:{metric.__name__}")
    monkeypatch.setattr(Sharpness, "calls", 0)
    monkeypatch.setattr(Sharpness, "fails", staticmethod(lambda image: False))
    leaderboard._image.cache_clear()


def write_corpus(folder, split="test"):
    """Three contents, two inputs each of three sharpened or smoothed images: the sharper, the better."""
    records = []
    for photo in PHOTOS:
        pristine = getattr(data, photo)()[60:156, 100:196] / 255
        for d, sigma in enumerate((1.0, 2.0)):
            degraded = gaussian_filter(pristine, (sigma, sigma, 0))
            for r, share in enumerate((0.2, 0.5, 0.9)):
                restored = share * pristine + (1 - share) * degraded
                pictures = {"pristine": pristine, "degraded": degraded, "restored": restored}
                paths = {
                    "pristine": f"{photo}/pristine.png",
                    "degraded": f"{photo}/d{d}.png",
                    "restored": f"{photo}/d{d}_r{r}.png",
                }
                for kind, path in paths.items():
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    save_image(torch.from_numpy(pictures[kind]).permute(2, 0, 1), folder / path)
                name = {"id": f"{photo}/d{d}_r{r}", "content": photo, "split": split, "label": share - 0.05 * d}
                records.append({**name, **paths, "degradation": {"sigma": sigma}, "restorer": {"share": share}})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return records


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture
def config(corpus, tmp_path):
    def write(metrics, split="test", name="board.toml"):
        path = tmp_path / name
        path.write_text(f'[data]\ncorpus = "{corpus}"\nsplit = "{split}"\n{metrics}')
        return path

    return write


def metrics(*names):
    return "".join(f'[[metrics]]\nname = "{name}"\n' for name in names)


def lines_of(board):
    return {line.metric: line for line in board.lines}


def test_good_metrics_win_and_directions_are_turned_round(config, tmp_path):
    path = config(
        metrics("sharpness", "blurriness", "psnr")
        + '[[metrics]]\nname = "psnr"\nreference = "pristine"\n[[metrics]]\nname = "gmsd"\nreference = "pristine"\n'
    )
    board = run(Config.read(path), tmp_path / "out", n_bootstrap=50)
    sharp, blurry, against_input, against_truth, gmsd = board.lines
    assert sharp.srcc_input == pytest.approx(1)
    assert (blurry.srcc, blurry.plcc) == (pytest.approx(sharp.srcc), pytest.approx(sharp.plcc))
    assert (against_input.reference, against_truth.reference) == ("degraded", "pristine")
    assert against_input.srcc_input == pytest.approx(-1)  # the more is restored, the farther from the input
    assert against_truth.srcc_input == pytest.approx(1)
    assert gmsd.srcc_input == pytest.approx(1)
    assert blurry.difference == 0
    assert blurry.p_holm == 1
    assert against_input.difference > 0.5
    assert board.ranked[-1] is against_input
    assert (sharp.n_used, sharp.n_given, sharp.n_contents) == (18, 18, 3)
    assert sharp.srcc_interval[0] <= sharp.srcc <= sharp.srcc_interval[1]
    assert np.isnan(sharp.p_holm)
    assert not board.errors


def test_what_is_written_names_the_data_and_holds_every_figure(config, tmp_path, corpus):
    output = tmp_path / "out"
    board = run(Config.read(config(metrics("sharpness", "psnr"))), output, n_bootstrap=20)
    text = (output / "table.md").read_text()
    assert f"{corpus.name}, split test: 18 images of 3 contents" in text
    assert "20 bootstraps over contents" in text
    assert "18/18" in text
    rows = list(csv.DictReader((output / "table.csv").open()))
    assert [row["metric"] for row in rows] == [line.metric for line in board.ranked]
    sharp = lines_of(board)["sharpness"]
    row = next(row for row in rows if row["metric"] == "sharpness")
    assert float(row["srcc"]) == sharp.srcc
    assert float(row["srcc_low"]) == sharp.srcc_interval[0]
    assert row["signature"] == "sharpness|1"
    assert len((output / "scores.jsonl").read_text().splitlines()) == 36


def test_scores_are_not_computed_twice_and_a_torn_line_is(config, tmp_path):
    settings, output = Config.read(config(metrics("sharpness"))), tmp_path / "out"
    first = run(settings, output, n_bootstrap=20)
    assert Sharpness.calls == 18
    scores = output / "scores.jsonl"
    whole = scores.read_text()
    scores.write_text(whole[:-40])  # killed while writing the last line
    second = run(settings, output, n_bootstrap=20)
    assert Sharpness.calls == 19
    assert [json.loads(line)["id"] for line in scores.read_text().splitlines()].count("chelsea/d1_r2") == 1
    assert second.lines[0].srcc == first.lines[0].srcc
    run(settings, output, n_bootstrap=20)
    assert Sharpness.calls == 19


def test_failures_cost_the_metric_are_counted_and_are_tried_again(config, tmp_path, monkeypatch):
    settings, output = Config.read(config(metrics("sharpness"))), tmp_path / "out"
    monkeypatch.setattr(Sharpness, "fails", staticmethod(lambda image: Sharpness.calls in (3, 9)))  # two of the best
    board = run(settings, output, n_bootstrap=20)
    spoilt = board.lines[0]
    assert (spoilt.n_used, spoilt.n_given) == (16, 18)
    assert spoilt.srcc_input < 0.8
    assert board.errors == [
        ("sharpness", "astronaut/d0_r2", "RuntimeError: no idea"),
        ("sharpness", "coffee/d0_r2", "RuntimeError: no idea"),
    ]
    monkeypatch.setattr(Sharpness, "fails", staticmethod(lambda image: False))
    mended = run(settings, output, n_bootstrap=20)
    assert Sharpness.calls == 20
    assert mended.lines[0].srcc_input == pytest.approx(1)
    assert not mended.errors


def test_a_metric_without_weights_scores_nothing_and_the_others_go_on(config, tmp_path):
    board = run(Config.read(config(metrics("no_weights", "sharpness"))), tmp_path / "out", n_bootstrap=20)
    none = lines_of(board)["no_weights"]
    assert (none.n_used, none.n_given, none.srcc) == (0, 18, 0)
    assert len(board.errors) == 18
    assert board.ranked[0].metric == "sharpness"


def test_an_unreadable_image_is_one_failure(config, tmp_path, corpus, monkeypatch):
    def read(path):
        if path.name == "d0_r0.png" and path.parent.name == "coffee":
            raise OSError("cannot be read")
        return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))

    monkeypatch.setattr(leaderboard, "read_image", read)
    board = run(Config.read(config(metrics("sharpness"))), tmp_path / "out", n_bootstrap=20)
    assert board.errors == [("sharpness", "coffee/d0_r0", "OSError: cannot be read")]


def test_new_labels_need_no_new_scores_and_new_images_do(corpus, config, tmp_path):
    settings, output = Config.read(config(metrics("sharpness"))), tmp_path / "out"
    run(settings, output, n_bootstrap=20)
    manifest = corpus / "manifest.jsonl"
    before = manifest.read_text()
    try:
        records = [json.loads(line) for line in before.splitlines()]
        records[0]["restorer"] = {"share": 0.3}
        for record in records:
            record["label"] = 1 - record["label"]
        manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
        board = run(settings, output, n_bootstrap=20)
    finally:
        manifest.write_text(before)
    assert Sharpness.calls == 19
    assert board.lines[0].srcc_input == pytest.approx(-1)


def test_niqe_is_fitted_to_the_training_photographs(tmp_path):
    corpus, output = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    output.mkdir()
    records = write_corpus(corpus)
    for i, photo in enumerate(("astronaut", "coffee")):
        for y in (0, 40, 80):
            for x in (0, 50):
                path = f"train{i}{y}{x}.png"
                picture = getattr(data, photo)()[y:, x:] / 255
                save_image(torch.from_numpy(picture).permute(2, 0, 1), corpus / path)
                records.append({"id": path, "split": "train", "pristine": path})
    (corpus / "manifest.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    options = leaderboard._options(leaderboard.Entry("niqe"), corpus, output)
    assert options == {"weights": str(output / "niqe.safetensors")}
    assert "niqe@" in registry.create("niqe", **options).signature


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (metrics("psnr").replace("name", "nmae"), "unknown entry 'nmae'"),
        (metrics("psnr") + 'reference = "clean"\n', "clean"),
        (metrics("sharpness") + 'reference = "degraded"\n', "cannot use the reference 'degraded'"),
        (metrics("psnr") + 'reference = "none"\n', "cannot use the reference 'none'"),
        ("", "at least one"),
        ("[extra]\n" + metrics("psnr"), "unknown entry 'extra'"),
        ("metrics = [", "cannot read"),
    ],
)
def test_bad_configurations_are_named(config, tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        run(Config.read(config(text)), tmp_path / "out")


def test_bad_names_stop_before_anything_is_scored(config, tmp_path):
    with pytest.raises(InputError, match="unknown metric 'psrn'"):
        run(Config.read(config(metrics("sharpness", "psrn"))), tmp_path / "out")
    with pytest.raises(ConfigError, match="no record of split 'validation'"):
        run(Config.read(config(metrics("sharpness"), split="validation")), tmp_path / "out")
    assert Sharpness.calls == 0


def test_labels_are_asked_for(corpus, config, tmp_path):
    manifest = corpus / "manifest.jsonl"
    before = manifest.read_text()
    try:
        manifest.write_text(before.replace('"label"', '"grade"'))
        with pytest.raises(ConfigError, match="lacks label"):
            run(Config.read(config(metrics("sharpness"))), tmp_path / "out")
    finally:
        manifest.write_text(before)


def test_corpus_path_expands_variables(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_CORPORA", str(corpus.parent))
    path = tmp_path / "board.toml"
    path.write_text(f'[data]\ncorpus = "$MY_CORPORA/{corpus.name}"\n{metrics("psnr")}')
    assert Config.read(path).corpus == corpus
    assert Config.read(path).split == "test"


def test_command_prints_the_table_and_exits_with_the_failures(config, tmp_path, monkeypatch):
    path, output = config(metrics("sharpness", "psnr")), tmp_path / "out"
    arguments = ["metrics", str(path), "-o", str(output), "--bootstrap", "20"]
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 0, result.output
    assert "18 images of 3 contents" in result.stdout
    assert "sharpness" in result.stdout
    assert "18/18" in result.stdout
    (output / "scores.jsonl").unlink()
    monkeypatch.setattr(Sharpness, "calls", 0)
    monkeypatch.setattr(Sharpness, "fails", staticmethod(lambda image: Sharpness.calls == 3))
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 1
    assert "17/18" in result.stdout
    assert "failed: sharpness on 1 images: RuntimeError: no idea" in result.stderr


def test_labels_of_metrics_hold_no_folders():
    entry = leaderboard.Entry("lpips", options={"net": "squeeze", "backbone": "/home/me/squeezenet1_1.safetensors"})
    assert entry.label == "lpips(net=squeeze, backbone=squeezenet1_1.safetensors)"
