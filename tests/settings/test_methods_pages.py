"""docs/methods.md and docs/export.md name the keys that there are, with their defaults, and commands that are taken."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from gpt4scene.settings.config import parse
from gpt4scene.settings.export_keys import IDLE, REFUSED, USED
from gpt4scene.settings.methods import MethodArguments

ROOT = Path(__file__).parents[2]
METHODS, EXPORT = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("methods", "export"))


def test_every_key_of_a_method_stands_on_the_page_with_its_default():
    named = set(re.findall(r"`(\w+)", METHODS))
    assert {one.name for one in dataclasses.fields(MethodArguments)} <= named
    defaults = re.findall(r"^\| `(\w*quantization\w*)` \| `?(\w+)`? \| ", METHODS, re.MULTILINE)
    assert len(defaults) == 4
    for name, said in defaults:
        value = getattr(MethodArguments(), name)
        assert said == ("off" if value is None else str(value).lower()), name


@pytest.mark.parametrize("line", re.findall(r"^gpt4scene train (.*)$", METHODS, re.MULTILINE))
def test_the_commands_of_the_page_are_taken(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert parse(shlex.split(line)).source == shlex.split(line)[0]


def test_the_table_of_exports_has_every_key_that_asks_for_something():
    rows = re.findall(r"^\| (`.*) \| (.*) \|$", EXPORT, re.MULTILINE)
    said = {key: what for names, what in rows for key in re.findall(r"`(\w+)[`:*]", names)}
    assert {*USED, *IDLE} <= said.keys()
    assert {key for key, what in said.items() if what.startswith("no effect")} == IDLE.keys()
    assert all(said.get(key, said["export_quantization_"]).startswith("refused") for key in REFUSED)
