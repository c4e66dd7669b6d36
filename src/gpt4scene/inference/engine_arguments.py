"""Flags that say which model answers and how: declared and checked once, for all commands that ask one.

Annotations are types here, not texts: flags are made of them in the modules of subclasses, which lack ``Literal``.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

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
from gpt4scene.settings.devices import device_problems
from gpt4scene.settings.feature_cache import HELP, feature_cache_problems

IMAGES, ANSWERS, MACHINE, SERVER = "Images", "Answers", "Model and machine", "Server"
"""Headings in the help."""

LOCAL_ONLY = ("crop_to_patches", "template", "enable_thinking", "dtype", "flash_attn", "device", "feature_cache")
LOCAL_ONLY += ("prefix_memory",)
"""Flags of ``EngineArguments`` that a server has settings of its own for."""
SERVER_HOLDS = ": the server's own settings hold"

MODEL_HELP = "Checkpoint, training output or LoRA output folder; on a server, the name it serves."


@dataclass(frozen=True, kw_only=True)
class ModelArguments(Arguments):
    """Which model: the first flag of every command that asks one."""

    model: str = key(MODEL_HELP)


@dataclass(frozen=True, kw_only=True)
class EngineArguments(ModelArguments):
    """How the model is loaded, and what it is shown of images."""

    image_resolution: int | None = key(RESOLUTION_HELP, None, least=28, group=IMAGES)
    image_max_pixels: int | None = key(MOST_HELP, None, least=1, group=IMAGES)
    image_min_pixels: int | None = key(LEAST_HELP, None, least=1, group=IMAGES)
    crop_to_patches: bool = key(CROP_HELP, False, group=IMAGES)
    template: str | None = key("Name of the chat template; that of the checkpoint when left out.", None, group=ANSWERS)
    enable_thinking: bool | None = key(
        "Let a model that thinks do so, or give it an empty thought (false); it thinks when left out.",
        None,
        group=ANSWERS,
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "Number format of the weights: auto is bfloat16 on a GPU, float32 on a CPU.", "auto", group=MACHINE
    )
    flash_attn: Literal["auto", "fa2", "fa3", "sdpa"] = key("Attention of the vision tower.", "auto", group=MACHINE)
    device: str = key("auto, cpu, cuda or cuda:<n>.", "auto", group=MACHINE)
    feature_cache: str = key(HELP, "auto", group=MACHINE)
    prefix_memory: float | None = key(PREFIX_HELP, None, least=0, group=MACHINE)

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of images that the four flags say together."""
        said = self.image_resolution, self.image_max_pixels, self.image_min_pixels, self.crop_to_patches
        return ImageLimits.said(*said)

    @property
    def local(self) -> bool:
        """Whether the model runs in this program, not behind a server."""
        return True

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        wrong += [f"--{sentence}" for sentence in self.image_limits.problems()]
        wrong += [f"--feature_cache {words}" for words in feature_cache_problems(self.feature_cache)]
        wrong += device_problems(self.device)
        if self.template is not None and self.template not in TEMPLATES:
            wrong.append(f"--template: '{self.template}' is not known{nearest(self.template, list(TEMPLATES))}")
        return wrong


@dataclass(frozen=True, kw_only=True)
class DecodingArguments(Arguments):
    """How tokens are chosen, and how many."""

    max_new_tokens: int = key("Longest answer in tokens.", 128, least=1, group=ANSWERS)
    temperature: float = key("0 takes the likeliest token; above 0 tokens are drawn.", 0.0, least=0, group=ANSWERS)
    top_p: float = key(
        "Draw among the likeliest tokens that make up this share.", 1.0, least=1e-6, most=1, group=ANSWERS
    )
    seed: int = key(
        "Seed of drawing; each question draws by itself, whatever it is asked together with.", 0, group=ANSWERS
    )
    repetition_penalty: float | None = key(
        "Divide scores of tokens already seen; generation_config.json's value.", None, group=ANSWERS
    )

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if self.repetition_penalty is not None and self.repetition_penalty <= 0:
            wrong.append(f"--repetition_penalty must be above 0, not {self.repetition_penalty}; 1 changes nothing")
        return wrong

    def notes(self) -> list[str]:
        """Return a sentence for flags that are given and change nothing beside the others."""
        drawing = [f"--{name}" for name, plain in (("top_p", 1.0), ("seed", 0)) if getattr(self, name) != plain]
        if drawing and self.temperature == 0:
            verb = "change" if len(drawing) > 1 else "changes"
            return [f"{' and '.join(drawing)} {verb} nothing at --temperature 0, which takes the likeliest token"]
        return []


def without_effect(
    arguments: Arguments,
    names: Collection[str],
    where: str,
    way_out: str,
    as_good: Mapping[str, tuple[Any, ...]] = MappingProxyType({}),
) -> list[str]:
    """Return a sentence for every flag of ``names`` that is given.

    ``where`` says in which call the flags change nothing, ``way_out`` what else there is to do than to leave them out.
    ``as_good`` are values that mean what happens anyway.
    """
    return [
        f"--{one.name} {getattr(arguments, one.name)} has no effect {where}; leave it out{way_out}"
        for one in dataclasses.fields(arguments)
        if one.name in names and getattr(arguments, one.name) not in (one.default, *as_good.get(one.name, ()))
    ]


def empty_words(arguments: Arguments, names: Iterable[str]) -> list[str]:
    """Return a sentence for every flag of ``names`` that is given as an empty word, as by a variable without value."""
    return [f"--{name} is empty; leave it out, or give a value" for name in names if getattr(arguments, name) == ""]


def wrong_address(text: str) -> list[str]:
    """Return a sentence where ``text`` is not what all addresses of the server's API begin with."""
    if not is_address(text):
        return [f"--base_url must be an address such as http://localhost:8000/v1, not '{text}'"]
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        return [f"--base_url must end before '?' and '#', such as http://localhost:8000/v1, not '{text}'"]
    before, ending, _ = text.rstrip("/").partition("/chat/completions")
    if ending:
        return [f"--base_url must be the part before /chat/completions, which is added: {before}"]
    return []


def is_address(text: str) -> bool:
    """Return whether ``text`` is an address that begins with http or https and names a host."""
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
