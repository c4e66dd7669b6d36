"""Questions about a floor plan, with answers read off the plan.

The same wordings come back in every room and the answers differ from room to room, so a model that does not look
can't know them. ``balance.py`` chooses rooms in which no answer to a wording is common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpt4scene.demo.plan import COUNTED, SOMETIMES, Piece, RoomPlan

NUMBERS = ("zero", "one", "two", "three", "four")
"""Words, because the published ScanQA score turns digits of the answer into words but not those of the reference."""
ASKED_COLOURS = ("red", "blue", "yellow", "turquoise")
"""Colours that questions name; they ask for all of them."""
_CLEAR = 0.2
"""Metres by which the nearest piece must be nearer than the next, so that the answer is beyond doubt."""


@dataclass(frozen=True)
class Viewpoint:
    """Where somebody stands (metres, plan frame), which way they look (unit vector), and how that is said."""

    words: str
    spot: np.ndarray
    facing: np.ndarray

    def bearing(self, piece: Piece) -> float:
        """Return the angle in degrees from ahead to the piece, left positive, -180 to 180."""
        way = piece.spot - self.spot
        left = np.array([-self.facing[1], self.facing[0]])
        return float(np.degrees(np.arctan2(way @ left, way @ self.facing)))

    def distance(self, piece: Piece) -> float:
        """Return the distance in metres to the edge of the piece's footprint."""
        return float(np.hypot(*np.maximum(np.abs(piece.spot - self.spot) - piece.half, 0)))


@dataclass(frozen=True)
class Asked:
    """One question of a room: ``kind`` is qa, situated, one (a single object) or several (any number of objects).

    ``answer`` is a word for the first two kinds; ``objects`` are ids. ``words`` is the question or the description.
    """

    kind: str
    words: str
    answer: str = ""
    objects: tuple[int, ...] = ()
    viewpoint: Viewpoint | None = None
    eval_type: str = ""

    @property
    def wording(self) -> tuple[str, str, str]:
        """What the question has in common with the same question about another room."""
        return (self.kind, self.viewpoint.words if self.viewpoint else "", self.words)

    @property
    def truth(self) -> str | tuple[int, ...]:
        """The answer as a value that can be counted."""
        return self.answer or self.objects


def nearest(pieces: list[Piece], distance) -> Piece | None:
    """Return the piece with the least ``distance(piece)``, or None where two are equally near or none is there."""
    ranked = sorted((distance(piece), piece.id, piece) for piece in pieces)
    if not ranked or (len(ranked) > 1 and ranked[1][0] - ranked[0][0] < _CLEAR):
        return None
    return ranked[0][2]


def questions(plan: RoomPlan) -> list[Asked]:
    """Return every question that can be asked about ``plan`` without doubt about its answer."""
    asked = [*_qa(plan), *_single(plan), *_several(plan)]
    for viewpoint in viewpoints(plan):
        asked += _situated(plan, viewpoint)
    return asked


def _qa(plan: RoomPlan) -> list[Asked]:
    asked = []
    for piece in plan.unique:
        asked.append(Asked("qa", f"What color is the {piece.label}?", piece.colour, (piece.id,)))
        if piece.colour in ASKED_COLOURS:
            asked.append(Asked("qa", f"Which piece of furniture is {piece.colour}?", piece.label, (piece.id,)))
    for label in COUNTED:
        found = plan.of(label)
        ids = tuple(piece.id for piece in found)
        asked.append(Asked("qa", f"How many {label}s are in the room?", NUMBERS[len(found)], ids))
    for label in ("door", "window"):
        close = nearest(plan.unique, plan.only(label).gap)
        if close:
            words = f"What color is the piece of furniture closest to the {label}?"
            asked.append(Asked("qa", words, close.colour, (close.id,)))
    return asked


def _single(plan: RoomPlan) -> list[Asked]:
    asked = []
    for piece in [*plan.unique, plan.only("door"), plan.only("window")]:
        asked.append(Asked("one", f"this is the only {piece.label} in the room.", objects=(piece.id,)))
        if piece.colour in ASKED_COLOURS:
            asked.append(Asked("one", f"this is the {piece.colour} piece of furniture.", objects=(piece.id,)))
    for label, anchor in zip(COUNTED, ("bed", "sofa", "desk"), strict=True):
        close = nearest(plan.of(label), plan.only(anchor).gap)
        if close:
            asked.append(Asked("one", f"this is the {label} that stands closest to the {anchor}.", objects=(close.id,)))
    return asked


def _eval_type(found: int, alike: int) -> str:
    """Return Multi3DRefer's type of a description with ``found`` targets, ``alike`` objects being of their class."""
    if found > 1:
        return "mt"
    return ("zt" if found == 0 else "st") + ("_w_d" if alike > found else "_wo_d")


def _several(plan: RoomPlan) -> list[Asked]:
    asked = []

    def ask(words: str, found: list[Piece], alike: int) -> None:
        ids = tuple(sorted(piece.id for piece in found))
        asked.append(Asked("several", words, objects=ids, eval_type=_eval_type(len(ids), alike)))

    for label in COUNTED:
        ask(f"every {label} in the room", plan.of(label), len(plan.of(label)))
    for label, anchor in zip(COUNTED, ("table", "bed", "sofa"), strict=True):
        gaps = {piece.id: piece.gap(plan.only(anchor)) for piece in plan.of(label)}
        if all(abs(gap - 1.0) > _CLEAR / 2 for gap in gaps.values()):
            near = [piece for piece in plan.of(label) if gaps[piece.id] < 1.0]
            ask(f"any {label} within one meter of the {anchor}", near, len(gaps))
    for label in SOMETIMES:
        found = plan.of(label)
        ask(f"the {label}", found, len(found))
    for first, second in (("red", "blue"), ("black", "white")):
        found = [piece for piece in plan.unique if piece.colour in (first, second)]
        ask(f"furniture that is {first} or {second}", found, len(plan.unique))
    return asked


def viewpoints(plan: RoomPlan) -> list[Viewpoint]:
    """Return the places that situated questions are asked from: at the door and by the table."""
    door, table = plan.only("door"), plan.only("table")
    towards = plan.only("bed").spot - table.spot
    return [
        Viewpoint(
            "I have just come in through the door and look straight ahead.", door.spot + 0.4 * door.front, door.front
        ),
        Viewpoint("I am standing at the table and facing the bed.", table.spot, towards / np.linalg.norm(towards)),
    ]


def _direction(bearing: float) -> str:
    """Return left, right, front or behind, or nothing near the border between two of them."""
    for name, middle in (("front", 0), ("left", 90), ("right", -90), ("behind", 180)):
        if abs((bearing - middle + 180) % 360 - 180) < 36:
            return name
    return ""


def _situated(plan: RoomPlan, view: Viewpoint) -> list[Asked]:
    asked = []

    def ask(words: str, answer: str, ids: tuple[int, ...] = ()) -> None:
        asked.append(Asked("situated", words, answer, ids, view))

    here = {"table", "bed"} if "table" in view.words else set()
    others = [piece for piece in plan.unique if piece.label not in here]
    sides = {piece.id: _direction(view.bearing(piece)) for piece in plan.pieces}
    for side, words in (
        ("left", "What is the closest piece of furniture"),
        ("right", "What color is the closest thing"),
    ):
        close = nearest([piece for piece in others if sides[piece.id] == side], view.distance)
        if close:
            ask(f"{words} on my {side}?", close.label if side == "left" else close.colour, (close.id,))
    cabinet, chair, desk, bookshelf = (plan.only(label) for label in ("cabinet", "chair", "desk", "bookshelf"))
    if sides[cabinet.id]:
        ask("Where is the cabinet from here?", sides[cabinet.id], (cabinet.id,))
    if all(sides[piece.id] for piece in plan.of("plant")):
        found = tuple(piece.id for piece in plan.of("plant") if sides[piece.id] == "left")
        ask("How many plants are on my left?", NUMBERS[len(found)], found)
    if sides[chair.id] in ("left", "right"):
        ask("Is the chair on my left side?", "yes" if sides[chair.id] == "left" else "no", (chair.id,))
    if sides[desk.id] in ("front", "behind"):
        ask("Can I see the desk without turning around?", "yes" if sides[desk.id] == "front" else "no", (desk.id,))
    far, near = sorted((desk, bookshelf), key=view.distance, reverse=True)
    if view.distance(far) - view.distance(near) > _CLEAR:
        ask("Which is closer to me, the desk or the bookshelf?", near.label, (near.id,))
    return asked
