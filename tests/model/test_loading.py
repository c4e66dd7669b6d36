"""Checkpoints load whole or not at all, under their old key names too."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt4scene.demo import tiny_model
from gpt4scene.errors import DataError
from gpt4scene.model.compat import check_versions
from gpt4scene.model.loading import load_model, load_tokenizer


@pytest.fixture
def folder(tmp_path):
    return tiny_model.build(tmp_path / "model")


def test_released_key_names_and_flat_config_load_with_nothing_missing(folder):
    expected = load_model(folder).state_dict()
    weights, renamed = load_file(folder / "model.safetensors"), {}
    for name, tensor in weights.items():
        old = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
        renamed[old] = tensor
    assert any(name.startswith("visual.") for name in renamed)
    assert any(name.startswith("model.layers.0.") for name in renamed)
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    for key in ("model_type", "dtype", "layer_types"):
        text.pop(key, None)
    flat = text | config
    flat |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    flat["torch_dtype"] = flat.pop("dtype")
    flat["vision_config"].pop("rope_parameters")
    (folder / "config.json").write_text(json.dumps(flat))
    loaded = load_model(folder)
    assert loaded.config.text_config.rope_parameters["mrope_section"] == rope["mrope_section"]
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_missing_and_misshapen_weights_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file({k: v for k, v in weights.items() if k != gone}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="missing .*up_proj"):
        load_model(folder)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer.json", "model.safetensors"])
def test_incomplete_folder_names_what_it_lacks(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match="missing"):
        load_model(folder)


def test_no_such_folder_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load_model(tmp_path / "nothing")
    with pytest.raises(DataError, match="no such folder"):
        load_tokenizer("./nothing/here")


def test_slow_torch_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    with pytest.raises(ValueError, match=r"2\.9\.1"):
        check_versions()
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    check_versions()
