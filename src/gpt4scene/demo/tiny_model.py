"""A tiny random Qwen vision-language checkpoint: same files, same classes, a few hundred thousand weights.

It lets every command run anywhere, offline. ``python -m gpt4scene.demo.tiny_model --out DIR`` writes one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene import talk
from gpt4scene.families.registry import FAMILIES
from gpt4scene.families.tiny import TinyShape
from gpt4scene.files.whole import whole_folder, write_json
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import Arguments, key

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Qwen2-VL's special tokens, in the order of their ids."""


def _words() -> list[str]:
    """Return the sentences that the tokenizer's merges are learned from: the package's own demo vocabulary."""
    text = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def build_tokenizer(family: str = "qwen2_vl"):
    """Return a byte-level BPE tokenizer of about a thousand tokens with Qwen's special tokens and chat template.

    Merges are learned from ``words.txt``; any text can be written, since every byte is a token. Deterministic.
    """
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import Qwen2Tokenizer

    tiny, learner = FAMILIES[family].tiny, Tokenizer(BPE())
    learner.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(_words(), trainer)
    model = json.loads(learner.to_str())["model"]
    merges: Any = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    named: dict[str, Any] = {"extra_special_tokens": dict(tiny.called)} if tiny.called else {}
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[*SPECIAL_TOKENS, *tiny.tokens],
        **named,
    )
    tokenizer.model_max_length = 32768
    tokenizer.chat_template = tiny.chat_template
    return tokenizer


def build(out: str | Path, family: str = "qwen2_vl", shape: TinyShape | None = None, seed: int = 0) -> Path:
    """Write a random checkpoint of ``family`` with tokenizer and processor files into ``out`` and return it.

    Weights are fp32 and depend on ``seed`` alone. The folder appears whole or not at all.
    """
    import torch
    from transformers import AutoModelForImageTextToText, GenerationConfig

    from gpt4scene.model.compat import hide_bars_from_logs

    out, shape = Path(out), shape or TinyShape()
    tiny = FAMILIES[family].tiny
    tokenizer = build_tokenizer(family)
    id_of = tokenizer.convert_tokens_to_ids
    ids = {
        "image_token_id": id_of("<|image_pad|>"),
        "video_token_id": id_of("<|video_pad|>"),
        "vision_start_token_id": id_of("<|vision_start|>"),
        "vision_end_token_id": id_of("<|vision_end|>"),
        **{token: id_of(token) for token in tiny.tokens},
    }
    text = shape.text_config(len(tokenizer))
    text |= {"bos_token_id": id_of("<|endoftext|>"), "eos_token_id": id_of("<|im_end|>")}
    config = tiny.config(shape, text, ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    model.generation_config = GenerationConfig(
        bos_token_id=id_of("<|endoftext|>"),
        eos_token_id=[id_of("<|im_end|>"), id_of("<|endoftext|>")],
        pad_token_id=id_of("<|endoftext|>"),
    )
    hide_bars_from_logs()
    with whole_folder(out, replace=True) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        for name, content in tiny.processor_files().items():
            write_json(partial / name, content, indent=2)
    return out


@dataclass(frozen=True)
class TinyModelArguments(Arguments):
    """What to write; every field is a flag of ``python -m gpt4scene.demo.tiny_model``."""

    out: str = key("folder to write")
    family: str = key(f"model family: {', '.join(sorted(FAMILIES))}", "qwen2_vl")
    width: int = key("hidden size of the language model", 128, least=1)
    layers: int = key("layers of the language model", 2, least=1)
    seed: int = key("seed of the weights", 0)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        known = sorted(FAMILIES)
        wrong = [f"--family '{self.family}' is not known{nearest(self.family, known)} (known: {', '.join(known)})"]
        return [*super().problems(), *(wrong if self.family not in known else [])]


def main(arguments: TinyModelArguments) -> int:
    """Write a tiny checkpoint; return 0 when done."""
    shape = TinyShape(width=arguments.width, layers=arguments.layers)
    folder = build(arguments.out, arguments.family, shape, arguments.seed)
    talk.result(f"wrote {folder}", path=str(folder))
    return 0


if __name__ == "__main__":
    import sys

    from gpt4scene.cli import call

    program = "python -m gpt4scene.demo.tiny_model"
    sys.exit(call(TinyModelArguments, main, program, "A tiny random checkpoint.", sys.argv[1:]))
