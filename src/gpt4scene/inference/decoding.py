"""From logits to the next token of every branch: greedy, or drawn with a seed of the question's own."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch

from gpt4scene.types import Question

LEAST, MOST = 1e-30, torch.finfo(torch.float32).max
"""Settings beyond these would be rounded to 0 or infinity; they draw like these."""


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


def uniforms_of(question: Question, settings: GenerationSettings, sample: int = 0) -> torch.Tensor:
    """Return fp32 numbers from 0 to below 1, one for each token to draw: the same whatever is asked beside it.

    They hang on the seed, the number of the sample, and the question with all that was said before it; not on its
    images, which may lie elsewhere.
    """
    said = "".join([question.prompt, *(f"\n{turn.role} {turn.text}" for turn in question.earlier)])
    text = f"{settings.seed} {sample} {question.task} {question.index} {question.scene_id} {said}"
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return torch.rand(settings.max_new_tokens, generator=torch.Generator().manual_seed(number % 2**63))


def penalise(scores_KV: torch.Tensor, seen_KV: torch.Tensor, penalty_K: torch.Tensor) -> torch.Tensor:
    """Return scores with those of tokens already seen divided by the branch's penalty (multiplied where negative).

    The rule of CTRL (arXiv 1909.05858, section 4.1), as transformers applies it to prompt and answer alike.
    """
    penalty_K1 = penalty_K.clamp(LEAST, MOST)[:, None]  # 0 by 0 would be no number
    lowered = torch.where(scores_KV < 0, scores_KV * penalty_K1, scores_KV / penalty_K1)
    return torch.where(seen_KV, lowered, scores_KV)


def draw(
    scores_KV: torch.Tensor, temperature_K: torch.Tensor, top_p_K: torch.Tensor | None, uniforms_K: torch.Tensor
) -> torch.Tensor:
    """Return a token of each of K branches, int64 ``[K]``, drawn on the device by one uniform number each.

    Divides by the temperature, keeps the likeliest tokens that make up ``top_p`` (None: all), and takes the token at
    which the sum of chances passes the number's share of their whole. Rows that are no numbers give some token.
    """
    finite_KV = scores_KV.float().clamp(-MOST, MOST)  # a penalty near 0 makes infinite ones
    behind_KV = finite_KV - finite_KV.amax(-1, keepdim=True)  # 0 or less, so that no division makes it infinite
    scaled, tokens = behind_KV / temperature_K.clamp(LEAST, MOST)[:, None], None
    if top_p_K is not None:
        scaled, tokens = scaled.sort(-1, descending=True)
    chances = scaled.softmax(-1)
    if top_p_K is not None:
        chances = chances.masked_fill(chances.cumsum(-1) - chances >= top_p_K.clamp(min=LEAST)[:, None], 0.0)
    sums = chances.cumsum(-1)
    whole = sums[:, -1]
    wanted = torch.minimum(uniforms_K * whole, torch.nextafter(whole, torch.zeros_like(whole)))
    places = torch.searchsorted(sums, wanted[:, None], right=True)
    if tokens is None:
        return places[:, 0].clamp(max=scores_KV.shape[1] - 1)
    kept = (chances > 0).sum(-1, keepdim=True)
    return tokens.gather(-1, torch.minimum(places, kept - 1).clamp(min=0))[:, 0]
