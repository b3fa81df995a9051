"""Training and what it needs: options reach what does the work."""

from pathlib import Path

import pytest
import torch

from drmetric.data.make.building import write_records
from drmetric.data.make.labels import Fusion, Term
from drmetric.images import save_image
from drmetric.metrics.registry import create
from tests.cli.commands import run


def test_train_and_corpus_hand_their_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning")
    calls: list[object] = []

    def fake_train(recipe: Path, **options: object) -> Path:
        calls.append((recipe, options))
        return tmp_path / "weights.safetensors"

    def fake_build(config: Path, output: Path, workers: int, splits: list[str]) -> Path:
        calls.append((config, output, workers, splits))
        return output / "manifest.jsonl"

    def fake_label(corpus: Path, fusion: Fusion | None, workers: int) -> Path:
        calls.append((corpus, fusion, workers))
        return corpus / "manifest.jsonl"

    monkeypatch.setattr("drmetric.distill.trainer.train", fake_train)
    monkeypatch.setattr("drmetric.data.make.corpus.build", fake_build)
    monkeypatch.setattr("drmetric.data.make.labels.label", fake_label)
    fusion = Fusion({"mdsi": Term(2.0, 1.0)}, 250.0)
    monkeypatch.setattr("drmetric.data.make.labels.bundled_fusion", lambda: fusion)
    assert run("train", "a.toml", "--resume", "--max-time", "00:01:00:00").stdout.endswith("weights.safetensors\n")
    (tmp_path / "f.json").write_text('{"terms": {"mdsi": {"weight": 2, "power": 1}}, "elo_per_point": 250}')
    corpus = ("corpus", "b.toml", "--output", tmp_path, "--workers", 2)
    assert run(*corpus, "--fusion", tmp_path / "f.json").stdout.endswith("manifest.jsonl\n")
    assert run(*corpus, "--split", "test", "--split", "validation").stdout.endswith("manifest.jsonl\n")
    refused = run(*corpus, "--split", "tset")
    assert (refused.exit_code, "tset" in refused.stderr) == (2, True)
    options = {"resume": True, "output": None, "max_time": "00:01:00:00"}
    whole = [(Path("b.toml"), tmp_path, 2, ["train", "validation", "test"]), (tmp_path, fusion, 2)]
    parts = [(Path("b.toml"), tmp_path, 2, ["test", "validation"]), (tmp_path, fusion, 2)]
    assert calls == [(Path("a.toml"), options), *whole, *parts]


def test_fit_niqe_makes_a_model_of_photographs_or_of_a_corpus_training_split(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    records = []
    for number in range(3):
        image = torch.rand(3, 384, 384, generator=torch.Generator().manual_seed(number))  # equally sharp everywhere
        save_image(image, tmp_path / f"corpus/{number}.png")
        paths = dict.fromkeys(("restored", "degraded", "pristine"), f"{number}.png")
        records.append({**paths, "content": str(number), "split": "train", "label": 0.5})
    save_image(image[:, :96, :96], tmp_path / "corpus/test.png")
    paths = dict.fromkeys(("restored", "degraded", "pristine"), "test.png")
    write_records(
        tmp_path / "corpus/manifest.jsonl", [*records, {**paths, "content": "t", "split": "test", "label": 1}]
    )
    first = run("fit-niqe", tmp_path / "corpus", "-o", tmp_path / "a/niqe.safetensors")
    assert first.stdout == f"{tmp_path / 'a/niqe.safetensors'}: fitted to 3 photographs\n", first.output
    (tmp_path / "corpus/test.png").unlink()
    (tmp_path / "corpus/manifest.jsonl").unlink()
    run("fit-niqe", tmp_path / "corpus", "-o", tmp_path / "b/niqe.safetensors")
    models = [(tmp_path / folder / "niqe.safetensors").read_bytes() for folder in "ab"]
    assert models[0] == models[1]
    assert "niqe@" in create("niqe", weights=tmp_path / "a/niqe.safetensors").signature
    few = run("fit-niqe", tmp_path / "corpus", "--count", 1)
    assert (few.exit_code, "more than 36 sharp patches" in few.stderr) == (2, True)
