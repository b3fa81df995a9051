"""Weights are found, checked and read as checkpoints.py says; the bundled ones are complete."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.licenses import canonicalize_license_expression
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from drmetric import DRIQA
from drmetric import checkpoints as weights
from drmetric.checkpoints import WeightsFile, bundled_folder, find_weights, home, manifest, read_weights, write_weights
from drmetric.config import read_toml
from drmetric.errors import InputError, WeightsError
from drmetric.metrics.losses import DRIQALoss
from drmetric.metrics.registry import available
from drmetric.networks.ckdn import CKDN, CKDNConfig
from tests.contract import lively


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entries():
    return [(metric, name, entry) for metric, of in manifest().items() for name, entry in of["weights"].items()]


NAMES = [f"{metric}:{name}" for metric, name, _ in entries()]


@pytest.fixture
def folder(tmp_path, monkeypatch, fresh_manifest):
    """A copy of the bundled folder that takes its place."""
    copied = tmp_path / "weights"
    shutil.copytree(bundled_folder(), copied)
    monkeypatch.setattr(weights, "bundled_folder", lambda: copied)
    return copied


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def write_own(path, seed=0):
    config = CKDNConfig(hidden=(8,), head_stages=1)
    return write_weights(path, "driqa", config.as_dict(), lively(CKDN(config), seed).state_dict())


# --- what is bundled ---


class TestBundled:
    @pytest.mark.parametrize(("metric", "name", "entry"), entries(), ids=NAMES)
    def test_hash_file_and_licence_are_there(self, metric, name, entry):
        assert metric.partition("-")[0] in available()
        path = bundled_folder() / entry["file"]
        assert path.relative_to(bundled_folder()).as_posix() == f"{name}/model.safetensors"
        assert sha256(path) == entry["sha256"]
        assert canonicalize_license_expression(entry["licence"]) == entry["licence"]
        found = find_weights(metric, name)
        assert found == WeightsFile(name, path, entry["sha256"])

    @pytest.mark.parametrize(("metric", "name", "entry"), entries(), ids=NAMES)
    def test_a_card_says_where_the_weights_come_from(self, metric, name, entry):
        card = bundled_folder() / entry["card"]
        assert card.is_file(), f"{name} has no card {entry['card']}"
        text = card.read_text(encoding="utf-8").lower()
        for word in ("licence", "teacher", "confidence"):
            assert word in text, f"the card of {name} says nothing of its {word}"

    @pytest.mark.parametrize(("metric", "name", "entry"), entries(), ids=NAMES)
    def test_the_recipe_is_of_the_network_that_the_file_describes(self, metric, name, entry):
        recipe = read_toml(bundled_folder() / entry["recipe"])
        network, _ = read_weights(find_weights(metric, name), metric)
        assert recipe["metric"] == metric
        assert {key: network[key] for key in recipe["network"]} == recipe["network"]

    def test_defaults_are_among_the_weights(self):
        for metric, of in manifest().items():
            assert of["default"] in of["weights"]
            assert find_weights(metric) == find_weights(metric, of["default"])

    def test_nothing_lies_there_that_the_manifest_does_not_know(self):
        known = {entry[kind] for _, _, entry in entries() for kind in ("file", "card", "recipe")}
        found = {p.relative_to(bundled_folder()).as_posix() for p in bundled_folder().rglob("*") if p.is_file()}
        assert found == known | {"manifest.json"}

    @pytest.mark.parametrize(("metric", "name", "entry"), entries(), ids=NAMES)
    def test_tensors_are_finite_half_floats(self, metric, name, entry):
        with safe_open(bundled_folder() / entry["file"], "np") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        assert tensors
        assert {tensor.dtype for tensor in tensors.values()} == {np.dtype("float16")}
        assert not [key for key, tensor in tensors.items() if not np.isfinite(tensor).all()]


# --- finding ---


class TestFinding:
    def test_a_changed_file_is_refused(self, folder):
        path = folder / manifest()["driqa"]["weights"][manifest()["driqa"]["default"]]["file"]
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="has SHA-256") as caught:
            DRIQA()
        assert sha256(path)[:12] in caught.value.problem
        assert manifest()["driqa"]["weights"][path.parent.name]["sha256"][:12] in caught.value.problem
        assert "--force-reinstall" in caught.value.fix

    def test_a_file_that_was_removed_is_named(self, folder):
        path = folder / manifest()["driqa"]["default"] / "model.safetensors"
        path.unlink()
        with pytest.raises(WeightsError, match=rf"{path} is missing") as caught:
            DRIQA()
        assert "--force-reinstall" in caught.value.fix

    def test_another_default_changes_the_weights_and_the_signature(self, folder):
        before = DRIQA().signature
        (folder / "driqa-other-1").mkdir()
        digest = write_own(folder / "driqa-other-1/model.safetensors")
        content = json.loads((folder / "manifest.json").read_text())
        content["driqa"]["weights"]["driqa-other-1"] = {"file": "driqa-other-1/model.safetensors", "sha256": digest}
        content["driqa"]["default"] = "driqa-other-1"
        (folder / "manifest.json").write_text(json.dumps(content))
        manifest.cache_clear()
        assert f"driqa-other-1@{digest[:12]}" in DRIQA().signature
        assert DRIQA(before.split("weights:")[1].split("@")[0]).signature == before

    def test_a_path_is_taken_as_text_or_path(self, tmp_path):
        digest = write_own(tmp_path / "mine.safetensors")
        for path in (tmp_path / "mine.safetensors", str(tmp_path / "mine.safetensors")):
            assert find_weights("driqa", path) == WeightsFile("mine", tmp_path / "mine.safetensors", digest)

    def test_a_path_under_the_users_home_is_expanded(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        digest = write_own(tmp_path / "mine.safetensors")
        assert find_weights("driqa", "~/mine.safetensors").sha256 == digest

    def test_the_own_folder_is_read_at_every_call(self, tmp_path, monkeypatch):
        digests = []
        for seed, folder in enumerate(("first", "second")):
            (tmp_path / folder).mkdir()
            digests.append(write_own(tmp_path / folder / "mine.safetensors", seed))
            monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / folder))
            assert home() == tmp_path / folder
            assert find_weights("driqa", "mine").sha256 == digests[-1]
        assert digests[0] != digests[1]
        monkeypatch.setenv("DRMETRIC_HOME", "")
        assert home() == Path.home() / ".cache/drmetric"
        monkeypatch.delenv("DRMETRIC_HOME")
        assert home() == Path.home() / ".cache/drmetric"

    def test_the_own_folder_does_not_hide_bundled_names(self, own_home):
        write_own(own_home / f"{manifest()['driqa']['default']}.safetensors")
        assert find_weights("driqa").path.is_relative_to(bundled_folder())

    @pytest.mark.parametrize(
        ("metric", "name"), [(metric, name) for metric, of in manifest().items() for name in of["retired"]]
    )
    def test_a_retired_name_says_which_release_had_it(self, own_home, metric, name):
        release = manifest()[metric]["retired"][name]
        with pytest.raises(WeightsError, match=f"'{name}' left drmetric after release {release}") as caught:
            find_weights(metric, name)
        assert caught.value.fix.startswith(f"pip install drmetric=={release}")
        assert manifest()[metric]["default"] in caught.value.problem

    def test_a_retired_file_in_the_own_folder_is_found(self, own_home):
        digest = write_own(own_home / "driqa-mobilenetv2-8.safetensors")
        assert f"driqa-mobilenetv2-8@{digest[:12]}" in DRIQA("driqa-mobilenetv2-8").signature

    def test_an_unknown_name_is_quoted_beside_what_there_is(self, own_home):
        with pytest.raises(WeightsError, match="'nonsense'") as caught:
            DRIQA("nonsense")
        for name in manifest()["driqa"]["weights"]:
            assert name in caught.value.problem
        assert str(own_home) in caught.value.problem
        assert str(own_home / "nonsense.safetensors") in caught.value.fix

    def test_nearly_a_bundled_name_is_mended_to_it(self, own_home):
        with pytest.raises(WeightsError, match="'driqa-patches'") as caught:
            DRIQA("driqa-patches")
        assert caught.value.fix.startswith('weights="driqa-patches-')

    def test_a_path_of_no_file_is_not_sought_among_the_users_own(self, own_home, tmp_path):
        with pytest.raises(WeightsError, match=r"gone\.safetensors") as caught:
            DRIQA(tmp_path / "gone.safetensors")
        assert caught.value.fix == "pass the path of a file that is there"

    def test_a_number_is_the_weight_of_a_loss(self):
        with pytest.raises(InputError, match=r"weights is 0\.02") as caught:
            DRIQALoss(0.02)
        assert caught.value.fix.startswith("weight=0.02  #")

    def test_a_metric_without_bundled_weights_says_none(self, own_home):
        with pytest.raises(WeightsError, match="bundled are none"):
            find_weights("niqe", "niqe")


# --- one backbone for several ---


class TestSharedBackbone:
    """Weights whose backbone another file holds."""

    @pytest.fixture
    def holder(self, own_home):
        state = {"backbone.a": torch.randn(3), "head": torch.ones(2)}
        write_weights(own_home / "holder.safetensors", "nriqa-mobile", {}, state)
        return state

    def shared(self, folder, state):
        path = folder / "mine.safetensors"
        write_weights(path, "nariqa", {}, state, backbone_in=("nriqa-mobile", "holder"))
        return path

    def test_it_is_stored_once_and_read_from_there(self, tmp_path, holder):
        state = {"backbone.a": holder["backbone.a"], "mixer": torch.zeros(2)}
        path = self.shared(tmp_path, state)
        with safe_open(path, "np") as file:
            assert list(file.keys()) == ["mixer"]
        _, read = read_weights(find_weights("nariqa", path), "nariqa")
        assert read.keys() == state.keys()
        assert torch.equal(read["backbone.a"], holder["backbone.a"].half().float())

    def test_another_backbone_is_not_left_out(self, tmp_path, holder):
        with pytest.raises(WeightsError, match="the backbone of holder is another one"):
            self.shared(tmp_path, {"backbone.a": holder["backbone.a"] + 1})

    def test_a_holder_that_has_changed_since_is_refused(self, tmp_path, own_home, holder):
        path = self.shared(tmp_path, {"backbone.a": holder["backbone.a"]})
        write_weights(own_home / "holder.safetensors", "nriqa-mobile", {}, {"backbone.a": torch.ones(3)})
        with pytest.raises(WeightsError, match="needs the backbone of holder with SHA-256"):
            read_weights(find_weights("nariqa", path), "nariqa")

    def test_a_missing_holder_is_named(self, tmp_path, own_home, holder):
        path = self.shared(tmp_path, {"backbone.a": holder["backbone.a"]})
        (own_home / "holder.safetensors").unlink()
        with pytest.raises(WeightsError, match="no weights 'holder' for 'nriqa-mobile'"):
            read_weights(find_weights("nariqa", path), "nariqa")

    @pytest.mark.parametrize("text", ["there", "3", '["nriqa-mobile"]'])
    def test_a_description_of_no_backbone_is_refused(self, tmp_path, text):
        write_weights(tmp_path / "odd.safetensors", "nariqa", {}, {"a": torch.ones(1)}, notes={"backbone": text})
        with pytest.raises(WeightsError, match="does not describe its backbone: "):
            read_weights(find_weights("nariqa", tmp_path / "odd.safetensors"), "nariqa")

    def test_bundled_weights_hold_no_backbone_twice(self):
        digests = []
        for metric, name, _ in entries():
            with safe_open(find_weights(metric, name).path, "np") as file:
                kernels = [file.get_tensor(key).tobytes() for key in file.keys() if key.startswith("backbone.")]  # noqa: SIM118
            digests += [hashlib.sha256(b"".join(kernels)).hexdigest()] if kernels else []
        assert len(digests) == len(set(digests))


# --- reading and writing ---


class TestReadingAndWriting:
    @pytest.fixture
    def state(self):
        generator = torch.Generator().manual_seed(0)
        return {"a.weight": torch.randn(4, 3, generator=generator), "a.bias": torch.tensor([1.0, -2.5, 65504, 1e-5])}

    def test_a_round_trip_keeps_shape_and_rounds_to_half(self, tmp_path, state):
        network = {"backbone": "mobilenetv2", "hidden": (8, 4), "dropout": 0.5, "shared_embedding": False}
        digest = write_weights(tmp_path / "mine.safetensors", "driqa", network, state)
        assert digest == sha256(tmp_path / "mine.safetensors")
        read, tensors = read_weights(find_weights("driqa", tmp_path / "mine.safetensors"), "driqa")
        assert read == {**network, "hidden": [8, 4]}
        assert set(tensors) == set(state)
        for key, tensor in tensors.items():
            assert tensor.dtype == torch.float32
            expected = torch.from_numpy(state[key].numpy().astype(np.float16).astype(np.float32))
            assert torch.equal(tensor, expected)

    def test_whole_numbers_are_kept(self, tmp_path):
        steps = torch.tensor(70_001)  # what a batch norm counts; float16 ends at 65504
        write_weights(tmp_path / "mine.safetensors", "driqa", {}, {"norm.num_batches_tracked": steps})
        _, tensors = read_weights(find_weights("driqa", tmp_path / "mine.safetensors"), "driqa")
        assert tensors["norm.num_batches_tracked"] == 70_001

    def test_the_file_is_half_the_size(self, tmp_path):
        write_weights(tmp_path / "mine.safetensors", "driqa", {}, {"a": torch.randn(1000)})
        assert 2000 < (tmp_path / "mine.safetensors").stat().st_size < 2400

    def test_the_same_state_gives_the_same_file(self, tmp_path, state):
        digests = {write_weights(tmp_path / f"{i}.safetensors", "driqa", {}, state) for i in range(3)}
        assert len(digests) == 1

    def test_views_and_parameters_are_written(self, tmp_path):
        tensor = torch.randn(4, 6, requires_grad=True)
        write_weights(tmp_path / "mine.safetensors", "driqa", {}, {"a": tensor.T, "b": tensor[:, ::2]})
        _, read = read_weights(find_weights("driqa", tmp_path / "mine.safetensors"), "driqa")
        assert torch.equal(read["a"], tensor.detach().half().float().T)
        assert torch.equal(read["b"], tensor.detach().half().float()[:, ::2])

    @pytest.mark.parametrize("value", [1e6, float("nan"), float("-inf")])
    def test_numbers_that_half_cannot_hold_are_refused_by_name(self, tmp_path, state, value):
        state["a.bias"][1] = value
        with pytest.raises(WeightsError, match=r"a\.bias do not fit float16"):
            write_weights(tmp_path / "mine.safetensors", "driqa", {}, state)
        assert not (tmp_path / "mine.safetensors").exists()

    def test_weights_of_another_metric_are_refused(self, tmp_path, state):
        write_weights(tmp_path / "other.safetensors", "nariqa", {}, state)
        with pytest.raises(WeightsError, match=r"other\.safetensors holds weights of 'nariqa', not of 'driqa'"):
            DRIQA(tmp_path / "other.safetensors")

    def test_weights_that_name_no_metric_are_refused(self, tmp_path, state):
        save_file(state, tmp_path / "plain.safetensors")
        with pytest.raises(WeightsError, match="holds weights of None"):
            DRIQA(tmp_path / "plain.safetensors")
        save_arrays({"a": np.zeros(1)}, tmp_path / "half.safetensors", metadata={"metric": "driqa"})
        with pytest.raises(WeightsError, match=r"half\.safetensors"):
            DRIQA(tmp_path / "half.safetensors")

    @pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02}q\x00."])
    def test_what_is_no_safetensors_file_is_refused_and_not_unpickled(self, tmp_path, content):
        (tmp_path / "wrong.pth").write_bytes(content)
        with pytest.raises(WeightsError, match=r"wrong\.pth is not a safetensors file"):
            DRIQA(tmp_path / "wrong.pth")

    def test_a_file_cut_short_is_refused(self, tmp_path):
        write_own(tmp_path / "mine.safetensors")
        content = (tmp_path / "mine.safetensors").read_bytes()
        (tmp_path / "mine.safetensors").write_bytes(content[: len(content) // 2])
        with pytest.raises(WeightsError, match="is not a safetensors file"):
            DRIQA(tmp_path / "mine.safetensors")

    def test_own_weights_score_as_the_network_they_were_saved_from(self, tmp_path):
        write_own(tmp_path / "mine.safetensors")
        network = lively(CKDN(CKDNConfig(hidden=(8,), head_stages=1)))
        network.load_state_dict({key: value.half().float() for key, value in network.state_dict().items()})
        image, reference = torch.rand(2, 2, 3, 48, 56, generator=torch.Generator().manual_seed(1))
        expected = torch.sigmoid(network.eval()(image, reference).mean((1, 2, 3)))
        assert expected[0] != expected[1]
        torch.testing.assert_close(DRIQA(tmp_path / "mine.safetensors")(image, reference), expected)

    @pytest.mark.parametrize(
        ("network", "said"),
        [
            (None, "does not describe its network: KeyError"),
            ("{", "does not describe its network: JSONDecodeError"),
            ("[1, 2]", r"describes its network as \[1, 2\]; wanted a JSON object"),
            ('{"hidden": [8], "head_stages": 1, "dropout": -0.5}', "the network it describes: .*dropout is -0.5"),
            ('{"hidden": [8], "head_stages": 9}', "does not fit the network it describes"),
            ('{"hidden": ["8"]}', "does not fit the network it describes"),
        ],
    )
    def test_a_description_of_no_network_is_refused(self, tmp_path, network, said):
        metadata = {"metric": "driqa"} | ({} if network is None else {"network": network})
        state = lively(CKDN(CKDNConfig(hidden=(8,), head_stages=1))).state_dict()
        save_file(state, tmp_path / "odd.safetensors", metadata=metadata)
        with pytest.raises(WeightsError, match=said):
            DRIQA(tmp_path / "odd.safetensors")

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda t: t * math.nan, "that are not finite"),
            (lambda t: t.double() * 1e300, "that are not finite"),
            (lambda t: t > 0, r"as torch\.bool; wanted floats"),
            (lambda t: t.to(torch.int8), r"as torch\.int8; wanted floats"),
            (lambda t: t.to(torch.float8_e4m3fn), r"as torch\.float8_e4m3fn; wanted floats"),
            (lambda t: t.long(), "whole numbers in place of"),
        ],
    )
    def test_values_that_no_training_gives_are_refused_by_name(self, tmp_path, spoil, said):
        network = CKDN(CKDNConfig(hidden=(8,), head_stages=1))
        state = lively(network).state_dict()
        key = next(iter(state))
        state[key] = spoil(state[key])
        metadata = {"metric": "driqa", "network": json.dumps(network.config.as_dict())}
        save_file(state, tmp_path / "odd.safetensors", metadata=metadata)
        with pytest.raises(WeightsError, match=said) as caught:
            DRIQA(tmp_path / "odd.safetensors")
        assert key in caught.value.problem

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"driqa": {}}', '{"driqa": {"default": "a", "weights": 3}}'])
    def test_a_broken_manifest_is_named(self, folder, content):
        (folder / "manifest.json").write_text(content)
        manifest.cache_clear()
        with pytest.raises(WeightsError, match=r"manifest\.json is no manifest of weights") as caught:
            DRIQA()
        assert "--force-reinstall" in caught.value.fix
