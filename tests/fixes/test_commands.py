"""Lines of the command line: what the second line of the error says is done, and the command ends well."""

import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from drmetric import example
from drmetric.bench.provenance import FORMAT
from drmetric.bench.scores.run import score_tasks
from drmetric.data.make.building import write_records
from drmetric.images import read_image, save_image
from tests.cli.commands import run, write_folders, write_image
from tests.fixes import bare, command_mends, covers, filled, named, pasted, places_of

SCORE = ["score", "restored", "--device", "cpu"]
PSNR = [*SCORE, "--metric", "psnr"]
SHORT = ["--device", "cpu", "--bootstrap", "10"]
FOLDERS = ["bench", "methods", "restored", "--degraded", "degraded", *SHORT]
BOARD = '[data]\ndegraded = "degraded"\n[[methods]]\nname = "net"\nfolder = "restored"\n[[metrics]]\nname = "driqa"\n'
CORPUS = '[data]\nset = "corpus"\nroot = "corpus"\n[[metrics]]\nname = "ssim"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: outputs and inputs of half their size, photographs, and what can be built of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / "home"))
    write_folders(tmp_path, 2, 64)
    for name in ("00", "01"):
        save_image(read_image(example.FOLDER / "restored/coffee_sharp.png")[:, :64, :64], tmp_path / f"{name}.png")
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").rename(tmp_path / f"photos/{name}.png")
    (tmp_path / "corpus.toml").write_text(
        'crop = 32\nrestored_per_degraded = 2\n[[sources]]\nname = "photos"\nfolder = "photos"\nsplit = "test"\n'
    )
    (tmp_path / "fusion.json").write_text('{"terms": {"gmsd": {"weight": 1, "power": 0.5}}, "elo_per_point": 250}')
    (tmp_path / "rated.toml").write_text(CORPUS)
    return tmp_path


def same_names(folder: Path) -> None:
    for path in (folder / "restored").iterdir():
        path.rename(path.with_name(path.name.replace("_net", "")))


def other_scores(folder: Path) -> None:
    run(*SCORE, "--metric", "ssim", "--truth", "restored", "-o", "s.jsonl")


def more_images(folder: Path) -> None:
    run(*PSNR, "--truth", "restored", "-o", "s.jsonl")
    (folder / "restored/01_net.png").unlink()


def no_scores(folder: Path) -> None:
    (folder / "s.jsonl").write_text("no scores\n")


def no_gpu(folder: Path) -> None:
    assert not torch.cuda.is_available()


def labelless(folder: Path) -> None:
    write_records(folder / "corpus/manifest.jsonl", [{"image": "a.png"}])


def broken_manifest(folder: Path) -> None:
    (folder / "corpus").mkdir()
    (folder / "corpus/manifest.jsonl").write_text("{")


def a_board(folder: Path) -> None:
    (folder / "board.toml").write_text(BOARD.replace("driqa", "lr_psnr"))


def inputs_of_one_name(folder: Path) -> None:
    for name in ("Set5", "Set14"):
        shutil.copytree(folder / "degraded", folder / name / "lr")
    words = ["--degraded", "Set5/lr", "restored", "--metric", "lr_psnr", *SHORT]
    assert run("bench", "methods", *words).exit_code == 0


def other_settings(folder: Path) -> None:
    assert run("corpus", "corpus.toml", "--output", "made", "--fusion", "fusion.json").exit_code == 0
    (folder / "corpus.toml").write_text((folder / "corpus.toml").read_text().replace("32", "48"))


@dataclass(frozen=True)
class Case:
    """A command that fails in a folder that `before` has prepared."""

    site: str
    words: Sequence[str]
    before: Callable[[Path], None] = lambda folder: None
    filling: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("cli/bench.py: f'drmetric", ["bench", "methods", "board.toml", "--degraded", "degraded"], a_board),
    Case(
        "cli/bench.py: '--degraded",
        ["bench", "methods", "restored", *SHORT],
        filling={"INPUTS": "degraded"},
    ),
    Case(
        "cli/bench.py: f'--{kind}",
        ["bench", "methods", "restored", "--metric", "lr_psnr", *SHORT],
        filling={"FOLDER": "degraded"},
    ),
    Case("cli/bench.py: f'--preset", [*FOLDERS, "--preset", "gone"]),
    Case("cli/bench.py: f'--{kind}", [*FOLDERS, "--metric", "psnr"], filling={"FOLDER": "restored"}),
    Case(
        "cli/bench.py: f'-o",
        ["bench", "methods", "--degraded", "Set14/lr", "restored", "--metric", "lr_psnr", *SHORT],
        inputs_of_one_name,
    ),
    Case(
        "bench/engines/local.py: '--device auto'",
        [*SCORE[:2], "--metric", "psnr", "--truth", "restored", "--device", "cuda"],
        no_gpu,
    ),
    Case(
        "bench/gaming/run.py: '--psnr",
        [
            "bench",
            "gaming",
            "psnr",
            "--images",
            "restored",
            "--truth",
            "restored",
            "--witness",
            "ssim",
            "--psnr",
            "99",
            "--steps",
            "1",
            *SHORT,
        ],
    ),
    Case("bench/scores/folder.py: '--truth", PSNR, filling={"FOLDER": "restored"}),
    Case("bench/scores/folder.py: '--degraded", [*SCORE, "--metric", "lr_psnr"], filling={"FOLDER": "degraded"}),
    Case(
        "errors.py: fixes",
        [*PSNR, "--metric", "lr_psnr"],
        filling={"--truth FOLDER": "--truth restored", "FOLDER": "degraded"},
    ),
    Case(
        "bench/scores/folder.py: _swapped",
        ["score", "degraded", "--degraded", "restored", "--metric", "psnr", "--device", "cpu"],
        same_names,
    ),
    Case(
        "bench/scores/folder.py: _swapped",
        ["score", "degraded", "--degraded", "restored", "--metric", "psnr", "--device", "cpu"],
    ),
    Case("bench/scores/folder.py: '--overwrite", [*PSNR, "--truth", "restored", "-o", "s.jsonl"], other_scores),
    Case("bench/scores/folder.py: '--overwrite", [*PSNR, "--truth", "restored", "-o", "s.jsonl"], more_images),
    Case("bench/scores/formats.py: '--overwrite", [*PSNR, "--truth", "restored", "-o", "s.jsonl"], no_scores),
    Case('bench/scores/formats.py: f"-o', [*PSNR, "--truth", "restored", "-o", "s.xls"]),
    Case(
        "bench/scores/subjects.py",
        ["bench", "gaming", "psnr", "--truth", "restored", "--witness", "ssim", "--psnr", "40", "--steps", "1", *SHORT],
        filling={"FOLDER": "restored"},
    ),
    Case("cli/engines.py: '--engine ray'", [*PSNR, "--truth", "restored", "-o", "s.jsonl", "--workers", "1"]),
    Case("cli/engines.py: '-o scores.parquet'", [*PSNR, "--truth", "restored", "--engine", "ray"]),
    Case(
        "cli/score.py: '--metric nariqa",
        [*PSNR, "--truth", "restored", "--references", "photos"],
        filling={"DIR": "photos"},
    ),
    Case("cli/score.py: '--metric nriqa'", [*PSNR, "--truth", "restored", "--uncertainty"]),
    Case('cli/score.py: f"drmetric score', ["score", "restored", "degraded"]),
    Case("cli/entries.py: words", [*SCORE, "--metric", "PSNR", "--truth", "restored"]),
    Case("cli/entries.py: quoted", [*SCORE, "--metric", "psnr(chanel=y)", "--truth", "restored"]),
    Case("cli/entries.py: quoted", [*SCORE, "--metric", "psnr(zzz=1, chanel=y)", "--truth", "restored"]),
    Case("cli/entries.py: f'--metric", [*SCORE, "--metric", "nriqa(reference=truth)"]),
    Case(
        'data/make/building.py: f"--output',
        ["corpus", "corpus.toml", "--output", "made", "--fusion", "fusion.json"],
        other_settings,
    ),
]


covers(*(case.site for case in CASES))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.site} {case.before.__name__}")
def test_the_line_mends_the_command(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("drmetric.bench.engines.ray") if "engines.py" in case.site else None
    if ray is not None:

        def one_process(output: Path, device: str, *_: Any) -> Any:
            return lambda judges, tasks: score_tasks(judges, tasks, device=device)

        monkeypatch.setattr(ray, "ray_engine", one_process)
    case.before(folder)
    command_mends(case.site, list(case.words), **case.filling)


covers(
    "cli/score.py: f\"--metric '",
    'bench/judges.py: \'"driqa" or',
    "data/make/building.py: f'drmetric",
    "data/make/building.py: fix",
    "data/make/building.py: 'folder",
    "config.py: f'export",
    "bench/provenance.py",
)


def test_weights_are_given_to_the_metric_that_they_are_for() -> None:
    words = [*SCORE, "--degraded", "degraded", "--metric", "driqa", "--metric", "psnr"]
    site = "cli/score.py: f\"--metric '"
    results = []
    places, _ = places_of(lambda: results.append(run(*words, "--weights", "driqa-patches-3")))
    assert named(site, places)
    fix = shlex.split(results[0].stderr.partition("fix: ")[2])
    assert fix == ["--metric", "driqa(weights=driqa-patches-3)"]
    words[words.index("driqa")] = fix[1]
    done = run(*words)
    assert done.exit_code == 0, done.output


def test_rivals_are_left_out_by_a_folder(folder: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(folder / "degraded", folder / f"inputs/{name}")
    words = ["score", "restored", "--metric", "lr_psnr", "--device", "cpu", "--degraded"]
    assert "name a sub folder of inputs" in run(*words, "inputs").stderr
    assert run(*words, "inputs/a").exit_code == 0


def test_text_that_names_no_metric() -> None:
    results = []
    words = ["bench", "gaming", "a b", "--images", "restored", "--degraded", "degraded"]
    places, _ = places_of(lambda: results.append(run(*words)))
    assert named('bench/judges.py: \'"driqa" or', places)
    words[2] = eval(results[0].stderr.partition("fix: ")[2])
    done = run(*words, "--witness", "ssim", "--psnr", "40", "--steps", "1", *SHORT)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "before", [lambda folder: None, labelless, broken_manifest], ids=["none", "labelless", "broken"]
)
def test_a_corpus_is_built_where_there_is_none(before: Callable[[Path], None], folder: Path) -> None:
    before(folder)
    command = ["bench", "metrics", "rated.toml", *SHORT]
    results = []
    places, _ = places_of(lambda: results.append(run(*command)))
    labels = before is labelless
    site = "data/make/building.py: " + ("f'drmetric" if labels else "fix")
    assert named(site, places), results[0].stderr
    fix = filled(results[0].stderr.partition("fix: ")[2], {"CONFIG.toml": "corpus.toml"})
    built = run(*shlex.split(fix)[1:], "--fusion", "fusion.json")
    assert built.exit_code == 0, built.output
    assert run(*command).exit_code == 0


@pytest.mark.parametrize("part", ["records", "features"])
def test_a_damaged_part_of_a_corpus_is_deleted(part: str, folder: Path) -> None:
    command = ["corpus", "corpus.toml", "--output", "my corpus", "--fusion", "fusion.json"]
    assert run(*command).exit_code == 0
    manifest = (folder / "my corpus/manifest.jsonl").read_bytes()
    for damaged in (folder / "my corpus" / part).glob("*00.jsonl"):
        damaged.write_text("{")
    results = []
    places, _ = places_of(lambda: results.append(run(*command)))
    assert named("data/make/building.py: fix", places), results[0].stderr
    subprocess.run(bare(results[0].stderr.partition("fix: ")[2].strip()), shell=True, check=True)
    assert run(*command).exit_code == 0
    assert (folder / "my corpus/manifest.jsonl").read_bytes() == manifest


def test_photographs_without_anything_in_them_are_changed_for_others(folder: Path) -> None:
    save_image(torch.full((3, 64, 64), 0.5), folder / "flat.png")
    (folder / "flat").mkdir()
    (folder / "flat.png").rename(folder / "flat/0.png")
    config = folder / "corpus.toml"
    config.write_text(config.read_text().replace('"photos"\nsplit', '"flat"\nsplit'))
    words = ["corpus", "corpus.toml", "--fusion", "fusion.json", "--output"]
    results = []
    places, _ = places_of(lambda: results.append(run(*words, "made")))
    assert named("data/make/building.py: 'folder", places), results[0].stderr
    fix = filled(bare(results[0].stderr.partition("fix: ")[2].strip()), {"FOLDER": "photos"})
    config.write_text(pasted(config.read_text(), fix, 'folder = "flat"'))
    assert run(*words, "another").exit_code == 0


@pytest.mark.parametrize("broken", ["{}", '{"format": FORMAT}'])
def test_a_lock_is_made_again(broken: str, folder: Path) -> None:
    a_board(folder)
    (folder / "lock.json").write_text(broken.replace("FORMAT", str(FORMAT)))
    results = []
    places, _ = places_of(lambda: results.append(run("bench", "verify", "lock.json")))
    assert named("bench/provenance.py", places), results[0].stderr
    fix = filled(bare(results[0].stderr.partition("fix: drmetric ")[2].strip()), {"CONFIG": "board"})
    assert run(*fix.split(), "-o", "report", *SHORT).exit_code == 0
    assert run("bench", "verify", "report/lock.json", "--device", "cpu").exit_code == 0


def test_a_variable_is_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "rated.toml").write_text(CORPUS.replace('root = "corpus"', 'root = "$DRMETRIC_GONE/corpus"'))
    assert run("corpus", "corpus.toml", "--output", "corpus", "--fusion", "fusion.json").exit_code == 0
    results = []
    places, _ = places_of(lambda: results.append(run("bench", "metrics", "rated.toml", *SHORT)))
    assert named("config.py: f'export", places)
    name, _, value = filled(results[0].stderr.partition("fix: export ")[2].strip(), {"...": folder}).partition("=")
    monkeypatch.setenv(name, value)
    assert run("bench", "metrics", "rated.toml", *SHORT).exit_code == 0


def two_outputs_of_an_input(folder: Path) -> None:
    write_image(folder / "restored/00_other.png", 7, 64)


def two_scales(folder: Path) -> None:
    write_image(folder / "restored/02_net.png", 7, 128)
    write_image(folder / "degraded/02.png", 7, 32)


def no_scale(folder: Path) -> None:
    (folder / "board.toml").write_text(BOARD.replace('"driqa"', '"lr_psnr"'))
    for path in (*folder.glob("restored/*"), *folder.glob("degraded/*")):
        write_image(path, 1, 64)


BOARDS = [
    (
        "bench/methods/files.py",
        two_outputs_of_an_input,
        'folder = "restored"',
        'folder = "restored"\n',
        {"NAME": "net"},
    ),
    ("bench/methods/board.py", no_scale, '[[metrics]]\nname = "lr_psnr"', "", {}),
    ("bench/methods/scale.py", two_scales, "[data]", "[data]\n", {}),
]


covers(*(site for site, *_ in BOARDS))


@pytest.mark.parametrize(
    ("site", "before", "at", "keeps", "filling"), BOARDS, ids=lambda each: getattr(each, "__name__", str(each)[:30])
)
def test_the_line_mends_the_board(
    site: str, before: Callable[[Path], None], at: str, keeps: str, filling: dict[str, str], folder: Path
) -> None:
    config = folder / "board.toml"
    config.write_text(BOARD)
    before(folder)
    results = []
    places, _ = places_of(lambda: results.append(run("bench", "methods", "board.toml", *SHORT)))
    assert named(site, places), results[0].stderr
    fix = filled(bare(results[0].stderr.partition("fix: ")[2].strip()), filling)
    config.write_text(pasted(config.read_text(), keeps + fix, at))
    done = run("bench", "methods", "board.toml", *SHORT)
    assert done.exit_code == (before is two_scales), done.output
    assert before is not two_scales or "02" in done.stderr
