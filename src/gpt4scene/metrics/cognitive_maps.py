"""Cognitive maps: a room on a grid of 10 x 10 as a model draws it in JSON, compared with the true one.

Source: the rules of MindCube's scorer (mll-lab-nu/MindCube @6d8fd9a, ``src/evaluation``), stated anew.
Places are (x, y), and y grows downwards.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

CognitiveMap: TypeAlias = Mapping[str, Any]
"""A map as it was read, in its long form (lists ``objects`` and ``views``) or its short one (name -> place)."""

_COMMENT = re.compile(r"//.*")
_BARE_KEY = re.compile(r"(?<!\w)(\w+)(\s*):")
_LAST_COMMA = re.compile(r",\s*([}\]])")
_PAIR = re.compile(r'"([^"]+)":\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}')

_SIDES = ("up", "right", "down", "left")
_ALIASES = {
    **{"top": "up", "north": "up", "bottom": "down", "south": "down", "east": "right", "west": "left"},
    **dict.fromkeys(("front", "into", "inside", "forward"), "inner"),
    **dict.fromkeys(("back", "out", "outside", "backward"), "outer"),
}
_FACINGS = {**{side: side for side in (*_SIDES, "inner", "outer")}, **_ALIASES}

NEAR, VERY_NEAR = 0.5, 0.2
"""Closer than the first, two things are inside or outside of each other; closer than the second, inside in any case."""

DIRECTION_SHARE, FACING_SHARE = 0.7, 0.3
"""What the two similarities weigh in the one of both."""


@dataclass(frozen=True)
class MapScore:
    """How a map compares with the true one, under the names of the public scorer.

    ``valid_format`` and ``valid_graph`` say how far it could be read. ``coverage`` is the share of the true names in
    it. The similarities, 0 to 1, and ``isomorphic`` (every true relation holds) are those of the ``best_rotation``.
    """

    valid_format: bool = False
    valid_graph: bool = False
    isomorphic: bool = False
    coverage: float = 0.0
    directional_similarity: float = 0.0
    facing_similarity: float = 0.0
    overall_similarity: float = 0.0
    best_rotation: str | None = None
    parsable_json: bool = True


def read_map(text: str) -> dict[str, Any] | None:
    """Return the map in an answer: the JSON from its first ``{`` to its last ``}``; ``None`` where there is none.

    JSON that can't be read is mended (comments, bare keys, commas too many); failing that, the pairs in it are taken.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    found = text[start : end + 1]
    try:
        return _loaded(found)
    except json.JSONDecodeError:
        pass
    except (ValueError, RecursionError):  # numbers or depths that Python refuses
        return None
    try:
        return _loaded(_mended(re.sub(r"[\n\r\t]", " ", _COMMENT.sub("", found))))
    except (ValueError, RecursionError):
        return _pairs(found) or None


def _loaded(text: str) -> dict[str, Any]:
    return json.loads(text)


def _mended(text: str) -> str:
    """Return ``text`` with quotes around its bare keys and without commas before a closing bracket."""
    return _LAST_COMMA.sub(r"\1", _BARE_KEY.sub(r'"\1"\2:', text))


def _pairs(text: str) -> dict[str, Any]:
    """Return the ``"name": {...}`` pairs of a text that is no JSON as a whole."""
    found = {}
    for name, inside in _PAIR.findall(text):
        try:
            found[name] = _loaded(_mended("{" + inside + "}"))
        except (ValueError, RecursionError):
            continue
    return found


@dataclass(frozen=True)
class _Thing:
    """Where one name stands (the third coordinate, the height, is left out of account) and faces, if anywhere."""

    place_3: np.ndarray
    facing: str | None


def compare_maps(guess: CognitiveMap | None, truth: CognitiveMap | None) -> MapScore | None:
    """Return how ``guess`` compares with ``truth``; ``None`` where one of them is absent or empty: it counts nowhere.

    Six turns of the guess are tried, and the best counts; the guess may name things that the truth does not know.
    """
    if not guess or not truth or not isinstance(guess, Mapping) or not isinstance(truth, Mapping):
        return None
    if not _is_long(guess):
        guess = {name: value[0] if isinstance(value, list) and value else value for name, value in guess.items()}
    if not (_is_valid(guess) and _is_valid(truth)):
        return MapScore()
    things, true_things = _things(guess), _things(truth)
    if not things or not true_things:
        return MapScore(valid_format=True)
    names = list(true_things)
    if "views" not in guess and "objects" in truth:
        names = list(dict.fromkeys(one["name"] for one in truth["objects"]))
    common = [name for name in names if name in things]
    if not common:
        return MapScore(valid_format=True, valid_graph=True)
    with np.errstate(invalid="ignore"):  # a model may write Infinity for a place
        return _best_turn(things, true_things, names, common)


def _best_turn(
    things: Mapping[Any, _Thing], true_things: Mapping[Any, _Thing], names: list[Any], common: list[Any]
) -> MapScore:
    """Return the score of the first turn with the highest similarity; one of 0 is no turn."""
    pairs = [(one, other) for one in common for other in common if one != other]
    true_relations = {pair: _relation(true_things[pair[0]], true_things[pair[1]]) for pair in pairs}
    asked = [pair for pair in pairs if true_relations[pair] is not None]
    facing = [name for name in common if true_things[name].facing]
    best = MapScore(valid_format=True, valid_graph=True, coverage=len(common) / len(names))
    for turn, matrix_33, facings in _TURNS:
        turned = {name: _turned(things[name], matrix_33, facings) for name in common}
        relations = {(one, other): _relation(turned[one], turned[other]) for one, other in pairs}
        met = sum(relations[pair] == true_relations[pair] for pair in asked)
        directional = met / len(asked) if asked else 0.0
        faced = sum(turned[name].facing == true_things[name].facing for name in facing)
        faces = faced / len(facing) if facing else 1.0
        overall = DIRECTION_SHARE * directional + FACING_SHARE * faces
        if overall > best.overall_similarity:
            best = MapScore(
                valid_format=True,
                valid_graph=True,
                isomorphic=len(common) == len(names) and relations == true_relations,
                coverage=best.coverage,
                directional_similarity=directional,
                facing_similarity=faces,
                overall_similarity=overall,
                best_rotation=turn,
            )
    return best


def _is_long(value: CognitiveMap) -> bool:
    return isinstance(value.get("objects"), list)


def _is_valid(value: CognitiveMap) -> bool:
    """Return whether every thing of a map has a place that can be read, and a facing that is known or absent."""
    if not _is_long(value):
        return all(_is_thing(one) for one in value.values())
    views = value.get("views", [])
    if not isinstance(views, list):
        return False
    named = [*value["objects"], *views]
    return all(_is_thing(one) and isinstance(one.get("name", ()), str | int | float | None) for one in named)


def _is_thing(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    place = value.get("position")
    if not isinstance(place, list) or len(place) < 2:
        return False
    facing = value.get("facing")
    first = facing[0] if isinstance(facing, list) and facing else facing
    known = facing is None or facing == [] or (isinstance(first, str) and first.lower().strip() in _FACINGS)
    return known and None not in (_number(place[0]), _number(place[1]))


def _number(value: Any) -> float | None:
    """Return ``value`` as a number, also where it is a text that reads as one; ``None`` for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _things(value: CognitiveMap) -> dict[Any, _Thing]:
    """Return the things of a valid map by name. A short map whose key is ``objects`` holds none, as publicly."""
    if _is_long(value):
        return {one["name"]: _thing(one) for one in (*value["objects"], *value.get("views", ()))}
    return {} if "objects" in value else {name: _thing(one) for name, one in value.items()}


def _thing(value: Mapping[str, Any]) -> _Thing:
    facing = value.get("facing")
    first = facing[0] if isinstance(facing, list) and facing else facing
    x, y = (float(number) for number in value["position"][:2])
    return _Thing(np.array([x, y, 0.0]), _FACINGS[first.lower().strip()] if isinstance(first, str) else None)


def _relation(one: _Thing, other: _Thing) -> str | None:
    """Return where ``other`` is, seen from ``one``: a side of the map, or inner or outer where they nearly meet."""
    dx, dy, _ = (other.place_3 - one.place_3).tolist()
    distance = math.sqrt(dx * dx + dy * dy)
    if distance < NEAR:
        if one.facing == "inner" or other.facing == "outer":
            return "inner"
        if one.facing == "outer" or other.facing == "inner":
            return "outer"
        return "inner" if distance < VERY_NEAR else None
    if abs(dx) > abs(dy):
        return "right" if dx > 0 else "left"
    return "down" if dy > 0 else "up"


def _turned(thing: _Thing, matrix_33: np.ndarray, facings: Mapping[str, str]) -> _Thing:
    """Return ``thing`` under a turn; what the turn lifts off the map is lost."""
    return _Thing(matrix_33 @ thing.place_3, facings.get(thing.facing, thing.facing) if thing.facing else None)


def _about_z(quarters: int) -> tuple[str, np.ndarray, dict[str, str]]:
    angle = math.radians(90 * quarters)
    cosine, sine = math.cos(angle), math.sin(angle)  # not rounded: ties of a turned map are decided by the last bit
    matrix_33 = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    facings = {side: _SIDES[(place + quarters) % 4] for place, side in enumerate(_SIDES)}
    return f"z_rot_{90 * quarters}", matrix_33, facings


def _turns() -> Iterable[tuple[str, np.ndarray, dict[str, str]]]:
    """Return name, matrix and new facings of each turn."""
    yield "identity", np.eye(3), {}
    yield from map(_about_z, (1, 2, 3))
    x_facings = {"up": "inner", "down": "outer", "inner": "down", "outer": "up"}
    yield "x_rot_90", np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]), x_facings
    y_facings = {"left": "inner", "right": "outer", "inner": "right", "outer": "left"}
    yield "y_rot_90", np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]), y_facings


_TURNS = tuple(_turns())
