"""What a family's tiny random checkpoint is made of: its config, its chat template, its processor files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

VISION_SPREAD = 0.1
"""Standard deviation of the vision tower's random weights: wide enough that images come out as different as they are,
since the demo trains on a tower that stays random."""

CLIP = MappingProxyType(
    {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
)
HALF = MappingProxyType({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})
"""Means and deviations of pixels, as processor files write them."""

_SAID = "{{ message['content'] }}"
_ASKED = "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
_OPENING = (
    "{%- if enable_thinking is defined and not enable_thinking -%}{{ '<think>\\n\\n</think>\\n\\n' }}"
    "{%- else -%}{{ '<think>\\n' }}{%- endif -%}"
)
_LAST_QUESTION = """\
{%- set last = namespace(question=-1) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{%- set last.question = loop.index0 -%}{%- endif -%}
{%- endfor -%}
"""
_THOUGHT = """\
{%- set said, thought = message['content'], '' -%}
{%- if message['role'] == 'assistant' and '</think>' in said -%}
{%- set thought = said.split('</think>')[0].split('<think>')[-1].strip('\\n') -%}
{%- set said = said.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{%- if message['role'] == 'assistant' and loop.index0 > last.question -%}
{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}
{%- endif -%}
{{ said }}
"""
_CHATML = """\
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


def chatml(default_system: str, *, thinks: bool = False, enable_thinking: bool = False) -> str:
    """Return a Jinja template of ChatML messages; ``default_system`` stands where a chat brings no system message.

    With ``thinks``, answers behind the last question begin with a thought, others have none, and a new one opens one.
    With ``enable_thinking`` as well, a chat may ask for an empty one in its place (``enable_thinking=false``).
    """
    text = f"{{%- set default_system = {default_system!r} -%}}\n" + _CHATML
    if not thinks:
        return text
    opening = _OPENING if enable_thinking else "{{ '<think>\\n' }}"
    asked = _ASKED.replace("{%- endif", opening + "{%- endif")
    return _LAST_QUESTION + text.replace(_SAID, _THOUGHT).replace(_ASKED, asked)


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


@dataclass(frozen=True)
class Tiny:
    """A family's tiny checkpoint.

    ``config`` makes the transformers config of a shape, from the keys of the language model and the token ids. It may
    change the former. ``chat_template`` is the tokenizer's. ``image`` is the content of ``preprocessor_config.json``,
    ``video_type`` the class that reads the same settings from ``video_preprocessor_config.json``. ``tokens`` are
    special tokens beside Qwen2-VL's, ``called`` what its processor calls some of them.
    """

    config: Callable[[TinyShape, dict[str, Any], dict[str, Any]], Any]
    chat_template: str
    image: Mapping[str, Any]
    video_type: str
    tokens: tuple[str, ...] = ()
    called: tuple[tuple[str, str], ...] = ()

    def processor_files(self) -> dict[str, dict[str, Any]]:
        """Return the processor files as the family's hub checkpoints carry them: name, content."""
        video = {**self.image, "video_processor_type": self.video_type}
        del video["image_processor_type"]
        return {"preprocessor_config.json": dict(self.image), "video_preprocessor_config.json": video}


def qwen_image(processor: str, patch_size: int, size: tuple[int, int], pixels: Mapping[str, Any]) -> dict[str, Any]:
    """Return the image settings of one of Qwen's processors; ``size`` bounds the pixels of an image."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": processor,
        "patch_size": patch_size,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "size": {"shortest_edge": size[0], "longest_edge": size[1]},
        **pixels,
    }
