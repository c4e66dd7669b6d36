"""Convex shapes of points, of those without extent, too."""

import numpy as np

from gpt4scene.geometry.hull import hull_area, hull_corners

SQUARE = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [1.0, 0.5]])


def test_corners_go_round_to_the_left():
    corners = hull_corners(SQUARE)
    assert {tuple(corner) for corner in corners} == {(0, 0), (2, 0), (2, 2), (0, 2)}
    sides = np.roll(corners, -1, axis=0) - corners
    following = np.roll(sides, -1, axis=0)
    assert (sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] > 0).all()
    assert hull_area(SQUARE) == 4.0


def test_a_line_has_no_extent():
    line = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    assert hull_corners(line) is None and hull_area(line) == 0.0
