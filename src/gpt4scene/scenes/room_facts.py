"""What ``scene.json`` says about the room itself: outline, area, turned boxes, floor to walk on, the camera's way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpt4scene.scans.types import Mesh, SceneObject
from gpt4scene.scenes.clusters import spread_points
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.floor_map import CELL, floor_map
from gpt4scene.scenes.frame_choice import evenly
from gpt4scene.scenes.opened_scene import OpenedScene
from gpt4scene.scenes.room_outline import outline_of
from gpt4scene.scenes.turned_boxes import turned_box

MOST_PLACES = 400
"""Places of the camera that are written down, evenly from the recording."""


def room_facts(scene: OpenedScene) -> dict:
    """Return the facts as JSON, metres in the aligned frame; what can't be told is None.

    ``outline`` are corners [x, y] of one polygon, ``area`` is its area and ``beside`` that of pieces not joined to it.
    ``walkable`` are lines of cells from high y to low, a full stop for floor to walk on. ``turned`` are the boxes of
    objects that do not lie along the axes, with their turn in degrees. ``path`` are places of the camera in order.
    """
    mesh = scene.caster.mesh
    cameras = [frame.camera for frame in scene.scan.frames if frame.camera.tracked]
    floor, cut = floor_and_cut(mesh, cameras)
    points_N3 = spread_points(mesh)
    outline = outline_of(points_N3[points_N3[:, 2] < cut])
    path_T3 = np.array([camera.pose[:3, 3] for camera in cameras]).reshape(-1, 3)
    walkable = floor_map(points_N3, floor, path_T3)
    places = path_T3[evenly(len(path_T3), MOST_PLACES)]
    return {
        "outline": None if outline is None else _rounded(outline.corners_N2, 3),
        "area": None if outline is None else round(outline.area, 3),
        "beside": None if outline is None else round(outline.beside, 3),
        "floor_height": round(float(floor), 4),
        "walkable": None
        if walkable is None
        else {"cell": CELL, "x": round(walkable.x, 3), "y": round(walkable.y, 3), "rows": walkable.rows},
        "turned": _turned(scene.objects, scene.scan.mesh),
        "ground_truth_turned": _turned(scene.scan.objects, scene.scan.mesh),
        "path": _rounded(places, 3),
    }


def _turned(objects: Sequence[SceneObject], mesh: Mesh | None) -> list[dict]:
    """The turned boxes of objects with masks."""
    rows = []
    for item in objects:
        if mesh is None or item.vertices is None or not len(item.vertices):
            continue
        center, size, turn = turned_box(mesh.vertices[item.vertices])
        if turn:
            degrees = round(float(np.degrees(turn)), 4)
            rows.append({"id": item.id, "center": _rounded(center, 6), "size": _rounded(size, 6), "degrees": degrees})
    return rows


def _rounded(values: np.ndarray, digits: int) -> list:
    return (np.round(np.asarray(values, dtype=np.float64), digits) + 0.0).tolist()
