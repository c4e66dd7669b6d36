"""What ``gpt4scene infer`` can be told."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from gpt4scene.benchmarks.registry import task_names
from gpt4scene.data.video_rule import VideoLimits
from gpt4scene.inference.engine_arguments import (
    IMAGES,
    LOCAL_ONLY,
    MACHINE,
    SERVER,
    SERVER_HOLDS,
    DecodingArguments,
    EngineArguments,
    ModelArguments,
    empty_words,
    without_effect,
    wrong_address,
)
from gpt4scene.inference.requests import RETRIES
from gpt4scene.settings.arguments import key
from gpt4scene.settings.video import FPS, FPS_HELP, LEAST_AREA, MAXLEN, MAXLEN_HELP, MOST_AREA, area_problems
from gpt4scene.settings.video import LEAST_HELP as LEAST_FRAME_HELP
from gpt4scene.settings.video import MOST_HELP as MOST_FRAME_HELP

MOST_SHARDS = 100_000
"""More shards are a slip: no benchmark has as many scenes."""

ASKED, VIDEOS, PROCESSES = "What is asked", "Videos", "Several processes"
"""Headings in the help."""


@dataclass(frozen=True, kw_only=True)
class QuestionArguments(ModelArguments):
    """What is asked, what it shows, and where the answers go."""

    annotation_dir: str = key("Folder of question files and of the list of images.")
    output_dir: str = key("Folder that the answers are written into; a run that was stopped goes on there.")
    tasks: str = key("Tasks separated by commas, or all that have a question file.", "all", group=ASKED)
    split: str = key("Split in the names of the question files.", "val", group=ASKED)
    limit: int | None = key("Ask only the first so many questions of each task.", None, least=1, group=ASKED)
    scenes: str | None = key("Ask only about these scenes, separated by commas.", None, group=ASKED)
    keep_empty: bool = key(
        "Write empty answers too, instead of reporting their questions as unanswered.", False, group=ASKED
    )
    overwrite: bool = key("Delete the answers of these tasks in the output folder and start over.", False, group=ASKED)
    public_name: str | None = key(
        "Also write <name>_<task>/predictions_chunk_<i>.json, the public form.", None, group=ASKED
    )
    images: str | None = key(
        "List of images, when the annotation folder holds several.", None, also=("pictures",), group=IMAGES
    )
    media_dir: str | None = key(
        "Folder that image paths are relative to, tried after the working directory.", None, group=IMAGES
    )
    video_fps: float = key(FPS_HELP, FPS, least=0.001, group=VIDEOS)
    video_maxlen: int = key(MAXLEN_HELP, MAXLEN, least=1, group=VIDEOS)
    video_max_pixels: int = key(MOST_FRAME_HELP, MOST_AREA, least=1, group=VIDEOS)
    video_min_pixels: int = key(LEAST_FRAME_HELP, LEAST_AREA, least=1, group=VIDEOS)

    @property
    def video_limits(self) -> VideoLimits:
        """The limits of videos that the four flags say together."""
        return VideoLimits(self.video_fps, self.video_maxlen, self.video_max_pixels, self.video_min_pixels)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems() + empty_words(self, ("split", "images", "media_dir"))
        wrong += [f"--{sentence}" for sentence in area_problems(self.video_max_pixels, self.video_min_pixels)]
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


@dataclass(frozen=True, kw_only=True)
class InferArguments(DecodingArguments, EngineArguments, QuestionArguments):
    """What to ask, of which model, how, and where the answers go."""

    branch_limit: int | None = key(
        "Questions answered side by side: 128; requests at a time to a server: 8, to vLLM 32.",
        None,
        least=1,
        group=MACHINE,
    )
    engine: Literal["local", "server"] = key(
        "Run the model here, or ask an OpenAI-compatible server.", "local", group=SERVER
    )
    base_url: str | None = key("Address of the server, such as http://localhost:8000/v1.", None, group=SERVER)
    timeout: float = key("Seconds that a request to a server may take.", 600.0, least=0.001, group=SERVER)
    retries: int = key(
        "Further tries when a server is busy or away, with growing pauses.", RETRIES, least=0, group=SERVER
    )
    num_shards: int = key(
        "Parts that whole scenes are dealt into, for example over a Slurm array.",
        1,
        least=1,
        most=MOST_SHARDS,
        group=PROCESSES,
    )
    shard: int = key("Which of the parts to answer, counted from 0.", 0, least=0, group=PROCESSES)
    num_processes: str = key("Processes here: auto is one a GPU, or one on the CPU.", "auto", group=PROCESSES)

    @property
    def local(self) -> bool:
        """Whether the model runs in this program, not behind a server."""
        return self.engine == "local"

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        unused = [name for name, engines in USED_BY.items() if self.engine not in engines]
        way_out = ", or add --engine server" if self.engine == "local" else SERVER_HOLDS
        wrong += without_effect(self, unused, f"with --engine {self.engine}", way_out, CHANGES_NOTHING)
        if self.engine == "server" and not self.base_url:
            wrong.append("--engine server needs --base_url, such as http://localhost:8000/v1")
        if self.base_url:
            wrong += wrong_address(self.base_url)
        if self.shard >= self.num_shards > 0:
            wrong.append(f"--shard must be below --num_shards {self.num_shards}, found {self.shard}")
        if self.num_processes != "auto" and not (self.num_processes.isdecimal() and int(self.num_processes) > 0):
            wrong.append(f"--num_processes must be auto or 1 and more, found {self.num_processes}")
        return wrong


USED_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys((*LOCAL_ONLY, "num_processes"), ("local",)),
        **dict.fromkeys(("video_fps", "video_maxlen", "video_max_pixels", "video_min_pixels"), ("local",)),
        **dict.fromkeys(("base_url", "timeout", "retries"), ("server",)),
    }
)
"""Which engine uses a flag; both use those that do not stand here."""

CHANGES_NOTHING: Mapping[str, tuple[Any, ...]] = MappingProxyType({"num_processes": ("1",)})
"""Values that say what the other engine does anyway."""


def names_in(words: str) -> list[str]:
    """Return the names in ``words``, which commas (in the public call: ``#``) separate."""
    return [name.strip() for name in words.replace("#", ",").split(",") if name.strip()]


def to_flags(arguments: InferArguments) -> list[str]:
    """Return the flags that say ``arguments``."""
    flags: list[str] = []
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        if value is not None and value != field.default:
            flags += [f"--{field.name}={value}"]
    return flags
