"""A failure never pays: removing, breaking, turning or shrinking outputs can only lower their method."""

import json
import math
import shutil

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from drmetric.bench.methods.board import run
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report.files import write_report
from drmetric.bench.methods.report.story import findings, headline
from drmetric.bench.methods.tables import results
from drmetric.errors import ConfigError, DrmetricError
from drmetric.images import read_image, resize, save_image
from drmetric.metrics import registry
from drmetric.metrics.base import INFINITY, Metric
from tests.bench.scores.folders import write_image

PICTURES = ("0.png", "1.png", "2.png", "3.png")
METHODS = ("first", "second", "third")


class Contrast(Metric):
    """Between neighbours: what a smaller output raises."""

    name, mode, signature = "contrast", "nr", "contrast|1"

    def _score(self, image, reference):
        return (image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))


class Smoothness(Contrast):
    """Lower is better, without a worst score; smaller outputs are better by it too."""

    name, signature = "smoothness", "smoothness|1"
    higher_is_better, score_range = False, (0.0, INFINITY)

    def _score(self, image, reference):
        return 1 / super()._score(image, reference)


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch):
    for metric in (Contrast, Smoothness):
        monkeypatch.setitem(registry._METRICS, metric.name, f"{__name__}:{metric.__name__}")


def write(folder, n_methods, truth=False):
    """Outputs of 32 x 48 pixels, smooth enough that half of their size has more contrast."""
    for number, picture in enumerate(PICTURES):
        write_image(folder / "degraded" / picture, number, (16, 24))
        for seed_, method in enumerate([*METHODS[:n_methods], "truth"], start=1):
            coarse = read_image(write_image(folder / method / picture, 10 * seed_ + number, (8, 12)))
            save_image(resize(coarse[None], (32, 48))[0], folder / method / picture)
    text = '[data]\ndegraded = "degraded"\n' + ('truth = "truth"\n' if truth else "")
    text += "".join(f'[[methods]]\nname = "{name}"\nfolder = "{name}"\n' for name in METHODS[:n_methods])
    return text + '[[metrics]]\nname = "contrast"\n[[metrics]]\nname = "smoothness"\n'


def spoil(path, how):
    if how == "removed":
        path.unlink()
    elif how == "renamed":
        path.rename(path.with_name("unknown" + path.name))
    elif how == "broken":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "emptied":
        path.write_bytes(b"")
    else:
        image = read_image(path)
        height, width = image.shape[1:]
        sides = {"halved": (height // 2, width // 2), "cut": (height - 8, width)}
        save_image(image.mT if how == "turned" else resize(image[None], sides[how])[0], path)


def standings(text, folder, output):
    """{(metric, method): (mean turned so that higher is better, place)}."""
    shutil.rmtree(output, ignore_errors=True)
    result = run(Config.parse(text, folder, "board", "board"), output, n_bootstrap=5)
    return {
        (one.metric, one.method): (one.mean if one.metric == "contrast" else -one.mean, one.rank)
        for of_metric in result.ranking.standings
        for one in of_metric
    }


DAMAGE = ("removed", "renamed", "broken", "emptied", "halved", "cut", "turned")


@pytest.mark.parametrize(("n_methods", "truth"), [(1, False), (1, True), (2, False), (2, True), (3, False)])
def test_damage_never_pays(tmp_path, n_methods, truth):
    text = write(tmp_path / "whole", n_methods, truth)
    whole = standings(text, tmp_path / "whole", tmp_path / "out")

    @seed(20)
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(METHODS[:n_methods]),
        st.dictionaries(st.sampled_from(PICTURES), st.sampled_from(DAMAGE), min_size=1, max_size=len(PICTURES)),
    )
    def only_lowers(method, damage):
        here = tmp_path / "damaged"
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", here)
        for picture, how in damage.items():
            spoil(here / method / picture, how)
        if not truth and n_methods == 1 and set(damage.values()) == {"halved"} and len(damage) == len(PICTURES):
            return  # nothing is left that shows the scale
        may_refuse = n_methods == 1 or len(damage) == len(PICTURES)
        try:
            found = standings(text, here, tmp_path / "out")
        except DrmetricError:
            if may_refuse:
                return
            raise
        for metric in ("contrast", "smoothness"):
            (mean, place), (mean_before, place_before) = found[metric, method], whole[metric, method]
            assert math.isnan(mean) or mean < mean_before
            assert place >= place_before
            for other in set(METHODS[:n_methods]) - {method}:
                assert found[metric, other][0] == whole[metric, other][0]

    only_lowers()


def test_one_halved_output_is_named_and_costs_its_method(tmp_path):
    text = write(tmp_path, 2)
    spoil(tmp_path / "first/2.png", "halved")
    result = run(Config.parse(text, tmp_path, "board", "board"), tmp_path / "out", n_bootstrap=5)
    (failure,) = result.errors
    assert failure[1:3] == ("first", "2.png")
    assert "restored is 16 x 24 pixels, 1 times its input" in failure.error
    assert "2 times is expected" in failure.error


def test_a_method_whose_outputs_are_all_smaller_fails_beside_another(tmp_path):
    text = write(tmp_path, 2)
    for picture in PICTURES:
        spoil(tmp_path / "first" / picture, "halved")
    result = run(Config.parse(text, tmp_path, "board", "board"), tmp_path / "out", n_bootstrap=5)
    assert {failure.method for failure in result.errors} == {"first"}
    assert [one.rank for one in result.ranking.standings[0]] == [2, 1]


def test_pictures_may_differ_in_scale_where_the_methods_agree(tmp_path):
    text = write(tmp_path, 2)
    for method in METHODS[:2]:
        spoil(tmp_path / method / "2.png", "halved")
    assert not run(Config.parse(text, tmp_path, "board", "board"), tmp_path / "out", n_bootstrap=5).errors


def test_where_nothing_says_which_scale_is_right_the_board_asks(tmp_path):
    text = write(tmp_path, 1)
    for picture in PICTURES[:3]:
        spoil(tmp_path / "first" / picture, "halved")
    with pytest.raises(ConfigError, match="which scale is right") as caught:
        run(Config.parse(text, tmp_path, "board", "board"), tmp_path / "out", n_bootstrap=5)
    assert caught.value.fix.startswith("scale = ")
    for line, failed in (("scale = 2\n", 3), ('truth = "truth"\n', 3)):
        stated = text.replace("[[methods]]", line + "[[methods]]", 1)
        result = run(Config.parse(stated, tmp_path, "board", "board"), tmp_path / "out", n_bootstrap=5)
        assert len(result.errors) == failed
    with pytest.raises(ConfigError, match=r"scale is 0\.5; wanted 1 or more"):
        Config.parse(text.replace("[[methods]]", "scale = 0.5\n[[methods]]", 1), tmp_path, "board", "board")


def test_inputs_that_no_method_restored_count_as_failures_of_all(tmp_path):
    text = write(tmp_path, 2)
    for method in METHODS[:2]:
        spoil(tmp_path / method / "2.png", "removed")
    result = run(Config.parse(text, tmp_path, "board", "board"), tmp_path / "out", n_bootstrap=5)
    assert [(one.n_used, one.n_given) for one in result.ranking.standings[0]] == [(3, 4), (3, 4)]
    assert "1 of 4 images have no output of any method, such as '2.png'" in result.notes[0]


def without_an_output(folder, metrics):
    """The board of two methods of which one input has no output."""
    text = write(folder, 2).partition("[[metrics]]")[0] + "".join(f'[[metrics]]\nname = "{each}"\n' for each in metrics)
    for method in METHODS[:2]:
        spoil(folder / method / "2.png", "removed")
    config = Config.parse(text, folder, "board", "board")
    return run(config, folder / "out", n_bootstrap=5), config


def test_a_metric_that_gives_no_method_a_mean_calls_none_the_best(tmp_path):
    board, _ = without_an_output(tmp_path, ["smoothness", "contrast"])
    smoothness, contrast = board.ranking.standings
    assert [(each.rank, each.has_mean) for each in smoothness] == [(1, False)] * 2
    assert board.ranking.leading == contrast
    best = board.ranking.order[0]
    assert contrast[best].rank == 1
    assert board.ranking.mean_ranks.tolist() == [each.rank for each in contrast]
    assert headline(board).startswith(f"{METHODS[best]} is best of 2 methods by {board.scores.judges[1].head}")
    named = [sentence for sentence in findings(board) if board.scores.judges[0].head in sentence]
    assert [sentence.split()[1:5] for sentence in named] == [["has", "no", "worst", "score,"]]
    marks = [[cell.mark for cell in cells] for cells in results(board).cells]
    assert [each[2] for each in marks] == ["", ""]
    assert marks[0][3] == "best"


def test_where_no_metric_gives_a_mean_no_method_is_best(tmp_path):
    board, config = without_an_output(tmp_path, ["smoothness"])
    assert headline(board) == f"No method has a mean by {board.scores.judges[0].head}"
    assert not any(sentence.startswith("On average") for sentence in findings(board))
    assert {cell.mark for cells in results(board).cells for cell in cells} == {""}
    write_report(board, config, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out/table.jsonl").read_text().splitlines()]
    assert [(row["mean"], row["mean_rank"]) for row in rows] == [(None, None)] * 2
