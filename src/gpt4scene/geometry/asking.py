"""What a maker of questions is given: the room, its measures, the kind, a seeded generator, and how many to make."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Protocol, TypeVar

import yaml

from gpt4scene.geometry.measures import Measures
from gpt4scene.geometry.question import GeometryQuestion, Made
from gpt4scene.geometry.room import Room

Value = TypeVar("Value")
MORE_THAN_ASKED_FOR = "more than asked for"


@lru_cache(maxsize=8)
def read_data(name: str) -> Mapping[str, Any]:
    """Return the content of one of this folder's data files, read once."""
    content = resources.files("gpt4scene.geometry").joinpath(name).read_text(encoding="utf-8")
    return yaml.safe_load(content)


@dataclass(frozen=True, eq=False)
class Asking:
    """One kind of question about one room.

    ``most`` is how many are wanted (None: all). ``wordings`` is the wordings file; ``varied`` draws among a kind's
    wordings instead of taking the first. ``excluded`` are labels that must not be asked about.
    """

    measures: Measures
    rules: str
    kind: str
    most: int | None
    generator: random.Random
    wordings: Mapping[str, Sequence[str]]
    varied: bool = False
    excluded: frozenset[str] = frozenset()

    @property
    def room(self) -> Room:
        """The room asked about."""
        return self.measures.room

    @property
    def labels(self) -> dict[str, tuple[int, ...]]:
        """Label -> places of its objects, those left out that must not be asked about."""
        return {label: places for label, places in self.room.by_label.items() if label not in self.excluded}

    @property
    def singles(self) -> dict[str, int]:
        """Label -> place, of labels with one object."""
        return {label: places[0] for label, places in self.labels.items() if len(places) == 1}

    def ids(self, places: Sequence[int]) -> tuple[int, ...]:
        """Return the ids of the objects at ``places``."""
        return tuple(self.room.objects[place].id for place in places)

    def drawn(self, candidates: Sequence[Value], reasons: Counter[str]) -> list[Value]:
        """Return ``most`` of the candidates in a drawn order, and count the rest in ``reasons``."""
        order = self.generator.sample(candidates, len(candidates))
        taken = order if self.most is None else order[: self.most]
        reasons[MORE_THAN_ASKED_FOR] += len(order) - len(taken)
        return taken

    def question(
        self, wording: str, truth: str, objects: Sequence[int], options: Sequence[str] = (), **fields: str
    ) -> GeometryQuestion:
        """Return a question about the objects at the places ``objects``, its options in a drawn order."""
        texts = self.wordings[wording]
        drawn = int(self.generator.random() * len(texts))  # also where it is not used: wordings change nothing else
        text = texts[drawn] if self.varied else texts[0]
        shuffled = tuple(self.generator.sample(options, len(options)))
        return GeometryQuestion(
            self.room.scene_id, self.rules, self.kind, text.format(**fields), truth, shuffled, self.ids(objects)
        )

    def made(self, questions: Sequence[GeometryQuestion], reasons: Mapping[str, int]) -> Made:
        """Return the questions with the counts of what was dropped."""
        return Made(
            tuple(questions), Counter({(self.kind, reason): count for reason, count in reasons.items() if count})
        )


class Ask(Protocol):
    """What makes the questions of one kind; its fields are the limits that ``rules.yaml`` gives."""

    def made(self, asking: Asking) -> Made:
        """Return the questions, and what was dropped by reason."""
        ...
