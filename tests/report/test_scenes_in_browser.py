"""Pages of scenes and of two runs in a browser: boxes, keyboard, filters, links, phone, dark, contrast, console."""

import os
from pathlib import Path

import pytest
from browser import complaints, start_browser
from commands import report
from prepared_room import prepare_room, write_answers

from gpt4scene.benchmarks.registry import BENCHMARKS

LABELS = ["table", "cup", "book", "cabinet", "chair", "bin", "sofa"]
ASKED = [0, 1, 2, 3, 4, 5, 6, 6, 3]
BEFORE = [0, 2, 2, 3, 0, 5, 4, 3, 3]
AFTER = [0, 1, 2, 3, 4, 2, 6, 6, 6]
PHONE, DESK = 390, 1280
CONTRAST = """
const lum = c => { const v = c.map(x => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; });
  return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const rgba = t => { const v = t.match(/[\\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
const back = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor);
  if (c[3] > 0.99) return c; } return [255, 255, 255, 1]; };
const found = [];
for (const e of document.querySelectorAll("main *")) {
  if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
  const a = lum(rgba(getComputedStyle(e).color)), b = lum(back(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) found.push(`${e.tagName}.${e.className} ${ratio.toFixed(2)}: ${e.textContent.trim().slice(0, 30)}`);
}
return [...new Set(found)];
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report about a prepared room, with another run beside it."""
    folder = tmp_path_factory.mktemp("browser")
    room = prepare_room(folder, width=320, height=240, bev=400)
    rows = [
        {
            "scene_id": "boxes",
            "obj_id": number,
            "qid": at,
            "prompt": f'Which object does this describe? "the {LABELS[number]} in the room, seen from the door, {at}"',
            "ref_captions": [f"<OBJ{number:03d}>."],
        }
        for at, number in enumerate(ASKED)
    ]
    named = {"before": BEFORE, "after": AFTER}
    for run, numbers in named.items():
        answers = [f"<OBJ{number:03d}>." for number in numbers]
        answers[2] += " It lies on the table beside the cup." * 12
        (folder / run).mkdir()
        text = write_answers(room, BENCHMARKS["scanrefer"].question_name("val"), rows, answers)
        (folder / run / "scanrefer.jsonl").write_text(text)
    words = [
        "--predictions",
        str(folder / "after"),
        "--compare",
        str(folder / "before"),
        "--out",
        str(folder / "report"),
    ]
    assert report([*words, "--annotation_dir", str(room)]) == 0
    return folder / "report"


@pytest.fixture(scope="module")
def browser():
    started = start_browser()
    yield started
    started.quit()


def seen_as(browser, width=DESK, height=900, dark=False):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})


def keep(browser, name):
    """Save the picture ``name`` where a person asked for pictures."""
    if os.environ.get("GPT4SCENE_PICTURES"):
        browser.save_screenshot(str(Path(os.environ["GPT4SCENE_PICTURES"]) / name))


def shown(browser, selector):
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.getBoundingClientRect().height > 0).length",
        selector,
    )


def looks_right(browser):
    """No sideways scrolling, contrast of text, alternative texts, and an empty console."""
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script(CONTRAST) == []
    unnamed = (
        'return document.querySelectorAll("img:not([alt]), svg[role=img]:not([aria-label]):not(:has(title))").length'
    )
    assert browser.execute_script(unnamed) == 0
    assert complaints(browser) == []


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_boxes_open_by_link_and_by_keyboard_and_answers_are_filtered(pages, browser):
    from selenium.webdriver.common.keys import Keys

    address = (pages / "scenes" / "boxes.html").as_uri()
    seen_as(browser, height=1200)
    browser.get(f"{address}#scanrefer-5")
    assert shown(browser, ".look svg.view") >= 2, "those of the linked answer are open"
    drawn = browser.execute_script(
        "const view = document.querySelectorAll('svg.view')[1], box = view.getBoundingClientRect();"
        "return [...view.querySelectorAll('use')].slice(1).map(e => { const r = e.getBoundingClientRect();"
        "return [r.left - box.left, r.top - box.top, box.right - r.right, box.bottom - r.bottom, r.width] })"
    )
    assert drawn and all(min(edges[:4]) > -3 and edges[4] > 4 for edges in drawn), "boxes lie inside the image"
    labels = browser.execute_script("return [...document.querySelectorAll('svg.view')].map(e => e.ariaLabel)")
    assert "object 5 bin (meant)" in labels[0] and "marked 2 book (named)" in labels[0]
    keep(browser, "report_scene.png")
    looks_right(browser)

    before = shown(browser, ".look svg.view")
    browser.execute_script("document.querySelectorAll('.look summary')[0].focus()")
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
    assert shown(browser, ".look svg.view") > before

    answers = shown(browser, "table.answers tr[class]:not(.look)")
    assert answers == len(ASKED)
    browser.execute_script("document.getElementById('show-right').focus()")
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert shown(browser, "table.answers tr[class]:not(.look)") == 2
    assert shown(browser, "table.answers tr.right") == 0
    assert browser.execute_script("return document.querySelectorAll('details.long').length") >= 1

    seen_as(browser, PHONE, 844, dark=True)
    browser.get(f"{address}#scanrefer-0")
    assert shown(browser, ".look svg.view") >= 2
    looks_right(browser)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_runs_lead_from_a_change_to_its_images(pages, browser):
    from selenium.webdriver.common.by import By

    address = (pages / "compare.html").as_uri()
    seen_as(browser, height=1500)
    browser.get(address)
    keep(browser, "compare.png")
    looks_right(browser)
    worse = browser.find_element(By.CSS_SELECTOR, "table.pairs tbody tr a")
    assert worse.is_displayed() and worse.get_attribute("href").endswith("scenes/boxes.html#scanrefer-5")
    worse.click()
    assert browser.current_url.endswith("boxes.html#scanrefer-5") and shown(browser, ".look svg.view") >= 2
    browser.back()
    seen_as(browser, PHONE, 844, dark=True)
    browser.get(address)
    assert shown(browser, "table.pairs tbody tr") == 6
    looks_right(browser)
    browser.get((pages / "index.html").as_uri())
    assert browser.find_element(By.CSS_SELECTOR, 'a[href="compare.html"]').is_displayed()
