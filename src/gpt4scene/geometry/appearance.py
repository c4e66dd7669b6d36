"""In which order the shown frames show kinds of objects for the first time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from itertools import combinations, permutations

from gpt4scene.geometry.path_wordings import worded
from gpt4scene.geometry.prepared import LEAST_SHARE
from gpt4scene.geometry.question import GeometryQuestion, Made
from gpt4scene.geometry.room import Room

KIND = "obj_appearance_order"
NAMES, OPTIONS = 4, 4
LEAST_SECONDS = 1.0
"""Seconds between two first appearances, where the frames' times are known."""
MOST_TRIED = 5000
"""Sets of names that are looked at in one room."""


def first_seen(room: Room) -> dict[str, tuple[int, int]]:
    """Return name -> places of the frame with its first glimpse and of the first frame that shows it clearly.

    Several objects of a name count as one. Names that no frame shows clearly are left out.
    """
    glimpse: dict[str, int] = {}
    clear: dict[str, int] = {}
    names = {item.id: item.label for item in room.objects}
    for place, sighting in enumerate(room.sightings):
        for number, share in sighting.shares.items():
            glimpse.setdefault(names[number], place)
            if share >= LEAST_SHARE:
                clear.setdefault(names[number], place)
    return {name: (glimpse[name], place) for name, place in clear.items()}


def in_order(room: Room, first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether what is seen ``first`` is clearly there in an earlier frame than any glimpse of the ``second``."""
    if not first[1] < second[0]:
        return False
    before, after = room.sightings[first[1]].seconds, room.sightings[second[0]].seconds
    return before is None or after is None or after - before >= LEAST_SECONDS


def appearance_questions(
    room: Room,
    generator: random.Random,
    most: int,
    rules: str = "vsi",
    left_out: Collection[str] = (),
    varied: bool = False,
) -> Made:
    """Return up to ``most`` questions; sets of four names whose order is in doubt are counted.

    Wrong options are other orders of the same names. Names that are ``left_out`` are not asked about.
    ``varied`` draws among wordings.
    """
    seen = {name: places for name, places in first_seen(room).items() if name not in left_out}
    order = sorted(seen, key=lambda name: (seen[name][0], seen[name][1], name))
    sets = list(combinations(order, NAMES)) if len(order) <= 18 else []
    if not sets and len(order) >= NAMES:
        drawn = {tuple(sorted(generator.sample(range(len(order)), NAMES))) for _ in range(MOST_TRIED)}
        sets = [tuple(order[place] for place in one) for one in sorted(drawn)]
    generator.shuffle(sets)
    dropped: Counter[tuple[str, str]] = Counter()
    questions: list[GeometryQuestion] = []
    for names in sets[:MOST_TRIED]:
        if not all(in_order(room, seen[one], seen[other]) for one, other in zip(names, names[1:], strict=False)):
            dropped[KIND, "first seen in one frame"] += 1
        elif len(questions) < most:
            questions.append(_question(room, names, generator, rules, varied))
    return Made(tuple(questions), dropped)


def _question(
    room: Room, names: tuple[str, ...], generator: random.Random, rules: str, varied: bool
) -> GeometryQuestion:
    wrong = [order for order in permutations(names) if order != names]
    options = [", ".join(order) for order in (names, *generator.sample(wrong, OPTIONS - 1))]
    generator.shuffle(options)
    asked = list(names)
    while tuple(asked) == names:
        generator.shuffle(asked)
    text = worded(KIND, generator, varied, names=", ".join(asked))
    objects = tuple(room.objects[place].id for name in asked for place in room.by_label[name])
    return GeometryQuestion(room.scene_id, rules, KIND, text, ", ".join(names), tuple(options), objects)
