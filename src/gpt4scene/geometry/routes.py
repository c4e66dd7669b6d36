"""Routes: walk from object to object in straight lines; the question leaves the turns out.

Somebody stands beside an object and faces another. They turn, go forward until they are at an object, turn again, and
so on to the goal. A route is asked only where its turns are the same from wherever one may stand beside the start,
where every way is free floor joined to the camera's own way, and where no turn is near the limit of another.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from gpt4scene.geometry.path_wordings import worded
from gpt4scene.geometry.question import GeometryQuestion, Made
from gpt4scene.geometry.room import Room, RoomObject
from gpt4scene.geometry.walking import WalkMap, footprint

KIND = "route_planning"
BLANK = "[please fill in]"
LEFT, RIGHT, BACK = "turn left", "turn right", "turn back"
TURNS = (LEFT, RIGHT, BACK)
AHEAD, BEHIND = 30.0, 135.0
"""Degrees: less than the first is no turn, the second and more is turning back, what lies between is left or right."""
CLEAR = 15.0
"""Degrees by which turns between the middles of objects keep away from these limits."""
CLEAR_BESIDE = 5.0
"""The same for turns from wherever somebody may stand beside an object."""
MOST_CORNERS = 1
"""Corners of an object seen from above for which one would turn otherwise than for its middle."""
LEAST_WAY = 1.0
"""Metres between the middles of two objects that one goes between or looks from one to the other."""
OPTIONS = 4
STARTS = 24
"""Places beside the start from which a route is tried."""
TRIED = 2000
"""Routes that are drawn in one room."""


@dataclass(frozen=True)
class Route:
    """A route by places of objects in their room: start, faced object, and the objects gone to, the last the goal."""

    start: int
    faced: int
    stops: tuple[int, ...]
    turns: tuple[str, ...]


def turn_of(degrees: float) -> str | None:
    """Return the turn by so many degrees to the left (-180 to 180), or None for going on ahead."""
    away = abs(degrees)
    return None if away < AHEAD else BACK if away >= BEHIND else LEFT if degrees > 0 else RIGHT


def is_clear(degrees: float, least: float = CLEAR) -> bool:
    """Whether a turn is ``least`` degrees away from the limit of another."""
    return min(abs(abs(degrees) - AHEAD), abs(abs(degrees) - BEHIND)) >= least


def degrees_between(heading_2: np.ndarray, way_2: np.ndarray) -> float:
    """Return the turn from one direction to another in degrees, left positive, -180 to 180."""
    across = heading_2[0] * way_2[1] - heading_2[1] * way_2[0]
    return float(np.degrees(np.arctan2(across, float(heading_2 @ way_2))))


class Walker:
    """Finds whether routes of one room can be walked, and with which turns."""

    def __init__(self, room: Room, floor: WalkMap) -> None:
        self.room, self.floor = room, floor
        self._ways: dict[tuple[int, int], np.ndarray] = {}

    @cached_property
    def starts(self) -> dict[int, np.ndarray]:
        """Object -> places beside it, of the objects whose name no other has and beside which one can stand."""
        found = {place: self.floor.beside(self.room.objects[place], STARTS) for place in self.room.single_places}
        return {place: spots for place, spots in found.items() if len(spots)}

    def _first_ways(self, start: int, stop: int) -> np.ndarray:
        key = (start, stop)
        if key not in self._ways:
            self._ways[key] = self.floor.ways_to(self.starts[start], self.room.objects[stop])
        return self._ways[key]

    def walk(self, start: int, faced: int, stops: tuple[int, ...]) -> Route | str:
        """Return the route with its turns, or why it can't be asked."""
        objects = [self.room.objects[place] for place in (start, faced, *stops)]
        middles = [item.center_3[:2] for item in objects]
        turns = self._turns_between(objects)
        if isinstance(turns, str):
            return turns
        spots = self.starts[start]
        ends = self._first_ways(start, stops[0])
        open_ = ~np.isnan(ends[:, 0])
        if open_.mean() < 0.5:
            return "way not free"
        spots, ends = spots[open_], ends[open_]
        headings = middles[1] - spots
        for number, turn in enumerate(turns):
            ways = middles[2 + number] - spots
            degrees = [degrees_between(heading, way) for heading, way in zip(headings, ways, strict=True)]
            if any(turn_of(one) != turn or not is_clear(one, CLEAR_BESIDE) for one in degrees):
                return "turn depends on where one stands"
            if number + 1 == len(turns):
                break
            headings, spots = ways, ends
            ends = self.floor.ways_to(spots, objects[3 + number])
            if np.isnan(ends).any():
                return "way not free"
        return Route(start, faced, stops, turns)

    def _turns_between(self, objects: list[RoomObject]) -> tuple[str, ...] | str:
        """The turns of who walks from middle to middle, or why they are in doubt."""
        start, faced, *stops = (item.center_3[:2] for item in objects)
        corners = [start, *stops]
        ways = [one - other for one, other in zip(corners[1:], corners[:-1], strict=True)]
        if min(float(np.hypot(*way)) for way in (faced - start, *ways)) < LEAST_WAY:
            return "objects too near"
        headings = [faced - start, *ways[:-1]]
        degrees = [degrees_between(heading, way) for heading, way in zip(headings, ways, strict=True)]
        turns = [turn_of(one) for one in degrees]
        if None in turns:
            return "straight on at a stop"
        if not all(map(is_clear, degrees)):
            return "turn near a limit"
        for place, heading, turn, item in zip(corners, headings, turns, objects[2:], strict=False):
            reach = [turn_of(degrees_between(heading, corner - place)) for corner in footprint(item)]
            if sum(one != turn for one in reach) > MOST_CORNERS:
                return "object reaches into another turn"
        return tuple(turn for turn in turns if turn is not None)


def route_questions(
    room: Room,
    floor: WalkMap | None,
    generator: random.Random,
    most: int,
    rules: str = "vsi",
    left_out: Collection[str] = (),
    varied: bool = False,
) -> Made:
    """Return up to ``most`` questions of two and three turns, evenly; routes that can't be asked are counted.

    Names that are ``left_out`` are not on any route. ``varied`` draws among wordings.
    """
    dropped: Counter[tuple[str, str]] = Counter()
    if floor is None:
        dropped[KIND, "scene without a map of its floor"] += 1
        return Made((), dropped)
    walker = Walker(room, floor)
    places = [place for place in sorted(walker.starts) if room.objects[place].label not in left_out]
    found: dict[int, list[Route]] = {2: [], 3: []}
    tried = set()
    for number in range(TRIED):
        length = 2 + number % 2
        if len(places) < length + 2 or len(found[length]) >= most:
            continue
        chosen = tuple(generator.sample(places, length + 2))
        if chosen in tried:
            continue
        tried.add(chosen)
        route = walker.walk(chosen[0], chosen[1], chosen[2:])
        if isinstance(route, str):
            dropped[KIND, route] += 1
        else:
            found[length].append(route)
    routes = _mixed(found[2], found[3], most)
    return Made(tuple(_question(room, route, generator, rules, varied) for route in routes), dropped)


def _mixed(short: list[Route], long: list[Route], most: int) -> list[Route]:
    """Up to ``most`` routes, half of each kind where there are as many, and none with the ends of another."""
    long_share = max(most // 2, most - len(short))
    chosen: list[Route] = []
    for routes, wanted in ((long, long_share), (short, most)):
        for route in routes:
            ends = {(one.start, one.stops[-1]) for one in chosen}
            if len(chosen) < wanted and (route.start, route.stops[-1]) not in ends:
                chosen.append(route)
    return chosen


def _question(room: Room, route: Route, generator: random.Random, rules: str, varied: bool) -> GeometryQuestion:
    def name(place: int) -> str:
        return room.objects[place].label

    steps = [line for stop in route.stops for line in (BLANK, f"Go forward until the {name(stop)}.")]
    listed = " ".join(f"{number}. {line}" for number, line in enumerate(steps, start=1))
    text = worded(
        KIND,
        generator,
        varied,
        start=name(route.start),
        faced=name(route.faced),
        goal=name(route.stops[-1]),
        turns=f"'{LEFT}', '{RIGHT}' or '{BACK}'",
        steps=listed,
    )
    wrong = [turns for turns in product(TURNS, repeat=len(route.turns)) if turns != route.turns]
    options = [", ".join(turns) for turns in (route.turns, *generator.sample(wrong, OPTIONS - 1))]
    generator.shuffle(options)
    objects = tuple(_ids(room.objects, (route.start, route.faced, *route.stops)))
    return GeometryQuestion(room.scene_id, rules, KIND, text, ", ".join(route.turns), tuple(options), objects)


def _ids(objects: tuple[RoomObject, ...], places: tuple[int, ...]) -> list[int]:
    return [objects[place].id for place in places]
