"""Talk and results: what stays under --quiet, one JSON object, and streams that cannot show every letter."""

import ast
import io
import json
import sys

import pytest

from gpt4scene import talk


def everything():
    talk.say("reads scenes")
    talk.note("sdpa is used")
    talk.warning("no boxes")
    talk.error("row 3\nrow 4")
    talk.detail("torch 2")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (None, ["reads scenes", "note: sdpa is used", "warning: no boxes", "error: row 3", "error: row 4"]),
        (talk.QUIET, ["warning: no boxes", "error: row 3", "error: row 4"]),
        (
            talk.VERBOSE,
            ["reads scenes", "note: sdpa is used", "warning: no boxes", "error: row 3", "error: row 4", "torch 2"],
        ),
    ],
)
def test_each_level_keeps_its_lines(level, expected, capsys, monkeypatch):
    monkeypatch.delenv(talk.VARIABLE, raising=False)
    with talk.level(level):
        everything()
        talk.result("out.json")
    assert not talk.quiet() and not talk.verbose()
    shown = capsys.readouterr()
    assert shown.err.splitlines() == expected and shown.out == "out.json\n"


def test_a_result_is_one_json_object_where_that_is_wanted(capsys):
    with talk.result_as_json():
        assert talk.as_json()
        talk.result("wrote a", path="ä", number=1)
        talk.result("and b", more=[1.5, None])
    assert not talk.as_json()
    assert json.loads(capsys.readouterr().out) == {"path": "ä", "number": 1, "more": [1.5, None]}
    with pytest.raises(ValueError, match="broken"), talk.result_as_json():
        raise ValueError("broken")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "C"}, b"a... -> - \\xe4"),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, b"a... -> - \\xe4"),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, b"a... -> - \\xe4"),
        ({"LANG": "C", "PYTHONIOENCODING": "utf-8"}, "a… → – ä".encode()),
        ({"LANG": "C.UTF-8"}, "a… → – ä".encode()),
        ({}, "a… → – ä".encode()),
    ],
)
def test_a_stream_that_cannot_show_a_letter_shows_plain_ones(environment, expected, monkeypatch):
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONIOENCODING", "PYTHONUTF8"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="utf-8"))
    talk.ready_streams()
    print("a… → – ä", end="", flush=True)
    assert written.getvalue() == expected


def test_a_name_that_is_no_text_does_not_stop_the_output(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    talk.ready_streams()
    print("b\udcff € ä…", end="", flush=True)
    assert written.getvalue() == b"b\\udcff \\u20ac \xe4..."


def test_nobody_else_prints(root):
    """What is printed elsewhere would be neither silenced by --quiet nor part of the one object of --json."""
    owners = {"talk.py", "chat/ask.py", "cli.py", "benchmarks/tables.py", "training/callbacks.py"}
    package, found = root / "src" / "gpt4scene", []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(path.relative_to(package).as_posix())
    assert set(found) == owners
