"""What SECURITY.md promises of the whole project, and that each promise there names tests that exist."""

import ast
import json
import re
import stat
from html.parser import HTMLParser
from pathlib import Path

import pytest
from commands import report
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import inside
from gpt4scene.serve.spool import spool

ROOT = Path(__file__).resolve().parent.parent


def test_every_promise_names_tests_that_exist():
    rows = re.findall(r"^\| (.+) \| (.+) \|$", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.MULTILINE)
    promises = [(promise, re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)) for promise, tests in rows[1:]]
    assert len(promises) > 15
    for promise, tests in promises:
        assert tests, f"no test: {promise}"
        for file, name in tests:
            assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {name}: {promise}"


def test_pages_listen_here_only_and_are_not_shared():
    """What ``host`` and ``share`` of every command are when nobody says anything, read from the code."""
    defaults = {}
    for path in (ROOT / "src").rglob("arguments.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) in ("host", "share"):
                assert isinstance(node.value, ast.Call) and len(node.value.args) == 2, path
                defaults[path.parent.name, ast.unparse(node.target)] = ast.literal_eval(node.value.args[1])
    assert ("serve", "host") in defaults
    assert {value for (_, name), value in defaults.items() if name == "host"} == {"127.0.0.1"}
    assert not any(value for (_, name), value in defaults.items() if name == "share")
    fields = re.compile(r"^    (?:host|share)\b.*= key\(", re.MULTILINE)
    elsewhere = [path for path in (ROOT / "src").rglob("*.py") if fields.search(path.read_text(encoding="utf-8"))]
    assert {path.name for path in elsewhere} == {"arguments.py"}


HOSTILE = "</script></title><script>hostile()</script><img src=x onerror=hostile()>\"' onload=hostile() {{ 7 * 7 }}"


class Found(HTMLParser):
    """Tags with handlers or addresses of strangers, and what scripts hold that a browser would run."""

    def __init__(self):
        super().__init__()
        self.bad, self._runs = [], False

    def handle_starttag(self, tag, attributes):
        self.bad += [(tag, name) for name, value in attributes if name.startswith("on") and "hostile" in (value or "")]
        self.bad += [(tag, value) for name, value in attributes if (name, value) == ("src", "x")]
        self._runs = tag == "script" and dict(attributes).get("type", "text/javascript") != "application/json"

    def handle_endtag(self, tag):
        self._runs = False

    def handle_data(self, data):
        if self._runs and data.startswith("hostile()"):
            self.bad.append(("script", data))


@pytest.mark.slow
def test_hostile_texts_are_letters_on_the_pages(tmp_path):
    """Question, answer, reference, label and scene are hostile; the pages of the report hold them as letters."""
    scene = "room<img src=x onerror=hostile()>"
    folder, predictions = tmp_path / "annotation", tmp_path / "predictions"
    folder.mkdir()
    predictions.mkdir()
    row = {"scene_id": scene, "obj_id": 0, "qid": HOSTILE, "prompt": HOSTILE, "ref_captions": [HOSTILE]}
    (folder / "scanqa_val.json").write_text(json.dumps([row]))
    for name in ("top.png", "frame.png"):
        Image.new("RGB", (64, 48)).save(folder / name)
    (folder / "selected_images_mark_3D_val_1.json").write_text(json.dumps({scene: ["top.png", "frame.png"]}))
    answer = {"scene_id": scene, "qid": HOSTILE, "prompt": HOSTILE, "ref_captions": [HOSTILE], "pred": HOSTILE}
    answer |= {"gt_id": 0, "pred_id": 0, "type_info": 0, "index": 0}
    (predictions / "scanqa.jsonl").write_text(json.dumps(answer) + "\n")
    words = ["--predictions", str(predictions), "--annotation_dir", str(folder), "--out", str(tmp_path / "out")]
    assert report(words) == 0
    pages = sorted((tmp_path / "out").rglob("*.html"))
    assert len(pages) > 1
    shown = 0
    for page in pages:
        text, found = page.read_text(encoding="utf-8"), Found()
        found.feed(text)
        assert not found.bad, f"{page.name}: {found.bad}"
        assert "49" not in re.findall(r"\{\{.{0,9}|onload=hostile\(\) (\S+)", text)
        shown += "hostile()" in text
    assert shown, "the texts are on a page"


def test_the_test_above_can_fail():
    for bad in (
        HOSTILE,
        "<p onclick='hostile()'>",
        '<script type="application/json">{"a": "' + HOSTILE + '"}</script>',
    ):
        found = Found()
        found.feed(bad)
        assert found.bad
    found = Found()
    found.feed('<script type="application/json">{"a": "\\u003c/script>hostile()"}</script><p>hostile()</p>')
    assert not found.bad


PARTS = st.sampled_from(["..", ".", "", "a", "link", "loop", "~", "/", "\\", "C:", "é", "\0", "\n", "x" * 300])


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """A folder with a folder ``out``, in which one link leads out and one to itself."""
    top = tmp_path_factory.mktemp("scene")
    (top / "out").mkdir()
    (top / "out/link").symlink_to(top)
    (top / "out/loop").symlink_to("loop")
    return top


@given(st.lists(PARTS, max_size=6).map("/".join))
@settings(max_examples=60, deadline=None)
def test_whatever_the_path_inside_gives_a_file_inside(linked, written):
    top = linked
    try:
        path = inside(top / "out", written, "scene.json")
    except DataError as error:
        assert len(str(error).splitlines()) <= 1 + written.count("\n")
    else:
        assert path.resolve().is_relative_to(top / "out")


WRONG = [None, 3, ["a"], {"a": 1}, "/etc/passwd", "../x", "a/../../x", "link/x", "loop/x", "\0"]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_paths_that_are_none_or_lead_out(linked, wrong):
    with pytest.raises(DataError, match="is no path of a file|leads out of"):
        inside(linked / "out", wrong, "scene.json")


def test_the_folder_for_images_is_private(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with spool() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
