"""The flags of every command: taken off anywhere, left to a command that has one of the same name."""

import pytest

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
