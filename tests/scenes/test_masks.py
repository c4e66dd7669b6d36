import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_closing

from gpt4scene.scenes.masks import closed, connected_parts, depth_inside, nearest_pixel, part_sizes, share


@pytest.fixture
def mask():
    return np.random.default_rng(4).random((40, 30)) < 0.2


def test_parts_touch_at_corners_and_sizes_leave_out_what_is_no_part():
    parts = connected_parts(np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0]], bool))
    assert parts.tolist() == [[1, 0, 0, 2], [0, 1, 0, 2], [0, 0, 0, 0]]
    assert part_sizes(parts).tolist() == [0, 2, 2]


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_closing_treats_the_border_as_the_inside(mask, radius):
    """A wide frame of nothing around the image changes nothing; without it the border would be eaten away."""
    wide = binary_closing(np.pad(mask, 20), iterations=radius)[20:-20, 20:-20]
    assert np.array_equal(closed(mask, radius), wide)
    assert (closed(mask, radius) >= mask).all() and (closed(mask, radius, disc=True) >= mask).all()


def test_a_mask_that_goes_on_closes_gaps_at_the_border():
    mask = np.ones((9, 9), bool)
    mask[3:6, 0] = False
    assert not closed(mask, 2).all() and closed(mask, 2, goes_on=True).all()


def test_distances_are_those_to_every_pixel(mask):
    rows, columns = np.nonzero(mask)
    place = np.indices(mask.shape)
    away = np.hypot(place[0][..., None] - rows, place[1][..., None] - columns).min(axis=2)
    distance, row, column = nearest_pixel(mask)
    assert np.allclose(distance, away) and mask[row, column].all()
    assert np.allclose(np.hypot(row - place[0], column - place[1]), away)
    assert np.allclose(depth_inside(~mask), away)


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)), some.integers(1, 3), some.booleans())
def test_closing_is_that_of_scipy(mask, radius, goes_on):
    pad = radius + 1
    wide = binary_closing(np.pad(mask, pad, mode="edge" if goes_on else "constant"), iterations=radius)
    assert np.array_equal(closed(mask, radius, goes_on=goes_on), wide[pad:-pad, pad:-pad])


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_a_share_is_the_mean_to_the_last_bit(mask):
    assert share(mask) == float(mask.mean())
