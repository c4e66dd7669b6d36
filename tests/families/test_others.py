"""Checkpoints of families that are not known here: one sentence says why, before anything is downloaded or missed."""

import json

import pytest

from gpt4scene.errors import DataError
from gpt4scene.families.registry import FAMILIES
from gpt4scene.model.folder import check_folder, local_folder


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gemma3", "see each other in both directions"),
        ("gemma4", "see a window"),
        ("internvl_chat", "whose name ends in -hf"),
        ("mllama", "no tokens of a row"),
        ("qwen3", "sees no images"),
        ("llava", r"known here; give a checkpoint of one of internvl, .*, qwen3_vl_moe$"),
        (["qwen2_vl"], "is no family"),
    ],
)
def test_a_family_that_is_not_known_is_named_first(tmp_path, kind, words):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(DataError, match=words):
        check_folder(tmp_path)


def test_no_weights_are_downloaded_for_it(tmp_path, monkeypatch):
    asked = []

    def download(name, allow_patterns=None):
        asked.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert local_folder("someone/adapter") == tmp_path and asked == ["config.json", None]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3"}))
    with pytest.raises(DataError, match="both directions"):
        local_folder("google/gemma-3-27b-it")
    assert asked[2:] == ["config.json"]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": next(iter(FAMILIES))}))
    assert local_folder("someone/model") == tmp_path and asked[3:] == ["config.json", None]
