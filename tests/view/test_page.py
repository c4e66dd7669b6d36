"""The 3D view in a real browser: look, choose, edit, see answers, switch, two people, a phone, and the dark."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("viser")

from browser import complaints, start_browser
from contrast import faint
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from gpt4scene.demo.plan import draw_plan
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.files.prepared import find_scenes
from gpt4scene.scenes.prepare import PrepareArguments, prepare
from gpt4scene.view.answers import SceneAnswer
from gpt4scene.view.links import address
from gpt4scene.view.rooms import Rooms, named
from gpt4scene.view.run import start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PATIENCE = 90
OF_THE_LIBRARY = "THREE.Clock: This module has been deprecated"


@pytest.fixture(scope="module")
def desk():
    browser = start_browser(width=1100, height=700)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def edits(tmp_path_factory):
    return tmp_path_factory.mktemp("edits")


@pytest.fixture(scope="module")
def view(prepared_rooms, edits):
    rooms = Rooms(named(find_scenes([prepared_rooms])), save=str(edits))
    first, second = rooms.open("boxes").scene.objects[:2]
    rooms.answers = {
        "boxes": [
            SceneAnswer("ScanQA", "Which <b>colour</b>?", "red", ("red",), "right", ""),
            SceneAnswer("ScanRefer", "The large one.", "<OBJ000>.", (), "wrong", "no overlap", (first,), (second,)),
        ]
    }
    running = start(rooms, port=8480)
    yield running
    running.stop()


def until(found, why):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {PATIENCE} s: {why}")


def shown(browser, words):
    return until(lambda: words in browser.find_element(By.TAG_NAME, "body").text, words)


def press(browser, words, kind="button"):
    def find():
        found = browser.find_elements(By.XPATH, f"//{kind}[contains(., '{words}')]")
        return next((one for one in found if one.is_displayed() and one.is_enabled()), None)

    button = until(find, f"{kind} {words}")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()


def field(browser, label):
    path = f"//label[contains(., '{label}')]/following::input[1]"
    return until(lambda: next(iter(browser.find_elements(By.XPATH, path)), None), label)


def open_tab(browser, name):
    press(browser, name, "*[@role='tab']")


def scheme(browser):
    return browser.execute_script("return document.documentElement.dataset.mantineColorScheme")


def test_look_choose_edit_and_switch(desk, view, edits):
    boxes = view.rooms.open("boxes").boxes
    first, second = boxes.boxes[:2]
    desk.get(address(view.base) + "?fixedDpr=0.5")  # a processor draws
    shown(desk, f"{len(boxes.boxes)} of {len(boxes.boxes)} objects")
    assert "6,000 points" in desk.find_element(By.TAG_NAME, "body").text

    press(desk, f"{first.id} · {first.label}")
    until(lambda: field(desk, "Link").get_attribute("value").endswith(f"/boxes/object/{first.id}"), "the link")
    open_tab(desk, "Frames")
    ring = until(lambda: desk.find_elements(By.CSS_SELECTOR, "figure img[alt*='with a ring around']"), "a ring")
    assert f"object {first.id}, {first.label}" in ring[0].get_attribute("alt")

    open_tab(desk, "Edit")
    name = field(desk, "Name")
    name.send_keys(Keys.CONTROL, "a")
    name.send_keys("<i>throne</i>")
    until(lambda: name.get_attribute("value") == "<i>throne</i>", "the name")
    time.sleep(1)
    press(desk, "Rename")
    file = edits / "boxes.json"
    until(lambda: file.is_file() and "<i>throne</i>" in file.read_text(), "the saved name")
    shown(desk, "All edits are saved")
    press(desk, "Undo: rename")
    until(lambda: json.loads(file.read_text())["objects"][0]["label"] == first.label, "the name of before")
    press(desk, "Redo: rename")
    until(lambda: "<i>throne</i>" in file.read_text(), "the name again")
    edit_by_clicks(desk, file, first, second)
    open_tab(desk, "Objects")
    shown(desk, f"{first.id} · <i>throne</i>")
    choose_by_a_click(desk, view, second)
    look_at_answers(desk, second)

    mine = desk.current_window_handle
    desk.switch_to.new_window("tab")  # another person: own choice, the same edits
    desk.get(address(view.base, "boxes", second.id))
    shown(desk, f"{first.id} · <i>throne</i>")
    until(lambda: field(desk, "Link").get_attribute("value").endswith(f"/object/{second.id}"), "the other's link")
    boxes.edit("x", lambda old: old[1:])
    until(lambda: f"{first.id} · <i>" not in desk.find_element(By.TAG_NAME, "body").text, "the removed object")
    desk.close()
    desk.switch_to.window(mine)

    scenes = field(desk, "Scene")
    scenes.click()
    press(desk, "other", "*[@role='option']")
    shown(desk, "was prepared before points were kept")
    assert field(desk, "Link").get_attribute("value").endswith("/scene/other")
    assert faint(desk) == []
    assert [line for line in complaints(desk) if OF_THE_LIBRARY not in line] == []


def saved(file):
    return {row["id"]: row for row in json.loads(file.read_text())["objects"]}


def edit_by_clicks(desk, file, first, second):
    """Split off and merge what was split off; take both back and see each step in the file of boxes."""
    before = saved(file)
    press(desk, "Split a part off", "*[text()='Split a part off']/self::*")
    press(desk, "Split off what is inside")
    shown(desk, "tick 'Show the cutting box' first")
    assert saved(file) == before
    press(desk, "Show the cutting box", "label")
    until(lambda: float(field(desk, "Its size").get_attribute("value")) == round(first.size[0] / 2, 2), "the cutter")
    press(desk, "Split off what is inside")
    until(lambda: len(saved(file)) == len(before) + 1, "the part that is split off")
    new = max(saved(file))
    assert saved(file)[new]["label"] == "<i>throne</i>" and saved(file)[first.id]["size"][0] < first.size[0]
    field(desk, "Merge with").click()
    press(desk, f"{new} · ", "*[@role='option']")
    until(lambda: field(desk, "Merge with").get_attribute("value").startswith(f"{new} · "), "the other object")
    time.sleep(1)
    press(desk, "Merge")
    until(lambda: new not in saved(file), "the merged objects")
    assert abs(saved(file)[first.id]["size"][0] - first.size[0]) < 0.1
    press(desk, f"Undo: merge {first.id} and {new}")
    press(desk, f"Undo: split {first.id}")
    until(lambda: saved(file) == before, "the boxes of before")


def choose_by_a_click(desk, view, box):
    """A click on a box in the room chooses it."""
    place = desk.execute_script(
        "const m = window.__viserMutable, at = m.camera.position.clone().set(...arguments[0]);"
        "m.nodeRefFromName['/names'].localToWorld(at).project(m.camera);"
        "const area = m.canvas.getBoundingClientRect();"
        "return [area.left + (at.x + 1) / 2 * area.width, area.top + (1 - at.y) / 2 * area.height]",
        box.center,
    )
    hand = ActionChains(desk, duration=50)
    hand.w3c_actions.pointer_action.move_to_location(*map(round, place))
    hand.pause(0.3)
    hand.w3c_actions.pointer_action.pointer_down().pause(0.1).pointer_up()
    hand.perform()
    until(
        lambda: field(desk, "Link").get_attribute("value").endswith(f"/object/{box.id}"), "the object that is clicked"
    )


def look_at_answers(desk, meant):
    """Step to the answer about objects: both its boxes stand in the room, and go with it."""
    drawn = (
        "const nodes = Object.entries(window.__viserMutable.nodeRefFromName).filter(([, node]) => node?.parent);"
        "return nodes.map(([name]) => name).filter((name) => name.startsWith('/answers/'))"
    )
    open_tab(desk, "Answers")
    shown(desk, "Which <b>colour</b>?")
    assert desk.execute_script(drawn) == []
    press(desk, "next")
    shown(desk, f"true object {meant.id} {meant.label} (green, thin)")
    until(lambda: {"/answers/named/boxes", "/answers/meant/boxes"} <= set(desk.execute_script(drawn)), "both boxes")
    shown(desk, "✗ wrong — no overlap")
    press(desk, "previous")
    shown(desk, "✓ right")
    until(lambda: desk.execute_script(drawn) == [], "no boxes")


def test_a_phone_and_the_dark(desk, view):
    desk.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    desk.get(address(view.base, "boxes", 999))
    shown(desk, "has no object 999")
    label = view.rooms.open("boxes").boxes.boxes[0]
    press(desk, f"{label.id} · {label.label}")
    shown(desk, "m\n")
    assert desk.execute_script("return document.documentElement.scrollWidth") <= 390
    assert faint(desk) == []
    assert scheme(desk) == "light"
    open_tab(desk, "Layers")
    press(desk, "Dark page", "label")
    until(lambda: scheme(desk) == "dark", "the dark")
    assert faint(desk) == []
    open_tab(desk, "Edit")
    shown(desk, "Remove this object")
    assert faint(desk) == []
    desk.refresh()
    shown(desk, f"{label.id} · {label.label}")
    until(lambda: scheme(desk) == "dark", "the dark of before")
    assert [line for line in complaints(desk) if OF_THE_LIBRARY not in line] == []


def test_a_strangers_page_is_shown_nothing(view):
    import viser
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    place = view.base.replace("http", "ws") + "/scene/boxes"
    protocol = [f"viser-v{viser.__version__}"]
    with connect(place, origin="http://elsewhere.example", subprotocols=protocol) as stranger:
        with pytest.raises(ConnectionClosed) as closed:
            stranger.recv(timeout=30)
        assert closed.value.rcvd.code == 1008
    with connect(place, origin=view.base, subprotocols=protocol) as ours:
        assert ours.recv(timeout=30)


def picture(browser, path):
    """Take a picture of what is drawn: a processor that goes on drawing leaves no time for it."""
    browser.execute_script("window.requestAnimationFrame = () => 0")
    try:
        return browser.save_screenshot(str(path))
    except TimeoutException:
        return False


@pytest.mark.skipif("GPT4SCENE_PICTURES" not in os.environ, reason="takes the picture of the README, when asked")
def test_the_picture_of_the_readme(tmp_path):
    """A room of the demo, as it is first seen."""
    plan = draw_plan("room0000_00", np.random.default_rng(0))
    folder, out = write_room(plan, tmp_path / "rooms", View(480, 360, 24)), tmp_path / "scenes"
    assert not prepare(PrepareArguments(scans=(str(folder),), out=str(out), frames=8, points=150_000)).failed
    running = start(Rooms(named(find_scenes([out]))), port=8490)
    browser = start_browser(width=1200, height=720)
    try:
        browser.get(address(running.base, running.rooms.names[0]) + "&fixedDpr=0.75")  # a processor draws
        shown(browser, "objects.")
        press(browser, "", "div[contains(@class,'Notification')]//button")
        time.sleep(20)
        until(lambda: picture(browser, Path(os.environ["GPT4SCENE_PICTURES"]) / "view.png"), "a picture")
    finally:
        browser.quit()
        running.stop()
