"""Who owns a pixel, and which pixels are asked."""

import numpy as np
import pytest

from gpt4scene.scans.types import Mesh, SceneObject
from gpt4scene.scenes.pixels import pixel_grid
from gpt4scene.scenes.render import Hits
from gpt4scene.scenes.visibility import ObjectLookup, confirmed_faces, visible_objects


def test_smaller_objects_own_what_larger_boxes_hold_too():
    big = SceneObject(0, "sofa", np.array([0, 0, 0.5]), np.array([2, 1, 1.0]))
    small = SceneObject(1, "bag", np.array([0.5, 0, 0.6]), np.array([0.4, 0.4, 0.4]))
    empty = SceneObject(2, "nothing", np.zeros(3), np.zeros(3))
    mesh = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]), np.zeros((3, 3), np.uint8))
    finder = ObjectLookup([big, small, empty], mesh)
    points = np.array([[-0.5, 0, 0.5], [0.5, 0, 0.6], [5, 5, 5], [np.nan] * 3, [0, 0, 0.005], [0, 0, 1.01]])
    shown = visible_objects(finder, points, None, (2, 3), 0.0)
    assert [one.object_index for one in shown] == [0, 1]
    assert shown[0].mask.ravel().tolist() == [True, True, False, False, False, True]  # the floor is not the sofa
    assert shown[0].own.ravel().tolist() == [True, False, False, False, False, True]
    assert shown[1].area == pytest.approx(1 / 6)
    assert visible_objects(finder, points, None, (2, 3), 0.3)[0].object_index == 0


def test_depth_readings_overrule_hits_they_contradict():
    hits = Hits(np.array([2.0, 2.0, 2.0, np.inf, 10.0]), np.array([4, 5, 6, -1, 7]), np.zeros((5, 3)))
    measured = np.array([2.1, 1.0, 0.0, 2.0, 10.5])
    assert confirmed_faces(hits, measured).tolist() == [4, -1, 6, -1, 7]


@pytest.mark.parametrize(
    ("size", "longest"), [((1296, 968), 324), ((640, 480), 320), ((200, 150), 200), ((4000, 10), 1000)]
)
def test_the_grid_is_a_quarter_of_the_image_and_whole_pixels_inside(size, longest):
    grid = pixel_grid(*size)
    assert max(len(grid.columns), len(grid.rows)) == longest
    for values, side in zip((grid.columns, grid.rows), size, strict=True):
        assert values.min() >= 0 and values.max() < side and (np.diff(values) > 0).all()


def test_each_of_a_hundred_masks_is_seen_where_its_faces_are():
    """A face is of every object that holds two of its corners; faces that were not hit are of none."""
    rng = np.random.default_rng(3)
    mesh = Mesh(rng.random((50, 3)), rng.integers(0, 50, (200, 3)), np.zeros((50, 3), np.uint8))
    masks = [rng.choice(50, rng.integers(0, 20), replace=False) for _ in range(100)]
    objects = [SceneObject(i, "thing", np.full(3, 0.5), np.ones(3), vertices) for i, vertices in enumerate(masks)]
    faces = rng.integers(-1, 200, 600)
    points = np.where(faces[:, None] < 0, np.nan, rng.random((600, 3)))
    found = visible_objects(ObjectLookup(objects, mesh), points, faces, (20, 30), 0.0)
    expected = {}
    for index, vertices in enumerate(masks):
        held = np.isin(mesh.faces, vertices).sum(axis=1) >= 2
        mask = (faces >= 0) & held[faces]
        if mask.any():
            expected[index] = mask.reshape(20, 30)
    assert [one.object_index for one in found] == list(expected)
    assert all(np.array_equal(one.mask, expected[one.object_index]) for one in found)
