"""Corpora: drawn from the seed alone, resumable, split by content, and described well enough to be made again."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from drmetric.data.make.building import read_manifest, write_records
from drmetric.data.make.corpus import CorpusConfig, build
from drmetric.distortions.degrade import degrade
from drmetric.distortions.unfaithful import UNFAITHFUL, needs_other
from drmetric.errors import ConfigError, DrmetricError
from drmetric.images import read_image

pytest.importorskip("skimage.restoration")  # loaded here once, for all worker processes
pytest.importorskip("skimage.filters")

PHOTOS = {
    "astronaut": data.astronaut()[40:140, 150:270],
    "coffee": data.coffee()[140:240, 240:360],
    "chelsea": data.chelsea()[80:180, 140:260],
}


def save_photos(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or PHOTOS:
        Image.fromarray(PHOTOS[name]).save(folder / f"{name}.png")
    return folder


def write_config(path: Path, *sources: dict[str, Any], **settings: Any) -> Path:
    """A corpus configuration as TOML: 64 px crops, few restorations; JSON values are TOML values here."""
    settings = {"crop": 64, "degraded_per_content": 2, "restored_per_degraded": 3, "validation_share": 0.0, **settings}
    families = settings.pop("families", None)
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    if families:
        lines += ["[families]", *(f"{key} = {value}" for key, value in families.items())]
    for source in sources:
        lines += ["[[sources]]", *(f"{key} = {json.dumps(value)}" for key, value in source.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def source(folder: Path | str, name: str = "photos", split: str = "train", **more: Any) -> dict[str, Any]:
    return {"name": name, "folder": str(folder), "split": split, **more}


def pixels(corpus: Path) -> dict[str, str]:
    """Hashes of all images of a corpus, by their path in it."""
    files = sorted((corpus / "images").rglob("*.png"))
    return {str(f.relative_to(corpus)): hashlib.sha256(np.asarray(Image.open(f)).tobytes()).hexdigest() for f in files}


def as_codes(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration and the corpus that two workers made by it; nobody may change either."""
    folder = tmp_path_factory.mktemp("made")
    config = write_config(folder / "corpus.toml", source(save_photos(folder / "photos")), degraded_per_content=3)
    build(config, folder / "corpus", workers=2)
    return config, folder / "corpus"


def test_manifest_lists_every_image_once_and_every_file_is_there(made: tuple[Path, Path]) -> None:
    records = read_manifest(made[1] / "manifest.jsonl")
    assert len(records) == len({r["id"] for r in records}) == 3 * 3 * 3
    listed = {r[kind] for r in records for kind in ("pristine", "degraded", "restored")}
    assert listed == set(pixels(made[1]))
    for record in records:
        assert record["content"] in ("photos-astronaut", "photos-coffee", "photos-chelsea")
        assert (record["source"], record["split"]) == ("photos", "train")
        assert Image.open(made[1] / record["pristine"]).size == (64, 64)
        assert Image.open(made[1] / record["restored"]).size == (64, 64)


def test_contents_table_lists_the_split(made: tuple[Path, Path]) -> None:
    with (made[1] / "contents.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["content"], r["source"], r["split"], r["file"]) for r in rows] == [
        (f"photos-{name}", "photos", "train", f"{name}.png") for name in sorted(PHOTOS)
    ]


def test_pristine_is_an_untouched_part_of_the_photograph(made: tuple[Path, Path]) -> None:
    for name, photo in PHOTOS.items():
        crop = as_codes(made[1] / f"images/photos-{name}/pristine.png")
        windows = np.lib.stride_tricks.sliding_window_view(photo[..., 0], (64, 64))
        top, left = np.argwhere((windows == crop[..., 0]).all((2, 3)))[0]
        assert np.array_equal(photo[top : top + 64, left : left + 64], crop)


def test_one_worker_makes_the_same_corpus_as_two(made: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = build(made[0], tmp_path / "again", workers=1)
    assert manifest.read_bytes() == (made[1] / "manifest.jsonl").read_bytes()
    assert pixels(tmp_path / "again") == pixels(made[1])


def test_splits_can_be_built_one_by_one(made: tuple[Path, Path], tmp_path: Path) -> None:
    photos = made[0].parent / "photos"
    sources = [
        source(photos, "kept", pattern="a*.png"),
        source(photos, "held", "validation", pattern="cof*.png"),
        source(photos, "tried", "test", pattern="che*.png"),
    ]
    config = write_config(tmp_path / "c.toml", *sources)

    def contents(manifest: Path) -> list[str]:
        return sorted({r["content"] for r in read_manifest(manifest)})

    assert contents(build(config, tmp_path / "parts", splits=["test"])) == ["tried-chelsea"]
    assert contents(build(config, tmp_path / "parts", splits=["train"])) == ["kept-astronaut", "tried-chelsea"]
    whole = build(config, tmp_path / "whole")
    assert build(config, tmp_path / "parts").read_bytes() == whole.read_bytes()
    assert pixels(tmp_path / "parts") == pixels(tmp_path / "whole")


def test_another_seed_makes_another_corpus(made: tuple[Path, Path], tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", source(made[0].parent / "photos"), degraded_per_content=3, seed=1)
    build(config, tmp_path / "other")
    ours, theirs = pixels(tmp_path / "other"), pixels(made[1])
    assert all(
        ours[f"images/photos-{name}/pristine.png"] != theirs[f"images/photos-{name}/pristine.png"] for name in PHOTOS
    )


def test_steps_and_seed_of_the_manifest_make_the_degraded_pixels_again(made: tuple[Path, Path]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the corpus' workers: sums keep their order
    try:
        for record in read_manifest(made[1] / "manifest.jsonl"):
            made_from = record["degradation"]
            pristine = read_image(made[1] / record["pristine"])[None]
            again = degrade(pristine, made_from["steps"], made_from["seed"])[0].permute(1, 2, 0)
            assert np.array_equal((again * 255).round().byte().numpy(), as_codes(made[1] / record["degraded"]))
    finally:
        torch.set_num_threads(threads)


def test_first_restoration_is_none_or_an_interpolation(made: tuple[Path, Path]) -> None:
    firsts = [r for r in read_manifest(made[1] / "manifest.jsonl") if r["id"].endswith("_r0")]
    assert len(firsts) == 9
    for record in firsts:
        degraded, restored = as_codes(made[1] / record["degraded"]), as_codes(made[1] / record["restored"])
        if degraded.shape == restored.shape:
            assert record["restorer"] == {"name": "unrestored"}
            assert np.array_equal(degraded, restored)
        else:
            assert record["restorer"]["name"] in ("nearest", "bilinear", "bicubic", "lanczos")


def test_only_training_contents_hold_restorations_made_with_the_pristine_image(tmp_path: Path) -> None:
    parts = {"photos": "train", "held": "test", "tuned": "validation"}
    sources = [source(save_photos(tmp_path / name, "coffee"), name, split) for name, split in parts.items()]
    config = write_config(tmp_path / "c.toml", *sources, degraded_per_content=1, restored_per_degraded=20)
    records = read_manifest(build(config, tmp_path / "corpus"))
    names = {
        split: [r["restorer"]["name"] for r in records if r["split"] == split]
        for split in ("train", "test", "validation")
    }
    classical = {
        "total_variation",
        "non_local_means",
        "wavelet",
        "bilateral",
        "unsharp",
        "richardson_lucy",
        "wiener",
        "denoised_then_sharpened",
    }
    assert set(names["test"][1:]) == set(names["validation"][1:]) == classical
    assert len(names["test"]) == len(names["validation"]) == 9
    assert set(names["train"][1:]) == classical | {"pristine", "pristine_blend"}
    for record in records:
        if record["restorer"]["name"] == "pristine":
            assert np.array_equal(
                as_codes(tmp_path / "corpus" / record["restored"]), as_codes(tmp_path / "corpus" / record["pristine"])
            )
        if record["restorer"]["name"] == "pristine_blend":
            assert 0.2 <= record["restorer"]["share"] <= 0.95
            assert record["restorer"]["of"] in classical


def test_asked_families_are_the_ones_drawn(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos", "coffee", "chelsea")
    families = {"jpeg": 1, "noise": 0}
    config = write_config(
        tmp_path / "c.toml", source(photos), degraded_per_content=4, restored_per_degraded=1, families=families
    )
    records = read_manifest(build(config, tmp_path / "corpus"))
    assert len(records) == 8
    assert {r["degradation"]["family"] for r in records} == {"jpeg"}


def test_build_goes_on_where_contents_are_missing_and_leaves_the_others_alone(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    photos = save_photos(tmp_path / "photos")
    config = write_config(tmp_path / "c.toml", source(photos))
    manifest = build(config, tmp_path / "corpus")
    before, whole = pixels(tmp_path / "corpus"), manifest.read_bytes()
    folder = tmp_path / "corpus"
    manifest.unlink()
    (folder / "records/photos-coffee.jsonl").unlink()
    (folder / "images/photos-coffee/d1_r2.png").write_bytes(b"half a fi")
    (folder / "images/photos-coffee/d0.png").unlink()
    kept = {f: f.stat().st_mtime_ns for f in (folder / "images/photos-chelsea").iterdir()}
    assert build(config, folder).read_bytes() == whole
    assert pixels(folder) == before
    assert {f: f.stat().st_mtime_ns for f in kept} == kept


@pytest.mark.slow
def test_killed_build_goes_on_to_the_same_corpus(tmp_path: Path) -> None:
    for index in range(3):
        shifted = tmp_path / "photos" / f"view{index}"
        save_photos(shifted)
        for file in list(shifted.iterdir()):
            file.rename(tmp_path / "photos" / f"{file.stem}{index}.png")
        shifted.rmdir()
    config = write_config(tmp_path / "c.toml", source(tmp_path / "photos"))
    code = (
        "from pathlib import Path; from drmetric.data.make.corpus import build; build(Path('c.toml'), Path('killed'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    records = tmp_path / "killed" / "records"
    try:
        deadline = time.monotonic() + 300
        while len(list(records.glob("*.jsonl"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = {f: f.stat().st_mtime_ns for f in records.glob("*.jsonl")}
    assert 2 <= len(done) < 9, "not killed midway"
    assert not (tmp_path / "killed" / "manifest.jsonl").exists()

    resumed = build(config, tmp_path / "killed", workers=2)
    fresh = build(config, tmp_path / "fresh", workers=2)
    assert resumed.read_bytes() == fresh.read_bytes()
    assert pixels(tmp_path / "killed") == pixels(tmp_path / "fresh")
    assert {f: f.stat().st_mtime_ns for f in done} == done, "finished contents were made twice"


@pytest.mark.slow
def test_workers_end_with_a_killed_build_and_let_its_pipe_go(tmp_path: Path) -> None:
    for index in range(8):
        save_photos(tmp_path / "photos" / str(index))
    write_config(tmp_path / "c.toml", source(tmp_path / "photos"))
    code = "from drmetric.cli.app import app; app()"
    arguments = ["corpus", "c.toml", "--output", "o", "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=tmp_path, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("o/records/*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    again = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode in (0, 2), again.stderr
    assert "another run is writing" not in again.stderr
    assert not list(tmp_path.glob("o/**/*.tmp"))


def test_records_are_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "records" / "a.b.jsonl"
    write_records(path, [{"id": 1}, {"id": 2}])
    reader = tmp_path / "opened"
    os.link(path, reader)  # sees what a process sees that opened the file before
    write_records(path, [{"id": 3}])
    assert [r["id"] for r in read_manifest(reader)] == [1, 2]
    assert [r["id"] for r in read_manifest(path)] == [3]
    with pytest.raises(TypeError):
        write_records(path, [{"id": 4}, {"id": object()}])
    assert [r["id"] for r in read_manifest(path)] == [3]
    assert [p.name for p in path.parent.glob("*.jsonl")] == ["a.b.jsonl"]


def test_another_configuration_in_the_same_folder_is_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    before = {f: f.stat().st_mtime_ns for f in made[1].rglob("*")}
    other = write_config(tmp_path / "c.toml", source(made[0].parent / "photos"), degraded_per_content=3, crop=72)
    with pytest.raises(ConfigError, match="other settings") as caught:
        build(other, made[1])
    assert str(made[1]) in str(caught.value)
    assert {f: f.stat().st_mtime_ns for f in made[1].rglob("*")} == before


def test_broken_photograph_is_named_and_the_others_are_made(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos", "astronaut", "chelsea")
    (photos / "coffee.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    config = write_config(tmp_path / "c.toml", source(photos))
    with pytest.raises(DrmetricError, match="1 of 3 contents failed: photos-coffee") as caught:
        build(config, tmp_path / "corpus")
    assert "coffee.png" in str(caught.value)
    records = read_manifest(tmp_path / "corpus" / "manifest.jsonl")
    assert {r["content"] for r in records} == {"photos-astronaut", "photos-chelsea"}

    save_photos(photos)
    mended = build(config, tmp_path / "corpus")
    assert mended.read_bytes() == build(config, tmp_path / "fresh").read_bytes()


def test_small_and_flat_photographs_are_left_out(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos", "coffee")
    Image.fromarray(PHOTOS["chelsea"][:63]).save(photos / "small.png")
    Image.fromarray(np.full((100, 100, 3), 128, np.uint8)).save(photos / "flat.png")
    config = write_config(tmp_path / "c.toml", source(photos))
    records = read_manifest(build(config, tmp_path / "corpus"))
    assert {r["content"] for r in records} == {"photos-coffee"}
    assert "small" not in (tmp_path / "corpus" / "contents.csv").read_text()
    assert "flat" not in (tmp_path / "corpus" / "contents.csv").read_text()


def test_crops_that_no_photograph_is_large_enough_for_are_refused(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos", "coffee", "chelsea")
    config = write_config(tmp_path / "c.toml", source(photos), crop=101)
    with pytest.raises(ConfigError, match=r"(?s)all 2 photographs are smaller than the crop.*fix: crop = "):
        build(config, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_photographs_are_shrunk_before_the_crop(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos", "coffee")
    config = write_config(tmp_path / "c.toml", source(photos, shrink_to=64), restored_per_degraded=1)
    build(config, tmp_path / "corpus")
    crop = as_codes(tmp_path / "corpus/images/photos-coffee/pristine.png").astype(float)
    whole = np.asarray(Image.fromarray(PHOTOS["coffee"]).resize((77, 64), Image.Resampling.BICUBIC)).astype(float)
    nearest = min(np.abs(whole[:, left : left + 64] - crop).max() for left in range(77 - 64 + 1))
    assert nearest <= 2  # Pillow rounds to eight bits twice


def test_splits_of_a_built_corpus_share_no_content(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos")
    held = save_photos(tmp_path / "held", "coffee")
    config = write_config(
        tmp_path / "c.toml", source(photos), source(held, "held", "test"), validation_share=0.5, seed=2
    )
    records = read_manifest(build(config, tmp_path / "corpus"))
    splits = {
        split: {r["content"] for r in records if r["split"] == split} for split in ("train", "validation", "test")
    }
    assert all(splits.values()), splits
    assert not splits["train"] & splits["validation"]
    assert not splits["train"] & splits["test"]
    assert not splits["validation"] & splits["test"]


def test_source_without_photographs_is_named(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", source(tmp_path / "nowhere", "kodak"))
    with pytest.raises(ConfigError, match=r"(?s)'kodak'.*nowhere"):
        build(config, tmp_path / "corpus")


@pytest.mark.parametrize(
    ("text", "wrong", "known"),
    [
        ("crops = 64", "crops", ("crop", "seed", "families", "sources")),
        ('[[sources]]\nname = "a"\nfolder = "."\nsplit = "train"\nglob = "*"', "glob", ("pattern", "shrink_to")),
        (
            '[families]\nfog = 1\n[[sources]]\nname = "a"\nfolder = "."\nsplit = "train"',
            "fog",
            ("super_resolution", "blur", "motion_blur", "noise", "jpeg", "chain"),
        ),
        ("seed = 1", "no [[sources]]", ("[[sources]]",)),
        ("seed = ", "cannot read", ("c.toml",)),
    ],
)
def test_wrong_entries_are_refused_with_the_known_ones(
    tmp_path: Path, text: str, wrong: str, known: tuple[str, ...]
) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        CorpusConfig.read(tmp_path / "c.toml")
    assert all(part in str(caught.value) for part in (wrong, *known)), str(caught.value)


def test_missing_configuration_and_missing_manifest_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        build(tmp_path / "absent.toml", tmp_path / "corpus")
    with pytest.raises(ConfigError, match="drmetric corpus"):
        read_manifest(tmp_path / "manifest.jsonl")


def test_a_damaged_record_is_made_again_when_it_is_deleted(made: tuple[Path, Path], tmp_path: Path) -> None:
    corpus = shutil.copytree(made[1], tmp_path / "my corpus")
    record = corpus / "records/photos-coffee.jsonl"
    record.write_text("{")
    with pytest.raises(ConfigError, match="is no file of records") as caught:
        build(made[0], corpus)
    assert caught.value.fix == f"rm '{record}'  # and run the same command again"
    record.unlink()
    assert build(made[0], corpus).read_bytes() == (made[1] / "manifest.jsonl").read_bytes()


def test_the_command_that_makes_a_manifest_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_manifest(tmp_path / "my corpus/manifest.jsonl")
    assert caught.value.fix == f"drmetric corpus CONFIG.toml --output '{tmp_path / 'my corpus'}'"


def test_shipped_corpus_recipe_is_valid() -> None:
    config = CorpusConfig.read(Path(__file__).parents[3] / "benchmarks/recipes/corpora/corpus-restorers.toml")
    assert {s.split for s in config.sources} == {"train", "test"}
    assert {s.name for s in config.sources if s.split == "test"} >= {"kodak", "bsd100"}


def test_missing_source_entry_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[[sources]]\nname = "a"\nfolder = "."\n')
    with pytest.raises(ConfigError, match="split"):
        CorpusConfig.read(tmp_path / "c.toml")


def test_unknown_split_is_a_configuration_error(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", source(".", split="training"))
    with pytest.raises(ConfigError, match="training"):
        CorpusConfig.read(config)


HALVERS = """
from drmetric.images import resize


def networks(steps):
    scale = next((step["scale"] for step in steps if "scale" in step), 1)

    def enlarging(image):
        return resize(image, (scale * image.shape[-2], scale * image.shape[-1])) * 0.5

    return {"half": enlarging, "same": lambda image: image, "loud": lambda image: image + 0.3}
"""


def test_networks_restore_every_degraded_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks.py").write_text(HALVERS)
    monkeypatch.syspath_prepend(tmp_path)
    photos = save_photos(tmp_path / "photos", "coffee")
    settings = {"networks": "my_networks:networks", "networks_per_degraded": 3, "families": {"super_resolution": 1}}
    build(write_config(tmp_path / "c.toml", source(photos), **settings), tmp_path / "corpus")
    records = read_manifest(tmp_path / "corpus" / "manifest.jsonl")
    for degraded in {r["degraded"] for r in records}:
        made = {r["restorer"]["name"]: r for r in records if r["degraded"] == degraded}
        assert {"half", "same", "loud"} <= set(made)
        same, half, loud = (as_codes(tmp_path / "corpus" / made[n]["restored"]) for n in ("same", "half", "loud"))
        assert same.shape == half.shape == (64, 64, 3)
        np.testing.assert_allclose(half, same / 2, atol=2)
        assert loud.mean() > same.mean()


@pytest.mark.parametrize("entry", ["nowhere:networks", "json:networks", "json"])
def test_networks_that_cannot_be_found_are_named(tmp_path: Path, entry: str) -> None:
    config = write_config(tmp_path / "c.toml", source(save_photos(tmp_path / "photos", "coffee")), networks=entry)
    with pytest.raises(ConfigError, match=rf"(?s){entry}.*in the folder of module"):
        CorpusConfig.read(config)


def test_unfaithful_outputs_are_restorations_changed_and_say_how(made: tuple[Path, Path], tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "c.toml", source(made[0].parent / "photos"), degraded_per_content=3, unfaithful_per_degraded=6
    )
    records = read_manifest(build(config, tmp_path / "corpus"))
    changed = [r for r in records if "unfaithful" in r]
    assert len(changed) == 3 * 3 * 6
    assert [r for r in records if "unfaithful" not in r] == read_manifest(made[1] / "manifest.jsonl")
    assert {k: v for k, v in pixels(tmp_path / "corpus").items() if k in pixels(made[1])} == pixels(made[1])
    assert {r["unfaithful"]["name"] for r in changed} <= set(UNFAITHFUL)
    assert len({r["unfaithful"]["name"] for r in changed}) > 8
    for record in changed:
        assert 0.1 <= record["unfaithful"]["strength"] <= 1
        base = f"{record['restored'].rsplit('_r', 1)[0]}_r{record['restorer']['of']}.png"
        changed_pixels, own = as_codes(tmp_path / "corpus" / record["restored"]), as_codes(tmp_path / "corpus" / base)
        assert not np.array_equal(changed_pixels, own)


def test_a_photograph_alone_is_changed_without_another_one(tmp_path: Path) -> None:
    photos = source(save_photos(tmp_path / "photos", "coffee"))
    config = write_config(tmp_path / "c.toml", photos, degraded_per_content=1, unfaithful_per_degraded=30)
    records = [r for r in read_manifest(build(config, tmp_path / "corpus")) if "unfaithful" in r]
    assert len(records) == 30
    assert not any(needs_other(r["unfaithful"]["name"]) for r in records)
