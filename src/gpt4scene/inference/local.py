"""A model folder made ready to answer: weights, tokenizer, image rule and template together."""

from __future__ import annotations

from pathlib import Path

import torch

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.vision import VisionRule
from gpt4scene.inference.engine import BRANCH_LIMIT, Engine
from gpt4scene.model.families import family_of
from gpt4scene.model.folder import ModelFolder, find_model, parameter_count
from gpt4scene.model.loading import load_merged, load_tokenizer
from gpt4scene.model.threads import spare_threads


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is the first GPU, or the CPU where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name} is no device; choose auto, cpu, cuda or cuda:<n>") from None


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the number format of that name; ``auto`` is bfloat16 on a GPU and float32 on a CPU."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def load_engine(
    model: str | Path | ModelFolder,
    *,
    image_resolution: int = 512,
    template: str | None = None,
    dtype: str = "auto",
    attention: str = "sdpa",
    device: str = "auto",
    branch_limit: int | None = None,
) -> Engine:
    """Return an engine around a checkpoint, a training output folder or a LoRA output folder (merged in memory).

    ``template`` defaults to that of the model's family. Raises ``ValueError`` that names what is missing.
    """
    folder = model if isinstance(model, ModelFolder) else find_model(model)
    vision = VisionRule.from_folder(folder.base, image_resolution)
    tokenizer = load_tokenizer(folder.base)
    place = choose_device(device)
    spare_threads(parameter_count(folder.base), place)
    options = {"dtype": choose_dtype(dtype, place), "attention": attention, "device": place}
    network = load_merged(folder, **options)
    encoder = Encoder(tokenizer, TEMPLATES[template or family_of(network.config).template], vision)
    return Engine(network, encoder, branch_limit or BRANCH_LIMIT)
