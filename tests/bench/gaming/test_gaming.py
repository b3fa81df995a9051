"""Gaming reports: attacks at a stated PSNR, gains by hand, halves that do not mix, resume, failures, tables."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data
from typer.testing import CliRunner

from drmetric.bench.gaming import run as gaming
from drmetric.bench.gaming.attacks import (
    MANIPULATIONS,
    at_psnr,
    iterated,
    psnr,
    signed_step,
    tiled,
    universal_tile,
)
from drmetric.bench.gaming.gains import ALL, WORST_BY_GRADIENT, WORST_BY_HAND, lines
from drmetric.bench.gaming.run import BY_GRADIENT, BY_HAND, UNIVERSAL, halves, run
from drmetric.bench.gaming.settings import Settings, ask_witnesses
from drmetric.bench.gaming.tables import records, write_report
from drmetric.bench.judges import UNTOUCHED, Judge
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.spread import DISTORTIONS, spread_in
from drmetric.bench.scores.store import write_rows
from drmetric.bench.scores.subjects import Subject
from drmetric.checkpoints import find_weights
from drmetric.cli.bench import commands
from drmetric.errors import ConfigError, InputError, NotApplicableError, PairingError, WeightsError
from drmetric.images import read_image, resize, save_image
from drmetric.metrics import registry
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create

SIZE = 64


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


class Blind(Metric):
    """Not differentiable."""

    name, mode, signature, differentiable = "blind", "nr", "blind|1", False

    def _score(self, image, reference):
        return image.amax((1, 2, 3)).round(decimals=1) + image.mean((1, 2, 3))


class Nowhere(Metric):
    """Has no score."""

    name, mode, signature = "nowhere", "nr", "nowhere|1"

    def _score(self, image, reference):
        return image.mean((1, 2, 3)) * torch.nan


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch):
    for metric in (Brightness, Darkness, Blind):
        monkeypatch.setitem(registry._METRICS, metric.name, f"{__name__}:{metric.__name__}")
    monkeypatch.setattr(Brightness, "calls", 0)
    monkeypatch.setattr(Brightness, "fails", staticmethod(lambda image: False))


def photograph(name, size=SIZE):
    pixels = getattr(data, name)()[60 : 60 + size, 100 : 100 + size]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


@pytest.fixture
def greys(tmp_path):
    """Four images of one grey each, two of them of one input; a step of brightness reaches every PSNR."""
    for name, grey in {"a_one": 0.3, "a_two": 0.4, "b": 0.5, "c": 0.6}.items():
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "degraded").mkdir(exist_ok=True)
        save_image(torch.full((3, SIZE, SIZE), grey), tmp_path / f"images/{name}.png")
        save_image(torch.full((3, SIZE, SIZE), grey), tmp_path / f"degraded/{name[0]}.png")
    return tmp_path


@pytest.fixture
def photographs(tmp_path):
    """Two photographs enlarged from half their size, with their inputs."""
    for name in ("chelsea", "coffee"):
        for folder in ("images", "degraded"):
            (tmp_path / folder).mkdir(exist_ok=True)
        degraded = resize(photograph(name)[None], (SIZE // 2, SIZE // 2))
        save_image(degraded[0], tmp_path / f"degraded/{name}.png")
        save_image(resize(degraded, (SIZE, SIZE))[0], tmp_path / f"images/{name}.png")
    return tmp_path


def settings(folder, *metrics, **changes):
    options = {"witnesses": (), "psnrs": (40.0,), "steps": 3, "n_bootstrap": 50, "degraded": folder / "degraded"}
    return Settings(metrics, folder / "images", **{**options, **changes})


def by_attack(report, metric, psnr=40.0):
    return {line.attack: line for line in lines(report) if (line.metric, line.psnr) == (metric, psnr)}


@pytest.mark.parametrize("wanted", [45.0, 40.0, 30.0])
@pytest.mark.parametrize("manipulation", MANIPULATIONS, ids=lambda each: each.name)
def test_a_manipulated_image_has_the_stated_psnr_or_is_said_not_to_reach_it(manipulation, wanted):
    image = photograph("coffee")[None]
    difference = manipulation.difference(image, wanted, 0)
    strongest = psnr(image, image + difference) if manipulation.limit == 1 else 0
    if strongest > wanted:
        said = rf"{wanted:g} dB cannot be reached: at full strength it is {strongest:.1f} dB"
        with pytest.raises(NotApplicableError, match=said):
            at_psnr(image, difference, wanted, manipulation.limit)
        return
    result = at_psnr(image, difference, wanted, manipulation.limit)
    assert result.min() >= 0
    assert result.max() <= 1
    assert psnr(result, image) == pytest.approx(wanted, abs=0.01)
    if manipulation.name.startswith("less"):
        assert result.std() < image.std()


def test_what_an_attack_cannot_change_is_said():
    grey = torch.full((1, 3, 32, 32), 0.5)
    saturation = next(each for each in MANIPULATIONS if each.name == "more saturation")
    with pytest.raises(NotApplicableError, match="changes nothing"):
        at_psnr(grey, saturation.difference(grey, 40.0, 0), 40.0)
    with pytest.raises(NotApplicableError, match="at full strength it is no change"):
        at_psnr(torch.ones(1, 3, 8, 8), torch.ones(1, 3, 8, 8), 40.0)
    with pytest.raises(ArithmeticError, match="not finite"):
        at_psnr(grey, grey / 0, 40.0)


@pytest.mark.parametrize(("name", "weights"), [("driqa", "driqa-patches-3"), ("nriqa", "default")])
def test_attacks_raise_the_score_and_many_steps_do_not_less_than_one(name, weights):
    metric, image = create(name, weights=weights), photograph("chelsea", 96)[None]
    reference = [resize(image, (48, 48))] if metric.needs_reference else []

    def score(attacked):
        return metric(attacked, *reference)

    before, one = score(image).item(), signed_step(score, image, 38.0)
    many = iterated(score, image, 38.0, 6)
    assert score(one).item() > before
    assert score(many).item() >= score(one).item()
    for attacked in (one, many):
        assert psnr(attacked, image) == pytest.approx(38, abs=0.01)


def test_the_universal_tile_is_the_same_for_images_of_any_size():
    images = [torch.full((1, 3, 40, 90), 0.5), torch.full((1, 3, 70, 70), 0.4)]
    weights = torch.randn(1, 3, 1, 1, generator=torch.Generator().manual_seed(0))

    def score(image):
        return (image * weights).mean((1, 2, 3))

    tile = universal_tile([lambda image=image: (score, image) for image in images], 40.0, 4)
    assert psnr(tiled(tile, (64, 64)), torch.zeros(1)) == pytest.approx(40, abs=0.01)
    for image in images:
        assert score(at_psnr(image, tiled(tile, image.shape[-2:]), 40.0)) > score(image)
    assert torch.equal(tiled(tile, (130, 65))[..., 64:128, 64:], tile[..., :1])


def test_the_number_of_a_metric_is_that_of_a_hand_computation(greys):
    report = run(settings(greys, "brightness", "darkness"), greys / "out")
    images = [read_image(path).mean().item() for path in sorted((greys / "images").glob("*.png"))]
    scores = [row.score for row in report.rows if row.metric == "brightness" and row.settings["psnr"] is None]
    assert len(scores) == 4 * (1 + len(DISTORTIONS))
    assert set(np.round(images, 5)) <= set(np.round(scores, 5))
    sd = np.std(scores, ddof=1)
    for metric in ("brightness", "darkness"):
        found = by_attack(report, metric)
        for attack in (ALL, WORST_BY_GRADIENT, *BY_GRADIENT):
            assert found[attack].gain == pytest.approx(0.01 / sd, rel=1e-3)  # 40 dB of a uniform step is .01
            assert (found[attack].n_used, found[attack].raised) == (4, 1.0)
        assert abs(found["noise"].gain) < 0.05 * found[ALL].gain
        assert found["more saturation"].n_used == 0
        assert "(4)" in found["more saturation"].remark
    by_dark = by_attack(report, "darkness")[ALL]
    assert by_dark.difference == pytest.approx(0, abs=1e-3)
    assert by_dark.spread.sd == pytest.approx(sd)
    assert not report.failures


def test_the_worst_case_is_the_largest_gain_of_each_image(photographs):
    report = run(settings(photographs, "brightness", "blind"), photographs / "out")
    sd = report.spreads[1].sd
    rows = [row for row in report.rows if row.metric == "blind" and row.score is not None]
    before = {row.image: row.score for row in rows if row.method == UNTOUCHED}
    gains = {image: [] for image in before}
    for row in rows:
        if row.method in BY_HAND:
            gains[row.image].append((row.score - before[row.image]) / sd)
    found = by_attack(report, "blind")
    expected = np.mean([max(values) for values in gains.values()])
    assert found[ALL].gain == pytest.approx(expected)
    assert found[WORST_BY_HAND].gain == pytest.approx(expected)
    other = by_attack(report, "brightness")[ALL].gain
    assert found[ALL].difference == pytest.approx(other - expected)
    for attack in (*BY_GRADIENT, WORST_BY_GRADIENT):
        assert (found[attack].n_used, math.isnan(found[attack].gain)) == (0, True)
        assert found[attack].remark.startswith("not differentiable (")
    assert not report.failures


def test_a_lower_is_better_metric_is_attacked_downward(photographs):
    for name in ("chelsea", "coffee"):
        noise = 0.1 * torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        save_image((photograph(name) + noise).clamp(0, 1), photographs / f"images/{name}.png")
    report = run(settings(photographs, "gmsd(reference=degraded)"), photographs / "out")
    scores = {(row.image, row.method): row.score for row in report.rows}
    assert scores["coffee.png", "iterated"] < scores["coffee.png", UNTOUCHED]
    found = by_attack(report, "gmsd(reference=degraded)")
    assert found["iterated"].gain > 0
    assert found["iterated"].gain >= found["FGSM"].gain


def test_a_universal_perturbation_never_sees_its_test_images(greys, monkeypatch):
    trained, applied = [], {}
    train = gaming._Runner._train
    monkeypatch.setattr(
        gaming._Runner,
        "_train",
        lambda self, judge, training, wanted: (
            trained.append({each.content for each in training}) or train(self, judge, training, wanted)
        ),
    )
    row = gaming._Runner._row

    def watched(self, judge, subject, attack, *others):
        made = row(self, judge, subject, attack, *others)
        if attack == UNIVERSAL:
            applied.setdefault(len(trained), set()).add(subject.content)
        return made

    monkeypatch.setattr(gaming._Runner, "_row", watched)
    run(settings(greys, "brightness"), greys / "out")
    assert len(trained) == 2
    assert trained[0] | trained[1] == {"a.png", "b.png", "c.png"} == applied[1] | applied[2]
    for number, contents in enumerate(trained, start=1):
        assert not contents & applied[number]


def test_images_of_one_content_are_in_one_half():
    subjects = [Subject(f"{content}{number}", content, {}) for content in "abcdefg" for number in range(3)]
    first, second = halves(subjects, 0)
    assert len(first) + len(second) == 21
    assert not {each.content for each in first} & {each.content for each in second}
    assert halves(subjects, 1) != (first, second)


def test_one_content_has_no_universal_perturbation(photographs):
    (photographs / "images/coffee.png").unlink()
    report = run(settings(photographs, "brightness"), photographs / "out")
    assert by_attack(report, "brightness")[UNIVERSAL].remark.startswith("a universal perturbation needs images of two")
    assert not report.failures


def test_rows_are_kept_and_those_of_changed_images_are_not(greys):
    asked, output = settings(greys, "brightness", witnesses=("ssim",)), greys / "out"
    first = run(asked, output)
    calls, text = Brightness.calls, (output / "gaming.jsonl").read_text()
    again = run(asked, output)
    assert Brightness.calls == calls
    assert (output / "gaming.jsonl").read_text() == text
    assert (again.kept, again.rows) == (len(first.rows), first.rows)
    assert records(lines(again)).to_csv() == records(lines(first)).to_csv()
    (output / "gaming.jsonl").write_text("".join(text.splitlines(keepends=True)[:30]) + '{"torn')
    assert run(asked, output).kept == 30
    save_image(torch.full((3, SIZE, SIZE), 0.35), greys / "images/b.png")
    changed = run(asked, output)
    # What was trained on the other half holds; what was trained on the changed image, and it itself, does not.
    dropped = [row for row in first.rows if row.image == "b.png"]
    assert len(first.rows) - len(dropped) - 3 <= changed.kept < len(first.rows) - len(dropped)
    assert run(settings(greys, "brightness", witnesses=("psnr",)), output).kept == 0


def test_a_failing_metric_is_named_and_the_exit_status_is_1(greys, monkeypatch):
    monkeypatch.setattr(Brightness, "fails", staticmethod(lambda image: 0.45 < image.mean() < 0.55))
    arguments = ["gaming", "brightness", "--images", greys / "images", "--degraded", greys / "degraded"]
    arguments += ["--witness", "psnr", "--psnr", "40", "--steps", "2", "--bootstrap", "50", "-o", greys / "out"]
    result = CliRunner().invoke(commands, [str(each) for each in arguments])
    assert result.exit_code == 1, result.output
    assert "failed: brightness on 1 scores: RuntimeError: no idea" in result.output
    rows = [json.loads(line) for line in (greys / "out/gaming.jsonl").read_text().splitlines()]
    assert [(row["image"], row["method"]) for row in rows if row.get("error") == "no idea"] == [("b.png", UNTOUCHED)]
    with (greys / "out/table.csv").open(newline="") as file:
        worst = next(row for row in csv.DictReader(file) if row["attack"] == ALL)
    assert (worst["n_used"], worst["n_given"]) == ("3", "4")
    monkeypatch.setattr(Brightness, "fails", staticmethod(lambda image: False))
    mended = CliRunner().invoke(commands, [str(each) for each in arguments])
    assert mended.exit_code == 0, mended.output
    assert "scores were kept" in mended.output


def test_all_that_is_missing_is_named_before_the_first_image(greys, monkeypatch):
    monkeypatch.setenv("DRMETRIC_HOME", str(greys / "nowhere"))
    with pytest.raises(WeightsError, match="no weights 'niqe'"):
        run(settings(greys, "brightness", "niqe"), greys / "out")
    asked = replace(settings(greys, "brightness", "niqe", "ssim"), degraded=greys / "gone", truth=None)
    with pytest.raises(ConfigError, match=r"3 things are missing: the degraded path .*gone.*; ssim: .*truth.*'niqe'"):
        run(asked, greys / "out")
    assert Brightness.calls == 0
    assert not (greys / "out").exists()


def test_witnesses_that_cannot_be_made_are_named_before_the_first_image(greys, monkeypatch):
    monkeypatch.setenv("DRMETRIC_HOME", str(greys / "nowhere"))
    said = []
    asked = settings(greys, "brightness", witnesses=("niqe", "psnr"))
    report = run(asked, greys / "out", warn=lambda text: said.append((text, Brightness.calls)))
    assert "WeightsError" in report.unavailable["niqe"]
    assert said == [(f"witness niqe is absent: {report.unavailable['niqe']}", 0)]
    written = write_report(report, lines(report), greys / "out")
    table = (greys / "out/table.md").read_text()
    assert "Witness niqe is absent: WeightsError" in table
    header = json.loads(written[-1].read_text())
    assert header["metrics"][0]["spread"]["n"] == 40
    assert header["facts"]["seed"] == "0"
    assert [each["label"] for each in header["witnesses"]] == ["psnr"]


def test_metrics_of_one_label_are_refused_and_a_witness_without_a_score_says_so(greys):
    for folder, path in (("one", "driqa-mobilenetv2-12"), ("two", "driqa-patches-3")):
        (greys / folder).mkdir()
        (greys / folder / "driqa.safetensors").write_bytes(find_weights("driqa", path).path.read_bytes())
    both = [f"driqa(weights={greys / folder}/driqa.safetensors)" for folder in ("one", "two")]
    with pytest.raises(ConfigError, match=r"two metrics are called 'driqa\(weights=driqa.safetensors\)'"):
        run(settings(greys, *both), greys / "out")
    nowhere = Judge("nowhere", "none", Nowhere())
    assert ask_witnesses([nowhere], torch.rand(1, 3, 8, 8), {}) == {"nowhere": "the score is nan"}


def test_witnesses_see_the_attacked_images(photographs):
    asked = settings(photographs, "brightness", witnesses=("psnr", "driqa"))
    found = by_attack(run(asked, photographs / "out"), "brightness")["FGSM"]
    assert found.witnesses["psnr"] == pytest.approx(40, abs=0.01)
    driqa, changes = create("driqa"), []
    for name in ("chelsea", "coffee"):
        image, degraded = (read_image(photographs / f"{kind}/{name}.png")[None] for kind in ("images", "degraded"))
        attacked = at_psnr(image, torch.ones_like(image), 40.0)
        changes.append((driqa(attacked, degraded) - driqa(image, degraded)).item())
    assert found.witnesses["driqa"] == pytest.approx(np.mean(changes), abs=1e-4)


def test_the_spread_is_that_of_an_earlier_board(greys, tmp_path):
    def row(number, score, signature="brightness|1|drmetric:0.0.9", reference="none"):
        return Row(str(number), "brightness", signature, reference, score=score)

    file = tmp_path / "scores.jsonl"
    write_rows(file, [row(1, 0.2), row(2, 0.4), row(3, 0.9), row(4, None), row(1, 5.0, signature="brightness|2")])
    judge = Judge("brightness", "none", Brightness())
    spread = spread_in(file, judge)
    assert (spread.n, spread.sd) == (3, pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1)))
    report = run(settings(greys, "brightness", spreads=(file,)), greys / "out")
    assert report.spreads == [spread]
    assert by_attack(report, "brightness")[ALL].gain == pytest.approx(0.01 / spread.sd, rel=1e-3)
    assert not any(row.method.startswith("KADID") for row in report.rows)
    assert spread_in(file, Judge("darkness", "none", Darkness())) is None
    write_rows(file, [row(1, 0.2, "brightness|2"), row(2, 0.4, "brightness|3")])
    with pytest.raises(ConfigError, match="under 2 other settings"):
        spread_in(file, judge)
    file.write_text("no scores\n")
    with pytest.raises(InputError, match="not a score file"):
        spread_in(file, judge)


def test_the_spread_is_that_of_scored_folders(greys, tmp_path):
    from drmetric.bench.scores.folder import score_folder

    score_folder(Brightness(), greys / "images", output=tmp_path / "scores.jsonl")
    spread = spread_in(tmp_path / "scores.jsonl", Judge("brightness", "none", Brightness()))
    expected = [read_image(path).mean().item() for path in (greys / "images").glob("*.png")]
    assert (spread.n, spread.sd) == (4, pytest.approx(np.std(expected, ddof=1)))


def test_a_metric_meets_another_image_only_if_it_is_asked_to(photographs):
    with pytest.raises(ConfigError, match=r'(?s)ssim: it is compared with the truth.*reference = "degraded"'):
        run(settings(photographs, "ssim"), photographs / "out")
    with pytest.raises(ConfigError, match="driqa: it is compared with the degraded image, and there is none"):
        run(settings(photographs, "driqa", degraded=None), photographs / "out")


@pytest.mark.parametrize(
    ("changes", "error", "problem"),
    [
        ({"psnrs": (0.0,)}, ConfigError, "wanted some above 0, up to 70 dB"),
        ({"metrics": ("brightness", "brightness")}, ConfigError, "two metrics are called"),
        ({"metrics": ()}, ConfigError, "no metric was named"),
        ({"images": None}, ConfigError, "--degraded and --truth belong to images of your own"),
        ({"degraded": "nowhere"}, PairingError, "does not exist"),
        ({"degraded": "others"}, PairingError, "has a degraded image of its name"),
    ],
)
def test_what_cannot_be_asked_is_refused(changes, error, problem, greys):
    (greys / "others").mkdir()
    save_image(torch.full((3, 8, 8), 0.5), greys / "others/x.png")
    if isinstance(changes.get("degraded"), str):
        changes = {"degraded": greys / changes["degraded"]}
    asked = settings(greys, "brightness")
    with pytest.raises(error, match=problem):
        run(Settings(**{**asked.__dict__, **changes}), greys / "out")
