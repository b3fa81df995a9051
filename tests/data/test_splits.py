"""Splits: shares of drawn ones, names of official ones."""

from pathlib import Path

import pytest

from drmetric.data.splits import SPLITS, drawn_split, drawn_validation, official_split, seed_of
from drmetric.errors import ConfigError


def test_seeds_are_the_same_everywhere() -> None:
    assert seed_of("koniq10k", 7) == 3492768875


def test_drawn_splits_have_the_stated_shares() -> None:
    drawn = [drawn_split("spaq", f"{n:05d}") for n in range(1, 11126)]
    shares = {split: drawn.count(split) / len(drawn) for split in SPLITS}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01)


def test_drawn_validation_has_the_share_that_is_asked_for() -> None:
    drawn = [drawn_validation("pipal", f"A{n:04d}", 0.125) for n in range(4000)]
    assert drawn.count("validation") / 4000 == pytest.approx(0.125, abs=0.02)
    assert set(drawn) == {"train", "validation"}


def test_official_names_are_ours_and_others_are_refused() -> None:
    names = ("training", "validation", "test")
    assert [official_split({"set": name}, Path("l.csv")) for name in names] == list(SPLITS)
    with pytest.raises(ConfigError, match=r"(?s)l\.csv: unknown set 'trial'.*training, validation, test"):
        official_split({"set": "trial"}, Path("l.csv"))
