"""Prompts: the wordings of a benchmark, drawn or the first one, and short answers as the model is to say them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TypeVar

import yaml

Value = TypeVar("Value")


@dataclass(frozen=True)
class Prompts:
    """The wordings of a benchmark's prompts. ``generator`` draws among the first ``most`` (0: all).

    Without a generator the first is taken, as in question files.
    """

    wordings: tuple[str, ...]
    generator: random.Random | None = None
    most: int = 0

    def choice(self, values: Sequence[Value]) -> Value:
        """Return one of ``values``."""
        if self.generator is None:
            return values[0]
        return self.generator.choice(values[: self.most] if self.most else values)

    def fill(self, **fields: str) -> str:
        """Return a prompt with ``fields`` filled in."""
        return self.choice(self.wordings).format(**fields)


def read_wordings(name: str) -> tuple[str, ...]:
    """Return the wordings that ``wordings.yaml`` holds under ``name``."""
    content = resources.files("gpt4scene.benchmarks").joinpath("wordings.yaml").read_text(encoding="utf-8")
    return tuple(yaml.safe_load(content)[name])


def spoken(answer: str) -> str:
    """Return a short answer as the model is to say it: capital first letter, full stop at the end."""
    answer = answer.strip()
    return answer[:1].upper() + answer[1:] + ("" if answer.endswith((".", "!", "?")) else ".")


def without_end_mark(description: str) -> str:
    """Return ``description`` without the full stop or question mark at its end."""
    return description.strip().rstrip(".?").rstrip()
