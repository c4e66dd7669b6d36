"""A tiny random Qwen vision-language checkpoint: same files, same classes, a few hundred thousand weights.

It lets every command run anywhere, offline. ``python -m gpt4scene.demo.tiny_model --out DIR`` writes one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.files.whole import whole_folder, write_json
from gpt4scene.registry import Registry, nearest
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

VISION_SPREAD = 0.1
"""Standard deviation of the vision tower's random weights: wide enough that images come out as different as they are,
since the demo trains on a tower that stays random."""

DEFAULT_SYSTEM = "You are a helpful assistant."

_CHAT_TEMPLATE = """\
{%- if messages and messages[0]['role'] != 'system' and default_system -%}
{{ '<|im_start|>system\\n' + default_system + '<|im_end|>\\n' }}
{%- endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'text' -%}{{ part['text'] }}
{%- elif part['type'] == 'image' -%}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif part['type'] == 'video' -%}{{ '<|vision_start|><|video_pad|><|vision_end|>' }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""


@dataclass(frozen=True)
class TinyShape:
    """Sizes of the tiny model. ``width`` must be a multiple of 8 x ``heads``."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    vision_width: int = 64
    vision_layers: int = 2

    def __post_init__(self) -> None:
        if self.width % (8 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 8 x {self.heads} heads")

    @property
    def mrope_section(self) -> list[int]:
        """Rotary channels for time, rows and columns; they sum to half a head, in Qwen2-VL's 1 : 1.5 : 1.5."""
        half = self.width // self.heads // 2
        rows = half * 3 // 8
        return [half - 2 * rows, rows, rows]

    def text_config(self, vocabulary: int) -> dict:
        """Return the keys of the language model that all families share."""
        return {
            "vocab_size": vocabulary,
            "hidden_size": self.width,
            "intermediate_size": 2 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "max_position_embeddings": 32768,
        }


def _qwen2_vl(shape: TinyShape, text: dict, ids: dict[str, Any]):
    from transformers import Qwen2VLConfig

    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": shape.mrope_section}
    vision = {
        "depth": shape.vision_layers,
        "embed_dim": shape.vision_width,
        "hidden_size": shape.width,
        "num_heads": 4,
        "initializer_range": VISION_SPREAD,
    }
    return Qwen2VLConfig(text_config=text, vision_config=vision, **ids)


def _qwen2_5_vl(shape: TinyShape, text: dict, ids: dict[str, Any]):
    from transformers import Qwen2_5_VLConfig

    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": shape.mrope_section}
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "intermediate_size": 2 * shape.vision_width,
        "num_heads": 4,
        "out_hidden_size": shape.width,
        "fullatt_block_indexes": [shape.vision_layers - 1],
        "initializer_range": VISION_SPREAD,
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)


def _qwen3_vl(shape: TinyShape, text: dict, ids: dict[str, Any]):
    from transformers import Qwen3VLConfig

    text["head_dim"] = shape.width // shape.heads
    text["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": 5e6,
        "mrope_section": shape.mrope_section,
        "mrope_interleaved": True,
    }
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "intermediate_size": 2 * shape.vision_width,
        "num_heads": 4,
        "out_hidden_size": shape.width,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0],
        "initializer_range": VISION_SPREAD,
    }
    return Qwen3VLConfig(text_config=text, vision_config=vision, **ids)


TINY_FAMILIES: Registry = Registry("tiny model family")
TINY_FAMILIES.add("qwen2_vl", _qwen2_vl)
TINY_FAMILIES.add("qwen2_5_vl", _qwen2_5_vl)
TINY_FAMILIES.add("qwen3_vl", _qwen3_vl)


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

    learner = Tokenizer(BPE())
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
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
    )
    tokenizer.model_max_length = 32768
    system = "" if family == "qwen3_vl" else DEFAULT_SYSTEM
    tokenizer.chat_template = f"{{%- set default_system = {system!r} -%}}\n" + _CHAT_TEMPLATE
    return tokenizer


def build(out: str | Path, family: str = "qwen2_vl", shape: TinyShape | None = None, seed: int = 0) -> Path:
    """Write a random checkpoint of ``family`` with tokenizer and processor files into ``out`` and return it.

    Weights are fp32 and depend on ``seed`` alone. The folder appears whole or not at all.
    """
    import torch
    from transformers import AutoModelForImageTextToText, GenerationConfig

    from gpt4scene.model.compat import hide_bars_from_logs

    out, shape = Path(out), shape or TinyShape()
    make_config = TINY_FAMILIES[family]
    tokenizer = build_tokenizer(family)
    id_of = tokenizer.convert_tokens_to_ids
    ids = {
        "image_token_id": id_of("<|image_pad|>"),
        "video_token_id": id_of("<|video_pad|>"),
        "vision_start_token_id": id_of("<|vision_start|>"),
        "vision_end_token_id": id_of("<|vision_end|>"),
    }
    text = shape.text_config(len(tokenizer))
    text |= {"bos_token_id": id_of("<|endoftext|>"), "eos_token_id": id_of("<|im_end|>")}
    config = make_config(shape, text, ids)
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
        _write_processor_files(partial, family)
    return out


def _write_processor_files(folder: Path, family: str) -> None:
    """Write image and video processor settings as the family's hub checkpoints carry them."""
    clip = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    third = family == "qwen3_vl"
    image = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": {"qwen2_vl": "Qwen2VLProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor"}.get(
            family, "Qwen3VLProcessor"
        ),
        "patch_size": 16 if third else 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "size": {"shortest_edge": 65536, "longest_edge": 16777216}
        if third
        else {"shortest_edge": 3136, "longest_edge": 12845056},
        **(half if third else clip),
    }
    video = {**image, "video_processor_type": "Qwen3VLVideoProcessor" if third else "Qwen2VLVideoProcessor"}
    del video["image_processor_type"]
    for name, content in (("preprocessor_config.json", image), ("video_preprocessor_config.json", video)):
        write_json(folder / name, content, indent=2)


@dataclass(frozen=True)
class TinyModelArguments(Arguments):
    """What to write; every field is a flag of ``python -m gpt4scene.demo.tiny_model``."""

    out: str = key("folder to write")
    family: str = key(f"model family: {', '.join(sorted(TINY_FAMILIES))}", "qwen2_vl")
    width: int = key("hidden size of the language model", 128, least=1)
    layers: int = key("layers of the language model", 2, least=1)
    seed: int = key("seed of the weights", 0)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        known = sorted(TINY_FAMILIES)
        wrong = [f"--family '{self.family}' is not known{nearest(self.family, known)} (known: {', '.join(known)})"]
        return [*super().problems(), *(wrong if self.family not in known else [])]


def main(arguments: TinyModelArguments) -> int:
    """Write a tiny checkpoint; return 0 when done."""
    shape = TinyShape(width=arguments.width, layers=arguments.layers)
    print(f"wrote {build(arguments.out, arguments.family, shape, arguments.seed)}")
    return 0


if __name__ == "__main__":
    import sys

    from gpt4scene.cli import call

    program = "python -m gpt4scene.demo.tiny_model"
    sys.exit(call(TinyModelArguments, main, program, "A tiny random checkpoint.", sys.argv[1:]))
