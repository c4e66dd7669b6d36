"""What ``gpt4scene ask`` and ``gpt4scene chat`` can be told."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from gpt4scene.chat.wordings import FREE, wording_of
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.errors import ConfigError
from gpt4scene.inference.arguments import wrong_address
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

LOCAL_ONLY = ("crop_to_patches", "template", "enable_thinking", "dtype", "flash_attn", "feature_cache", "device")
LOCAL_ONLY += ("prefix_memory",)
"""Flags that a server has settings of its own for."""


@dataclass(frozen=True, kw_only=True)
class AnsweringArguments(Arguments):
    """Which model answers, and how: the same words as for ``infer``."""

    model: str = key("Checkpoint, training output or LoRA output folder; on a server, the name it serves.")
    base_url: str | None = key("Ask the server at this address, such as http://localhost:8000/v1.", None)
    timeout: float = key("Seconds that a server may say nothing.", 600.0, least=0.001)
    image_resolution: int | None = key(RESOLUTION_HELP, None, least=28)
    image_max_pixels: int | None = key(MOST_HELP, None, least=1)
    image_min_pixels: int | None = key(LEAST_HELP, None, least=1)
    crop_to_patches: bool = key(CROP_HELP, False)
    template: str | None = key("Name of the chat template; that of the checkpoint when left out.", None)
    enable_thinking: bool | None = key(
        "Let a model that thinks do so, or give it an empty thought (false); it thinks when left out.", None
    )
    max_new_tokens: int = key("Longest answer in tokens.", 128, least=1)
    temperature: float = key("0 takes the likeliest token; above 0 tokens are drawn.", 0.0, least=0)
    top_p: float = key("Draw among the likeliest tokens that make up this share.", 1.0, least=1e-6, most=1)
    seed: int = key("Seed of drawing.", 0)
    repetition_penalty: float | None = key(
        "Divide scores of tokens already seen; generation_config.json's value.", None
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "Number format of the weights: auto is bfloat16 on a GPU, float32 on a CPU.", "auto"
    )
    flash_attn: Literal["auto", "fa2", "fa3", "sdpa"] = key("Attention of the vision tower.", "auto")
    feature_cache: str = key(HELP, "auto")
    device: str = key("auto, cpu, cuda or cuda:<n>.", "auto")
    prefix_memory: float | None = key(PREFIX_HELP, None, least=0)

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of images that the four flags say together."""
        said = self.image_resolution, self.image_max_pixels, self.image_min_pixels, self.crop_to_patches
        return ImageLimits.said(*said)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        wrong += [f"--{sentence}" for sentence in self.image_limits.problems()]
        wrong += [f"--feature_cache {words}" for words in feature_cache_problems(self.feature_cache)]
        for name in ("timeout", "temperature", "repetition_penalty", "prefix_memory"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                wrong.append(f"--{name} must be a finite number, not {value}")
        if self.repetition_penalty is not None and self.repetition_penalty <= 0:
            wrong.append(f"--repetition_penalty must be above 0, not {self.repetition_penalty}; 1 changes nothing")
        if self.template is not None and self.template not in TEMPLATES:
            wrong.append(f"--template: '{self.template}' is not known{nearest(self.template, list(TEMPLATES))}")
        if self.base_url is not None:
            wrong += wrong_address(self.base_url)
        defaults = {one.name: one.default for one in dataclasses.fields(self)}
        unused = LOCAL_ONLY if self.base_url is not None else ("timeout",)
        for name in unused:
            if getattr(self, name) != defaults[name]:
                why = "the server's own settings hold" if self.base_url else "it belongs to --base_url"
                wrong.append(f"--{name} {getattr(self, name)} has no effect here; leave it out: {why}")
        return wrong


@dataclass(frozen=True, kw_only=True)
class AskArguments(AnsweringArguments):
    """One question about one scene."""

    scene: str = key("Prepared scene: its folder, its scene.json, or a folder that prepare wrote.")
    question: str = key("The question; it may also stand alone, in quotes.")
    scene_id: str | None = key("Name of the scene, where --scene holds several.", None)
    task: str = key(f"Task whose wording the question gets; {FREE} asks it as it is.", FREE)
    situation: str = key("Where somebody stands, for a task whose wording has a situation.", "")

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if not self.question.strip():
            wrong.append("the question is empty; write it in quotes, as in: gpt4scene ask … 'What is beside the sofa?'")
        return wrong + _task_problems(self.task)


@dataclass(frozen=True, kw_only=True)
class ChatArguments(AnsweringArguments):
    """A page on which people ask about scenes."""

    scenes: tuple[str, ...] = key("Prepared scenes: their folders, or folders that prepare wrote.", ())
    host: str = key("Address to listen at; 0.0.0.0 lets other machines see the page.", "127.0.0.1")
    port: int = key("Port to listen at; 0 takes one that is free.", 7860, least=0, most=65535)
    share: bool = key("Let anyone who has the link ask, by a tunnel of Gradio's; never without this flag.", False)
    branch_limit: int = key("Answers that grow side by side; more people wait, and see their place.", 4, least=1)
    queue_limit: int = key("People who may wait for an answer; more are told to come again.", 64, least=1)
    uploads: bool = key("Let people send scenes and recordings of their own.", True)
    upload_size: int = key("Megabytes that an upload may have.", 1024, least=1)
    upload_seconds: float = key("Seconds that the preparation of an upload may take.", 1800.0, least=1)
    frames: int = key("Frames of an uploaded recording, besides the bird's-eye view.", 32, least=1)
    view_url: str | None = key("Address of a running `gpt4scene view`, which objects link to.", None)
    task: str = key(f"Task whose wording is chosen at first; {FREE} asks questions as they are.", FREE)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if not self.scenes and not self.uploads:
            wrong.append("--scenes names none and --uploads is false, so that nobody could ask; name a folder")
        if not math.isfinite(self.upload_seconds):
            wrong.append(f"--upload_seconds must be a finite number, not {self.upload_seconds}")
        if self.view_url is not None and urlsplit(self.view_url).scheme not in ("http", "https"):
            wrong.append(f"--view_url {self.view_url} is no address; it begins with http:// or https://")
        return wrong + _task_problems(self.task)


def _task_problems(task: str) -> list[str]:
    if task != FREE:
        try:
            wording_of(task)
        except ConfigError as error:
            return list(error.problems)
    return []
