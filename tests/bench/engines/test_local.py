"""The engine of this process: a device that is there, and the batch that was asked for."""

from pathlib import Path

import pytest
import torch

from drmetric.bench.engines.local import local_engine, usable_device
from drmetric.bench.judges import Judge
from drmetric.bench.scores.run import Task
from drmetric.errors import InputError
from tests.bench.scores.folders import Distance, write_image


def test_auto_is_the_fastest_device_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert usable_device("auto") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert usable_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert usable_device("auto") == "cuda"
    assert usable_device("cuda:1") == "cuda:1"
    with pytest.raises(InputError, match="'cuda:2' is not usable"):
        usable_device("cuda:2")


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "gpu", "cpu:first", "cpu:1"])
def test_a_device_that_is_not_there_is_named(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"'{device}' is not usable on this machine"):
        local_engine(device)


def test_images_of_one_size_are_scored_at_once(tmp_path: Path) -> None:
    files = [
        {kind: write_image(tmp_path / kind / f"{i}.png", i) for kind in ("restored", "degraded")} for i in range(5)
    ]
    sizes: list[int] = []
    metric = Distance(breaks=lambda image: sizes.append(len(image)))
    tasks = [Task(f"{number}.png", each) for number, each in enumerate(files)]
    rows = list(local_engine("cpu", batch=2)([Judge("distance", "degraded", metric)], tasks))
    assert sizes == [2, 2, 1]
    assert [row.image for row in rows] == [task.image for task in tasks]
    assert {row.device for row in rows} == {"cpu"}
