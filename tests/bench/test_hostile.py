"""Names of files, folders, methods and metrics that want to be more than names, in everything that is written."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from skimage import data

from drmetric.bench.scores.store import read_rows
from drmetric.images import resize, save_image
from tests.cli.commands import run

NAMES = (
    "\x1b[31mred",
    "=1+1",
    "-@tab\t",
    "<img src=x onerror=alert(1)>",
    "a|b`c",
    "[x](http:evil)",
    "\u202egpj",
    "*[2cm]",
    "new\nline",
    "\\input{x}$%&_^~#",
    "\x9b1m",
)
METRICS = ("psnr", "ssim", "gmsd", "low_band_psnr", "mdsi", "haarpsi")
OUTPUTS = "out \x1b[1m<b>"
SHORT = ("--device", "cpu", "--bootstrap", "10")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what the commands write, and of what they print, as *.out."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, name in enumerate(NAMES):
            photo = torch.from_numpy(data.astronaut()[60 + 8 * number :, 100:][:48, :48].copy()).permute(2, 0, 1) / 255
            images = {"deg": resize(photo[None], (24, 24))[0], "truth": photo, OUTPUTS: (photo + 0.05).clamp(0, 1)}
            for place, image in images.items():
                Path(place).mkdir(exist_ok=True)
                save_image(image, "x.png")
                Path("x.png").rename(Path(place) / f"{name.replace('/', '_')}.png")
        lines = ['[data]\ndegraded = "deg"\ntruth = "truth"']
        lines += [f"[[methods]]\nname = {json.dumps(name)}\nfolder = {json.dumps(OUTPUTS)}" for name in NAMES]
        labels = zip(METRICS, NAMES, strict=False)
        lines += [f'[[metrics]]\nname = "{name}"\nlabel = {json.dumps(label)}' for name, label in labels]
        Path("board.toml").write_text("\n".join(lines))
        Path("corpus.toml").write_text(
            'crop = 32\nrestored_per_degraded = 2\n[[sources]]\nname = "p"\nfolder = "truth"\nsplit = "test"\n'
        )
        Path("fusion.json").write_text('{"terms": {"gmsd": {"weight": 1, "power": 0.5}}, "elo_per_point": 250}')
        rated = '[data]\nset = "corpus"\nroot = "corpus"\n[[metrics]]\nname = "psnr"\nlabel = "=<b>|\\u001b"\n'
        Path("rated.toml").write_text(rated)
        few = ("--images", OUTPUTS, "--truth", "truth", *SHORT, "-o")
        attack = ("--witness", "ssim", "--psnr", "40", "--steps", "1")
        for number, words in enumerate(
            (
                ("bench", "methods", "board.toml", "-o", "methods", *SHORT),
                ("score", OUTPUTS, "--truth", "truth", "--metric", "psnr", "-o", "scores.csv"),
                ("score", OUTPUTS, "--truth", "truth", "--metric", "psnr", "-o", "scores.jsonl"),
                ("score", OUTPUTS, "--truth", "truth", "--metric", "psnr"),
                ("bench", "gaming", "psnr(label=<b>=x)", *attack, *few, "gaming"),
                ("bench", "fidelity", "psnr(label=[b]=x)", *few, "fidelity"),
                ("corpus", "corpus.toml", "--output", "corpus", "--fusion", "fusion.json"),
                ("bench", "metrics", "rated.toml", "-o", "metrics", *SHORT),
                ("doctor", OUTPUTS, "deg"),
            )
        ):
            done = run(*words)
            assert done.exit_code <= (words[0] == "doctor"), done.output
            Path(f"{number}.out").write_text(done.output)
    return folder


def texts(folder: Path, *suffixes: str) -> dict[str, str]:
    """What was written in files of these suffixes."""
    files = [path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file()]
    assert {path.suffix for path in files} == set(suffixes)
    return {str(path.relative_to(folder)): path.read_bytes().decode() for path in files}


def test_terminals_get_no_escapes_and_lines_no_other_direction(written: Path) -> None:
    for name, text in texts(written, ".out", ".md", ".csv", ".tex", ".html", ".jsonl", ".json").items():
        assert {c for c in text if not c.isprintable()} <= set("\n\t" if name.endswith((".out", ".html")) else "\n"), (
            name
        )


def test_spreadsheets_get_no_formulas(written: Path) -> None:
    for name, text in texts(written, ".csv").items():
        for cell in (cell for row in csv.reader(text.splitlines()) for cell in row):
            assert not re.match(r"[=+\-@\t\r]", cell) or re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell), (name, cell)


def test_pages_and_markdown_get_no_tags_and_no_links(written: Path) -> None:
    for name, text in texts(written, ".html", ".md").items():
        assert not re.search(r"(?<!\\)<(img src=x|b>)", text), name
        assert name.endswith(".html") or not re.search(r"\]\(http", text), name


def test_latex_gets_no_commands_and_no_options(written: Path) -> None:
    for name, text in texts(written, ".tex").items():
        assert r"\input" not in text, name
        assert not [line for line in text.splitlines() if re.match(r"\s*[\[*]", line)], name


def test_the_names_come_back_from_scores(written: Path) -> None:
    for file in ("scores.csv", "scores.jsonl"):
        assert {row.image for row in read_rows(written / file)} == {f"{name.replace('/', '_')}.png" for name in NAMES}
