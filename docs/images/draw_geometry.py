"""Draws docs/images/geometry-direction.svg: a question about a synthetic room, seen from above.

python docs/images/draw_geometry.py
"""

from pathlib import Path

import numpy as np

from gpt4scene.demo.plan import draw_plan
from gpt4scene.files.whole import write_text
from gpt4scene.geometry.drawing import plan_svg
from gpt4scene.geometry.question import GeometryQuestion
from gpt4scene.geometry.room import Room, RoomObject, room
from gpt4scene.geometry.rules import questions_of, rules_named


def drawn() -> tuple[Room, GeometryQuestion]:
    """The room and the question of the picture."""
    plan = draw_plan("example", np.random.default_rng(3))
    objects = []
    for piece in plan.pieces:
        size = np.array([*2 * piece.half, piece.size[2]])
        objects.append(RoomObject(piece.id, piece.label, np.array([piece.x, piece.y, size[2] / 2]), size))
    half = np.array([plan.width, plan.depth]) / 2
    some = room("example", objects, half * [[-1, -1], [1, -1], [1, 1], [-1, 1]])
    kinds = ["object_rel_direction_forward_easy"]
    return some, questions_of(some, rules_named("revsi"), kinds=kinds).questions[0]


if __name__ == "__main__":
    write_text(Path(__file__).with_name("geometry-direction.svg"), plan_svg(*drawn()))
