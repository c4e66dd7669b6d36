"""Floor plans: which pieces stand where in a synthetic room. Numbers only, no images yet.

Plan frame: origin on the floor in the middle of the room, x along its width, y along its depth, z up, metres.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from gpt4scene.demo.furniture import CLAY, COLOURS, GLASS, KINDS, LEAF, LIGHT, WOOD, Kind, Rgb

ALWAYS = ("bed", "sofa", "table", "desk", "cabinet", "bookshelf", "chair")
SOMETIMES = ("armchair", "refrigerator", "piano")
"""Classes that a room may lack."""
COUNTED = ("lamp", "plant", "stool")
"""Classes of which a room has one to four."""
UNIQUE = ALWAYS + SOMETIMES
"""Classes of which a room has one at most; each piece has a colour of its own in its room."""

_OWN_COLOUR: dict[str, Rgb] = {"lamp": LIGHT, "plant": LEAF, "stool": WOOD, "door": CLAY, "window": GLASS}
_SPACING = 0.12
_ATTEMPTS = 60


@dataclass(frozen=True)
class Piece:
    """One thing in the room: ``x, y`` is the middle of its footprint, ``turns`` quarter turns to the left.

    ``colour`` is a name that questions may use, or empty for classes that always look the same.
    """

    id: int
    label: str
    colour: str
    x: float
    y: float
    turns: int
    size: tuple[float, float, float]

    @property
    def rgb(self) -> Rgb:
        """The colour of the main parts."""
        return COLOURS[self.colour] if self.colour else _OWN_COLOUR[self.label]

    @property
    def half(self) -> np.ndarray:
        """Half the footprint along the room's x and y."""
        width, depth = self.size[:2] if self.turns % 2 == 0 else self.size[1::-1]
        return np.array([width, depth]) / 2

    @property
    def spot(self) -> np.ndarray:
        """Middle of the footprint."""
        return np.array([self.x, self.y])

    @property
    def front(self) -> np.ndarray:
        """Unit vector from its back to its front."""
        return np.array([(0, 1), (-1, 0), (0, -1), (1, 0)][self.turns % 4], dtype=float)

    def gap(self, other: Piece) -> float:
        """Distance between the two footprints, 0 where they touch or overlap."""
        return float(np.hypot(*np.maximum(np.abs(self.spot - other.spot) - self.half - other.half, 0)))


@dataclass(frozen=True)
class RoomPlan:
    """A room: size, pieces in the order of their ids, colours, and how its recording is turned and shifted.

    ``yaw`` (radians) and ``shift`` take the plan frame to the world that cameras and mesh are written in, so that a
    reader that forgets the axis alignment goes wrong visibly.
    """

    scene_id: str
    width: float
    depth: float
    pieces: tuple[Piece, ...]
    wall: Rgb
    floor: Rgb
    yaw: float
    shift: tuple[float, float, float]
    height: float = 2.5

    def of(self, label: str) -> list[Piece]:
        """The pieces of one class."""
        return [piece for piece in self.pieces if piece.label == label]

    def only(self, label: str) -> Piece:
        """The piece of a class that every room has once."""
        (piece,) = self.of(label)
        return piece

    @property
    def unique(self) -> list[Piece]:
        """The pieces that have a colour of their own."""
        return [piece for piece in self.pieces if piece.label in UNIQUE]

    def with_ids_exchanged(self, first: int, second: int) -> RoomPlan:
        """The same room where the pieces ``first`` and ``second`` have each other's id."""
        new = {first: second, second: first}
        pieces = [replace(piece, id=int(new.get(piece.id, piece.id))) for piece in self.pieces]
        return replace(self, pieces=tuple(sorted(pieces, key=lambda piece: piece.id)))

    def with_colours_exchanged(self, first: int, second: int) -> RoomPlan:
        """The same room where the pieces with the ids ``first`` and ``second`` have each other's colour."""
        colours = {first: self.pieces[second].colour, second: self.pieces[first].colour}
        pieces = (replace(piece, colour=colours.get(piece.id, piece.colour)) for piece in self.pieces)
        return replace(self, pieces=tuple(pieces))

    @property
    def align(self) -> np.ndarray:
        """4x4, world to plan frame."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        to_world = np.eye(4)
        to_world[:2, :2] = [[cosine, -sine], [sine, cosine]]
        to_world[:3, 3] = self.shift
        return np.linalg.inv(to_world)


def draw_plan(scene_id: str, random: np.random.Generator, number: int = 0) -> RoomPlan:
    """Return a random furnished room without overlaps; ``number`` sets the paint of walls and floor."""
    while True:
        plan = _try_plan(scene_id, random, number)
        if plan is not None:
            return plan


def _tint(hue: float, saturation: float, value: float) -> Rgb:
    """Return a colour from hue (whole turns), saturation and value (0 to 1)."""
    r, g, b = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return (r, g, b)


def _try_plan(scene_id: str, random: np.random.Generator, number: int) -> RoomPlan | None:
    width, depth = (round(float(v), 2) for v in (random.uniform(5.6, 6.8), random.uniform(4.8, 5.8)))
    labels = [*ALWAYS, *(label for label in SOMETIMES if random.random() < 0.72)]
    colours = list(random.permutation(sorted(COLOURS)))
    order = ["door", "window", *sorted(labels, key=lambda name: -KINDS[name].size[0] * KINDS[name].size[1])]
    order += [label for label in COUNTED for _ in range(int(random.integers(1, 5)))]
    placed: list[Piece] = []
    for label in order:
        colour = str(colours.pop()) if label in UNIQUE else ""
        piece = _place(label, colour, width, depth, placed, random)
        if piece is None:
            return None
        placed.append(piece)
    ids = random.permutation(len(placed))
    numbered = (replace(piece, id=int(number)) for piece, number in zip(placed, ids, strict=True))
    pieces = sorted(numbered, key=lambda piece: piece.id)
    return RoomPlan(
        scene_id,
        width,
        depth,
        tuple(pieces),
        wall=_tint(0.08 + 0.618 * number, 0.38, 0.9),
        floor=_tint(0.55 + 0.755 * number, 0.3, 0.42 + 0.36 * (0.37 * number % 1)),
        yaw=float(random.uniform(-np.pi, np.pi)),
        shift=tuple(float(v) for v in random.uniform(-2, 2, 3)),  # type: ignore[arg-type]
    )


def _place(
    label: str, colour: str, width: float, depth: float, placed: list[Piece], random: np.random.Generator
) -> Piece | None:
    """Try random spots for one more piece; return None when the room is too full for it."""
    kind = KINDS[label]
    for _ in range(_ATTEMPTS):
        piece = _spot(kind, colour, width, depth, random)
        if all(_clear(piece, other) for other in placed):
            return piece
    return None


def _spot(kind: Kind, colour: str, width: float, depth: float, random: np.random.Generator) -> Piece:
    turns = int(random.integers(4))
    room = np.array([width, depth]) / 2
    half = np.array(kind.size[:2] if turns % 2 == 0 else kind.size[1::-1]) / 2
    flush = kind.label in ("door", "window")
    if kind.wall:
        free = room - half - (0.3 if flush else 0.05)
        spot = random.uniform(-free, free)
        axis = 1 if turns % 2 == 0 else 0
        sign = (-1, 1, 1, -1)[turns]
        spot[axis] = sign * (room[axis] - half[axis] - (0 if flush else 0.03))
    else:
        reach = 0.35 if kind.label == "table" else 1.0
        spot = random.uniform(-1, 1, 2) * (room - half - 0.08) * reach
    return Piece(-1, kind.label, colour, float(spot[0]), float(spot[1]), turns, kind.size)


def _clear(piece: Piece, other: Piece) -> bool:
    """True where the two leave room to each other; nothing tall hides the door or the window."""
    for opening, thing in ((piece, other), (other, piece)):
        if opening.label == "door":
            ahead = np.abs(thing.spot - opening.spot - opening.front * 0.5) - thing.half - opening.half
            reach = np.abs(opening.front) * 0.45
            if (ahead < reach).all():
                return False
        if opening.label == "window" and thing.size[2] < 0.95:
            return True
    return piece.gap(other) >= _SPACING
