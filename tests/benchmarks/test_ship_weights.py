"""Shipping weights leaves a folder and a manifest that the package reads."""

import json
import shutil
import sys

from benchmarks import ship_weights
from drmetric import checkpoints
from drmetric.checkpoints import bundled_folder, find_weights, manifest
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
