"""From logits to the next token of every branch: greedy, or drawn with a seed of the question's own."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gpt4scene.types import Question


@dataclass(frozen=True)
class GenerationSettings:
    """How answers are decoded. Everything here changes answers.

    ``temperature`` 0 takes the likeliest token. ``repetition_penalty`` None takes what the checkpoint's
    ``generation_config.json`` says, as ``generate`` does. ``samples`` answers are drawn for each question, each with a
    seed of its own. ``return_logprobs`` adds the log-probability that the model gave every token, and ``top_logprobs``
    those of so many of the likeliest.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float | None = None
    samples: int = 1
    return_logprobs: bool = False
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, found {self.max_new_tokens}")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be 0 (greedy) or more, found {self.temperature}")
        if self.repetition_penalty is not None and not 0 < self.repetition_penalty < math.inf:
            raise ValueError(f"repetition_penalty must be above 0, found {self.repetition_penalty}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie above 0 and at most at 1, found {self.top_p}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, found {self.samples}")
        if self.top_logprobs < 0 or (self.top_logprobs and not self.return_logprobs):
            raise ValueError("top_logprobs counts 0 and up, and needs return_logprobs")


def generator_of(question: Question, seed: int) -> torch.Generator:
    """Return the random generator of one question: the same whatever other questions are asked beside it."""
    text = f"{seed} {question.task} {question.index} {question.scene_id} {question.prompt}"
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return torch.Generator().manual_seed(number % 2**63)


def penalise(scores_KV: torch.Tensor, seen_KV: torch.Tensor, penalty: float) -> torch.Tensor:
    """Return scores with those of tokens already seen divided by ``penalty`` (multiplied where negative).

    The rule of CTRL (arXiv 1909.05858, section 4.1), as transformers applies it to prompt and answer alike.
    """
    lowered = torch.where(scores_KV < 0, scores_KV * penalty, scores_KV / penalty)
    return torch.where(seen_KV, lowered, scores_KV)


def choose(
    scores_KV: torch.Tensor, settings: GenerationSettings, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """Return the next token of each of K branches, int64 ``[K]`` on the device of the scores.

    Sampling divides by the temperature, keeps the likeliest tokens that make up ``top_p``, and draws on the CPU.
    """
    if settings.temperature == 0:
        return scores_KV.argmax(-1)
    ordered, tokens = (scores_KV.float() / settings.temperature).sort(-1, descending=True)
    chances = ordered.softmax(-1)
    chances = chances.masked_fill(chances.cumsum(-1) - chances >= settings.top_p, 0.0).cpu()
    drawn = [torch.multinomial(row, 1, generator=generator) for row, generator in zip(chances, generators, strict=True)]
    return tokens.gather(-1, torch.stack(drawn).to(tokens.device))[:, 0]
