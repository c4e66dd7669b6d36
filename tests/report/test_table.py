"""The table of all answers in a real browser: search, filters, addresses, keys, single answers, phone and dark."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from browser import complaints, start_browser
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import WebDriverWait

from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS
from gpt4scene.metrics import texts as text_metrics
from gpt4scene.report import answer_data, pages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
EVIL = "</script><img src=x onerror=alert(1)> \u2028 'one' \\ \U0001f600"
ROWS = 60


def journal(path, task, rows):
    """Write answers as a run of inference does."""
    lines = [{"settings": {"engine": "server", "model": "tiny", "temperature": 0.0}, "fingerprint": "f"}]
    lines += [{**row, "task": task, "finish_reason": row.get("finish_reason", "stop")} for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A report of 180 answers about three scenes in files of 50; one question has no answer, one answer was cut off."""
    folder = tmp_path_factory.mktemp("report")
    annotation, predictions = folder / "annotation", folder / "predictions"
    annotation.mkdir()
    predictions.mkdir()
    asked, said, refers, named = [], [], [], []
    for number in range(2 * ROWS):
        scene, color = f"room {number % 3}", ("red", "blue", EVIL)[number % 3]
        question = {"scene_id": scene, "obj_id": 0, "qid": f"q-{number}", "prompt": f"What color is lamp {number}?"}
        asked.append({**question, "ref_captions": ["red"]})
        long = {"pred": "word " * 900, "finish_reason": "length"} if number == 7 else {"pred": color}
        said.append(
            {**question, "gt_id": 0, "pred_id": None, "ref_captions": ["red"], "type_info": 0, **long, "index": number}
        )
    for number in range(ROWS + 1):
        row = {
            "scene_id": f"room {number % 3}",
            "obj_id": number % 2,
            "qid": f"r-{number}",
            "prompt": f"Which one, {number}?",
        }
        refers.append({**row, "ref_captions": [f"<OBJ{number % 2:03d}>."]})
        named.append({"scene_id": row["scene_id"], "pred": "<OBJ000>.", "index": number})
    boxes = {
        f"room {n}": {"objects": ["chair", "desk"], "locs": torch.tensor([[0, 0, 0, 1, 1, 1], [3, 0, 0, 1, 1, 1.0]])}
        for n in range(3)
    }
    for name in (PROPOSALS, GROUND_TRUTH):
        torch.save(boxes, annotation / name.format(split="val"))
    (annotation / "scanqa_val.json").write_text(json.dumps(asked))
    (annotation / "scanrefer_mask3d_val.json").write_text(json.dumps(refers))
    journal(predictions / "scanqa.jsonl", "scanqa", said)
    journal(predictions / "scanrefer.jsonl", "scanrefer", named[:-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_metrics, "find_java", lambda: None)
        patch.setattr(answer_data, "LINES", 50)
        return pages.report(predictions, annotation, folder / "out")


@pytest.fixture(scope="module")
def browser():
    """One browser for the whole file."""
    started = start_browser()
    yield started
    started.quit()


def open_page(browser, index, address=""):
    browser.get("about:blank")
    browser.get(index.as_uri() + address)
    wait(browser, lambda: "still" not in text(browser, "#found") and text(browser, "#found"))


def wait(browser, told):
    return WebDriverWait(browser, 20, 0.05).until(lambda _: told())


def one(browser, selector):
    return browser.find_element("css selector", selector)


def text(browser, selector):
    return browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def column(browser, name):
    script = "return [...document.querySelectorAll('.all td.col-' + arguments[0])].map((cell) => cell.textContent)"
    return browser.execute_script(script, name)


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def address(browser):
    return browser.execute_script("return location.hash")


def place_of_focus(browser):
    return browser.execute_script("return document.activeElement.closest('.all tbody tr').sectionRowIndex")


def choose(browser, name, value):
    script = "const list = document.querySelector(`.filters [name=${arguments[0]}]`); list.value = arguments[1]; "
    browser.execute_script(script + "list.dispatchEvent(new Event('input', {bubbles: true}))", name, value)


def test_search_filters_order_and_pages_stand_in_the_address_and_the_back_button_works(browser, index):
    open_page(browser, index)
    assert text(browser, "#found") == "180 of 180 answers" and text(browser, "#page") == "page 1 of 6"
    one(browser, ".filters [name=q]").send_keys("LAMP 11")
    assert text(browser, "#found") == "11 of 180 answers"  # lamps 11 and 110 to 119
    wait(browser, lambda: address(browser) == "#q=LAMP+11")
    choose(browser, "verdict", "wrong")
    assert set(column(browser, "verdict")) == {"wrong"} and address(browser) == "#q=LAMP+11&verdict=wrong"
    one(browser, "[data-sort=id]").click()
    ids = column(browser, "id")
    one(browser, "[data-sort=id]").click()
    assert column(browser, "id") == ids[::-1] and address(browser).endswith("&sort=-id")
    assert one(browser, "th.col-id").get_attribute("aria-sort") == "descending"
    view = address(browser)
    browser.back()
    browser.back()
    wait(browser, lambda: address(browser) == "#q=LAMP+11&verdict=wrong")
    assert one(browser, "th.col-id").get_attribute("aria-sort") is None
    open_page(browser, index, view)
    assert column(browser, "id") == ids[::-1] and one(browser, ".filters [name=q]").get_attribute("value") == "LAMP 11"
    height = browser.execute_script("return scrollY")
    one(browser, "[data-do=clear]").click()
    assert text(browser, "#found") == "180 of 180 answers" and address(browser) == ""
    assert height > 0 and browser.execute_script("return scrollY") == height, "an empty address leads nowhere"
    choose(browser, "task", "scanrefer")
    choose(browser, "label", "desk")
    assert text(browser, "#found") == "30 of 180 answers" and set(column(browser, "label")) == {"desk"}
    choose(browser, "label", "")
    one(browser, "[data-do=next]").click()
    assert text(browser, "#page") == "page 2 of 2"
    wait(browser, lambda: len(column(browser, "id")) == 30)
    open_page(browser, index, "#scene=room+1&task=scanqa&q=nothing+like+this")
    assert "No answer fits" in text(browser, ".all tbody") and not complaints(browser)


def test_a_single_answer_has_a_link_its_whole_text_and_its_place_on_the_page_of_its_scene(browser, index):
    open_page(browser, index, "#answer=room+1%2Fscanqa-2")
    wait(browser, lambda: "Expected" in text(browser, "#answer"))
    panel = one(browser, "#answer")
    assert "row 7 of the questions" in panel.text and "cut off" in panel.text and "question id q-7" in panel.text
    assert "All 4,500 characters" in panel.text and len(panel.text) < 2000, "a long answer is folded"
    one(browser, "#answer summary").click()
    assert len(panel.text) > 4500
    link = panel.find_element("link text", "On the page of its scene, with all images").get_attribute("href")
    assert re.fullmatch(r".*/scenes/room_1\.html#scanqa-2", link)
    press(browser, Keys.ARROW_RIGHT)
    wait(browser, lambda: "scanqa-3" in address(browser) and "q-10" in panel.text)
    press(browser, Keys.ESCAPE)
    wait(browser, lambda: not panel.is_displayed())
    browser.back()
    wait(browser, panel.is_displayed)
    open_page(browser, index, "#answer=room+2%2Fscanqa-0")
    wait(browser, lambda: "Expected" in text(browser, "#answer"))
    assert EVIL in browser.execute_script("return document.querySelectorAll('#answer .text')[1].textContent")
    assert not browser.execute_script("return document.querySelectorAll('#answer img').length")
    open_page(browser, index, "#answer=of+another+report")
    assert "no such answer" in text(browser, "#answer .content") and not complaints(browser)


def test_keys_alone_find_open_and_leave_an_answer(browser, index):
    open_page(browser, index)
    press(browser, "/")
    assert browser.switch_to.active_element.get_attribute("name") == "q"
    press(browser, "27? lamp", Keys.ARROW_DOWN)
    focused = browser.switch_to.active_element
    assert focused.text == "What color is lamp 27?"
    width = browser.execute_script("return getComputedStyle(document.activeElement).outlineWidth")
    assert width in ("2px", "3px"), "focus is visible"
    press(browser, Keys.ENTER)
    wait(browser, lambda: one(browser, "#answer").is_displayed())
    press(browser, Keys.ESCAPE)
    wait(browser, lambda: not one(browser, "#answer").is_displayed())
    assert browser.switch_to.active_element.text == "What color is lamp 27?", "focus comes back to the row"
    press(browser, Keys.ESCAPE, Keys.ESCAPE)
    assert text(browser, "#found") == "180 of 180 answers"
    wait(browser, lambda: address(browser) == "")
    press(browser, *[Keys.ARROW_DOWN] * 31)
    assert text(browser, "#page") == "page 2 of 6" and place_of_focus(browser) == 0
    press(browser, Keys.ARROW_UP)
    assert text(browser, "#page") == "page 1 of 6" and place_of_focus(browser) == 29


def test_the_focus_stays_on_its_row_when_the_table_is_drawn_anew(browser, index):
    open_page(browser, index)
    press(browser, "/", *[Keys.ARROW_DOWN] * 4)
    row = browser.switch_to.active_element
    asked = row.text
    assert place_of_focus(browser) == 3
    browser.execute_script("gpt4sceneReport.part([0, []])")  # as when more of the answers arrive
    assert browser.switch_to.active_element == row
    choose(browser, "q", asked)
    assert browser.switch_to.active_element.text == asked and place_of_focus(browser) == 0
    choose(browser, "q", "Which")
    assert place_of_focus(browser) == 0, "the row is gone, so its place is the next best"
    choose(browser, "q", "nothing like this")
    assert browser.switch_to.active_element.get_attribute("name") == "q" and not complaints(browser)


def test_links_lead_from_what_is_incomplete_and_what_went_wrong_to_the_answers(browser, index):
    open_page(browser, index)
    alert = one(browser, "[role=alert].alert")
    assert "1 of 61 questions have no answer" in alert.text
    assert "gpt4scene infer --model MODEL" in alert.text and "--tasks scanrefer" in alert.text
    assert alert.location["y"] < 200, "nothing but navigation and title stands above it"
    alert.find_element("link text", "show it").click()
    wait(browser, lambda: text(browser, "#found") == "1 of 180 answers, those cut off")
    assert column(browser, "id") == ["q-7"]
    browser.execute_script("document.querySelector('.groups td a').click()")
    wait(browser, lambda: text(browser, "#found") == "30 of 180 answers")
    assert set(column(browser, "label")) == {"desk"} and set(column(browser, "verdict")) == {"wrong"}
    plots = browser.find_elements("css selector", ".plot")
    assert [plot.find_element("css selector", "strong").text for plot in plots] == [
        "Right answers by type of question",
        "IoU of the box named with the box meant",
        "Length of right and of wrong answers",
    ]
    assert all(plot.find_elements("css selector", "details table tbody tr") for plot in plots)
    one(browser, ".plot svg a").click()
    wait(browser, lambda: address(browser).startswith("#task=scanqa"))
    assert not complaints(browser)


CONTRAST = """
const parts = (color) => color.match(/[\\d.]+/g).map(Number);
const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = (color) => parts(color).slice(0, 3).map((c) => linear(c / 255))
  .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if ((parts(color)[3] ?? 1) > 0) return color;
  }
};
const poor = [];
for (const node of document.querySelectorAll("main *")) {
  const says = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!says || node.closest("svg, :disabled") || !node.checkVisibility()) continue;
  const [one, two] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
  if ((one + 0.05) / (two + 0.05) < 4.5) poor.push(node.className + ": " + node.textContent.slice(0, 30));
}
return poor;
"""


UNNAMED = """return [...document.querySelectorAll("input, select, button, img")]
  .filter((one) => !one.labels?.length && !one.textContent && !one.alt).length"""
OVERFLOW = "const dialog = document.querySelector('dialog'); return dialog.scrollWidth - dialog.clientWidth"


def test_phone_dark_contrast_and_no_script(browser, index):
    for width, dark in ((1280, False), (390, True)):
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        open_page(browser, index)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script(CONTRAST) == []
        assert browser.execute_script(UNNAMED) == 0
        open_page(browser, index, "#answer=room+1%2Fscanqa-2")
        wait(browser, lambda: "Expected" in text(browser, "#answer"))
        assert browser.execute_script(OVERFLOW) == 0
        assert browser.execute_script(CONTRAST) == []
    page = index.read_text()
    assert "<noscript>" in page and page.count('href="scenes/room_') == 3
    assert not complaints(browser)


def test_a_page_without_its_data_says_so(browser, index, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("table.js", "head.js", "answers-000.js"):
        (tmp_path / "data" / name).write_bytes((index.parent / "data" / name).read_bytes())
    (tmp_path / "index.html").write_bytes(index.read_bytes())
    browser.get((tmp_path / "index.html").as_uri())
    wait(browser, lambda: "3 files of answers could not be read" in text(browser, "#trouble"))
    assert text(browser, "#found") == "50 of 180 answers (130 answers could not be read)"
    complaints(browser)  # which are about the files that are not there


def test_picture(browser, index):
    """Write ``report.png`` of the demo's answers to the folder that GPT4SCENE_PICTURES names."""
    out = os.environ.get("GPT4SCENE_PICTURES")
    if not out:
        pytest.skip("GPT4SCENE_PICTURES names no folder")
    demo = Path(os.environ.get("GPT4SCENE_DEMO", "outputs/demo"))
    if not (demo / "predictions").is_dir():
        pytest.skip(f"{demo}: no finished demo (set GPT4SCENE_DEMO)")
    page = pages.report(demo / "predictions" / "held_out", demo / "annotation_held_out", index.parent.parent / "demo")
    size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    open_page(browser, page, "#q=lamp")
    browser.execute_script("document.getElementById('answers').scrollIntoView()")
    browser.save_screenshot(str(Path(out) / "report.png"))
