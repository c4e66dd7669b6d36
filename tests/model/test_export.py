"""Exported checkpoints: what every reader finds in them, and what the command says."""

import json

import pytest
import torch
import yaml
from commands import export as export_main
from huggingface_hub import HfApi
from hybrid import HYBRID
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

from gpt4scene.demo import tiny_model
from gpt4scene.model.export import export
from gpt4scene.model.loading import load_model
from gpt4scene.model.new_lora import add_lora
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", HYBRID)


@pytest.fixture(scope="module", params=FAMILIES)
def base(request, tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp(request.param) / "base", request.param)


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("qwen2") / "base")


def adapter_of(base, folder, seed):
    torch.manual_seed(seed)
    tuned = add_lora(load_model(base), TuningArguments(lora_rank=2), MethodArguments())
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tuned.save_pretrained(folder)
    return folder


def names(folder):
    found = set()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as content:
            found |= set(content.keys())
    return found


def logits(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.no_grad():
        return model(input_ids=torch.arange(24)[None]).logits


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["released", "current"])
def test_both_layouts_are_the_same_model(base, tmp_path, layout):
    out = export(base, [], tmp_path / "out", layout=layout)
    config = json.loads((out / "config.json").read_text())
    older = base.parent.name.startswith("qwen2") and layout == "released"
    starts = ("visual.", "model.", "lm_head.") if older else ("model.visual.", "model.language_model.", "lm_head.")
    assert all(name.startswith(starts) for name in names(out))
    assert ("text_config" in config) == (not older)
    text = config.get("text_config", config)
    if layout == "released":
        if "linear_num_key_heads" in text:  # Qwen3.5, which is younger than this name, and turns half a head
            assert text["rope_parameters"]["mrope_section"] == [2, 3, 3] and "rope_scaling" not in text
        else:
            assert text["rope_theta"] >= 1e6 and text["rope_scaling"]["mrope_section"] == [4, 6, 6]
            assert text["rope_scaling"].get("type") == ("mrope" if older else None)
    assert torch.equal(logits(out), logits(base))
    assert {name: one.shape for name, one in load_model(out).state_dict().items()} == {
        name: one.shape for name, one in load_model(base).state_dict().items()
    }


def test_a_released_config_is_read_back_as_it_was(base, tmp_path):
    out = export(base, [], tmp_path / "out")
    before, after = (AutoConfig.from_pretrained(folder).to_dict() for folder in (base, out))
    for part in (before, after):
        part["text_config"]["rope_parameters"].pop("type", None)
        del part["_name_or_path"]
    assert after == before


def test_a_released_tokenizer_is_read_back_as_it_was(qwen2, tmp_path):
    out = export(qwen2, [], tmp_path / "out")
    described = json.loads((out / "tokenizer_config.json").read_text())
    assert "<|image_pad|>" in described["additional_special_tokens"]
    assert "extra_special_tokens" not in described  # transformers 4 takes it for a mapping
    before, after = (AutoTokenizer.from_pretrained(folder) for folder in (qwen2, out))
    text = "Where is <|im_start|>the chair?<|image_pad|>\n"
    assert after.encode(text) == before.encode(text) and after.all_special_tokens == before.all_special_tokens
    assert after.chat_template.strip() == before.chat_template.strip()
    vocabulary, merges = json.loads((out / "vocab.json").read_text()), (out / "merges.txt").read_text().splitlines()
    assert vocabulary.items() <= before.get_vocab().items() and len(merges) > 100


@pytest.mark.slow
def test_several_adapters_are_merged_one_after_the_other(qwen2, tmp_path):
    first, second = (adapter_of(qwen2, tmp_path / f"adapter-{seed}", seed) for seed in (1, 2))
    path = tmp_path / "merge.yaml"
    keys = {
        "model_name_or_path": str(qwen2),
        "adapter_name_or_path": f"{first}, {second},",
        "template": "qwen2_vl",
        "finetuning_type": "lora",
        "trust_remote_code": True,
        "export_dir": str(tmp_path / "out"),
        "export_size": 2,
        "export_device": "cpu",
        "export_legacy_format": False,
    }
    path.write_text(yaml.safe_dump(keys))
    assert export_main([str(path)]) == 0
    plain, one, two, both = (
        load_model(folder).state_dict()
        for folder in (
            qwen2,
            export(qwen2, [first], tmp_path / "one"),
            export(qwen2, [second], tmp_path / "two"),
            tmp_path / "out",
        )
    )
    for name, weight in plain.items():
        assert torch.allclose(both[name] - weight, (one[name] - weight) + (two[name] - weight), atol=1e-6), name


def test_large_weights_are_split(qwen2, tmp_path, monkeypatch):
    saved = export.__globals__["save_torch_state_dict"]
    monkeypatch.setitem(
        export.__globals__,
        "save_torch_state_dict",
        lambda *words, max_shard_size, **named: saved(*words, max_shard_size=f"{max_shard_size[:-2]}MB", **named),
    )
    out = export(qwen2, [], tmp_path / "out", shard_gb=1)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1
    assert torch.equal(logits(out), logits(qwen2))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"export_quantization_bit": 4}, "'export_quantization_bit' is not supported: quantised checkpoints"),
        ({"export_legacy_format": True}, "'export_legacy_format' is not supported: weights are written as safetensors"),
        ({"export_dri": "x"}, "'export_dri' is not a key of exporting; did you mean 'export_dir'?"),
        ({"streaming": True}, "'streaming' has no meaning in exporting; leave it out"),
        ({"template": "qwen3_vl"}, "template 'qwen3_vl' does not fit a qwen2_vl checkpoint"),
        ({"infer_dtype": "int8"}, "dtype"),
    ],
)
def test_keys_that_ask_for_something_else_are_refused(qwen2, tmp_path, capsys, keys, sentence):
    path = tmp_path / "merge.yaml"
    path.write_text(yaml.safe_dump({"model_name_or_path": str(qwen2), "export_dir": str(tmp_path / "out")} | keys))
    assert export_main([str(path)]) in (1, 2)
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_flags_win_over_the_file(qwen2, tmp_path, capsys):
    path = tmp_path / "merge.yaml"
    keys = {"model_name_or_path": str(qwen2), "export_dir": str(tmp_path / "out"), "template": "qwen2_5_vl"}
    path.write_text(yaml.safe_dump(keys))  # another name of qwen2_vl, in training as well
    assert export_main([str(path), "--export_dir", tmp_path / "other", "--export_device", "auto"]) == 0
    said = capsys.readouterr()
    assert (tmp_path / "other" / "config.json").is_file() and not (tmp_path / "out").exists()
    assert "'--export_device' has no effect: weights are merged on the CPU" in said.err


def unreachable(*_, **__):
    """Fail as an HTTP library does, whose errors are none of Python's own."""
    raise type("ConnectError", (Exception,), {})("no route")


def test_nothing_is_uploaded_unasked(qwen2, tmp_path, capsys, monkeypatch):
    sent = []
    monkeypatch.setattr(HfApi, "create_repo", lambda self, name, **_: f"https://hub/{name}")
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **named: sent.append(named))
    words = ["--model", qwen2, "--export_hub_model_id", "someone/room"]
    assert export_main([*words, "--out", tmp_path / "a"]) == 0
    assert "not uploaded: add --upload" in capsys.readouterr().out and not sent
    assert export_main([*words, "--out", tmp_path / "b", "--upload"]) == 0
    assert sent == [{"repo_id": "someone/room", "folder_path": tmp_path / "b"}]
    monkeypatch.setattr(HfApi, "create_repo", unreachable)
    assert export_main([*words, "--out", tmp_path / "e", "--upload"]) == 1
    assert "was not uploaded to someone/room (no route); the folder is complete" in capsys.readouterr().err
    assert export_main(["--model", qwen2, "--out", tmp_path / "c", "--hub_model_id", "no name!", "--upload"]) == 2
    assert "--hub_model_id 'no name!' is no name of the hub" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    assert export_main(["--model", str(qwen2), "--out", str(tmp_path / "c"), "--upload"]) == 2
    assert "--upload needs --hub_model_id" in capsys.readouterr().err
    assert export_main(["--out", str(tmp_path / "c")]) == 2
    assert "--adapter is missing" in capsys.readouterr().err
