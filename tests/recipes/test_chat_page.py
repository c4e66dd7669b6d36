"""The page of ``gpt4scene chat`` in a real browser, with a tiny model and one small scene."""

import os
import time
import zipfile
from pathlib import Path

import pytest
from browser import complaints, start_browser
from chat_scenes import BAD, write_scene
from contrast import faint

from gpt4scene.view.links import address

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
QUESTION = "#g4s-question textarea"
TALK = "document.querySelector('#g4s-talk').innerText"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The address of a page with two scenes, and its desk; ``GPT4SCENE_CHAT`` is another page to look at."""
    from gpt4scene.chat.arguments import ChatArguments
    from gpt4scene.chat.opening import open_asker
    from gpt4scene.chat.run import Page, free_port, keep_to_ourselves
    from gpt4scene.demo.tiny_model import build

    folder = tmp_path_factory.mktemp("chat")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "GRADIO_TEMP_DIR", "NO_PROXY", "no_proxy"):
            environment.setenv(name, os.environ.get(name, ""))
        keep_to_ourselves(folder)
        records = [write_scene(folder / "scenes", name, ("chair", BAD), side=112) for name in ("one", "two")]
        arguments = ChatArguments(
            model=str(build(folder / "model")), max_new_tokens=12, branch_limit=2, view_url="http://127.0.0.1:1"
        )
        asker = open_asker(arguments, print)
        (folder / "private").mkdir()
        running = Page(arguments, records, asker, folder / "private", free_port("127.0.0.1", 0))
        yield running
        running.close()
        asker.close()


@pytest.fixture(scope="module")
def desk():
    browser = start_browser(1280, 900)
    yield browser
    browser.quit()


def wait(browser, script, seconds=90):
    """Wait until a script gives something true, and return it."""
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(f"return {script}")):
        assert time.monotonic() < end, f"{script}: {browser.execute_script('return document.body.innerText')[:2000]}"
        time.sleep(0.05)
    return found


def opened(browser, page):
    browser.get(page.address)
    wait(browser, "document.querySelectorAll('.g4s-mark').length == 6 && [...document.images].every(i => i.complete)")
    return browser


def ask(browser, text):
    """Type a question, send it with Enter, and return how many exchanges there were before."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    before = browser.execute_script("return document.querySelectorAll('.g4s-exchange').length")
    browser.find_element(By.CSS_SELECTOR, QUESTION).send_keys(text, Keys.ENTER)
    return before


def answered(browser, before):
    shown = f"[...document.querySelectorAll('.g4s-exchange')][{before}]"
    wait(browser, f"{shown} && /first word after/.test({shown}.innerText)")
    return browser.execute_script(f"return {shown}.innerText")


def test_ask_click_a_number_change_the_wording_and_the_scene(page, desk):
    from selenium.webdriver.common.by import By

    opened(desk, page)
    assert desk.execute_script("return [...document.images].every(i => i.alt && i.naturalWidth == 112)")
    assert desk.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    assert BAD in desk.execute_script("return document.querySelector('.g4s-objects').textContent")
    assert "none kept" in answered(desk, ask(desk, "What is there?"))
    desk.find_elements(By.CSS_SELECTOR, ".g4s-frame .g4s-mark")[1].click()
    assert desk.find_element(By.CSS_SELECTOR, QUESTION).get_attribute("value") == "<OBJ001> "
    lit = "[...document.querySelectorAll('.g4s-mark')].filter(m => getComputedStyle(m).boxShadow != 'none')"
    assert desk.execute_script(f"return {lit}.map(m => m.dataset.object)") == ["1"] * 3
    assert desk.switch_to.active_element.tag_name == "textarea"
    second = answered(desk, ask(desk, "is where?"))
    assert BAD in second and "of them kept from before" in second
    link = desk.find_element(By.CSS_SELECTOR, "#g4s-talk .g4s-3d").get_attribute("href")
    assert link == address("http://127.0.0.1:1", "one", 1)
    desk.find_element(By.CSS_SELECTOR, "#g4s-wording input").click()
    wait(desk, "document.querySelectorAll('[role=option]').length > 4")
    desk.find_elements(By.CSS_SELECTOR, "[role=option]")[2].click()
    wait(desk, "document.querySelector('#g4s-situation textarea, #g4s-situation input')")
    ask(desk, "What is left of me?")
    wait(desk, "/needs a situation/.test(document.querySelector('#g4s-said').innerText)")
    assert faint(desk) == []
    desk.find_element(By.CSS_SELECTOR, "#g4s-scene input").click()
    wait(desk, "document.querySelectorAll('[role=option]').length == 2")
    desk.find_elements(By.CSS_SELECTOR, "[role=option]")[1].click()
    wait(desk, "/view of two/.test(document.querySelector('#g4s-images').innerText)")
    assert desk.execute_script("return document.querySelectorAll('.g4s-exchange').length") == 0
    assert complaints(desk) == []


def test_its_address_alone_goes_to_stdout(page, capsys):
    page.say()
    printed, said = capsys.readouterr()
    assert printed == f"{page.address}\n" and "press Ctrl-C to end" in said


def test_uploads_are_taken_or_refused(page, desk, tmp_path):
    from selenium.webdriver.common.by import By

    opened(desk, page)
    desk.find_element(By.CSS_SELECTOR, "#g4s-uploads button").click()
    (tmp_path / "bad.zip").write_bytes(b"no archive at all")
    send = "document.querySelector('#g4s-upload input[type=file], input[type=file]')"
    wait(desk, send)
    desk.execute_script(f"return {send}").send_keys(str(tmp_path / "bad.zip"))
    wait(desk, "document.querySelector('#g4s-upload-state .g4s-error')")
    assert faint(desk) == []
    write_scene(tmp_path / "mine", "my_room", side=112)
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        for file in filter(Path.is_file, (tmp_path / "mine").rglob("*")):
            archive.write(file, file.relative_to(tmp_path))
    desk.execute_script(f"return {send}").send_keys(str(tmp_path / "good.zip"))
    wait(desk, "/ready: my_room/.test(document.querySelector('#g4s-upload-state').innerText)")
    wait(desk, "/view of my_room/.test(document.querySelector('#g4s-images').innerText)")
    assert "first word" in answered(desk, ask(desk, "What is there?"))
    assert complaints(desk) == []
    assert [*page.desk.folder.iterdir()]
    desk.get("about:blank")
    end = time.monotonic() + 60
    while [*page.desk.folder.iterdir()]:
        assert time.monotonic() < end, "the upload was not deleted when its visitor left"
        time.sleep(0.1)


def test_three_people_at_once_each_have_their_own_talk(page, desk):
    first = desk.current_window_handle
    windows = [first]
    for _ in range(2):
        desk.switch_to.new_window("tab")
        windows.append(desk.current_window_handle)
    for window in windows:
        desk.switch_to.window(window)
        opened(desk, page)
    for number, window in enumerate(windows):
        desk.switch_to.window(window)
        ask(desk, f"I am visitor {number}.")
    for number, window in enumerate(windows):
        desk.switch_to.window(window)
        assert f"I am visitor {number}." in answered(desk, 0)
        assert desk.execute_script(f"return {TALK}").count("I am visitor") == 1
    for window in windows[1:]:
        desk.switch_to.window(window)
        desk.close()
    desk.switch_to.window(first)


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_phone_and_dark(page, width, dark):
    browser = start_browser(width, 844, dark)
    try:
        opened(browser, page)
        answered(browser, ask(browser, "What is <OBJ000>?"))
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert faint(browser) == []
        assert complaints(browser) == []
    finally:
        browser.quit()
