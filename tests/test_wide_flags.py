"""The flags of every command: taken off anywhere, left to a command that has one of the same name."""

import json

import pytest

from gpt4scene.cli import main
from gpt4scene.errors import ConfigError
from gpt4scene.talk import QUIET, VERBOSE
from gpt4scene.wide_flags import WideFlags, taken_off


@pytest.mark.parametrize(
    ("words", "kept", "wide"),
    [
        ("a --b c", "a --b c", WideFlags()),
        ("a.yaml --quiet --b c", "a.yaml --b c", WideFlags(QUIET)),
        ("-v --b -1", "--b -1", WideFlags(VERBOSE)),
        ("--verbose true --b c", "--b c", WideFlags(VERBOSE)),
        ("--quiet=false --b c --json", "--b c", WideFlags(QUIET, True)),
        ("--json -v", "", WideFlags(VERBOSE, True)),
        ("--quiet true --quiet false", "", WideFlags()),
    ],
)
def test_they_are_taken_off_the_words(words, kept, wide):
    assert taken_off(words.split()) == (kept.split(), wide)


@pytest.mark.parametrize("words", ["--json out.json", "--json -", "--json=out.json"])
def test_a_flag_of_the_command_keeps_its_value(words):
    assert taken_off(words.split(), ["json"]) == (words.split(), WideFlags())
    assert taken_off(["--json", "--tasks", "all"], ["json"]) == (["--tasks", "all"], WideFlags(QUIET, True))


@pytest.mark.parametrize("words", ["--quiet -v", "--quiet=perhaps"])
def test_what_makes_no_sense_is_refused(words):
    with pytest.raises(ConfigError):
        taken_off(words.split())


def test_scores_are_one_json_object(tmp_path, capsys):
    asked = {"scene_id": "scene0000_00", "question": "What?", "question_id": "q1", "answers": ["a chair"]}
    (tmp_path / "official.json").write_text(json.dumps([asked | {"object_ids": [], "object_names": []}]))
    (tmp_path / "mine.json").write_text(json.dumps([{"question_id": "q1", "pred": "a chair"}]))
    words = ["score", "--predictions", str(tmp_path / "mine.json"), "--tasks", "scanqa", "--metrics", "em"]
    words += ["--references", str(tmp_path / "official.json")]
    assert main([*words, "--json"]) == 0
    shown = capsys.readouterr()
    figures = json.loads(shown.out)["scanqa"]
    assert {"EM1", "answers", "signature"} <= set(figures) and figures["answers"] == 1 and shown.err == ""
    assert main([*words, "--json", "-", "--quiet"]) == 0
    again = capsys.readouterr()
    assert json.loads(again.out) == json.loads(shown.out) and again.err == ""
    assert main([*words, "--json", "--details", "-"]) == 2
    assert "name a file for one of them" in capsys.readouterr().err


def test_findings_are_one_json_object(capsys):
    status = main(["doctor", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert status == (1 if content["wrong"] else 0)
    assert {"level", "text"} == set(content["findings"][0])
