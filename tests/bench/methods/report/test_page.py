"""The report's page in a real browser: headless Chromium through Selenium, skipped where there is none."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from drmetric.bench.methods.board import run
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report.files import write_report
from drmetric.bench.methods.report.page import shortened
from tests.boards import CONFIG, metrics, write_board

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver on the PATH"),
]

DESKTOP, PHONE = (1280, 900), (360, 740)
CONTRAST = """
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => v / (colour.startsWith("rgb") ? 255 : 1))
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const background = (element) => {
  const colour = getComputedStyle(element).backgroundColor;
  return colour === "rgba(0, 0, 0, 0)" ? background(element.parentElement) : colour;
};
const contrast = (element) => {
  const [x, y] = [luminance(getComputedStyle(element).color), luminance(background(element))];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
};
return Math.min(...[...document.querySelectorAll(arguments[0])].map(contrast));
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of four methods, the last a twin of the first."""
    folder = tmp_path_factory.mktemp("board")
    twin = CONFIG + '[[methods]]\nname = "twin"\nfolder = "blend"\n'
    text = metrics("psnr", "ssim", "low_band_psnr", "lr_psnr", "colour_difference")
    config = Config.read(write_board(folder, text, config=twin))
    write_report(run(config, folder / "out", n_bootstrap=50), config, folder / "out")
    return (folder / "out/report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, address):
    """The page, freshly loaded at the size of a desktop; no test may leave an error in its console."""
    resize(browser, *DESKTOP)
    browser.get(address)
    yield browser
    assert browser.get_log("browser") == []


def resize(browser, width, height):
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def all_of(page, selector):
    return page.find_elements(By.CSS_SELECTOR, selector)


def one(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def order(page):
    return [head.text for head in all_of(page, ".sortable tbody th")]


def visible_panels(page):
    return [each.text.splitlines()[0] for each in all_of(page, "#panels figcaption") if each.is_displayed()]


def transforms(page):
    """Zoom and offsets of each crop, rounded to a tenth of a pixel."""
    script = "return [...document.querySelectorAll('#panels img')].map((i) => getComputedStyle(i).transform)"
    matrices = [re.findall(r"-?[\d.]+", each) for each in page.execute_script(script)]
    return [tuple(round(float(values[place]), 1) for place in (0, 4, 5)) for values in matrices]


def test_columns_sort_best_first_and_then_the_other_way(page):
    assert one(page, "th[aria-sort=ascending]").text.startswith("Mean rank")
    head = all_of(page, ".sortable thead th")[6]
    assert head.text.startswith("colour_difference")
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert len(all_of(page, "th[aria-sort=ascending], th[aria-sort=descending]")) == 1
    values = [float(cell.get_attribute("data-value")) for cell in all_of(page, ".sortable tbody td:nth-child(7)")]
    assert values == sorted(values)
    first = order(page)
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "descending"
    assert order(page)[0] == first[-1]
    psnr = all_of(page, ".sortable thead th")[2]
    psnr.find_element(By.TAG_NAME, "button").click()
    assert psnr.get_attribute("aria-sort") == "descending"
    assert order(page)[-1] == "noise"


def test_a_place_opens_with_its_crops(page):
    buttons = all_of(page, ".place")
    assert [button.get_attribute("aria-current") for button in buttons] == ["true"] + ["false"] * (len(buttons) - 1)
    buttons[1].click()
    assert buttons[1].get_attribute("aria-current") == "true"
    assert one(page, "#place-title").text.startswith(buttons[1].text)
    loaded = "return [...document.querySelectorAll('#panels img')].map((i) => i.complete && i.naturalWidth)"
    assert page.execute_script(loaded) == [96] * 6
    assert visible_panels(page)[0] == "degraded input"
    assert visible_panels(page)[-1] == "ground truth"


def test_methods_switch_by_mouse_and_keyboard(page):
    one(page, "#all").click()
    assert one(page, "#all").get_attribute("aria-pressed") == "false"
    assert visible_panels(page) == ["degraded input", "blend", "ground truth"]
    all_of(page, "#methods label")[2].click()
    assert visible_panels(page) == ["degraded input", "noise", "ground truth"]
    one(page, "#methods input:checked").send_keys(Keys.ARROW_LEFT)
    assert visible_panels(page) == ["degraded input", "bicubic", "ground truth"]
    one(page, "#panels").send_keys("]")
    assert visible_panels(page)[1] == "noise"
    one(page, "#all").click()
    assert visible_panels(page)[1:-1] == ["blend", "bicubic", "noise", "twin"]


def test_all_crops_zoom_and_move_together(page):
    panels = one(page, "#panels")
    panels.send_keys("+", "+")
    zoomed = transforms(page)
    assert len(set(zoomed)) == 1
    assert zoomed[0][0] == 2.2
    assert one(page, "#zoom").text == "2.3×"
    panels.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    moved = transforms(page)
    assert len(set(moved)) == 1
    assert moved != zoomed
    one(page, "#reset").click()
    assert transforms(page)[0] == (1, 0, 0)
    image = all_of(page, ".frame")[0]
    webdriver.ActionChains(page).double_click(image).perform()
    assert transforms(page)[0][0] == 4
    before = transforms(page)[0]
    webdriver.ActionChains(page).drag_and_drop_by_offset(image, 30, 20).perform()
    assert transforms(page)[0] != before
    assert len(set(transforms(page))) == 1


def test_everything_is_reached_by_the_tab_key_and_shows_its_focus(page):
    reached = set()
    body = one(page, "body")
    body.send_keys(Keys.TAB)
    for _ in range(45):
        active = page.switch_to.active_element
        reached.add(active.get_attribute("id") or active.get_attribute("class") or active.tag_name)
        if active.tag_name == "button":
            assert "3px" in active.value_of_css_property("outline")
        active.send_keys(Keys.TAB)
    assert {"skip", "panels", "zoom-in", "reset", "all", "place", "button"} <= reached
    assert any("course" in each for each in reached)


def test_a_phone_has_no_page_wide_scrolling_and_the_table_scrolls_in_its_box(page):
    resize(page, *PHONE)
    width, inner = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner == PHONE[0]
    box, inside = page.execute_script(
        "const t = document.querySelector('.scroll'); return [t.clientWidth, t.scrollWidth]"
    )
    assert inside > box
    assert box < PHONE[0]
    for button in all_of(page, "#crops button"):
        assert button.size["height"] >= 32
    cut = "return [...document.querySelectorAll('.strip .name')].filter((n) => n.scrollWidth > n.clientWidth).length"
    page.execute_script("document.querySelector('.strip .name').textContent = 'realesr_general_wdn_x4v3'")
    assert page.execute_script(cut) == 0


def test_long_names_of_one_family_are_told_apart():
    names = ["realesr_general_wdn_x4v3", "realesr_general_x4v3", "realesr_animevideov3_x4", "imdn_x4"]
    short = [shortened(name, 18) for name in names]
    assert len(set(short)) == len(names)
    assert max(map(len, short)) == 18
    assert short[-1] == "imdn_x4"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(page, scheme):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    selectors = "p, td, th, button, .mark, .interval, .place small, figcaption, .muted, label, dt, dd, a:not(.skip)"
    assert page.execute_script(CONTRAST, selectors) >= 4.5
    pixels = np.asarray(Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("L"))
    assert (np.median(pixels) > 128) == (scheme == "light")
    assert pixels.std() > 10


def test_the_page_loads_nothing(page):
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith("data:") for name in loaded)
