"""What ``gpt4scene infer`` can be told."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from gpt4scene.benchmarks.registry import task_names
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.video_rule import VideoLimits
from gpt4scene.inference.requests import RETRIES
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
from gpt4scene.settings.video import FPS, FPS_HELP, LEAST_AREA, MAXLEN, MAXLEN_HELP, MOST_AREA, area_problems
from gpt4scene.settings.video import LEAST_HELP as LEAST_FRAME_HELP
from gpt4scene.settings.video import MOST_HELP as MOST_FRAME_HELP

MOST_SHARDS = 100_000
"""More shards are a slip: no benchmark has as many scenes."""


@dataclass(frozen=True)
class InferArguments(Arguments):
    """What to ask, of which model, how, and where the answers go."""

    model: str = key("Checkpoint, training output or LoRA output folder; on a server, the name it serves.")
    annotation_dir: str = key("Folder of question files and of the list of images.")
    output_dir: str = key("Folder that the answers are written into; a run that was stopped goes on there.")
    tasks: str = key("Tasks separated by commas, or all that have a question file.", "all", group="What is asked")
    split: str = key("Split in the names of the question files.", "val", group="What is asked")
    images: str | None = key(
        "List of images, when the annotation folder holds several.", None, also=("pictures",), group="Images and videos"
    )
    media_dir: str | None = key(
        "Folder that image paths are relative to, tried after the working directory.", None, group="Images and videos"
    )
    image_resolution: int | None = key(RESOLUTION_HELP, None, least=28, group="Images and videos")
    image_max_pixels: int | None = key(MOST_HELP, None, least=1, group="Images and videos")
    image_min_pixels: int | None = key(LEAST_HELP, None, least=1, group="Images and videos")
    crop_to_patches: bool = key(CROP_HELP, False, group="Images and videos")
    video_fps: float = key(FPS_HELP, FPS, least=0.001, group="Images and videos")
    video_maxlen: int = key(MAXLEN_HELP, MAXLEN, least=1, group="Images and videos")
    video_max_pixels: int = key(MOST_FRAME_HELP, MOST_AREA, least=1, group="Images and videos")
    video_min_pixels: int = key(LEAST_FRAME_HELP, LEAST_AREA, least=1, group="Images and videos")
    template: str | None = key(
        "Name of the chat template; that of the checkpoint when left out.", None, group="Answers"
    )
    enable_thinking: bool | None = key(
        "Let a model that thinks do so, or give it an empty thought (false); it thinks when left out.",
        None,
        group="Answers",
    )
    max_new_tokens: int = key("Longest answer in tokens.", 128, least=1, group="Answers")
    temperature: float = key("0 takes the likeliest token; above 0 tokens are drawn.", 0.0, least=0, group="Answers")
    top_p: float = key(
        "Draw among the likeliest tokens that make up this share.", 1.0, least=1e-6, most=1, group="Answers"
    )
    seed: int = key(
        "Seed of drawing; each question draws by itself, whatever it is asked together with.", 0, group="Answers"
    )
    repetition_penalty: float | None = key(
        "Divide scores of tokens already seen; generation_config.json's value.", None, group="Answers"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "Number format of the weights: auto is bfloat16 on a GPU, float32 on a CPU.", "auto", group="Model and machine"
    )
    flash_attn: Literal["auto", "fa2", "fa3", "sdpa"] = key(
        "Attention of the vision tower.", "auto", group="Model and machine"
    )
    device: str = key("auto, cpu, cuda or cuda:<n>.", "auto", group="Model and machine")
    feature_cache: str = key(HELP, "auto", group="Model and machine")
    branch_limit: int | None = key(
        "Questions answered side by side: 128; requests at a time to a server: 8, to vLLM 32.",
        None,
        least=1,
        group="Model and machine",
    )
    prefix_memory: float | None = key(PREFIX_HELP, None, least=0, group="Model and machine")
    engine: Literal["local", "server"] = key(
        "Run the model here, or ask an OpenAI-compatible server.", "local", group="Server"
    )
    base_url: str | None = key("Address of the server, such as http://localhost:8000/v1.", None, group="Server")
    num_shards: int = key(
        "Parts that whole scenes are dealt into, for example over a Slurm array.",
        1,
        least=1,
        most=MOST_SHARDS,
        group="Several processes",
    )
    shard: int = key("Which of the parts to answer, counted from 0.", 0, least=0, group="Several processes")
    num_processes: str = key("Processes here: auto is one a GPU, or one on the CPU.", "auto", group="Several processes")
    timeout: float = key("Seconds that a request to a server may take.", 600.0, least=0.001, group="Server")
    retries: int = key(
        "Further tries when a server is busy or away, with growing pauses.", RETRIES, least=0, group="Server"
    )
    limit: int | None = key("Ask only the first so many questions of each task.", None, least=1, group="What is asked")
    scenes: str | None = key("Ask only about these scenes, separated by commas.", None, group="What is asked")
    keep_empty: bool = key(
        "Write empty answers too, instead of reporting their questions as unanswered.", False, group="What is asked"
    )
    overwrite: bool = key(
        "Delete the answers of these tasks in the output folder and start over.", False, group="What is asked"
    )
    public_name: str | None = key(
        "Also write <name>_<task>/predictions_chunk_<i>.json, the public form.", None, group="What is asked"
    )

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of images that the four flags say together."""
        said = self.image_resolution, self.image_max_pixels, self.image_min_pixels, self.crop_to_patches
        return ImageLimits.said(*said)

    @property
    def video_limits(self) -> VideoLimits:
        """The limits of videos that the four flags say together."""
        return VideoLimits(self.video_fps, self.video_maxlen, self.video_max_pixels, self.video_min_pixels)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems() + self._wrong_numbers() + self._without_effect()
        wrong += [f"--{sentence}" for sentence in self.image_limits.problems()]
        wrong += [f"--{sentence}" for sentence in area_problems(self.video_max_pixels, self.video_min_pixels)]
        wrong += [f"--feature_cache {words}" for words in feature_cache_problems(self.feature_cache)]
        if self.engine == "server" and not self.base_url:
            wrong.append("--engine server needs --base_url, such as http://localhost:8000/v1")
        if self.base_url:
            wrong += wrong_address(self.base_url)
        if self.shard >= self.num_shards > 0:
            wrong.append(f"--shard must be below --num_shards {self.num_shards}, found {self.shard}")
        if self.num_processes != "auto" and not (self.num_processes.isdecimal() and int(self.num_processes) > 0):
            wrong.append(f"--num_processes must be auto or 1 and more, found {self.num_processes}")
        if self.template is not None and self.template not in TEMPLATES:
            wrong.append(f"--template: '{self.template}' is not known{nearest(self.template, list(TEMPLATES))}")
        if self.public_name is not None and (not self.public_name.strip(". ") or re.search(r"[/\\]", self.public_name)):
            wrong.append(f"--public_name must be the name of a folder in --output_dir, not '{self.public_name}'")
        for name in ("tasks", "scenes"):
            if getattr(self, name) is not None and not names_in(getattr(self, name)):
                wrong.append(f"--{name} names none; separate names by commas, or leave it out for all")
        try:
            task_names(self.tasks)
        except ValueError as error:
            wrong.append(f"--tasks: {error}")
        return wrong

    def _wrong_numbers(self) -> list[str]:
        numbers = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        wrong = [
            f"--{name} must be a finite number, not {value}"
            for name, value in numbers.items()
            if isinstance(value, float) and not math.isfinite(value)
        ]
        if self.repetition_penalty is not None and self.repetition_penalty <= 0:
            wrong.append(f"--repetition_penalty must be above 0, not {self.repetition_penalty}; 1 changes nothing")
        return wrong

    def _without_effect(self) -> list[str]:
        """Return a sentence for every flag that is given and that the chosen engine does not use."""
        return [
            f"--{one.name} {getattr(self, one.name)} has no effect with --engine {self.engine}; leave it out"
            + (", or add --engine server" if self.engine == "local" else ": the server's own settings hold")
            for one in dataclasses.fields(self)
            if self.engine not in USED_BY.get(one.name, (self.engine,))
            and getattr(self, one.name) not in (one.default, *CHANGES_NOTHING.get(one.name, ()))
        ]

    def notes(self) -> list[str]:
        """Return a sentence for flags that are given and change nothing beside the others."""
        drawing = [f"--{name}" for name, plain in (("top_p", 1.0), ("seed", 0)) if getattr(self, name) != plain]
        if drawing and self.temperature == 0:
            verb = "change" if len(drawing) > 1 else "changes"
            return [f"{' and '.join(drawing)} {verb} nothing at --temperature 0, which takes the likeliest token"]
        return []


USED_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("template", "enable_thinking", "dtype", "flash_attn", "feature_cache", "prefix_memory"), ("local",)
        ),
        **dict.fromkeys(("device", "num_processes", "crop_to_patches"), ("local",)),
        **dict.fromkeys(("video_fps", "video_maxlen", "video_max_pixels", "video_min_pixels"), ("local",)),
        **dict.fromkeys(("base_url", "timeout", "retries"), ("server",)),
    }
)
"""Which engine uses a flag; both use those that do not stand here."""

CHANGES_NOTHING: Mapping[str, tuple[str, ...]] = MappingProxyType({"num_processes": ("1",)})
"""Values that say what the other engine does anyway."""


def names_in(words: str) -> list[str]:
    """Return the names in ``words``, which commas (in the public call: ``#``) separate."""
    return [name.strip() for name in words.replace("#", ",").split(",") if name.strip()]


def wrong_address(text: str) -> list[str]:
    """Return a sentence where ``text`` is not what all addresses of the server's API begin with."""
    if not _is_address(text):
        return [f"--base_url must be an address such as http://localhost:8000/v1, not '{text}'"]
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        return [f"--base_url must end before '?' and '#', such as http://localhost:8000/v1, not '{text}'"]
    before, ending, _ = text.rstrip("/").partition("/chat/completions")
    if ending:
        return [f"--base_url must be the part before /chat/completions, which is added: {before}"]
    return []


def _is_address(text: str) -> bool:
    if any(letter.isspace() or not letter.isprintable() for letter in text):
        return False
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        if host.replace(".", "").isdecimal() or ":" in host:
            ip_address(host.partition("%")[0])
        elif host != "localhost":
            host.removesuffix(".").encode("idna")
        return parts.scheme in ("http", "https") and bool(host.strip(".")) and parts.port != 0
    except ValueError:
        return False


def to_flags(arguments: InferArguments) -> list[str]:
    """Return the flags that say ``arguments``."""
    flags: list[str] = []
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        if value is not None and value != field.default:
            flags += [f"--{field.name}={value}"]
    return flags
