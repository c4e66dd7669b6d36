"""What ``gpt4scene serve`` can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gpt4scene.data.templates import TEMPLATES
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import (
    CROP_HELP,
    LEAST_HELP,
    MOST_HELP,
    PREFIX_HELP,
    RESOLUTION_HELP,
    Arguments,
    ImageLimits,
    key,
)
from gpt4scene.settings.feature_cache import HELP, feature_cache_problems

KEY_VARIABLE = "GPT4SCENE_API_KEY"


@dataclass(frozen=True)
class ServeArguments(Arguments):
    """Which model to serve, where, to whom, and how much at a time."""

    model: str = key("Checkpoint, training output or LoRA output folder.")
    host: str = key("Address to listen at; 0.0.0.0 lets other machines ask.", "127.0.0.1", group="Address")
    port: int = key("Port to listen at; 0 takes one that is free.", 8000, least=0, most=65535, group="Address")
    served_name: str | None = key(
        "Name that requests call the model by; what --model says when left out.", None, group="Address"
    )
    api_key_file: str | None = key(
        f"File with the key that requests must send; {KEY_VARIABLE} may hold it.", None, group="Address"
    )
    image_resolution: int | None = key(RESOLUTION_HELP, None, least=28, group="Images")
    image_max_pixels: int | None = key(MOST_HELP, None, least=1, group="Images")
    image_min_pixels: int | None = key(LEAST_HELP, None, least=1, group="Images")
    crop_to_patches: bool = key(CROP_HELP, False, group="Images")
    template: str | None = key(
        "Name of the chat template; that of the checkpoint when left out.", None, group="Answers"
    )
    enable_thinking: bool | None = key(
        "Let a model that thinks do so, or give it an empty thought (false); it thinks when left out.",
        None,
        group="Answers",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "Number format of the weights: auto is bfloat16 on a GPU, float32 on a CPU.", "auto", group="Model and machine"
    )
    flash_attn: Literal["auto", "fa2", "fa3", "sdpa"] = key(
        "Attention of the vision tower.", "auto", group="Model and machine"
    )
    feature_cache: str = key(HELP, "auto", group="Model and machine")
    device: str = key("auto, cpu, cuda or cuda:<n>.", "auto", group="Model and machine")
    branch_limit: int = key("Answers that grow side by side; more wait.", 128, least=1, group="Model and machine")
    prefix_memory: float | None = key(PREFIX_HELP, None, least=0, group="Model and machine")
    max_new_tokens: int = key("Longest answer in tokens that a request may ask for.", 1024, least=1, group="Answers")
    max_images: int = key("Most images in a request.", 64, least=0, group="Images")
    max_body: int = key("Megabytes of a request's body at most, images included.", 64, least=1, group="Images")
    queue_limit: int = key(
        "Answers that may wait or grow at a time; more are told to come again.", 512, least=1, group="Requests"
    )
    timeout: float = key("Seconds that a request may take.", 600.0, least=0.001, group="Requests")
    grace: float = key(
        "Seconds that requests under way get to finish when the server is told to stop.",
        30.0,
        least=0,
        group="Requests",
    )

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of images that the four flags say together."""
        said = self.image_resolution, self.image_max_pixels, self.image_min_pixels, self.crop_to_patches
        return ImageLimits.said(*said)

    @property
    def name(self) -> str:
        """The name that requests call the model by."""
        return self.served_name or self.model

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        wrong += [f"--{sentence}" for sentence in self.image_limits.problems()]
        wrong += [f"--feature_cache {words}" for words in feature_cache_problems(self.feature_cache)]
        for name in ("prefix_memory", "timeout", "grace"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                wrong.append(f"--{name} must be a finite number, not {value}")
        if self.template is not None and self.template not in TEMPLATES:
            wrong.append(f"--template: '{self.template}' is not known{nearest(self.template, list(TEMPLATES))}")
        if self.served_name == "":
            wrong.append("--served_name is empty; leave it out, or give a name")
        return wrong
