"""The 3D view in a real browser: look, choose, edit, switch, two people, a phone, and the dark."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("viser")

from browser import complaints, start_browser
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from gpt4scene.demo.plan import draw_plan
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.files.prepared import find_scenes
from gpt4scene.scenes.prepare import PrepareArguments, prepare
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
    running = start(Rooms(named(find_scenes([prepared_rooms])), save=str(edits)), port=8480)
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
    desk.get(address(view.base))
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
    open_tab(desk, "Objects")
    shown(desk, f"{first.id} · <i>throne</i>")

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
    assert [line for line in complaints(desk) if OF_THE_LIBRARY not in line] == []


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
    assert scheme(desk) == "light"
    open_tab(desk, "Layers")
    press(desk, "Dark page", "label")
    until(lambda: scheme(desk) == "dark", "the dark")
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
