import json

import numpy as np
import pytest
from PIL import Image

from gpt4scene.scenes.colors import color_of
from gpt4scene.scenes.outlines import draw_outlines
from gpt4scene.scenes.pixels import ObjectMask, pixel_grid
from gpt4scene.scenes.prepare import PrepareArguments, prepare

SIZE = (1296, 968)
GRID = pixel_grid(*SIZE)
GREY = np.full((968, 1296, 3), 128, np.uint8)


def disc(x, y, radius):
    return (GRID.columns[None] + 0.5 - x) ** 2 + (GRID.rows[:, None] + 0.5 - y) ** 2 <= radius**2


def line_of(drawn, number):
    """Rows and columns of the pixels in the object's own colour."""
    return np.nonzero(np.abs(drawn.astype(int) - color_of(number)).max(axis=2) < 30)


@pytest.mark.parametrize("radius", [60, 200])
def test_the_line_follows_a_circle_without_the_steps_of_the_grid(radius):
    drawn = draw_outlines(GREY, [ObjectMask(5, disc(600, 500, radius))])
    rows, columns = line_of(drawn, 5)
    away = np.hypot(columns - 600, rows - 500)
    assert len(rows) > 2 * np.pi * radius  # more than one pixel wide all around
    assert abs(away.mean() - radius) < 1.5 and np.abs(away - radius).max() < 5  # the grid has 4 pixels a cell
    angles = np.floor((np.arctan2(rows - 500, columns - 600) + np.pi) * 20).astype(int)
    assert len(np.unique(angles)) >= 125  # no gap
    changed = (drawn != GREY).any(axis=2)
    distance = np.hypot(np.arange(1296)[None] - 600, np.arange(968)[:, None] - 500)
    assert not changed[np.abs(distance - radius) > 9].any() and (GREY == 128).all()


def test_where_an_object_goes_on_beyond_the_image_there_is_no_line():
    half = np.zeros(GRID.shape, bool)
    half[:, : GRID.shape[1] // 2] = True
    rows, columns = line_of(draw_outlines(GREY, [ObjectMask(0, half)]), 0)
    assert set(rows) == set(range(968)) and np.abs(columns - 647.5).max() < 4


def test_a_pole_of_one_cell_has_its_line_and_specks_have_none():
    pole = np.zeros(GRID.shape, bool)
    pole[50:180, 100] = True
    speck = pole.copy()
    speck[20, 200] = True
    one, other = (draw_outlines(GREY, [ObjectMask(2, mask)]) for mask in (pole, speck))
    assert len(line_of(one, 2)[0]) > 2 * 130 * 4 * 0.9
    assert np.array_equal(one, other)


def test_readings_that_are_missing_within_a_noisy_object_are_not_drawn():
    whole = disc(600, 500, 150)
    holes = np.random.default_rng(0).random(GRID.shape) < 0.1
    noisy = draw_outlines(GREY, [ObjectMask(1, whole & ~holes)], noisy=True)
    rows, columns = line_of(noisy, 1)
    assert np.hypot(columns - 600, rows - 500).min() > 135
    assert line_of(draw_outlines(GREY, [ObjectMask(1, whole & ~holes)]), 1)[0].size > 1.5 * rows.size


def test_small_masks_are_no_trouble():
    for cells in ([(0, 0)], [(241, 323)], [(5, 5), (5, 9)]):
        mask = np.zeros(GRID.shape, bool)
        for row, column in cells:
            mask[row, column] = True
        assert (draw_outlines(GREY, [ObjectMask(7, mask)], noisy=True) != GREY).any()
        assert (draw_outlines(GREY, [ObjectMask(7, mask)]) != GREY).any()
    assert (draw_outlines(GREY, [ObjectMask(7, np.ones(GRID.shape, bool))]) == GREY).all()


def run(folder, out, **more):
    values = {"frames": 3, "bev_size": 200, "keep_unmarked": True, **more}
    return prepare(PrepareArguments(scans=(str(folder),), out=str(out), **values))


@pytest.mark.slow
def test_outlines_are_an_option_under_the_labels_and_change_nothing_else(box_room_folder, tmp_path):
    for name, outlines in (("bare", False), ("lined", True)):
        assert run(box_room_folder, tmp_path / name, outlines=outlines).done == ["boxes"]
    bare, lined = (
        json.loads((tmp_path / name / "scenes" / "boxes" / "scene.json").read_text()) for name in ("bare", "lined")
    )
    assert "outlines" not in bare["settings"] and lined["settings"].pop("outlines") is True
    assert bare == lined  # markers stand where they stood
    for image in [bare["bev"], *bare["frames"]]:
        a, b = (
            np.asarray(Image.open(tmp_path / name / image["image"])).astype(int).copy() for name in ("bare", "lined")
        )
        changed = np.abs(a - b).max(axis=2) > 25
        assert 0.003 < changed.mean() < 0.4
        for marker in image["markers"]:
            x0, y0, x1, y1 = marker["label_box"]
            assert not changed[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].any()  # JPEG blurs the rim of the label
        twin = image["image"].replace("/", "_unmarked/", 1)
        assert (tmp_path / "bare" / twin).read_bytes() == (tmp_path / "lined" / twin).read_bytes()


@pytest.mark.slow
def test_scenes_from_before_outlines_are_finished_and_a_change_is_named(box_room_folder, tmp_path):
    assert run(box_room_folder, tmp_path).done == ["boxes"]
    assert run(box_room_folder, tmp_path).finished_before == ["boxes"]
    assert "(outlines False -> True)" in run(box_room_folder, tmp_path, outlines=True).failed["boxes"]
    assert run(box_room_folder, tmp_path, outlines=True, overwrite=True).done == ["boxes"]
    assert "(outlines True -> False)" in run(box_room_folder, tmp_path).failed["boxes"]
