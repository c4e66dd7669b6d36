"""Rules by name, read from ``rules.yaml``, and all questions that they make of a room."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt4scene.errors import ConfigError
from gpt4scene.geometry.ask_counts import CountOne, CountTwo
from gpt4scene.geometry.ask_directions import Direction
from gpt4scene.geometry.ask_distances import NearestOfFour, PairDistance
from gpt4scene.geometry.ask_sizes import FloorArea, LongestSide
from gpt4scene.geometry.asking import Ask, Asking, read_data
from gpt4scene.geometry.boxes import Boxes, box_distances
from gpt4scene.geometry.measures import Measures
from gpt4scene.geometry.question import Made, together
from gpt4scene.geometry.room import Room, plain
from gpt4scene.geometry.sampled import sampled_distances

ASKS: Mapping[str, Callable[..., Ask]] = {
    "count": CountOne,
    "count_two": CountTwo,
    "size": LongestSide,
    "area": FloorArea,
    "distance": PairDistance,
    "nearest": NearestOfFour,
    "direction": Direction,
}
UNCLEAR = "a name that also fits objects of another name"
DISTANCES: Mapping[str, Callable[[Boxes], np.ndarray]] = {"exact": box_distances, "sampled": sampled_distances}


@dataclass(frozen=True)
class Kind:
    """One kind of question of a set of rules: its public name, what makes it, how many a room (None: all)."""

    name: str
    ask: Ask
    most: int | None


@dataclass(frozen=True)
class GeometryRules:
    """A named set of rules: what it says of itself, how distances are measured, and its kinds of questions.

    ``clear_names`` leaves out labels that also fit objects of another label (``names_of_others``). ``path_kinds`` are
    the kinds that the benchmark has beside these, which need the camera's path or what the frames show.
    """

    name: str
    says: str
    distances: Callable[[Boxes], np.ndarray]
    clear_names: bool
    path_kinds: tuple[str, ...]
    kinds: Mapping[str, Kind]


def read_rules() -> dict[str, GeometryRules]:
    """Return all rules by name, the default first."""
    lists = read_data("labels.yaml")
    return {
        name: GeometryRules(
            name,
            entry["says"],
            DISTANCES[entry["distances"]],
            entry["clear_names"],
            tuple(entry["path_kinds"]),
            {kind: _kind(kind, limits, lists) for kind, limits in entry["kinds"].items()},
        )
        for name, entry in read_data("rules.yaml").items()
    }


def _kind(name: str, limits: Mapping[str, Any], lists: Mapping[str, Any]) -> Kind:
    values = dict(limits)
    ask, most = ASKS[values.pop("ask")], values.pop("most")
    for key in ("left_out", "common"):
        if key in values:
            values[key] = frozenset(plain(label) for some in values[key] for label in _flat(lists[some]))
    if "usual" in values:
        values["usual"] = {plain(label): tuple(limit) for label, limit in lists[values["usual"]].items()}
    if "thinned" in values:
        values["thinned"] = tuple(tuple(limit) for limit in values["thinned"])
    return Kind(name, ask(**values), most)


def _flat(labels: list) -> list[str]:
    return [label for item in labels for label in (item if isinstance(item, list) else [item])]


def rules_named(name: str) -> GeometryRules:
    """Return the rules called ``name``, or raise ``ConfigError`` naming those there are."""
    known = read_rules()
    if name not in known:
        raise ConfigError(f"there are no rules '{name}' for questions about rooms; there are {', '.join(known)}")
    return known[name]


def questions_of(
    room: Room,
    rules: GeometryRules,
    seed: int = 0,
    per_kind: int | None = None,
    kinds: Collection[str] | None = None,
    excluded: Mapping[str, str] | None = None,
    varied: bool = False,
) -> Made:
    """Return the questions about ``room``, and how many candidates were dropped, by kind and reason.

    ``per_kind`` takes the place of the rules' own number. ``kinds`` names the kinds wanted (None: all). ``excluded``
    maps labels that must not be asked about to the reason; a kind of question counts each such label once. ``varied``
    draws among wordings. The same room, rules and seed give the same questions, whatever other rooms or kinds are asked
    for.
    """
    if per_kind is not None and per_kind < 0:
        raise ConfigError(f"per_kind is {per_kind}; give 0 or more questions a kind")
    left_out = {label: UNCLEAR for label in (names_of_others(room) if rules.clear_names else ())}
    left_out |= {label: reason for label, reason in (excluded or {}).items() if label in room.by_label}
    measures, wordings = Measures(room, rules.distances), read_data("wordings.yaml")
    parts = []
    for kind in rules.kinds.values() if kinds is None else wanted_kinds(rules, kinds):
        generator = random.Random(f"{seed} {room.scene_id} {kind.name}")
        most = kind.most if per_kind is None else min(per_kind, 1) if isinstance(kind.ask, FloorArea) else per_kind
        asking = Asking(measures, rules.name, kind.name, most, generator, wordings, varied, frozenset(left_out))
        if not isinstance(kind.ask, FloorArea):
            parts.append(Made((), Counter((kind.name, reason) for reason in left_out.values())))
        parts.append(kind.ask.made(asking))
    return together(parts)


def names_of_others(room: Room) -> list[str]:
    """Return the labels that also fit objects of another label: ``chair`` where there is an ``office chair``.

    Whoever looks at the room cannot tell which chairs the question means. ``chair`` and ``chairs`` fit each other.
    """
    words = {label: plain(label).split() for label in room.by_label}
    return [
        label
        for label, some in words.items()
        if any(_fits(some, other) for name, other in words.items() if name != label)
    ]


def _fits(some: list[str], other: list[str]) -> bool:
    """Whether the words of a name are the last ones of another, but for the plural of the very last."""
    end = other[-len(some) :]
    one, two = some[-1], end[-1]
    same = one == two or any(one + ending == two or two + ending == one for ending in ("s", "es"))
    return same and end[:-1] == some[:-1]


def wanted_kinds(rules: GeometryRules, names: Collection[str]) -> list[Kind]:
    """Return the kinds called ``names`` in the order of the rules, or raise ``ConfigError`` for one it lacks."""
    unknown = sorted(set(names) - set(rules.kinds))
    if unknown:
        known = ", ".join(rules.kinds)
        raise ConfigError(f"rules '{rules.name}' have no kind of question '{unknown[0]}'; they have {known}")
    return [kind for kind in rules.kinds.values() if kind.name in names]
