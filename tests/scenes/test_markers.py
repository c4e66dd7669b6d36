import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gpt4scene.scenes.colors import color_of, ink_on
from gpt4scene.scenes.marker_placement import place_markers
from gpt4scene.scenes.markers import draw_markers
from gpt4scene.scenes.pixels import ObjectMask, PixelGrid, pixel_grid

SIZE = (640, 480)
GRID = pixel_grid(*SIZE)


def spot(number, x0, y0, x1, y1):
    mask = ((GRID.columns >= x0) & (GRID.columns < x1))[None] & ((GRID.rows >= y0) & (GRID.rows < y1))[:, None]
    return ObjectMask(number, mask)


def on_mask(marker, one):
    x, y = marker.pixel
    rows, columns = np.nonzero(one.mask)
    return (x, y) in {(GRID.columns[c], GRID.rows[r]) for r, c in zip(rows, columns, strict=True)}


def apart(a, b):
    return a.box[2] <= b.box[0] or b.box[2] <= a.box[0] or a.box[3] <= b.box[1] or b.box[3] <= a.box[1]


def test_a_number_stands_in_the_middle_of_a_plain_object():
    (marker,) = place_markers([spot(4, 100, 100, 300, 260)], GRID, SIZE)
    assert abs(marker.pixel[0] - 200) <= 3 and abs(marker.pixel[1] - 180) <= 3
    x0, y0, x1, y1 = marker.box
    assert abs((x0 + x1) / 2 - marker.pixel[0]) <= 1 and abs((y0 + y1) / 2 - marker.pixel[1]) <= 1


def test_a_c_shape_is_marked_on_itself_and_centroid_is_a_choice():
    c_shape = spot(1, 100, 100, 400, 400).mask & ~spot(1, 160, 160, 400, 340).mask
    (inside,) = place_markers([ObjectMask(1, c_shape)], GRID, SIZE)
    (centroid,) = place_markers([ObjectMask(1, c_shape)], GRID, SIZE, "centroid")
    assert on_mask(inside, ObjectMask(1, c_shape)) and on_mask(centroid, ObjectMask(1, c_shape))
    rows, columns = np.nonzero(c_shape)
    middle = GRID.columns[columns].mean(), GRID.rows[rows].mean()
    distance = [np.hypot(m.pixel[0] - middle[0], m.pixel[1] - middle[1]) for m in (inside, centroid)]
    assert distance[1] < distance[0]


boxes = st.tuples(st.integers(0, 600), st.integers(0, 440), st.integers(4, 300), st.integers(4, 300))


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(boxes, min_size=1, max_size=14))
def test_numbers_sit_on_their_objects_and_never_on_each_other(rectangles):
    spots = [spot(i, x, y, x + w, y + h) for i, (x, y, w, h) in enumerate(rectangles)]
    markers = place_markers(spots, GRID, SIZE)
    assert [marker.id for marker in markers] == [one.id for one in spots]
    for marker, one in zip(markers, spots, strict=True):
        assert on_mask(marker, one)
        assert min(marker.box) >= 0 and marker.box[2] <= 640 and marker.box[3] <= 480
    for i, first in enumerate(markers):
        assert all(apart(first, second) for second in markers[i + 1 :])
    assert place_markers(spots, GRID, SIZE) == markers


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
@pytest.mark.parametrize("place", ["inside", "centroid"])
def test_the_smallest_object_chooses_its_place_first(numbers, place):
    """A cushion in the middle of a sofa is marked as if it were alone; the sofa's number makes way."""
    large, small = spot(numbers[0], 100, 100, 400, 300), spot(numbers[1], 242, 192, 258, 208)
    (large_alone,), (small_alone,) = (place_markers([one], GRID, SIZE, place) for one in (large, small))
    assert not apart(large_alone, small_alone)
    for masks in ([large, small], [small, large]):
        placed = {marker.id: marker for marker in place_markers(masks, GRID, SIZE, place)}
        assert placed[small.id] == small_alone
        assert placed[large.id].pixel != large_alone.pixel and apart(placed[large.id], small_alone)
        assert placed[large.id].font_size == large_alone.font_size  # there is space: moving is enough


@pytest.mark.parametrize(("gap", "shrink"), [(28, 1.0), (26, 0.8), (24, 0.65)])
def test_numbers_shrink_on_their_object_before_they_cover_each_other_or_leave_it(gap, shrink):
    """The second object is one pixel wide, so that its number can shrink but not move away from the first."""
    first, second = (ObjectMask(i, np.zeros(GRID.shape, bool)) for i in (1, 2))
    first.mask[120, 160] = True
    second.mask[120, 160 + gap // 2] = True
    one, other = place_markers([first, second], GRID, SIZE)
    full = place_markers([first], GRID, SIZE)[0].font_size
    assert one.font_size == full and other.font_size == round(full * shrink)
    assert apart(one, other) and not one.apart and not other.apart and on_mask(other, second)


@pytest.mark.parametrize(("pitch", "shrink"), [(48, 0.65), (44, 0.5), (39, 0.35)])
def test_numbers_beside_their_object_shrink_further_before_they_cover_each_other(pitch, shrink):
    """A row of numbers nearly as high as the image, with gaps; one more object lies under the fifth of them."""
    size = (640, 52)
    grid = PixelGrid(np.arange(640), np.arange(52))
    masks = []
    for number, x in enumerate([*range(13, 640, pitch), 13 + 4 * pitch]):
        masks.append(ObjectMask(number % 10, np.zeros(grid.shape, bool)))
        masks[-1].mask[26, x] = True
    masks[-1].mask[25:28, 12 + 4 * pitch : 15 + 4 * pitch] = True  # the largest: it comes last
    *row, last = place_markers(masks, grid, size)
    assert len({marker.font_size for marker in row}) == 1
    assert last.font_size == round(row[0].font_size * shrink) and last.apart
    assert all(apart(last, marker) for marker in row)


def test_objects_closer_than_their_numbers_get_a_line():
    spots = [spot(i, 300 + 4 * i, 200, 304 + 4 * i, 206) for i in range(6)]
    markers = place_markers(spots, GRID, SIZE)
    assert any(marker.apart for marker in markers)
    assert all(apart(a, b) for i, a in enumerate(markers) for b in markers[i + 1 :])


def test_drawing_changes_nothing_but_the_labels_and_keeps_the_input():
    image = np.full((480, 640, 3), 77, np.uint8)
    (marker,) = place_markers([spot(12, 200, 200, 400, 400)], GRID, SIZE)
    drawn = draw_markers(image, [marker])
    assert (image == 77).all()
    x0, y0, x1, y1 = marker.box
    changed = (drawn != 77).any(axis=2)
    assert changed[y0:y1, x0:x1].mean() > 0.8
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    assert (drawn[y0:y1, x0:x1] == color_of(12)).all(axis=2).any()


def test_numbers_keep_their_contrast_when_the_image_shrinks_to_512():
    size = (1296, 968)
    grid = pixel_grid(*size)
    for number in (0, 7, 17, 123):
        (marker,) = place_markers([ObjectMask(number, np.ones(grid.shape, bool))], grid, size)
        drawn = Image.fromarray(draw_markers(np.full((968, 1296, 3), 128, np.uint8), [marker])).resize((512, 382), 3)
        x0, y0, x1, y1 = (round(v * 512 / 1296) for v in marker.box)
        tile = np.asarray(drawn)[y0:y1, x0:x1].mean(axis=2)
        assert y1 - y0 >= 14 and tile.max() - tile.min() > 60


def luminance(color):
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_colours_differ_between_neighbouring_numbers_and_from_their_ink():
    colors = np.array([color_of(i) for i in range(60)], dtype=int)
    assert len({tuple(c) for c in colors}) == 60
    assert (np.abs(colors[1:] - colors[:-1]).sum(axis=1) > 100).all()
    for color in colors:
        light, dark = sorted((luminance(color), luminance(ink_on(tuple(color)))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA


@pytest.mark.slow
@pytest.mark.parametrize("count", [150, 900])
def test_hundreds_of_objects_all_have_their_number(count):
    side = int(np.ceil(np.sqrt(count)))
    width, height = 640 / side, 480 / side
    spots = [
        spot(i, i % side * width, i // side * height, (i % side + 0.8) * width, (i // side + 0.8) * height)
        for i in range(count)
    ]
    spots = [one if one.mask.any() else spot(one.id, 0, 0, 640, 480) for one in spots]
    markers = place_markers(spots, GRID, SIZE)
    held = np.zeros((480, 640), int)
    for marker, one in zip(markers, spots, strict=True):
        x0, y0, x1, y1 = marker.box
        held[y0:y1, x0:x1] += 1
        assert on_mask(marker, one)
    assert held.max() == 1 and held.sum() > 5000
