"""A click chooses the object that is seen there: the smallest box around the first point, or a frame before it."""

import numpy as np

from gpt4scene.files.prepared import SceneBox
from gpt4scene.view.editing import Cutter
from gpt4scene.view.picking import Picked, Ray, box_hits, picked_frame, picked_object

NONE = np.zeros((0, 3), np.float32)
TABLE = SceneBox(1, "table", (3.0, 0.0, 0.5), (2.0, 2.0, 1.0))
CUP = SceneBox(2, "cup", (3.0, 0.0, 0.9), (0.2, 0.2, 0.2))
WALL = SceneBox(3, "picture", (6.0, 0.0, 0.9), (0.2, 3.0, 3.0))
RAY = Ray.of((0, 0, 0.9), (2, 0, 0))


def test_boxes_on_a_ray():
    hits = box_hits(RAY, [TABLE, CUP, WALL, SceneBox(4, "", (0.0, 5.0, 0.0), (1.0, 1.0, 1.0))])
    np.testing.assert_allclose(hits[:3], [[2, 4], [2.9, 3.1], [5.9, 6.1]])
    assert np.isinf(hits[3]).all()
    assert np.isinf(box_hits(Ray.of((0, 0, 0.9), (-1, 0, 0)), [TABLE])).all()


def test_the_smallest_box_around_the_first_point_is_chosen():
    boxes = [TABLE, CUP, WALL]
    assert picked_object(RAY, boxes, NONE).number == 2
    assert picked_object(RAY, boxes, np.array([[2.2, 0, 0.9]], np.float32)).number == 1
    assert picked_object(RAY, boxes, np.array([[5.95, 0.01, 0.9], [7, 0, 0.9]], np.float32)).number == 3
    assert picked_object(RAY, boxes, np.array([[1.0, 0, 0.9]], np.float32)) is None  # a wall hides all of them
    assert picked_object(Ray.of((0, 0, 5), (1, 0, 0)), boxes, NONE) is None
    empty = SceneBox(9, "", (1.0, 0.0, 0.9), (0.0, 0.0, 0.0))
    assert picked_object(RAY, [empty], NONE) is None and Cutter((0, 0, 0), (1, 1, 1)).size == (1, 1, 1)


def test_the_nearest_frame_is_chosen(rooms):
    frames = rooms.open("boxes").scene.frames
    pose = frames[1].pose_44
    straight = Ray.of(pose[:3, 3] - 0.5 * pose[:3, 2], pose[:3, 2])
    found = picked_frame(straight, frames[1:2], 0.28)
    depth = 0.28 * frames[1].intrinsics_33[1, 1] / frames[1].height
    assert found == Picked("frame", 0, found.away) and abs(found.away - 0.5 - depth) < 1e-6
    beside = Ray.of(pose[:3, 3] + 0.5 * pose[:3, 0], pose[:3, 2])
    assert picked_frame(beside, frames[1:2], 0.28) is None
