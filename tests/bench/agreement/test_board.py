"""Boards of metrics: on a corpus and on human-rated sets; references, parts, failures that cost, interrupted runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter
from skimage import data
from typer.testing import CliRunner

from drmetric.bench.agreement.board import run
from drmetric.bench.agreement.config import Config
from drmetric.bench.scores import run as scoring
from drmetric.bench.tables import to_markdown
from drmetric.cli.app import app
from drmetric.data.rated import read_opinions
from drmetric.errors import ConfigError, InputError, WeightsError
from drmetric.images import read_image, save_image
from drmetric.metrics import registry
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create
from tests.rated_set import write_biq2021, write_sriqa_bench

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
        path.write_text(f'[data]\nset = "corpus"\nroot = "{corpus}"\nsplit = "{split}"\n{metrics}')
        return path

    return write


def metrics(*names):
    return "".join(f'[[metrics]]\nname = "{name}"\n' for name in names)


def lines_of(board):
    return {line.metric: line for line in board.lines}


def test_good_metrics_win_and_directions_are_turned_round(config, tmp_path):
    path = config(
        metrics("sharpness", "blurriness", "psnr")
        + '[[metrics]]\nname = "psnr"\nreference = "degraded"\n[[metrics]]\nname = "gmsd"\n'
    )
    board = run(Config.read(path), tmp_path / "out", n_bootstrap=50)
    sharp, blurry, against_truth, against_input, gmsd = board.lines
    assert sharp.srcc_input == pytest.approx(1)
    assert (blurry.srcc, blurry.plcc) == (pytest.approx(sharp.srcc), pytest.approx(sharp.plcc))
    assert (against_input.metric, against_truth.metric) == ("psnr(reference=degraded)", "psnr")
    assert (against_input.reference, against_truth.reference) == ("degraded", "truth")
    assert against_input.srcc_input == pytest.approx(-1)  # the more is restored, the farther from the input
    assert against_truth.srcc_input == pytest.approx(1)
    assert gmsd.srcc_input == pytest.approx(1)
    assert (blurry.difference, blurry.difference_content) == (0, 0)
    assert (blurry.p_holm, blurry.p_holm_content) == (1, 1)
    assert against_input.difference_content > 0.5
    assert board.table.rows[-1] is against_input
    assert (sharp.n_used, sharp.n_given, sharp.n_contents) == (18, 18, 3)
    assert sharp.srcc_content_interval[0] <= sharp.srcc_content <= sharp.srcc_content_interval[1]
    assert np.isnan(sharp.p_holm_content)
    assert not board.errors


def test_what_is_written_names_the_data_and_holds_every_figure(config, tmp_path, corpus):
    output = tmp_path / "out"
    board = run(Config.read(config(metrics("sharpness", "psnr"))), output, n_bootstrap=20)
    text = (output / "table.md").read_text()
    assert f"corpus ({corpus.name}), split test: all 18 images" in text
    assert "20 bootstraps over contents" in text
    assert "18/18" in text
    rows = list(csv.DictReader((output / "table.csv").open()))
    assert [row["metric"] for row in rows] == [line.metric for line in board.table.rows]
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
    assert [json.loads(line)["image"] for line in scores.read_text().splitlines()].count("chelsea/d1_r2.png") == 1
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
        ("sharpness", "", "astronaut/d0_r2.png", "RuntimeError: no idea"),
        ("sharpness", "", "chelsea/d0_r2.png", "RuntimeError: no idea"),
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
    assert board.errors[0].error == "WeightsError: its weights are elsewhere (fix: look there)"
    assert board.table.rows[0].metric == "sharpness"


def test_an_unreadable_image_is_one_failure(config, tmp_path, corpus, monkeypatch):
    def read(data, path, alpha):
        if path.name == "d0_r0.png" and path.parent.name == "coffee":
            raise OSError("cannot be read")
        return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))

    monkeypatch.setattr(scoring, "read_pixels", read)
    board = run(Config.read(config(metrics("sharpness"))), tmp_path / "out", n_bootstrap=20)
    assert board.errors == [("sharpness", "", "coffee/d0_r0.png", "OSError: cannot be read")]


def test_new_labels_need_no_new_scores_and_new_images_do(corpus, config, tmp_path):
    settings, output = Config.read(config(metrics("sharpness"))), tmp_path / "out"
    run(settings, output, n_bootstrap=20)
    manifest, image = corpus / "manifest.jsonl", corpus / "coffee/d0_r0.png"
    before, pixels = manifest.read_text(), image.read_bytes()
    try:
        records = [json.loads(line) for line in before.splitlines()]
        for record in records:
            record["label"] = 1 - record["label"]
        manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
        image.write_bytes((corpus / "coffee/d0.png").read_bytes())
        board = run(settings, output, n_bootstrap=20)
    finally:
        manifest.write_text(before)
        image.write_bytes(pixels)
    assert Sharpness.calls == 19
    assert board.lines[0].srcc_input == pytest.approx(-1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (metrics("psnr").replace("name", "nmae"), "unknown entry 'nmae'"),
        (metrics("psnr") + 'reference = "clean"\n', "clean"),
        (metrics("sharpness") + 'reference = "degraded"\n', "cannot use the reference 'degraded'"),
        (metrics("psnr") + 'reference = "none"\n', "cannot use the reference 'none'"),
        (metrics("psnr", "psnr"), "two metrics are called 'psnr'"),
        ('splits = "test"\n' + metrics("psnr"), "unknown entry 'splits'"),
        ("", r"has no \[\[metrics\]\]"),
        ("[extra]\n" + metrics("psnr"), "unknown table 'extra'"),
        ("metrics = [", "cannot read"),
    ],
)
def test_bad_configurations_are_named(config, tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        run(Config.read(config(text)), tmp_path / "out")


def test_bad_names_stop_before_anything_is_scored(config, tmp_path):
    with pytest.raises(InputError, match="unknown metric 'psrn'"):
        run(Config.read(config(metrics("sharpness", "psrn"))), tmp_path / "out")
    with pytest.raises(ConfigError, match="has no validation images"):
        run(Config.read(config(metrics("sharpness"), split="validation")), tmp_path / "out")
    assert Sharpness.calls == 0


def test_labels_are_asked_for(corpus, config, tmp_path):
    manifest = corpus / "manifest.jsonl"
    before = manifest.read_text()
    try:
        manifest.write_text(before.replace('"label"', '"grade"'))
        with pytest.raises(ConfigError, match="has no labels"):
            run(Config.read(config(metrics("sharpness"))), tmp_path / "out")
    finally:
        manifest.write_text(before)


def test_the_folder_is_relative_to_the_file_and_variables_are_expanded(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_CORPORA", str(corpus.parent))
    path = tmp_path / "board.toml"
    path.write_text(f'[data]\nset = "corpus"\nroot = "$MY_CORPORA/{corpus.name}"\n{metrics("psnr")}')
    assert Config.read(path).data.folder == corpus
    assert Config.read(path).data.split == "all"
    path.write_text(path.read_text().replace("$MY_CORPORA", "beside"))
    assert Config.read(path).data.folder == tmp_path / "beside" / corpus.name
    path.write_text(path.read_text().replace('"corpus"', '"corpse"'))
    with pytest.raises(ConfigError, match=r"(?s)unknown set 'corpse'.*one of: .*corpus.*bapps"):
        Config.read(path)


def test_command_prints_the_table_and_exits_with_the_failures(config, tmp_path, monkeypatch):
    path, output = config(metrics("sharpness", "psnr")), tmp_path / "out"
    arguments = ["bench", "metrics", str(path), "-o", str(output), "--bootstrap", "20"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "all 18 images" in result.stdout
    assert "sharpness" in result.stdout
    assert "18/18" in result.stdout
    (output / "scores.jsonl").unlink()
    monkeypatch.setattr(Sharpness, "calls", 0)
    monkeypatch.setattr(Sharpness, "fails", staticmethod(lambda image: Sharpness.calls == 3))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "17/18" in result.stdout
    assert "failed: sharpness on 1 images: RuntimeError: no idea" in result.stderr


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_biq2021(tmp_path_factory.mktemp("set") / "biq2021")


@pytest.fixture
def rated_board(root: Path, tmp_path: Path) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(
        f'[data]\nset = "biq2021"\nroot = {json.dumps(str(root))}\nsplit = "test"\nparts = true\n'
        'unshared = true\n[[metrics]]\nname = "nriqa"\n[[metrics]]\nname = "nriqa"\noptions = {weights = "absent"}\n'
    )
    return path


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sriqa_bench(tmp_path_factory.mktemp("set") / "sriqa")


def board_of(folder: Path, root: Path, metrics: str, data: str = "", kind: str = "sriqa_bench") -> Config:
    table = f'[data]\nset = "{kind}"\nroot = {json.dumps(str(root))}\n{data}\n'
    (folder / "board.toml").write_text(table + metrics)
    return Config.read(folder / "board.toml")


PSNR = '[[metrics]]\nname = "psnr"\n'


@pytest.mark.parametrize(
    ("data", "metric", "folder", "reference"),
    [
        ("", PSNR, "images/Original", "truth"),
        ('reference = "degraded"', PSNR, "LRImages", "degraded"),
        ('reference = "degraded"', PSNR + 'reference = "truth"\n', "images/Original", "truth"),
        ("", '[[metrics]]\nname = "driqa"\n', "LRImages", "degraded"),
        ('reference = "truth"', '[[metrics]]\nname = "driqa"\n', "images/Original", "truth"),
    ],
)
def test_the_reference_is_that_of_metric_data_or_mode(
    restored: Path, tmp_path: Path, data: str, metric: str, folder: str, reference: str
) -> None:
    board = run(board_of(tmp_path, restored, metric, data), tmp_path / "out", n_bootstrap=20)
    (line,) = board.lines
    assert (line.reference, line.n_used, line.n_given, line.n_contents) == (reference, 12, 12, 3)
    rows = [json.loads(text) for text in (tmp_path / "out/scores.jsonl").read_text().splitlines()]
    made = create(line.metric, **({"upscale": True} if (reference, metric) == ("degraded", PSNR) else {}))
    for row in rows[:2]:
        scene = row["image"].rpartition("/")[2].split("_")[0]
        images = (read_image(restored / file)[None] for file in (row["image"], f"{folder}/{scene}_Original.png"))
        assert row["score"] == pytest.approx(float(made(*images).detach()), abs=1e-4)
    if reference == "truth" and line.metric == "psnr":
        assert (line.srcc_content, line.pair_accuracy_content) == (pytest.approx(1), 1)
    assert f"| {reference} |" in to_markdown(board.tables())


def test_no_reference_is_wanted_of_metrics_that_need_none(restored: Path, tmp_path: Path) -> None:
    config = board_of(tmp_path, restored, '[[metrics]]\nname = "nriqa"\n', 'reference = "degraded"')
    (line,) = run(config, tmp_path / "out", n_bootstrap=20).lines
    assert (line.reference, line.n_used) == ("none", 12)


def test_a_reference_that_the_set_lacks_is_named(root: Path, tmp_path: Path) -> None:
    for metric, wanted in (("driqa", "degraded"), ("psnr", "truth")):
        config = board_of(tmp_path, root, f'[[metrics]]\nname = "{metric}"\n', kind="biq2021")
        with pytest.raises(ConfigError, match=f"{metric}: it is compared with the {wanted} image, and there is none"):
            run(config, tmp_path / "out")
    (write_sriqa_bench(tmp_path / "set") / "LRImages").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="3 of the 18 sriqa_bench images are missing"):
        run(board_of(tmp_path, tmp_path / "set", PSNR), tmp_path / "out")


def test_run_writes_tables_of_the_whole_set_and_its_parts(rated_board: Path, root: Path, tmp_path: Path) -> None:
    read = Config.read(rated_board)
    board = run(Config(read.data, read.metrics[:1]), tmp_path / "out", n_bootstrap=50)
    rated = read_opinions("biq2021", root, "test")
    assert [line.part for line in board.lines] == [
        "all 12 images", "subset ss01", "subset ss02", "12 images whose content no other split has"
    ]  # fmt: skip
    assert [line.n_given for line in board.lines] == [12, 6, 6, 12]
    rows = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    scores = {row["image"]: row["score"] for row in rows}
    values = [scores[f"Images/{image.image.name}"] for image in rated]
    assert board.lines[0].srcc == pytest.approx(stats.spearmanr(values, [image.score for image in rated])[0])
    assert board.lines[0].srcc > 0.5
    table = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert [float(row["srcc"]) for row in table] == [line.srcc for line in board.lines]
    assert "subset ss01" in (tmp_path / "out" / "table.md").read_text()


def test_command_goes_on_and_fails_where_a_metric_has_no_weights(rated_board: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = CliRunner().invoke(app, ["bench", "metrics", str(rated_board), "-o", str(output), "--bootstrap", "20"])
    assert first.exit_code == 1
    assert "failed: nriqa" in first.output
    kept = (output / "scores.jsonl").read_text()
    with (output / "scores.jsonl").open("a") as file:
        file.write('{"torn')
    again = CliRunner().invoke(app, ["bench", "metrics", str(rated_board), "-o", str(output), "--bootstrap", "20"])
    assert again.exit_code == 1
    assert (output / "scores.jsonl").read_text() == kept
    assert "0/12" in (output / "table.md").read_text()
