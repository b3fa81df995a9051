"""Training and what it needs: options reach what does the work."""

from pathlib import Path

import pytest

from drmetric.data.make.labels import Fusion, Term
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
    assert run("train", "a.toml", "--resume", "--max-time", "00:01:00:00").stdout.endswith("weights.safetensors\n")
    (tmp_path / "f.json").write_text('{"terms": {"mdsi": {"weight": 2, "power": 1}}, "elo_per_point": 250}')
    corpus = ("corpus", "b.toml", "--output", tmp_path, "--workers", 2)
    assert run(*corpus, "--fusion", tmp_path / "f.json").stdout.endswith("manifest.jsonl\n")
    assert run(*corpus, "--split", "test", "--split", "validation").stdout.endswith("manifest.jsonl\n")
    refused = run(*corpus, "--split", "tset")
    assert (refused.exit_code, "tset" in refused.stderr) == (2, True)
    options = {"resume": True, "output": None, "max_time": "00:01:00:00"}
    fusion = Fusion({"mdsi": Term(2.0, 1.0)}, 250.0)
    whole = [(Path("b.toml"), tmp_path, 2, ["train", "validation", "test"]), (tmp_path, fusion, 2)]
    parts = [(Path("b.toml"), tmp_path, 2, ["test", "validation"]), (tmp_path, None, 2)]
    assert calls == [(Path("a.toml"), options), *whole, *parts]
