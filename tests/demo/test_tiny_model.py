"""The tiny checkpoint loads through transformers' own classes and speaks Qwen's chat format."""

import pytest
import torch
from hybrid import skip_unless_known
from transformers import AutoModelForImageTextToText, AutoTokenizer

from gpt4scene.demo import tiny_model
from gpt4scene.families.registry import FAMILIES


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_checkpoint_loads_with_no_missing_key(tmp_path, family):
    skip_unless_known(family)
    folder = tiny_model.build(tmp_path / "model", family)
    model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert model.config.model_type == family
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert sum(p.numel() for p in model.parameters()) < 2_000_000


def test_same_seed_same_weights_and_other_seed_others(tmp_path):
    def weights(name, seed):
        folder = tiny_model.build(tmp_path / name, seed=seed)
        return AutoModelForImageTextToText.from_pretrained(folder).model.language_model.layers[0].mlp.up_proj.weight

    first, again, other = weights("a", 0), weights("b", 0), weights("c", 1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_tokenizer_round_trip_and_digits_stand_alone(tmp_path):
    folder = tiny_model.build(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in ("<OBJ017>.", "Ünï 寝室 \n\t x", "Yes. <OBJ001> and <OBJ004>."):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    pieces = tokenizer.tokenize("<OBJ017>")
    assert [piece for piece in pieces if piece.isdigit()] == ["0", "1", "7"]
    assert tokenizer.eos_token == "<|im_end|>"


def test_chat_template_is_qwens(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model.build(tmp_path / "model"))
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A sofa."},
    ]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n"
        "<|im_start|>assistant\nA sofa.<|im_end|>\n"
    )
    assert tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True).endswith(
        "<|im_end|>\n<|im_start|>assistant\n"
    )


def test_command_writes_a_checkpoint(tmp_path, capsys):
    assert tiny_model.main(tiny_model.TinyModelArguments(out=str(tmp_path / "m"), width=64, layers=1)) == 0
    assert (tmp_path / "m" / "config.json").is_file()
    assert str(tmp_path / "m") in capsys.readouterr().out
