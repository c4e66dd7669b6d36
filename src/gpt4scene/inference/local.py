"""A model folder made ready to answer: weights, tokenizer, image rule and template together."""

from __future__ import annotations

from pathlib import Path

import torch

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.video_rule import VideoLimits
from gpt4scene.errors import ConfigError
from gpt4scene.families.family import choose_template
from gpt4scene.families.registry import family_of
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.scheduler import BRANCH_LIMIT, Scheduler
from gpt4scene.model.features import FeatureCache
from gpt4scene.model.folder import ModelFolder, find_model, parameter_count
from gpt4scene.model.loading import load_merged, load_tokenizer
from gpt4scene.model.threads import spare_threads
from gpt4scene.model.trained_with import trained_with
from gpt4scene.settings.devices import device_problems


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is the first GPU, or the CPU where there is none.

    Raises ``ConfigError`` for a name of none and for a GPU that is not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wrong := device_problems(name):
        raise ConfigError(*wrong)
    kind, _, number = name.partition(":")
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= here:
        found = f"{here} GPU{'s are' if here > 1 else ' is'} here, counted from 0" if here else "no GPU is usable here"
        raise ConfigError(f"--device {name}: {found}; choose auto{', cuda:0' if here else ''} or cpu")
    return torch.device(name if kind == "cuda" else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the number format of that name; ``auto`` is bfloat16 on a GPU and float32 on a CPU.

    Raises ``ConfigError`` for bfloat16 on a GPU that is here and can't compute with it.
    """
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    on_gpu = device.type == "cuda" and torch.cuda.is_available()
    if name == "bfloat16" and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError("this GPU can't compute with bfloat16; use --dtype float16 or float32")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def load_engine(
    model: str | Path | ModelFolder,
    *,
    image_resolution: int | None = 512,
    image_max_pixels: int | None = None,
    image_min_pixels: int | None = None,
    crop_to_patches: bool = False,
    video: VideoLimits | None = None,
    template: str | None = None,
    enable_thinking: bool | None = None,
    dtype: str = "auto",
    attention: str = "sdpa",
    device: str = "auto",
    branch_limit: int | None = None,
    prefix_memory: int | None = None,
    features: FeatureCache | None = None,
) -> Engine:
    """Return an engine around a checkpoint, a training output folder or a LoRA output folder (merged in memory).

    ``template`` and ``enable_thinking`` are as in ``choose_template``, and left out those of the training.
    ``prefix_memory`` counts bytes; ``features`` keeps what the vision tower makes of images. Raises ``ValueError`` that
    names what is missing.
    """
    folder = model if isinstance(model, ModelFolder) else find_model(model)
    place = choose_device(device)
    spare_threads(parameter_count(folder.base), place)
    options = {"dtype": choose_dtype(dtype, place), "attention": attention, "device": place}
    limits = image_resolution, image_max_pixels, image_min_pixels, crop_to_patches
    vision = image_rule(folder.base, *limits, video=video or VideoLimits())
    tokenizer = load_tokenizer(folder.base)
    network = load_merged(folder, **options)
    family, trained = family_of(network.config), trained_with(folder)
    spoken = choose_template(family, template, tokenizer.chat_template, enable_thinking, trained)
    encoder = Encoder(tokenizer, spoken, vision)
    return Engine(Scheduler(network, encoder, branch_limit or BRANCH_LIMIT, prefix_memory, features=features))
