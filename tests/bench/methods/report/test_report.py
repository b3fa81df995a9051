"""Reports: figures in every format, a page that needs nothing else, and the page in a real browser."""

import base64
import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from drmetric.bench.methods.board import run
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report import places
from drmetric.bench.methods.report.files import write_report
from tests.boards import CONFIG, METHODS, PHOTOS, metrics, write_board

VOID = {"meta", "link", "img", "br", "input", "hr", "rect", "path", "circle", "polyline", "use"}
FUNNY = 'a<b>&"c"_100%'
TEXT = metrics("psnr", "gmsd", "low_band_psnr", "colour_difference", "lr_psnr") + 'label = "[red]LR"\n'
TEXT += metrics("ssim") + 'reference = "degraded"\n'  # prefers the enlarged input, as no other


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board with its report: four methods, one with a funny name and a broken image."""
    folder = tmp_path_factory.mktemp("board")
    config = CONFIG + f"[[methods]]\nname = '{FUNNY}'\nfolder = \"sharp\"\n"
    path = write_board(folder, TEXT, config=config)
    shutil.copytree(folder / "blend", folder / "sharp")
    (folder / "sharp/cat.png").write_bytes(b"broken")
    settings = Config.read(path)
    board = run(settings, folder / "out", n_bootstrap=50)
    write_report(board, settings, folder / "out")
    return folder, board


@pytest.fixture(scope="module")
def page(made):
    return (made[0] / "out/report.html").read_text()


class Page(HTMLParser):
    """Checks that elements nest, and collects attributes, identifiers and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_csv_json_lines_and_parquet_hold_every_figure(made):
    folder, board = made
    rows = list(csv.DictReader((folder / "out/table.csv").open()))
    assert len(rows) == 4 * 6
    records = [json.loads(line) for line in (folder / "out/table.jsonl").read_text().splitlines()]
    standing = board.ranking.standings[0][1]
    (row,) = (row for row in rows if (row["method"], row["metric"]) == ("bicubic", "psnr"))
    assert (float(row["mean"]), float(row["low"]), int(row["rank"])) == (standing.mean, standing.low, standing.rank)
    (record,) = (each for each in records if (each["method"], each["metric"]) == ("bicubic", "psnr"))
    assert (record["mean"], record["p_holm"], record["tied"]) == (standing.mean, standing.p_holm, standing.tied)
    assert record["signature"].startswith("psnr|")
    assert next(each for each in records if each["rank"] == 1 and each["method"] == "blend")["p_holm"] is None
    assert pq.read_table(folder / "out/table.parquet").to_pylist() == records


def test_markdown_and_latex_are_for_people(made):
    folder, board = made
    markdown = (folder / "out/table.md").read_text()
    assert "| # | Method | PSNR ↑ | GMSD ↓ |" in markdown
    assert "3/4" in markdown
    assert board.note in markdown
    latex = (folder / "out/table.tex").read_text()
    assert r"a<b>\&\"c\"\_100\%".replace('\\"', '"') in latex
    assert r"low-band PSNR, dB $\uparrow$" in latex
    assert r"\toprule" in latex
    assert r"\textbf{" in latex
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {8}


def test_the_page_is_well_formed_and_says_what_the_board_says(page, made):
    parsed = Page(page)
    _, board = made
    text = " ".join(" ".join(parsed.text).split())
    for name in METHODS:
        assert name in text
    assert "4 methods, 4 images, 6 metrics" in text
    assert "3/4" in text
    assert f"{FUNNY}, catx2.png, psnr (and 5 more metrics): ImageFileError: cat.png cannot be read" in text
    assert f"{board.ranking.standings[0][0].mean:.2f}" in text
    assert {"viewport", "color-scheme"} <= {each.get("name") for each in parsed.all("meta")}
    identifiers = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    named = {value for _, attributes in parsed.elements for value in (attributes.get("aria-labelledby") or "").split()}
    assert named <= set(identifiers)
    heads = [each for each in parsed.all("th") if "aria-sort" in each]
    assert [head["aria-sort"] for head in heads] == ["none", "descending", *["none"] * 6]


def test_the_page_needs_no_network_and_names_no_folder(page, made):
    folder, _ = made
    assert not re.search(r"(https?:|[\"'(])//", page)
    assert str(folder) not in page
    assert "/tmp" not in page
    parsed = Page(page)
    assert not parsed.all("link")
    assert all("src" not in each for each in parsed.all("script"))
    assert all(each["href"].startswith("#") for each in parsed.all("a"))
    (policy,) = (each["content"] for each in parsed.all("meta") if "http-equiv" in each)
    assert "default-src 'none'" in policy
    assert "@import" not in page
    assert "url(" not in page


def shown(page):
    text = re.search(r'<script type="application/json" id="places">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text)


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_crops_are_the_pixels_of_the_files(page, made):
    folder, _ = made
    first = shown(page)[0]
    assert first["panels"][0]["name"] == "degraded input"
    assert first["panels"][-1]["name"] == "ground truth"
    photo = first["image"].removesuffix("x2.png")
    crops = {panel["name"]: np.asarray(decoded(panel["uri"])) for panel in first["panels"]}
    np.testing.assert_array_equal(crops["ground truth"], np.asarray(Image.open(folder / f"truth/{photo}.png")))
    degraded = np.asarray(Image.open(folder / f"degraded/{photo}x2.png"))
    np.testing.assert_array_equal(crops["degraded input"], degraded.repeat(2, 0).repeat(2, 1))
    assert (first["height"], first["width"]) == (96, 96)


def test_places_show_where_methods_differ_and_where_metrics_disagree(page):
    kinds = [place["kind"] for place in shown(page)]
    assert kinds == sorted(kinds, key=["methods", "metrics"].index)
    assert set(kinds) == {"methods", "metrics"}
    assert re.fullmatch(r".+: (.+) over (.+); .+: \2 over \1", shown(page)[-1]["why"])


def test_the_crop_is_where_outputs_differ_on_the_grid_of_the_input():
    images = [torch.zeros(3, 400, 600) for _ in range(2)]
    images[1][:, 305:335, 410:440] = 1
    box, size = places._most_different(images, (400, 600), torch.zeros(3, 100, 150))
    assert size == (192, 192)
    top, left = round(box.top * 400), round(box.left * 600)
    assert top <= 305 < 335 <= top + 192
    assert left <= 410 < 440 <= left + 192
    assert (top % 4, left % 4) == (0, 0)
    assert abs(top + 96 - 320) < 48
    assert abs(left + 96 - 425) < 48


def test_crops_become_jpeg_where_png_is_too_much(made, monkeypatch):
    _, board = made
    chosen = places.choose(board)
    assert places.encode(chosen)[1] == "PNG, lossless"
    monkeypatch.setattr(places, "MOST_PNG_BYTES", 1000)
    uris, form = places.encode(chosen)
    assert form.startswith("JPEG")
    assert decoded(uris[0]["ground truth"]).format == "JPEG"


def test_a_board_of_many_methods_has_fewer_places(made, monkeypatch):
    _, board = made
    monkeypatch.setattr(places, "MOST_CROPS", 18)
    assert len(places.choose(board)) == 3


def test_one_metric_and_one_method_make_a_page_without_comparisons(tmp_path):
    one_method = CONFIG.partition('[[methods]]\nname = "bicubic"')[0]
    config = Config.read(write_board(tmp_path, metrics("psnr"), photos=PHOTOS[:1], config=one_method))
    write_report(run(config, tmp_path / "out", n_bootstrap=10), config, tmp_path / "out")
    text = (tmp_path / "out/report.html").read_text()
    Page(text)
    assert 'id="ranks"' not in text
    assert 'id="crops"' not in text
