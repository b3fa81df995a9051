"""Shipping weights leaves a folder and a manifest that the package reads."""

import json
import shutil
import sys

import torch
from safetensors import safe_open

from benchmarks import ship_weights
from drmetric import checkpoints
from drmetric.checkpoints import bundled_folder, find_weights, manifest, read_weights, write_weights
from tests.test_checkpoints import sha256, write_own


def test_new_weights_take_the_place_of_those_they_retire(tmp_path, monkeypatch, fresh_manifest):
    folder = tmp_path / "weights"
    shutil.copytree(bundled_folder(), folder)
    before = manifest()["driqa"]["default"]
    for name in ("card.md", "recipe.toml"):
        (tmp_path / name).write_text(name)
    write_own(tmp_path / "mean.safetensors")
    files = [f"--{kind}={tmp_path / file}" for kind, file in (("card", "card.md"), ("recipe", "recipe.toml"))]
    new = ["driqa", "driqa-new-1", f"--model={tmp_path / 'mean.safetensors'}", *files, "--default"]
    monkeypatch.setattr(sys, "argv", ["ship_weights", *new, f"--folder={folder}", "--retire", f"{before}=0.9.0"])
    ship_weights.main()
    monkeypatch.setattr(checkpoints, "bundled_folder", lambda: folder)
    manifest.cache_clear()
    assert find_weights("driqa").name == "driqa-new-1"
    assert find_weights("driqa").sha256 == sha256(tmp_path / "mean.safetensors")
    assert sorted(path.name for path in (folder / "driqa-new-1").iterdir()) == [
        "card.md",
        "model.safetensors",
        "recipe.toml",
    ]
    assert not (folder / before).exists()
    assert json.loads((folder / "manifest.json").read_text())["driqa"]["retired"][before] == "0.9.0"


def test_a_backbone_that_other_weights_hold_is_left_out(tmp_path, monkeypatch, fresh_manifest):
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path))
    held = {"backbone.a": torch.ones(64)}
    write_weights(tmp_path / "holder.safetensors", "nriqa-mobile", {}, held)
    write_weights(
        tmp_path / "whole.safetensors", "nariqa", {"width": 3}, {**held, "head": torch.zeros(2)}, {"bank": "x"}
    )
    target = tmp_path / "shared.safetensors"
    ship_weights.without_backbone(tmp_path / "whole.safetensors", "nariqa", ("nriqa-mobile", "holder"), target)
    with safe_open(target, "np") as file:
        assert list(file.keys()) == ["head"]
        assert file.metadata()["bank"] == "x"
    network, state = read_weights(find_weights("nariqa", target), "nariqa")
    assert network == {"width": 3}
    assert state["backbone.a"].sum() == 64
