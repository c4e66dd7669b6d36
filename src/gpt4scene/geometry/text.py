"""The geometry of a scene as a block of text: every marked object with its box, and, if wanted, every camera's pose.

The block stands before the images, so that all questions about a scene share it. Its words are few: a model reads one
token a digit. The coordinates are those of the aligned frame, and the block says which those are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.metrics.object_ids import MOST_OBJECTS, object_mark

_PIECE = re.compile(r" ?[^\W\d_]+|\d|_+| ?[^\w\s]+\n*|\s+")


@dataclass(frozen=True)
class Frame:
    """What the coordinates are of: the height of the floor, and whether image 1 is the view from above along x and y.

    ``None`` is not known.
    """

    floor: float | None = None
    bev: bool = False


@dataclass(frozen=True)
class CameraPose:
    """The camera of image ``number`` (from 1): its place in metres and where it looks.

    ``heading`` are degrees counter-clockwise from the x axis seen from above, ``pitch`` degrees upwards.
    """

    number: int
    place: tuple[float, float, float]
    heading: float
    pitch: float


def camera_pose(number: int, pose_44: np.ndarray) -> CameraPose:
    """Return the pose of image ``number`` from its camera-to-world matrix, whose third column is where it looks.

    A camera that looks straight down has the heading of its upper edge.
    """
    ahead, up = pose_44[:3, 2], -pose_44[:3, 1]
    level = ahead if np.hypot(ahead[0], ahead[1]) > 1e-6 else -np.sign(ahead[2]) * up
    heading = np.degrees(np.arctan2(level[1], level[0])) % 360
    pitch = np.degrees(np.arctan2(ahead[2], np.hypot(ahead[0], ahead[1])))
    x, y, z = map(float, pose_44[:3, 3])
    return CameraPose(number, (x, y, z), float(heading), float(pitch))


def geometry_block(
    boxes_N6: np.ndarray, labels: Sequence[str], frame: Frame, cameras: Sequence[CameraPose] = ()
) -> str | None:
    """Return the block of a scene, its last line ended; ``None`` where it has no object with a box.

    ``boxes_N6`` are centre and size in metres, row = number; a row without extent is a gap and left out. A name that is
    missing in ``labels`` is left out too. Numbers are rounded to centimetres and whole degrees.
    """
    rows = [
        f"{object_mark(number)} {_word(labels, number)}{_metres(box[:3])} {_metres(box[3:])}"
        for number, box in enumerate(boxes_N6[:MOST_OBJECTS])
        if (box[3:] > 0).any()
    ]
    if not rows:
        return None
    lines = [f"Marked objects, {_frame(frame)}: number, name, centre x,y,z, size along x,y,z.", *rows]
    if cameras:
        lines.append(
            "Cameras: image, place x,y,z, heading in degrees (from x, counter-clockwise seen from above), pitch in "
            "degrees (up is positive)."
        )
        lines += [f"{one.number} {_metres(one.place)} {round(one.heading) % 360} {round(one.pitch)}" for one in cameras]
    return "\n".join(lines) + "\n"


def estimated_tokens(text: str) -> int:
    """Return about how many tokens Qwen's tokenizers make of ``text``: one a digit, a word, a run of signs or space."""
    return len(_PIECE.findall(text))


def _frame(frame: Frame) -> str:
    said = "metres, x right and y up in image 1, the view from above" if frame.bev else "metres in the aligned frame"
    return f"{said}; z up" + ("" if frame.floor is None else f" (floor at {_number(frame.floor)})")


def _word(labels: Sequence[str], number: int) -> str:
    name = " ".join(labels[number].split()) if number < len(labels) else ""
    return f"{name} " if name else ""


def _metres(values: Sequence[float] | np.ndarray) -> str:
    return ",".join(map(_number, values))


def _number(value: float) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}"  # so that -0.001 is 0.00
