"""The listed keys of transformers are those of the version that is tested, with types that read words alike."""

import importlib.metadata

import pytest

from gpt4scene.files.whole import read_json
from gpt4scene.settings import training_keys
from gpt4scene.settings.coercion import BadValueError, coerce
from gpt4scene.settings.training_keys import FILE, installed_hints, members_of, training_hints

WORDS = ["true", "3", "0.5", "no", "steps", "a,b", '{"a": 1}', "None", "linear", "adamw_torch", "", False, 7, ["x"]]


def read(value, hint):
    try:
        return coerce(value, hint)
    except BadValueError as error:
        return str(error)


def test_the_file_lists_the_tested_version(tmp_path, root):
    version = importlib.metadata.version("transformers")
    listed = read_json(FILE)["transformers"]
    assert f"transformers=={listed.rpartition('.')[0]}" in (root / "constraints.txt").read_text()
    if version != listed:
        pytest.skip(f"transformers {version} is installed, {listed} is listed")
    training_keys.write(tmp_path / "again.json")
    again = "write it again: python -m gpt4scene.settings.training_keys"
    assert read_json(tmp_path / "again.json") == read_json(FILE), again


def test_words_are_read_as_the_installed_types_read_them():
    listed, installed = training_hints(), installed_hints()
    assert list(listed) == list(installed)
    for name in listed:
        assert members_of(listed[name]) == members_of(installed[name])
        assert [read(word, listed[name]) for word in WORDS] == [read(word, installed[name]) for word in WORDS], name


def test_another_version_is_asked_itself(monkeypatch):
    training_hints.cache_clear()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.0")
    monkeypatch.setattr(training_keys, "installed_hints", lambda: {"a": int})
    try:
        assert training_hints() == {"a": int}
    finally:
        training_hints.cache_clear()
