"""The page in headless Chromium through Selenium: scores, keyboard, a phone's width, nothing from elsewhere."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drmetric import DRIQA, create, example
from drmetric.browser.build import build
from drmetric.browser.server import server
from drmetric.errors import ExportError
from drmetric.images import read_image
from tests.images.pictures import ADOBE_RGB

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytest.importorskip("onnxscript", reason="the onnx extra is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.enable_socket,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver on the PATH"),
]
DESKTOP, PHONE = (1280, 900), (390, 844)
METRICS = {"driqa": DRIQA("driqa-patches-3")} | {
    name: create(name) for name in ("nriqa", "low_band_psnr", "colour_difference")
}
INPUT = example.FOLDER / "degraded/coffee.png"
OUTPUTS = [example.FOLDER / f"restored/coffee_{kind}.png" for kind in ("sharp", "blurred", "oversharpened")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    try:
        build(folder, metrics=METRICS)
    except ExportError as error:
        if "npm" not in error.problem:
            raise
        pytest.skip(error.problem)
    with server(folder, 0) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, freshly loaded; no test may leave an error in its console."""
    resize(browser, *DESKTOP)
    browser.get(address)
    until(browser, lambda: one(browser, "html").get_attribute("data-ready") == "yes")
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def resize(browser: Any, width: int, height: int) -> None:
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def one(page: Any, selector: str) -> Any:
    return page.find_element(By.CSS_SELECTOR, selector)


def until(page: Any, holds: Any) -> None:
    WebDriverWait(page, 240, poll_frequency=0.2).until(lambda _: holds())


def choose(page: Any, files: list[Path], degraded: Path = INPUT) -> None:
    one(page, "#input-file").send_keys(str(degraded))
    one(page, "#output-files").send_keys("\n".join(map(str, files)))


def rows(page: Any) -> list[list[str]]:
    """Name and cells of every output."""
    script = "return [...document.querySelectorAll('#rows tr')].map((r) => [...r.children].map((c) => c.innerText))"
    return [[cell.split("\n")[0] for cell in row] for row in page.execute_script(script)]


def scored(page: Any, count: int) -> list[list[str]]:
    until(page, lambda: len(rows(page)) == count and not any("…" in cell for row in rows(page) for cell in row))
    return rows(page)


def test_scores_are_those_of_the_package_best_first(page: Any) -> None:
    choose(page, OUTPUTS)
    found = scored(page, 3)
    wanted = []
    for path in OUTPUTS:
        pair = example.image(f"restored/{path.stem}"), example.image("degraded/coffee")
        scores = (float(metric(*pair if metric.needs_reference else pair[:1])) for metric in METRICS.values())
        wanted.append((path.name, *scores))
    wanted.sort(key=lambda row: -row[1])
    assert [row[0] for row in found] == [row[0] for row in wanted]
    for row, (_, *scores) in zip(found, wanted, strict=True):
        for cell, score, tolerance in zip(row[1:], scores, (6e-4, 6e-4, 6e-2, 6e-3), strict=True):
            assert float(cell) == pytest.approx(score, abs=tolerance)


def test_colours_of_another_profile_are_converted_as_by_the_package(page: Any, tmp_path: Path) -> None:
    with Image.open(OUTPUTS[0]) as output:
        output.save(tmp_path / "wide.png", icc_profile=ADOBE_RGB)
        output.save(tmp_path / "plain.png")
    choose(page, [tmp_path / "wide.png", tmp_path / "plain.png"])
    found = {row[0]: [float(cell) for cell in row[1:]] for row in scored(page, 2)}
    degraded = read_image(INPUT)[None]
    for name in ("wide.png", "plain.png"):
        image = read_image(tmp_path / name)[None]
        wanted = [float(m(image, degraded) if m.needs_reference else m(image)) for m in METRICS.values()]
        for cell, score, tolerance in zip(found[name], wanted, (6e-3, 6e-3, 6e-2, 6e-2), strict=True):
            assert cell == pytest.approx(score, abs=tolerance)
    assert abs(found["wide.png"][3] - found["plain.png"][3]) > 0.5


def test_what_does_not_belong_together_says_so_and_has_no_score(page: Any) -> None:
    other = example.FOLDER / "restored/coffee_sharp.png"
    choose(page, [INPUT, OUTPUTS[1]], degraded=other)
    found = scored(page, 2)
    problems = {row[0]: row[1:] for row in found}
    assert "swapped" in problems["coffee.png"][0]
    assert len(problems["coffee_blurred.png"]) == len(METRICS)


def test_the_map_is_that_of_the_metric_it_names(page: Any) -> None:
    choose(page, OUTPUTS[1:2])
    scored(page, 1)
    one(page, "#show-map").click()
    assert one(page, "label:has(#show-map)").text == "Map of quality by DRIQA"
    script = "const c = document.querySelector('#map'); "
    script += "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    drawn = np.array(page.execute_script(script)).reshape(-1, 4)
    pair = example.image("restored/coffee_blurred"), example.image("degraded/coffee")
    slope, offset = METRICS["driqa"].network.config.calibration
    cells = METRICS["driqa"](*pair, return_map=True)[1].detach().numpy().reshape(-1, 1)
    quality = 1 / (1 + np.exp(-(slope * cells + offset)))
    worse, better = np.array([224, 112, 26]), np.array([31, 119, 208])
    assert drawn[:, :3] == pytest.approx(worse + quality * (better - worse), abs=1)


def test_outputs_that_share_a_name_are_numbered(page: Any, tmp_path: Path) -> None:
    paths = [tmp_path / path.stem / "cat.png" for path in OUTPUTS]
    for source, path in zip(OUTPUTS, paths, strict=True):
        path.parent.mkdir()
        shutil.copy(source, path)
    choose(page, paths)
    assert sorted(row[0] for row in scored(page, 3)) == ["cat.png", "cat.png (2)", "cat.png (3)"]
    assert one(page, "#output-names").text.count("(2)") == 1


def drop(browser: Any, selector: str, files: list[Path]) -> None:
    """Let go of files, or of folders, over an element, as a file manager does."""
    x, y = browser.execute_script(
        "const { x, y, width, height } = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [x + width / 2, y + height / 2]",
        selector,
    )
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})


def test_a_folder_that_is_dropped_gives_its_images(page: Any, tmp_path: Path) -> None:
    (tmp_path / "outputs" / "more").mkdir(parents=True)
    (tmp_path / "outputs" / "notes.txt").write_text("which model made which image")
    for file, target in zip(OUTPUTS, ("outputs", "outputs/more"), strict=False):
        shutil.copy(file, tmp_path / target)
    drop(page, "#drop-input", [INPUT])
    until(page, lambda: one(page, "#input-name").text.startswith(INPUT.name))
    drop(page, "#drop-outputs", [tmp_path / "outputs"])
    assert {row[0] for row in scored(page, 2)} == {file.name for file in OUTPUTS[:2]}


def warnings(page: Any) -> list[str]:
    return [item.text for item in page.find_elements(By.CSS_SELECTOR, "#warnings li")]


def test_outputs_of_different_scales_do_not_compare(page: Any, tmp_path: Path) -> None:
    with Image.open(OUTPUTS[0]) as output:
        output.resize((192, 191)).save(tmp_path / "twice.png")
        output.resize((191, 192)).save(tmp_path / "rounded.png")
    choose(page, [tmp_path / "twice.png", tmp_path / "rounded.png"])
    scored(page, 2)
    assert warnings(page) == []
    one(page, "#again").click()
    choose(page, [tmp_path / "twice.png", INPUT])
    scored(page, 2)
    assert warnings(page) == ["Outputs differ in size: their scores do not compare."]


def test_an_output_of_another_input_is_named(page: Any) -> None:
    choose(page, [OUTPUTS[0], example.FOLDER / "restored/chelsea_sharp.png"])
    scored(page, 2)
    (warning,) = warnings(page)
    assert warning.startswith("chelsea_sharp.png does not reduce to the input: Low band below 16 dB.")


def test_all_of_it_works_by_keyboard(page: Any) -> None:
    one(page, "#example").send_keys(Keys.ENTER)
    scored(page, 3)
    first = one(page, "#rows input")
    first.send_keys(Keys.ARROW_DOWN)
    until(page, lambda: one(page, "#rows tr:nth-child(2)").get_attribute("class") == "selected")
    name = rows(page)[1][0]
    assert one(page, "#right-image").get_attribute("alt") == name
    assert page.switch_to.active_element.get_attribute("name") == "selected"
    slider = one(page, "#split")
    slider.send_keys(Keys.END)
    assert one(page, "#stage").get_attribute("style").endswith("--split: 100%;")
    one(page, "#show-map").send_keys(Keys.SPACE)
    assert one(page, "#map").is_displayed()
    drawn = page.execute_script("const c = document.querySelector('#map'); return [c.width, c.height]")
    assert drawn == [6, 6]
    page.execute_script("document.activeElement.blur()")
    reached = set()
    for _ in range(16):
        webdriver.ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.switch_to.active_element.get_attribute("id"))
    assert {"input-file", "output-files", "example", "again", "left", "right", "show-map", "split"} <= reached


def test_a_phone_has_no_page_wide_scrolling(page: Any) -> None:
    resize(page, *PHONE)
    one(page, "#example").click()
    scored(page, 3)
    width, inner = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner == PHONE[0]
    for button in page.find_elements(By.CSS_SELECTOR, "button, select"):
        assert button.size["height"] >= 40


def test_nothing_comes_from_elsewhere(page: Any, address: str) -> None:
    one(page, "#example").click()
    scored(page, 3)
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert [name for name in loaded if not name.startswith((address, "data:", f"blob:{address}"))] == []
    script = "return fetch('https://example.org/').then(() => 'left', () => 'refused')"
    assert page.execute_script(script) == "refused"
    page.get_log("browser")  # the refusal is an error in the console
