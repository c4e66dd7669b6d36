"""Adapters on top of others: which ones are merged first is noted beside them, and an absent one is named."""

import json

import pytest

from gpt4scene.errors import DataError
from gpt4scene.model.adapter_chain import NOTE, chain, note_earlier


@pytest.fixture
def folders(tmp_path):
    """``c`` was trained on top of ``a`` and ``b``, ``b`` on top of ``a``."""
    found = {name: tmp_path / name for name in "abc"}
    for name, folder in found.items():
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"r": name}))
    note_earlier(found["a"], [])
    note_earlier(found["b"], [found["a"]])
    note_earlier(found["c"], [found["a"], found["b"]])
    return found


@pytest.mark.parametrize(("named", "order"), [("a", "a"), ("b", "ab"), ("c", "abc"), ("bc", "abc"), ("abc", "abc")])
def test_each_comes_after_those_below_it(folders, named, order):
    assert chain([folders[name] for name in named]) == [folders[name] for name in order]
    assert not (folders["a"] / NOTE).exists()


def test_one_that_has_gone_or_changed_is_named(folders):
    (folders["b"] / "adapter_config.json").write_text(json.dumps({"r": "b", "base_model_name_or_path": "moved"}))
    assert chain([folders["c"]])[1] == folders["b"]
    (folders["b"] / "adapter_config.json").write_text(json.dumps({"r": "trained anew"}))
    with pytest.raises(DataError, match="b was merged into the base before .*, and has other weights now"):
        chain([folders["c"]])
    folders["a"].rename(folders["a"].with_name("elsewhere"))
    with pytest.raises(DataError, match="a was merged into the base before this adapter was trained, and is not here"):
        chain([folders["c"]])
    (folders["c"] / NOTE).write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match="must be a list of folders"):
        chain([folders["c"]])
