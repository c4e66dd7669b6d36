"""The page to look at: every object with its crop, whole and readable, however many there are."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from gpt4scene.scenes.colors import color_of
from gpt4scene.scenes.contact_sheet import WIDTH, _shortened, contact_sheet

SHADE = (90, 140, 60)


def scene_of(out, count, size=(200, 150)):
    """A scene whose frame shows the objects with even numbers, each on a square of its colour."""
    width, height = size
    Image.new("RGB", (600, 500), SHADE).save(out / "bev.png")
    Image.new("RGB", size, SHADE).save(out / "a.png")
    markers = [
        {"id": i, "pixel": [i % width, i % height], "label_box": [0, 0, 5, 5], "area": 0.01} for i in range(0, count, 2)
    ]
    frame = {"image": "a.png", "name": "a", "width": width, "height": height, "markers": markers}
    objects = [{"id": i, "label": "very long name of a thing " * 3, "size": [1, 1, 1]} for i in range(count)]
    bev = {"image": "bev.png", "markers": []}
    return {
        "scene_id": "room",
        "objects": [*objects, {"id": 999, "label": "", "size": [0, 0, 0]}],
        "bev": bev,
        "frames": [frame, {**frame, "markers": []}],
    }


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 11, 60])
@pytest.mark.parametrize("size", [(200, 150), (150, 200)])
def test_every_object_has_its_strip_of_colour_beside_the_view_and_inside_the_page(tmp_path, count, size):
    page = np.asarray(contact_sheet(tmp_path, scene_of(tmp_path, count, size))).astype(int)
    assert page.shape[1] == WIDTH
    listed = page[44:, WIDTH // 2 :] @ [65536, 256, 1]
    colors, counts = np.unique(listed, return_counts=True)
    found = dict(zip(colors.tolist(), counts.tolist(), strict=True))
    assert all(found[int(np.dot(color_of(number), [65536, 256, 1]))] > 400 for number in range(count))
    columns = np.nonzero(listed == int(np.dot(color_of(0), [65536, 256, 1])))[1]
    assert columns.max() - columns.min() + 1 >= (240 if count <= 8 else 120)


def test_long_names_end_in_dots_where_the_strip_ends():
    font = ImageFont.load_default(15)
    assert _shortened("7 sofa", font, 200) == "7 sofa"
    short = _shortened("7 " + "sofa " * 20, font, 100)
    assert short.endswith("…") and 60 < font.getlength(short) <= 100
