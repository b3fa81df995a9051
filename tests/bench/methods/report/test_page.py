"""The report's page in a real browser: headless Chromium through Selenium, skipped where there is none."""

import io
import re
import shutil
from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import Image

from drmetric.bench.methods.board import run
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report.files import write_report
from drmetric.bench.methods.report.page import shortened
from drmetric.bench.methods.report.plots import mark
from tests.boards import CONFIG, ENOUGH, metrics, write_board

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

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
    text = metrics("psnr", "ssim", "low_band_psnr", "lr_psnr", "colour_difference", "ssim")
    text += 'reference = "degraded"\n'  # prefers the enlarged input, as no other
    config = Config.read(write_board(folder, text, ENOUGH, twin))
    write_report(run(config, folder / "out", n_bootstrap=200), config, folder / "out")
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
    WebDriverWait(browser, 10).until(visible_panels)
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


def numbers(page):
    return [cell.text for cell in all_of(page, ".sortable tbody td:first-child")]


def shown_at(page, address, fragment):
    """The page as a link with this fragment opens it."""
    page.get("about:blank")
    page.get(f"{address}#{fragment}")


def test_the_page_begins_with_what_was_found(page):
    assert one(page, "h1").text == "blend is best of 4 methods by PSNR, tied with twin"
    assert re.fullmatch(r"board: 4 methods, 8 images, 6 metrics\. \d+ \w+ 20\d\d", one(page, ".lead").text)
    assert page.title == one(page, "h1").text
    first, second, *_, last = (each.text for each in all_of(page, ".findings li"))
    assert last == "With 8 images intervals and tests say little."
    assert re.fullmatch(
        r"On average PSNR gives blend [\d.]+ \[.+\]; the best that is not tied with it, bicubic, has .+\.", first
    )
    assert second == "SSIM prefers blend too; SSIM to input prefers bicubic."


def test_columns_sort_best_first_and_then_the_other_way(page):
    assert one(page, "th[aria-sort=descending]").text.startswith("PSNR")
    assert (order(page), numbers(page)) == (["blend", "twin", "bicubic", "noise"], ["1", "1", "3", "4"])
    heads = all_of(page, ".sortable thead th")
    names = [
        "#",
        "Method",
        "PSNR",
        "SSIM",
        "low-band PSNR, dB",
        "LR-PSNR, dB",
        "colour difference, ΔE",
        "SSIM to input",
    ]
    assert [head.text.splitlines()[0].rstrip(" ↑↓") for head in heads] == [*names, "Mean rank"]
    head = heads[6]
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert len(all_of(page, "th[aria-sort=ascending], th[aria-sort=descending]")) == 1
    values = [float(cell.get_attribute("data-value")) for cell in all_of(page, ".sortable tbody td:nth-child(7)")]
    assert values == sorted(values)
    assert numbers(page) == [str(1 + sum(other < value for other in values)) for value in values]
    first = order(page)
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "descending"
    assert order(page)[0] == first[-1]
    assert numbers(page)[0] == "4"
    heads[1].find_element(By.TAG_NAME, "button").click()
    assert (order(page), numbers(page)) == (["bicubic", "blend", "noise", "twin"], ["3", "1", "4", "1"])


def test_a_link_opens_place_view_pair_and_order(page, address):
    all_of(page, ".sortable thead button")[2].click()
    all_of(page, ".place")[1].click()
    one(page, "[data-view=all]").click()
    Select(one(page, "#right")).select_by_value("noise")
    fragment = page.execute_script("return location.hash.slice(1)")
    rows, title = order(page), one(page, "#place-title").text
    shown_at(page, address, fragment)
    assert (order(page), one(page, "#place-title").text) == (rows, title)
    assert one(page, "[data-view=all]").get_attribute("aria-pressed") == "true"
    assert one(page, ".chosen figcaption").text.startswith("noise")
    assert abs(page.execute_script("return document.querySelector('#crops').getBoundingClientRect().top")) < 40
    shown_at(page, address, "place=99&view=none&left=nobody&sort=nothing")
    assert one(page, ".place").get_attribute("aria-current") == "true"
    assert order(page)[0] == "blend"


def test_a_place_opens_with_its_crops_and_has_a_thumbnail(page):
    buttons = all_of(page, ".place")
    assert [button.get_attribute("aria-current") for button in buttons] == ["true"] + ["false"] * (len(buttons) - 1)
    buttons[1].click()
    assert buttons[1].get_attribute("aria-current") == "true"
    assert one(page, "#place-title").text.startswith(buttons[1].text)
    one(page, "[data-view=all]").click()
    loaded = "return [...document.querySelectorAll(arguments[0])].map((i) => i.complete && i.naturalWidth)"
    assert page.execute_script(loaded, "#panels img") == [96] * 6
    assert set(page.execute_script(loaded, ".thumb")) == {96}
    assert visible_panels(page) == ["degraded input", "blend", "twin", "bicubic", "noise", "ground truth"]


def test_the_best_method_is_shown_first_and_others_by_choice_and_keyboard(page):
    assert visible_panels(page) == ["degraded input", "blend", "ground truth"]
    Select(one(page, "#right")).select_by_value("noise")
    assert visible_panels(page) == ["degraded input", "noise", "ground truth"]
    one(page, "#panels").send_keys("]")
    assert visible_panels(page)[1] == "blend"
    one(page, "#panels").send_keys("[", "[")
    assert visible_panels(page)[1] == "bicubic"


def test_where_metrics_disagree_their_two_methods_stand_side_by_side(page):
    button = all_of(page, ".choices ol")[1].find_element(By.TAG_NAME, "button")
    first, second = re.search(r": (\w+) over \w+; .+: (\w+) over \w+", button.text).groups()
    button.click()
    assert visible_panels(page)[:2] == [first, second]


def test_all_scores_are_below_a_crop_the_best_in_bold(page):
    one(page, "[data-view=all]").click()
    items = {
        each.text.splitlines()[0]: each.find_elements(By.CSS_SELECTOR, ".scores li")
        for each in all_of(page, "#panels figcaption")
    }
    assert [len(scores) for scores in items.values()] == [0, 6, 6, 6, 6, 0]
    psnr = {name: scores[0] for name, scores in items.items() if scores}
    assert all(re.fullmatch(r"PSNR\s+\d+\.\d\d", each.text) for each in psnr.values())
    bold = {name for name, each in psnr.items() if each.get_attribute("class") == "top"}
    values = {name: float(each.text.split()[1]) for name, each in psnr.items()}
    assert bold == {name for name, value in values.items() if value == max(values.values())}


def test_the_slider_shows_one_crop_over_the_other(page):
    one(page, "[data-view=slider]").click()
    assert visible_panels(page) == ["Left: degraded input", "Right: blend"]
    left, right = all_of(page, ".frame img")
    assert (left.get_attribute("alt").split(",")[0], right.get_attribute("alt").split(",")[0]) == (
        "degraded input",
        "blend",
    )
    clip = "return getComputedStyle(document.querySelector('.over')).clipPath"
    assert page.execute_script(clip) == "inset(0px 0px 0px 50%)"
    one(page, "#split").send_keys(Keys.END)
    assert page.execute_script(clip) == "inset(0px 0px 0px 100%)"
    frame = one(page, ".frame")
    webdriver.ActionChains(page).move_to_element(frame).click_and_hold().move_by_offset(
        -frame.size["width"] // 4, 0
    ).release().perform()
    assert abs(float(one(page, "#split").get_attribute("value")) - 25) <= 1
    box = "return arguments[0].getBoundingClientRect().toJSON()"
    assert page.execute_script(box, left) == page.execute_script(box, right)


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
    one(page, "[data-view=slider]").click()
    page.execute_script("document.activeElement.blur(); getSelection().setPosition(document.body, 0)")
    one(page, "body").send_keys(Keys.TAB)
    for _ in range(50):
        active = page.switch_to.active_element
        reached.add(active.get_attribute("id") or active.get_attribute("class") or active.tag_name)
        if active.tag_name == "button":
            assert "3px" in active.value_of_css_property("outline")
        active.send_keys(Keys.TAB)
    assert {"skip", "panels", "zoom-in", "reset", "left", "right", "split", "place", "button"} <= reached
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
    scroll = one(page, ".scroll")
    wait = WebDriverWait(page, 10)
    wait.until(lambda _: "more" in scroll.get_attribute("class"))  # it fades at the edge
    page.execute_script("arguments[0].scrollLeft = 9999", scroll)
    wait.until(lambda _: "more" not in scroll.get_attribute("class"))
    for control in all_of(page, "#crops button, #crops select"):
        assert control.size["height"] >= 32
    cut = "return [...document.querySelectorAll('.strip .name')].filter((n) => n.scrollWidth > n.clientWidth).length"
    page.execute_script("document.querySelector('.strip .name').textContent = 'realesr_general_wdn_x4v3'")
    assert page.execute_script(cut) == 0


def test_a_phone_shows_the_first_crop_in_a_slider_without_scrolling_past_choices(page):
    resize(page, *PHONE)
    page.refresh()
    assert one(page, "[data-view=slider]").get_attribute("aria-pressed") == "true"
    top = (
        "return arguments[0].getBoundingClientRect().top - document.querySelector('#crops').getBoundingClientRect().top"
    )
    assert page.execute_script(top, one(page, ".frame")) < 0.75 * PHONE[1]
    assert one(page, ".frame").size["width"] > 0.9 * PHONE[0] - 24


def test_no_two_of_many_methods_have_one_mark():
    marks = [mark(position) for position in range(48)]
    assert len(set(marks)) == 48
    assert all(one[0] != other[0] for one, other in pairwise(marks))


def test_signatures_wrap_and_labels_keep_clear_of_the_edge(page):
    script = "const m = document.querySelector('#metrics .scroll'); return [m.scrollWidth, m.clientWidth]"
    signature = "document.querySelector('#metrics td:last-child').textContent = 'name=value|'.repeat(40); "
    inside, box = page.execute_script(signature + script)
    assert inside <= box
    script = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    box, label = (page.execute_script(script, each) for each in ("#ranks .scroll", ".courses .metric"))
    assert label - box >= 6


def test_links_have_the_names_of_their_sections(page):
    titles = {title.get_attribute("id").removesuffix("-title"): title.text for title in all_of(page, "h2")}
    for link in all_of(page, "nav a"):
        title = titles[link.get_attribute("href").partition("#")[2]]
        assert title.startswith(link.text)


def test_labels_of_the_plot_of_ranks_do_not_collide(page):
    script = "return [...document.querySelectorAll(arguments[0])].map((t) => t.getBoundingClientRect().toJSON())"
    boxes = page.execute_script(script, ".courses text")
    assert len(boxes) == 6 + 2 * 4
    for one_box, other in combinations(boxes, 2):
        apart = one_box["right"] <= other["left"] or other["right"] <= one_box["left"]
        assert apart or one_box["bottom"] <= other["top"] + 2 or other["bottom"] <= one_box["top"] + 2


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
    selectors = (
        "p, li, td, th, button, select, .mark, .interval, .place small, figcaption, .muted, label, dt, dd, a:not(.skip)"
    )
    assert page.execute_script(CONTRAST, selectors) >= 4.5
    pixels = np.asarray(Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("L"))
    assert (np.median(pixels) > 128) == (scheme == "light")
    assert pixels.std() > 10


def test_the_page_loads_nothing(page):
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith("data:") for name in loaded)
