"""NARIQA on weights made here: the contract, references of any number and size, the bank, tiles."""

import copy
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from typer.testing import CliRunner

from drmetric import NARIQA, create
from drmetric.checkpoints import write_weights
from drmetric.cli.app import app
from drmetric.errors import InputError, WeightsError
from drmetric.images import save_image, to_8_bit
from drmetric.metrics.nariqa import write_bank
from drmetric.networks.cvrkd import CVRKD, CVRKDConfig
from tests.contract import ALONE_OR_TOGETHER, MetricContract, noisy, photos, vivid

CONFIG = CVRKDConfig(width=8, mixer_width=16, difference_depth=2, image_depth=1, tile=64)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights without a bank."""
    network = vivid(CVRKD(CONFIG))
    network.uncertainty.copy_(torch.tensor([0.02, 0.5]))
    path = tmp_path_factory.mktemp("weights") / "bare.safetensors"
    write_weights(path, "nariqa", CONFIG.as_dict(), network.state_dict())
    return path


@pytest.fixture(scope="session")
def weights(bare: Path) -> Path:
    path = bare.with_name("banked.safetensors")
    write_bank(bare, [("astronaut", photos(96)[:1]), ("coffee", photos(80)[1:2])], path)
    return path


@pytest.fixture(scope="module")
def metric(weights: Path) -> NARIQA:
    return NARIQA(weights)


class TestContract(MetricContract):
    @pytest.fixture
    def make(self, weights):
        return lambda: NARIQA(weights)

    def test_direction_is_the_declared_one(self):
        pytest.skip("random weights")


def test_a_bank_of_nothing_is_refused(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="write_bank got no references"):
        write_bank(bare, [], tmp_path / "bank.safetensors")


def test_the_bank_is_the_mean_of_its_references_and_the_file_names_them(bare: Path, weights: Path) -> None:
    image, references = photos(96)[2:], [photos(96)[:1], photos(80)[1:2]]
    torch.testing.assert_close(NARIQA(weights)(image), NARIQA(bare)(image, references), atol=1e-3, rtol=0)
    with safe_open(weights, "pt") as opened:
        assert json.loads(opened.metadata()["bank"]) == ["astronaut", "coffee"]
        assert opened.get_tensor("bank").shape == (1, 1, 1, 1, 49, 32)


def test_without_a_bank_references_are_needed(bare: Path) -> None:
    metric = NARIQA(bare)
    with pytest.raises(InputError, match="bare holds no bank") as caught:
        metric(photos(64))
    assert "set_references" in caught.value.fix
    assert NARIQA(bare, photos(64))(photos(64)).shape == (3,)


@torch.no_grad()
def test_all_references_serve_every_image(metric: NARIQA) -> None:
    images, references = noisy(photos(64), 0.05), photos(96)
    expected = metric(images, references)
    for same in (
        references[[2, 0, 1]],
        references.repeat(2, 1, 1, 1),
        list(references.split(1)),
        (references[:1], references[1:]),
        (references * 255).round().byte(),
    ):
        torch.testing.assert_close(metric(images, same), expected, **ALONE_OR_TOGETHER)
    torch.testing.assert_close(metric(images[1:2], references), expected[1:2], **ALONE_OR_TOGETHER)
    assert not torch.allclose(metric(images, references[:1]), expected, atol=1e-4)


@torch.no_grad()
def test_references_of_different_sizes_weigh_the_same(metric: NARIQA) -> None:
    large, tiny = F.interpolate(photos(96)[:1], (200, 130)), photos(32)[1:2]
    network, image = metric.network, photos(64)[2:]
    features = (network.reference_features(large) + network.reference_features(tiny)) / 2
    expected = network.score(image, features).mean((1, 2, 3)).sigmoid()
    torch.testing.assert_close(metric(image, [large, tiny]), expected, **ALONE_OR_TOGETHER)


@torch.no_grad()
def test_set_references_are_read_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric, images, references = NARIQA(weights), photos(64), list(photos(96).split(1))
    with_bank, expected = metric(images), metric(images, references)
    assert metric.set_references(references) is metric
    read: list[int] = []
    tokens = metric.network.tokens
    monkeypatch.setattr(metric.network, "tokens", lambda image: read.append(len(image)) or tokens(image))
    torch.testing.assert_close(metric(images), expected, **ALONE_OR_TOGETHER)
    torch.testing.assert_close(metric(images), expected, **ALONE_OR_TOGETHER)
    assert read == [3, 3], "the images alone"
    torch.testing.assert_close(metric(images, photos(96)), expected, **ALONE_OR_TOGETHER)
    torch.testing.assert_close(metric.set_reference(None)(images), with_bank, **ALONE_OR_TOGETHER)


@torch.no_grad()
def test_what_was_set_is_copied_but_not_the_callers_tensor(metric: NARIQA) -> None:
    images, references = photos(64), photos(96)
    expected = metric(images, references)
    kept = copy.deepcopy(metric).set_references(references)
    references.zero_()
    torch.testing.assert_close(copy.deepcopy(kept)(images), expected, **ALONE_OR_TOGETHER)
    assert torch.equal(metric(images, photos(96)), expected)


def test_set_references_follow_the_metric_to_its_device(metric: NARIQA) -> None:
    moved = copy.deepcopy(metric).set_references(photos(64))
    assert moved.to("meta")(photos(64).to("meta")).is_meta
    with pytest.raises(InputError, match="the images are on cpu, nariqa on meta"):
        moved(photos(64))


def test_signature_names_the_references_that_were_set(weights: Path) -> None:
    metric = NARIQA(weights)
    assert "references:bank" in metric.signature.split("|")
    with_three = metric.set_references(photos(64)).signature
    assert "references:3@" in with_three
    assert NARIQA(weights, list(photos(64).flip(0).split(1))).signature == with_three
    assert NARIQA(weights, photos(96)).signature != with_three
    assert "references:bank" in metric.set_references(None).signature


@pytest.mark.parametrize(
    ("references", "quotes"),
    [
        ([], "list of 0"),
        ((torch.rand(1, 3, 64, 64), torch.rand(3, 64, 64)), "tuple of 2"),
        ([torch.rand(1, 3, 64, 64), torch.full((1, 3, 64, 64), 255.0)], r"references\[1\]"),
        (torch.rand(1, 3, 31, 64), "31 x 64"),
        ("photo.png", "photo.png"),
    ],
)
def test_references_that_are_none_are_quoted(weights: Path, references: object, quotes: str) -> None:
    for call in (lambda: NARIQA(weights)(photos(64), references), lambda: NARIQA(weights, references)):
        with pytest.raises(InputError, match=quotes):
            call()


def test_map_s_mean_is_the_score_before_calibration(metric: NARIQA) -> None:
    scores, maps = metric(photos(128), photos(64), return_map=True)
    assert maps.shape == (3, 1, 14, 14)
    torch.testing.assert_close(maps.mean((1, 2, 3)).sigmoid(), scores)


def test_uncertainty_is_least_where_scores_are_near_their_ends(metric: NARIQA) -> None:
    for references in (None, photos(80)[1:2]):
        scores, errors = metric(photos(64), references, return_uncertainty=True)
        torch.testing.assert_close(scores, metric(photos(64), references))
        torch.testing.assert_close(errors, (0.02**2 + (0.5 * scores * (1 - scores)) ** 2).sqrt(), atol=1e-4, rtol=1e-3)


def test_loss_has_gradients_into_the_image(metric: NARIQA) -> None:
    image = photos(64).requires_grad_()
    metric.loss(image, references=photos(96)).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert (image.grad.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("size", [(900, 1400), (577, 2100)])
@torch.no_grad()
def test_tiles_do_not_change_the_score(weights: Path, metric: NARIQA, size: tuple[int, int]) -> None:
    image = F.interpolate(photos(288)[:1], size)
    tiled = NARIQA(weights, tile=576)
    scores, maps = metric(image, image.flip(-1), return_map=True)
    in_tiles, tiled_maps = tiled(image, image.flip(-1), return_map=True)
    torch.testing.assert_close(in_tiles, scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(tiled_maps, maps, atol=1e-4, rtol=1e-4)
    assert "tile:576+256" in tiled.signature
    codes = to_8_bit(image)
    assert torch.equal(tiled(codes), tiled(codes / 255))


def test_a_backbone_that_may_see_all_of_an_image_is_not_run_on_tiles(weights: Path) -> None:
    metric = NARIQA(weights, tile=576)
    metric._is_local = False
    metric(torch.zeros(1, 3, 1088, 1088))
    with pytest.raises(InputError, match="1089 x 1088 pixels, more than 1088 x 1088") as caught:
        metric(torch.zeros(1, 3, 1089, 1088))
    assert "tile=1536" in caught.value.fix
    enough = NARIQA(weights, tile=1536)
    enough._is_local = False
    assert enough(torch.zeros(1, 3, 1089, 1088)).isfinite()


@pytest.mark.parametrize("tile", [544, 600])
def test_tiles_that_cannot_be_cut_are_refused(weights: Path, tile: int) -> None:
    with pytest.raises(InputError, match=f"tile is {tile} pixels"):
        NARIQA(weights, tile=tile)


def test_references_that_want_a_gradient_are_taken_as_they_are(weights: Path) -> None:
    metric, references = NARIQA(weights), photos(64)
    expected = NARIQA(weights).set_references(references)
    metric.set_references(references.clone().requires_grad_())
    assert metric.signature == expected.signature
    assert torch.equal(metric(photos(96)), expected(photos(96)))


def test_trainable_networks_learn_also_from_their_references(weights: Path) -> None:
    metric = NARIQA(weights, trainable=True)
    assert len(list(metric.parameters())) > 0
    metric.loss(photos(64), photos(96)).backward()
    assert all(p.grad is not None for p in metric.network.reductions.parameters())


def test_weights_of_another_metric_or_shape_are_refused(tmp_path: Path) -> None:
    state = CVRKD(CONFIG).state_dict()
    write_weights(tmp_path / "other.safetensors", "driqa", CONFIG.as_dict(), state)
    with pytest.raises(WeightsError, match="'driqa'"):
        NARIQA(tmp_path / "other.safetensors")
    write_weights(tmp_path / "wider.safetensors", "nariqa", CONFIG.as_dict() | {"width": 12}, state)
    with pytest.raises(WeightsError, match="does not fit"):
        create("nariqa", weights=tmp_path / "wider.safetensors")


def test_command_scores_beside_a_folder_of_references_of_any_size(weights: Path, tmp_path: Path) -> None:
    images, references = tmp_path / "images", tmp_path / "references"
    for folder, sizes in ((images, (96, 80)), (references, (64, 128))):
        folder.mkdir()
        for index, size in enumerate(sizes):
            save_image(photos(size)[index], folder / f"{index}.png")
    command = ["score", str(images), "--metric", "nariqa", "--weights", str(weights), "-o", str(tmp_path / "s.jsonl")]
    result = CliRunner().invoke(app, [*command, "--references", str(references), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    metric = NARIQA(weights, [photos(64)[:1], photos(128)[1:2]])
    assert [row["score"] for row in rows] == pytest.approx(
        [metric(photos(96)[:1]).item(), metric(photos(80)[1:2]).item()], abs=1e-5
    )
    assert {row["signature"] for row in rows} == {metric.signature}


def test_command_refuses_references_for_metrics_that_take_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(tmp_path), "--metric", "nriqa", "--references", str(tmp_path)])
    assert result.exit_code != 0
    assert "--references" in result.output


def test_references_of_another_device_are_refused_before_they_are_looked_at(metric: NARIQA) -> None:
    with pytest.raises(InputError, match="image is on cpu, references on meta"):
        metric(photos(64)[:1], photos(64)[:1].to("meta"))


def test_references_that_are_lost_on_the_way_are_lost_in_the_signature(weights: Path) -> None:
    metric = NARIQA(weights).set_references(photos(64)[:1]).to("meta").to_empty(device="cpu")
    assert "|references:bank|" in metric.signature
