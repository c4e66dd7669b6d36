"""What commands can be told, one sentence a key; and the keys of a training run, one dataclass a subject.

Keys that LLaMA-Factory users write keep their names and meaning; ``config.py`` reads them from YAML and flags.
Everything else that a run can set is a field of transformers' ``TrainingArguments`` and is passed through.
This module imports nothing of torch or transformers.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from gpt4scene.errors import ConfigError
from gpt4scene.registry import nearest
from gpt4scene.settings.coercion import BadValueError, check_range
from gpt4scene.settings.feature_cache import HELP

FlashAttention = Literal["auto", "fa2", "fa3", "sdpa", "disabled"]


def key(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    least: float | None = None,
    most: float | None = None,
    also: tuple[str, ...] = (),
    method: str | None = None,
    group: str = "",
) -> Any:
    """Return a dataclass field with its sentence and the closed range of numbers that it takes.

    ``also`` are older names of the flag, still taken. ``method`` is the finetuning_type that the key belongs to.
    ``group`` is the heading that the flag stands under in the help. A list as ``default`` is copied for every instance.
    """
    metadata = {"help": help, "least": least, "most": most, "also": also, "method": method, "group": group}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@cache
def hints_of(kind: type) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields by name; found out once, since reading annotations takes its time."""
    return MappingProxyType(typing.get_type_hints(kind))


@dataclass(frozen=True)
class Arguments:
    """What a command can be told: the base of every command's own dataclass, whose fields are made by ``key``.

    ``settings.flags`` makes flags of the fields; functions that take arguments call ``check`` first.
    """

    def problems(self) -> list[str]:
        """Return a sentence for every value that cannot be; subclasses add what they know of theirs."""
        found, hints = [], hints_of(type(self))
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            choices = typing.get_args(hints[one.name]) if typing.get_origin(hints[one.name]) is Literal else ()
            if choices and value not in choices:
                listed = ", ".join(map(str, choices))
                found.append(f"--{one.name} must be one of {listed}, not {value!r}{nearest(str(value), list(choices))}")
            if one.default is dataclasses.MISSING and value in ("", ()):
                found.append(f"--{one.name} is empty")
            if isinstance(value, float) and not math.isfinite(value):
                found.append(f"--{one.name} must be a finite number, not {value}")
                continue
            try:
                check_range(value, one.metadata["least"], one.metadata["most"])
            except BadValueError as error:
                found.append(f"--{one.name} {error}")
        return found

    def check(self) -> None:
        """Raise ``ConfigError`` with all ``problems``, if there are any."""
        found = self.problems()
        if found:
            raise ConfigError(*found)


RESOLUTION_HELP = "Longest side of an image in pixels before it is fitted to patches; 512, unless an area is given."
MOST_HELP = "Largest area of an image in pixels; 589824 where image_min_pixels alone is given."
CROP_HELP = "Cut images into tiles, as many as their shape asks for; InternVL alone does."
LEAST_HELP = "Smallest area of an image in pixels; 1024 where image_max_pixels alone is given."

PREFIX_HELP = (
    "Gibibytes for prefixes of scenes that may be asked about again; left out, 4 or a quarter of what is free on the "
    "GPU. It bounds those of running questions, too, but for a single scene's."
)


def gibibytes(number: float | None) -> int | None:
    """Return so many gibibytes in bytes, None where nothing is said."""
    return None if number is None else int(number * 2**30)


SIDE, MOST_AREA, LEAST_AREA = 512, 768 * 768, 32 * 32
"""Limits in pixels where nothing is said: ours of the side; LLaMA-Factory's of the area, once one is given."""


@dataclass(frozen=True)
class ImageLimits:
    """How large images may be, in pixels, before they are fitted to patches; None is no limit.

    A side or an area alone leaves the other unlimited. Where both are given, the side is obeyed first.
    """

    image_resolution: int | None = SIDE
    image_max_pixels: int | None = None
    image_min_pixels: int | None = None
    crop_to_patches: bool = False

    @classmethod
    def said(
        cls, resolution: int | None, most: int | None, least: int | None, crop_to_patches: bool = False
    ) -> ImageLimits:
        """Return the limits that the keys say together; None is a key that was left out."""
        if most is None and least is None:
            return cls(SIDE if resolution is None else resolution, crop_to_patches=crop_to_patches)
        most, least = MOST_AREA if most is None else most, LEAST_AREA if least is None else least
        return cls(resolution, most, least, crop_to_patches)

    def problems(self) -> list[str]:
        """Return a sentence where the limits exclude each other."""
        most, least = self.image_max_pixels, self.image_min_pixels
        return [f"image_max_pixels {most} is below image_min_pixels {least}"] if most and least and most < least else []


@dataclass(frozen=True)
class ModelArguments(Arguments):
    """Which model, and how it attends."""

    model_name_or_path: str = key("Folder or hub name of the checkpoint to start from.")
    adapter_name_or_path: str | None = key(
        "LoRA adapter to go on training; of several, separated by commas, all but the last are merged first.", None
    )
    flash_attn: FlashAttention = key(
        "Attention: fa2 or fa3 (flash-attn), sdpa (PyTorch), disabled (plain products), or auto (sdpa).", "auto"
    )
    feature_cache: str | bool = key(HELP, "auto")


@dataclass(frozen=True)
class DataArguments(Arguments):
    """Which rows, and how they become tokens and pixels."""

    dataset: list[str] = key("Names in dataset_info.json, separated by commas.")
    dataset_dir: str = key("Folder that holds dataset_info.json.", "data")
    media_dir: str | None = key("Folder that image paths are relative to; the dataset folder when left out.", None)
    template: str = key("Name of the chat template.", "qwen2_vl")
    cutoff_len: int = key("Longest row in tokens; a longer one is an error, never cut.", 32768, least=1)
    image_resolution: int | None = key(RESOLUTION_HELP, None, least=28)
    image_max_pixels: int | None = key(MOST_HELP, None, least=1)
    image_min_pixels: int | None = key(LEAST_HELP, None, least=1)
    crop_to_patches: bool = key(CROP_HELP, False)
    max_samples: int | None = key("Take at most this many rows of each dataset.", None, least=1)
    train_on_prompt: bool = key("Learn the questions as well as the answers.", False)
    mask_history: bool = key("Learn only the last answer of a conversation.", False)
    mix_strategy: Literal["concat", "interleave_under", "interleave_over"] = key(
        "How several datasets are mixed: end to end, or drawn in turn until the first or the last one runs out.",
        "concat",
    )
    interleave_probs: list[float] | None = key("Chance of drawing from each dataset, separated by commas.", None)
    val_size: float = key("Share (below 1) or number of rows held out for evaluation.", 0.0, least=0)
    val_split: Literal["scene", "row"] = key(
        "Hold out whole scenes, or single rows (rows of one scene then stand on both sides).", "scene"
    )
    eval_dataset: list[str] | None = key(
        "Names in dataset_info.json whose rows are held out, separated by commas; instead of val_size.", None
    )
    skip_bad_rows: bool = key("Leave out, count and list wrong rows instead of stopping at the first.", False)
    tokenized_path: str | None = key(
        "Folder of tokenized rows: read when it fits this run, written when missing.", None
    )
    tokenize_only: bool = key("Stop after tokenized_path is written.", False)

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of images that the four keys say together."""
        said = self.image_resolution, self.image_max_pixels, self.image_min_pixels, self.crop_to_patches
        return ImageLimits.said(*said)


@dataclass(frozen=True)
class TuningArguments(Arguments):
    """What is trained, and what the loss is."""

    stage: Literal["sft", "dpo", "pt"] = key(
        "What is learned: answers (sft), which of two answers is better (dpo), or plain text (pt).", "sft"
    )
    finetuning_type: Literal["full", "freeze", "lora"] = key(
        "Train all weights, only some layers, or low-rank adapters.", "lora"
    )
    freeze_vision_tower: bool = key("Keep the vision tower as it is.", True)
    freeze_multi_modal_projector: bool = key("Keep the merger between vision tower and language model as it is.", True)
    freeze_language_model: bool = key("Keep the language model as it is.", False)
    freeze_trainable_layers: int = key(
        "With finetuning_type freeze: train the last n language layers, or the first n when negative.",
        2,
        method="freeze",
    )
    freeze_trainable_modules: list[str] = key(
        "With finetuning_type freeze: names of the modules inside those layers, or all.", ["all"], method="freeze"
    )
    lora_rank: int = key("Rank of the LoRA matrices.", 8, least=1, method="lora")
    lora_alpha: int | None = key(
        "Scale of the LoRA update; twice the rank when left out.", None, least=1, method="lora"
    )
    lora_dropout: float = key(
        "Dropout before the LoRA matrices; one mask for all questions of a pack.", 0.0, least=0, most=1, method="lora"
    )
    lora_target: list[str] = key("Names of the linear modules that get LoRA, or all.", ["all"], method="lora")
    pure_bf16: bool = key("Keep trained weights in bf16: saves memory, loses small updates.", False)
    disable_gradient_checkpointing: bool | None = key(
        "Keep activations (true), or compute those of every layer again (false); as memory allows when left out.", None
    )
    use_liger_kernel: bool | None = key(
        "Norms and SwiGLU in Liger's kernels (true), as they are (false), or in the fastest at hand (left out).", None
    )
    scene_packing: int | Literal["auto"] = key(
        "Questions of one scene that share one pass over its images; 1 is off, auto as many as step and memory allow.",
        1,
        least=1,
    )
    loss_average: Literal["row", "token"] = key(
        "Mean over each answer's tokens, then over rows; or one mean over all answer tokens of the batch.", "row"
    )
    plot_loss: bool = key("Draw training_loss.png into the output folder.", False)
    overwrite_output_dir: bool = key("Start over in an output folder that already holds a run.", False)

    @property
    def lora_scale(self) -> int:
        """``lora_alpha``, or twice the rank."""
        return self.lora_alpha if self.lora_alpha is not None else 2 * self.lora_rank


def attention_backend(flash_attn: FlashAttention) -> tuple[str, str | None]:
    """Return transformers' name of the attention to load with, and a sentence where it is not the one asked for."""
    if flash_attn == "disabled":
        return "eager", None
    packages = {"fa2": ("flash_attn", "flash-attn"), "fa3": ("flash_attn_interface", "flash-attn-3")}
    if flash_attn not in packages:
        return "sdpa", None
    module, package = packages[flash_attn]
    if importlib.util.find_spec(module) is not None:
        return f"flash_attention_{flash_attn[-1]}", None
    return "sdpa", f"flash_attn: {flash_attn} needs the package {package}, which is not installed here; using sdpa"
