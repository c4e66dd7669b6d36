"""All questions about one prepared scene: what boxes and outline say, in which order things appear, routes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from gpt4scene.errors import ConfigError
from gpt4scene.geometry.appearance import KIND as APPEARANCE
from gpt4scene.geometry.appearance import appearance_questions
from gpt4scene.geometry.ask_counts import CountOne, CountTwo
from gpt4scene.geometry.ask_sizes import FloorArea
from gpt4scene.geometry.prepared import prepared_room
from gpt4scene.geometry.question import Made, together
from gpt4scene.geometry.routes import KIND as ROUTE
from gpt4scene.geometry.routes import route_questions
from gpt4scene.geometry.rules import GeometryRules, names_of_others, questions_of, rules_named

Refer = Literal["label", "number"]
OBJECTS = "objects"
"""What objects that are not asked about are counted under, in place of a kind of question."""
MOST = 6
"""Questions of a kind and scene that no rules give a number for."""
WITHOUT_NUMBERS = (CountOne, CountTwo, FloorArea)
"""Kinds of questions in which objects have no numbers: they ask for all of a kind, or for none."""


@dataclass(frozen=True)
class Wanted:
    """Which questions are made: by which rules, how many of a kind and scene (0: as many as the rules say).

    ``refer`` says how objects are named: by ``label``, which then only one object may have, or by label and
    ``number``, so that every marked object can be asked about. ``varied`` draws among wordings.
    """

    rules: GeometryRules
    seed: int = 0
    per_kind: int = 0
    refer: Refer = "label"
    varied: bool = False

    def __post_init__(self) -> None:
        lists = [kind.name for kind in self.rules.kinds.values() if getattr(kind.ask, "left_out", ())]
        if self.refer == "number" and lists:
            raise ConfigError(
                f"rules '{self.rules.name}' go by the names of objects ({lists[0]}), which numbers would hide; name "
                "objects by --refer label, or take --rules vsi"
            )


def wanted(rules: str, seed: int = 0, per_kind: int = 0, refer: Refer = "label", varied: bool = False) -> Wanted:
    """Return what is wanted by the rules called ``rules``; ``ConfigError`` for unknown ones."""
    return Wanted(rules_named(rules), seed, per_kind, refer, varied)


def scene_questions(content: Mapping[str, Any], source: str, what: Wanted) -> Made:
    """Return the questions about the scene that a ``scene.json`` describes, and what was dropped, by kind and reason.

    The same scene and ``what`` give the same questions. Options are not balanced: that is done over all scenes.
    """
    by_label = prepared_room(content, source)
    named = prepared_room(content, source, numbered=True) if what.refer == "number" else by_label
    most = what.per_kind or MOST
    plain = [kind.name for kind in what.rules.kinds.values() if isinstance(kind.ask, WITHOUT_NUMBERS)]
    others = [name for name in what.rules.kinds if name not in plain]
    per_kind = what.per_kind or None
    parts = [
        questions_of(one.room, what.rules, what.seed, per_kind, kinds, varied=what.varied)
        for one, kinds in ((by_label, plain), (named, others))
    ]
    room, unclear = named.room, names_of_others(named.room) if what.rules.clear_names else []
    if APPEARANCE in what.rules.path_kinds:
        drawn = random.Random(f"{what.seed} {room.scene_id} {APPEARANCE}")
        parts.append(appearance_questions(room, drawn, most, what.rules.name, unclear, what.varied))
    if ROUTE in what.rules.path_kinds:
        drawn = random.Random(f"{what.seed} {room.scene_id} {ROUTE}")
        parts.append(route_questions(room, named.floor, drawn, most, what.rules.name, unclear, what.varied))
    made = together(parts)
    dropped = Counter({(OBJECTS, reason): count for reason, count in by_label.dropped.items()})
    return replace(made, dropped=made.dropped + dropped)
