import json

import pytest
import torch

from gpt4scene.errors import ConfigError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.local import choose_device, choose_dtype, load_engine
from gpt4scene.model.export import merge_adapter
from gpt4scene.model.loading import load_model

SHORT = GenerationSettings(max_new_tokens=6)


def texts(engine, questions):
    return {answer.question.key: answer.text for answer in engine.answer(questions, SHORT)}


@pytest.fixture(scope="module")
def adapter(tiny_folder, tmp_path_factory):
    """A LoRA output folder whose adapter changes answers."""
    from peft import LoraConfig, get_peft_model

    out = tmp_path_factory.mktemp("lora") / "run"
    config = LoraConfig(r=4, lora_alpha=64, target_modules=r".*language_model.*\.(q_proj|v_proj)", lora_dropout=0.0)
    model = get_peft_model(load_model(tiny_folder), config)
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator)
    model.save_pretrained(out)
    described = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps({**described, "base_model_name_or_path": str(tiny_folder)}))
    return out


def test_adapter_answers_as_the_merged_checkpoint_does(tiny_folder, adapter, scenes, tmp_path):
    questions = scenes[0][:3]
    found = texts(load_engine(adapter, image_resolution=112, device="cpu"), questions)
    merged = merge_adapter(adapter, tmp_path / "merged")
    assert found == texts(load_engine(merged, image_resolution=112, device="cpu"), questions)
    assert found != texts(load_engine(tiny_folder, image_resolution=112, device="cpu"), questions)


def test_device_and_number_format():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="--device toaster"):
        choose_device("toaster")
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("float16", torch.device("cpu")) is torch.float16


def test_a_gpu_that_only_imitates_bfloat16_is_told_before_a_model_is_loaded(monkeypatch):
    """As a T4 does: no attention kernel takes it there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(ConfigError, match="--dtype float16"):
        choose_dtype("auto", torch.device("cuda"))


def test_unknown_template_is_named(tiny_folder):
    with pytest.raises(ValueError, match="did you mean 'qwen2_vl'"):
        load_engine(tiny_folder, template="qwen2vl", device="cpu")
