"""Fidelity reports: what falls and what does not by hand computation, maps that point, resume, failures, tables."""

import csv
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data
from typer.testing import CliRunner

from drmetric.bench.fidelity.figures import FELL, lines, overall
from drmetric.bench.fidelity.pointing import pointing
from drmetric.bench.fidelity.probes import ENLARGED, LEVELS, PROBES, base_image, seed_of
from drmetric.bench.fidelity.run import run
from drmetric.bench.fidelity.settings import Settings
from drmetric.bench.fidelity.tables import tables, write_report
from drmetric.bench.fidelity.tensors import probe_tensors
from drmetric.bench.judges import UNTOUCHED
from drmetric.bench.scores.spread import DISTORTIONS
from drmetric.bench.scores.subjects import Folders, read_subjects
from drmetric.cli.bench import commands
from drmetric.distortions.unfaithful import LOCAL
from drmetric.errors import ConfigError, InputError, NotApplicableError
from drmetric.images import read_image, resize, save_image
from drmetric.metrics import registry
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create

SIZE = 64
NAMES = ("astronaut", "chelsea", "coffee")
BY_NAME = {probe.name: probe for probe in PROBES}


class Brightness(Metric):
    """The mean of the image; counts its calls and refuses what `fails` names."""

    name, mode, signature = "brightness", "nr", "brightness|1"
    calls = 0
    fails = staticmethod(lambda image: False)

    def _score(self, image, reference):
        Brightness.calls += 1
        if self.fails(image):
            raise RuntimeError("no idea")
        return image.mean((1, 2, 3))


class Darkness(Brightness):
    """The same, lower is better."""

    name, signature, higher_is_better = "darkness", "darkness|1", False


class Likeness(Metric):
    """One minus the distance from the enlarged input, with a map."""

    name, mode, signature, reference_name = "likeness", "dr", "likeness|1", "degraded"

    def _score(self, image, reference):
        return self._score_with_map(image, reference)[0]

    def _score_with_map(self, image, reference):
        distance = (image - resize(reference, image.shape[-2:])).abs().mean(1, keepdim=True)
        local = 1 - torch.nn.functional.avg_pool2d(distance, 8)
        return local.mean((1, 2, 3)), local


class Unlikeness(Likeness):
    """The same, lower is better."""

    name, signature, higher_is_better = "unlikeness", "unlikeness|1", False

    def _score_with_map(self, image, reference):
        score, local = super()._score_with_map(image, reference)
        return 1 - score, 1 - local


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch):
    for metric in (Brightness, Darkness, Likeness, Unlikeness):
        monkeypatch.setitem(registry._METRICS, metric.name, f"{__name__}:{metric.__name__}")
    monkeypatch.setattr(Brightness, "calls", 0)
    monkeypatch.setattr(Brightness, "fails", staticmethod(lambda image: False))


def photograph(name):
    pixels = getattr(data, name)()[60 : 60 + SIZE, 100 : 100 + SIZE]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()[None] / 255


@pytest.fixture
def folders(tmp_path):
    """Three photographs enlarged from half their size, with inputs and truth."""
    for name in NAMES:
        truth = photograph(name)
        degraded = resize(truth, (SIZE // 2, SIZE // 2)).clamp(0, 1)
        restored = 0.5 * truth + 0.5 * resize(degraded, (SIZE, SIZE)).clamp(0, 1)
        for folder, image in {"truth": truth, "degraded": degraded, "restored": restored}.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            save_image(image[0], tmp_path / folder / f"{name}.png")
    return Folders(tmp_path / "restored", tmp_path / "degraded", tmp_path / "truth")


def probes(*names):
    return [BY_NAME[name] for name in names]


def of(report, metric):
    return {(line.probe.name, line.level): line for line in lines(report) if line.metric == metric}


def test_the_table_of_probes_is_whole():
    assert len(BY_NAME) == len(PROBES)
    assert sum(probe.is_local for probe in PROBES) == len(LOCAL)
    for probe in PROBES:
        assert 0 < probe.hardly < probe.plainly, probe.name


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_plain_change_is_the_hardly_visible_one_grown(probe, folders):
    images, other = (subject.read("cpu") for subject in read_subjects(folders)[:2])
    base = images["degraded"] if probe.of_input else base_image(probe.base, images)
    distances = []
    for level in LEVELS:
        made = probe.changed(level, images, lambda: other, seed_of(probe.name, "a.png", 0))
        changed = made.images["degraded"] if probe.of_input else made.image
        distances.append(float((changed - base).abs().mean()))
        assert made.weight.shape == (1, 1, SIZE, SIZE)
        again = probe.changed(level, images, lambda: other, seed_of(probe.name, "a.png", 0))
        assert torch.equal(made.image, again.image)
        if probe.of_input:
            assert torch.equal(made.image, images["untouched"])
    assert 0 < distances[0] < distances[1]


def test_a_change_that_leaves_an_image_as_it_is_says_nothing():
    grey = {"untouched": torch.full((1, 3, SIZE, SIZE), 0.5)}
    for name in ("saturation", "warp", "flat"):
        with pytest.raises(NotApplicableError, match="leaves this image as it is"):
            BY_NAME[name].changed("plainly", grey, dict, 0)


def test_figures_are_those_of_a_hand_computation(folders, tmp_path):
    asked = Settings(("brightness", "darkness"), folders, probes=probes("black", "flat"), n_bootstrap=50)
    report = run(asked, tmp_path / "out")
    images = [read_image(path).mean().item() for path in sorted(folders.images.glob("*.png"))]
    undamaged = [
        row.score for row in report.rows if row.metric == "brightness" and row.method in (UNTOUCHED, *DISTORTIONS)
    ]
    assert len(undamaged) == len(NAMES) * (1 + len(DISTORTIONS))
    sd = np.std(undamaged, ddof=1)
    bright, dark = of(report, "brightness"), of(report, "darkness")
    black = bright["black", "plainly"]
    assert black.fall.value == pytest.approx(np.mean(images) / sd, rel=1e-4)
    assert black.fall.low <= black.fall.value <= black.fall.high
    assert (black.falls.value, dark["black", "plainly"].falls.value) == (1, 0)
    assert dark["black", "plainly"].fall.value == pytest.approx(-black.fall.value, rel=1e-4)
    # Fading to the mean keeps the mean: nothing falls, neither way.
    assert (bright["flat", "plainly"].falls.value, dark["flat", "plainly"].falls.value) == (0, 0)
    share = overall(report, [line for line in lines(report) if line.metric == "brightness"], FELL)
    assert share.value == pytest.approx((2 * black.falls.value + 0 + 0) / 4)
    assert not report.failures


def test_a_fall_below_the_tolerance_is_none(folders, tmp_path):
    asked = Settings(("brightness",), folders, probes=probes("black"), n_bootstrap=50)
    found = of(run(asked, tmp_path / "out"), "brightness")["black", "hardly"]
    assert found.falls.value == 1
    strict = Settings(("brightness",), folders, probes=probes("black"), tolerance=1e3, n_bootstrap=50)
    assert of(run(strict, tmp_path / "out"), "brightness")["black", "hardly"].falls.value == 0


@pytest.mark.parametrize("name", ["likeness", "unlikeness"])
def test_a_map_that_sees_the_input_points_at_the_patch(name, folders, tmp_path):
    asked = Settings((name, "psnr"), folders, probes=probes("patch replaced", "shift"), n_bootstrap=50)
    report = run(asked, tmp_path / "out")
    found = of(report, name)
    replaced = found["patch replaced", "plainly"]
    assert replaced.falls.value == 1
    assert replaced.auc.value > 0.9
    assert replaced.auc_of_change.value > 0.95
    assert np.isnan(found["shift", "plainly"].auc.value)
    assert np.isnan(of(report, "psnr")["patch replaced", "plainly"].auc.value)


def test_a_changed_input_is_met_by_those_that_meet_the_input_alone(folders, tmp_path):
    asked = Settings(("likeness", "brightness", "psnr"), folders, probes=probes("input mirrored"), n_bootstrap=50)
    report = run(asked, tmp_path / "out")
    assert of(report, "likeness")["input mirrored", "plainly"].falls.value == 1
    for blind in ("brightness", "psnr"):
        line = of(report, blind)["input mirrored", "plainly"]
        assert (line.n_used, line.remark) == (0, "it does not meet the input (3)")
    assert not report.failures


def test_nearest_is_compared_with_bicubic_and_wants_a_smaller_input(folders, tmp_path):
    asked = Settings(("psnr",), folders, probes=probes("nearest for bicubic"), n_bootstrap=50)
    report = run(asked, tmp_path / "out")
    line = of(report, "psnr")["nearest for bicubic", "plainly"]
    assert line.falls.value == 1
    truth, degraded = (read_image(folder / "coffee.png")[None] for folder in (folders.truth, folders.degraded))
    bicubic = create("psnr")(resize(degraded, (SIZE, SIZE)).clamp(0, 1), truth)
    kept = {(row.image, row.method): row.score for row in report.rows if row.metric == "psnr"}
    assert kept["coffee.png", ENLARGED] == pytest.approx(bicubic.item())
    same = Settings(("psnr",), Folders(folders.images, folders.images, folders.truth), probes=asked.probes)
    line = of(run(same, tmp_path / "same"), "psnr")["nearest for bicubic", "plainly"]
    assert "no input is smaller than the output" in line.remark


def test_rows_are_kept_and_those_of_changed_images_are_not(folders, tmp_path):
    asked, output = Settings(("brightness",), folders, probes=probes("shift", "patch replaced")), tmp_path / "out"
    first = run(asked, output)
    calls, text = Brightness.calls, (output / "fidelity.jsonl").read_text()
    again = run(asked, output)
    assert Brightness.calls == calls
    assert (again.kept, again.rows) == (len(first.rows), first.rows)
    (output / "fidelity.jsonl").write_text("".join(text.splitlines(keepends=True)[:20]) + '{"torn')
    assert run(asked, output).kept == 20
    save_image(photograph("cat")[0], folders.images / "coffee.png")
    changed = run(asked, output)
    # What was made of the changed image alone, or with a patch of it, does not hold.
    lost = [row for row in first.rows if row.image == "coffee.png"]
    lent = [row for row in first.rows if row.image == "chelsea.png" and row.settings["level"]]
    assert changed.kept == len(first.rows) - len(lost) - len(lent)


def test_a_failing_metric_is_named_and_the_exit_status_is_1(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(Brightness, "fails", staticmethod(lambda image: image.max() == 0))
    arguments = ["fidelity", "brightness", "likeness", "--images", folders.images, "--degraded", folders.degraded]
    arguments += ["--bootstrap", "20", "-o", tmp_path / "out"]
    result = CliRunner().invoke(commands, [str(each) for each in arguments])
    assert result.exit_code == 1, result.output
    assert "failed: brightness on 3 scores: RuntimeError: no idea" in result.output
    with (tmp_path / "out/table.csv").open(newline="") as file:
        rows = {(row["metric"], row["probe"], row["level"]): row for row in csv.DictReader(file)}
    black = rows["brightness", "black", "plainly"]
    assert (black["n_used"], black["n_given"], black["falls"]) == ("0", "3", "")
    assert float(rows["likeness", "black", "plainly"]["falls"]) == 1
    monkeypatch.setattr(Brightness, "fails", staticmethod(lambda image: False))
    mended = CliRunner().invoke(commands, [str(each) for each in arguments])
    assert mended.exit_code == 0, mended.output
    assert "scores were kept" in mended.output


def test_a_missing_reference_is_named_before_the_first_image(folders, tmp_path):
    asked = Settings(("brightness", "psnr"), Folders(folders.images, folders.degraded))
    with pytest.raises(ConfigError, match="psnr: it is compared with the truth image, and there is none"):
        run(asked, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"2 things are missing: the restored path .*gone.*; psnr: "):
        run(replace(asked, folders=Folders(folders.images / "gone", folders.degraded)), tmp_path / "out")
    assert Brightness.calls == 0


def test_the_report_says_how_it_was_made(folders, tmp_path):
    asked = Settings(("likeness",), folders, probes=probes("text garbled", "black"), n_bootstrap=20, opinion=False)
    report = run(asked, tmp_path / "out")
    written = write_report(report, lines(report), tmp_path / "out")
    assert {path.name for path in written} == {
        "table.md", "table.csv", "table.tex", "fidelity.jsonl", "fidelity.json",
    }  # fmt: skip
    lock = json.loads(written[-1].read_text())
    assert lock["probes"][0] == {
        "name": "text garbled",
        "unit": "of the shorter side",
        "hardly": 0.06,
        "plainly": 0.375,
    }
    assert lock["metrics"][0]["spread"]["n"] == 30
    text = (tmp_path / "out/table.md").read_text()
    for said in ("more than 0.025 of the metric's own spread", "Spread of likeness", "Where the map points"):
        assert said in text
    assert "0.375 of the shorter side" in text
    assert "\\toprule" in (tmp_path / "out/table.tex").read_text()


@pytest.mark.slow
@pytest.mark.skipif("DRMETRIC_LPIPS_BACKBONE" not in os.environ, reason="the label needs SqueezeNet's weights")
def test_opinion_measures_how_plainly_a_change_is_seen(folders, tmp_path):
    asked = Settings(("brightness",), folders, probes=probes("shift"), n_bootstrap=20, opinion=True)
    found = of(run(asked, tmp_path / "out"), "brightness")
    hardly, plainly = (found["shift", level].seen["opinion of the change"].value for level in LEVELS)
    assert 1 >= hardly > plainly + 0.2


def test_tensors_give_the_report_that_their_files_give(folders, tmp_path):
    chosen = probes("colour cast", "shift")
    report = run(Settings(("driqa",), folders, probes=chosen, n_bootstrap=20), tmp_path / "out")
    given = [[read_image(folder / f"{name}.png") for name in NAMES] for folder in (folders.images, folders.degraded)]
    metric = create("driqa")
    held = probe_tensors(metric, *given, names=[f"{name}.png" for name in NAMES], probes=chosen, n_bootstrap=20)
    assert held.spreads[0].sd == pytest.approx(report.spreads[0].sd)
    for key, line in of(report, "driqa").items():
        assert of(held, "driqa")[key].fall.value == pytest.approx(line.fall.value, abs=1e-4)
        assert of(held, "driqa")[key].falls == line.falls
    assert [table.title for table in tables(held, lines(held))] == [
        table.title for table in tables(report, lines(report))
    ]
    with pytest.raises(InputError, match="needs a degraded image"):
        metric(photograph("coffee"))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"restored": []}, "wanted as many of each"),
        ({"restored": [0, 0], "degraded": [0]}, "2 untouched, 1 degraded images; wanted as many of each"),
        ({"restored": [0, 0], "names": ["a", "a"]}, "2 images have 1 names"),
        ({"restored": [0]}, "driqa meets the degraded image, and there is none"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(given, problem):
    images = {kind: each if kind == "names" else [photograph("coffee")] * len(each) for kind, each in given.items()}
    with pytest.raises(InputError, match=problem):
        probe_tensors(create("driqa" if "degraded" in problem else "nriqa"), **images)


def test_a_map_of_changed_cells_alone_points_nowhere():
    maps = torch.zeros(1, 1, 2, 2)
    assert pointing(maps, maps, torch.ones(1, 1, 8, 8)) == {}
    weight = torch.zeros(1, 1, 8, 8)
    weight[..., :3, :3] = 1
    lower = maps.clone()
    lower[..., 0, 0] = -1
    assert pointing(lower, maps, weight) == {"auc": 1, "auc_of_change": 1}
    assert pointing(lower, lower, weight) == {"auc": 1, "auc_of_change": 0.5}


def test_a_metric_without_spread_has_no_figures(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(Brightness, "_score", lambda self, image, reference: torch.ones(len(image)))
    report = run(Settings(("brightness",), folders, probes=probes("black"), n_bootstrap=20), tmp_path / "out")
    line = of(report, "brightness")["black", "plainly"]
    assert (line.n_used, np.isnan(line.falls.value), np.isnan(line.fall.value)) == (3, True, True)
    assert write_report(report, lines(report), tmp_path / "out")
