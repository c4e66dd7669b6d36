"""How short answers are compared with accepted ones: cleaned or not, letter by letter or word by word.

Public scorers clean unequally, which moves figures by several points: each way is a value with a name in ``--rules``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.errors import ConfigError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.exact_match import (
    clean,
    contained,
    exact,
    refined,
    says_something,
    strictly_exact,
    strictly_refined,
    trim,
)
from gpt4scene.metrics.texts import TextGroup
from gpt4scene.registry import nearest

Change = Callable[[str], str]
Matches = Callable[[str, Sequence[str]], bool]

RAW, STRICT, LLAVA3D = "raw", "strict", "llava3d"
"""Names of rules beside the published ones."""


@dataclass(frozen=True)
class Comparison:
    """What becomes of answers and references before they are compared, and what makes an answer right.

    ``right`` gives ``EM1`` and ``near``, where there is one, ``EM1_refined``. BLEU and the like compare ``said`` with
    ``wanted``; without ``said`` there are no such figures. ``split_at_spaces`` as in ``TextGroup``.
    """

    answer: Change
    reference: Change
    right: Matches
    near: Matches | None
    said: Change | None
    wanted: Change
    split_at_spaces: bool = False


def as_it_is(text: str) -> str:
    """Return ``text``."""
    return text


def cleaned(answer: str) -> str:
    """Return ``answer`` trimmed and cleaned, as the published figures compare it."""
    return clean(trim(answer))


def clean_and_bare(text: str) -> str:
    """Return ``text`` cleaned, without white space around it."""
    return clean(text).strip()


def without_stops(answer: str) -> str:
    """Return ``answer`` without the full stops at its end."""
    return answer.rstrip(".")


STRICTLY = Comparison(
    answer=cleaned,
    reference=cleaned,
    right=strictly_exact,
    near=strictly_refined,
    said=cleaned,
    wanted=lambda text: cleaned(text).strip(),
)
"""Both sides trimmed and cleaned, for exact match and for texts; refined match compares whole words."""

AS_CHAT_SCENE = Comparison(
    answer=cleaned, reference=as_it_is, right=exact, near=refined, said=cleaned, wanted=str.strip
)
"""The answer cleaned, the references as they are: Chat-Scene on ScanQA."""

AS_CHAT_SCENE_BOTH = Comparison(
    answer=cleaned, reference=clean, right=exact, near=refined, said=cleaned, wanted=clean_and_bare
)
"""The answer trimmed and cleaned, the references cleaned: Chat-Scene on SQA3D."""

AS_VIDEO_3D_LLM = Comparison(
    answer=as_it_is,
    reference=as_it_is,
    right=exact,
    near=None,
    said=without_stops,
    wanted=as_it_is,
    split_at_spaces=True,
)
"""Nothing cleaned: an answer is right when it is an accepted one, letter by letter. Words end at spaces."""

CLEANED_ONLY = Comparison(answer=clean, reference=clean, right=exact, near=None, said=None, wanted=clean)
"""Both sides cleaned, exact match alone: Video-3D-LLM on SQA3D."""

AS_LLAVA_3D = Comparison(answer=clean, reference=clean, right=exact, near=contained, said=clean, wanted=clean_and_bare)
"""Both sides cleaned and neither trimmed; to the refined match an empty answer is part of everything: LLaVA-3D."""


class Changed:
    """Texts as they were changed, so that figures by several rules change each text once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Change, str], str] = {}

    def by(self, change: Change, text: str) -> str:
        """Return ``change(text)``."""
        if (change, text) not in self._known:
            self._known[change, text] = change(text)
        return self._known[change, text]


def matches(rows: Iterable[AnswerRow], how: Comparison, changed: Changed) -> dict[str, np.ndarray]:
    """Return which answers are right, float64[B] by metric: ``EM1``, and ``EM1_refined`` where ``how`` has it."""
    pairs = [
        (changed.by(how.answer, row.pred), [changed.by(how.reference, text) for text in row.texts]) for row in rows
    ]
    found = {"EM1": np.array([how.right(*pair) for pair in pairs], dtype=np.float64)}
    if how.near is not None:
        found["EM1_refined"] = np.array([how.near(*pair) for pair in pairs], dtype=np.float64)
    return found


def texts_of(rows: Sequence[AnswerRow], how: Comparison) -> dict[str, TextGroup]:
    """Return the texts that BLEU and the like compare; none where ``how`` has no such figures."""
    if how.said is None:
        return {}
    answers = tuple(how.said(row.pred) for row in rows)
    return {"": TextGroup(answers, tuple(tuple(map(how.wanted, row.texts)) for row in rows), how.split_at_spaces)}


def empty_answers(rows: Iterable[AnswerRow], changed: Changed) -> int:
    """Return how many answers say nothing: of ``? !`` nothing is left once it is cleaned."""
    return sum(not says_something(changed.by(cleaned, row.pred)) for row in rows)


def checked_name(rules: str, known: Iterable[str], task: str) -> str:
    """Return ``rules``; ``ConfigError`` with the ``known`` names where it is none of them."""
    names = list(known)
    if rules not in names:
        raise ConfigError(f"'{task}' has no rules '{rules}'{nearest(rules, names)} (known: {', '.join(names)})")
    return rules
