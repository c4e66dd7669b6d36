"""Prepared scenes as people look at them, and the paths in them that lead elsewhere."""

import json

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import find_scenes, inside, read_prepared

EYE = np.eye(4).tolist()


def content(**changed):
    marker = {"id": 3, "pixel": [10, 12], "label_box": [5, 6, 15, 18], "area": 0.01}
    frame = {"image": "images_2D/room/0.jpg", "name": "0", "place": 0, "width": 40, "height": 30, "pose": EYE}
    view = {"image": "images_3D/room/bev.jpg", "width": 50, "height": 60, "metres_per_pixel": 0.1, "x_left": -1}
    return {
        "scene_id": "room",
        "settings": {"split": "val", "frames": 1},
        "align": EYE,
        "objects": [{"id": 3, "label": "sofa", "center": [1, 2, 0.5], "size": [2, 1, 1]}],
        "ground_truth": [],
        "bev": {**view, "y_top": 2, "floor_height": 0, "markers": [marker]},
        "frames": [{**frame, "intrinsics": np.eye(3).tolist(), "markers": [marker]}],
        "room": {"outline": [[0, 0], [1, 0], [1, 1]]},
        **changed,
    }


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "out" / "scenes" / "room" / "scene.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content()))
    return path


def test_a_scene_is_read_with_its_images_in_the_order_of_the_model(record):
    scene = read_prepared(record)
    out = record.parent.parent.parent
    assert scene.images == (out / "images_3D/room/bev.jpg", out / "images_2D/room/0.jpg")
    assert (scene.objects[0].label, scene.objects[0].center, scene.ground_truth) == ("sofa", (1, 2, 0.5), ())
    assert scene.frames[0].markers[0].pixel == (10, 12) and scene.frames[0].pose_44.shape == (4, 4)
    assert scene.outline == ((0, 0), (1, 0), (1, 1)) and scene.out == out


@pytest.mark.parametrize("place", ["out", "out/scenes", "out/scenes/room", "out/scenes/room/scene.json"])
def test_every_place_of_a_scene_means_it(record, place):
    assert find_scenes([record.parents[3] / place, record]) == [record]


def test_a_place_without_scenes_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no prepared scene"):
        find_scenes([tmp_path])
    with pytest.raises(DataError, match="no such folder"):
        find_scenes([tmp_path / "none"])


@pytest.mark.parametrize("image", ["/etc/passwd", "../../secret.jpg", "images_2D/../../../x.jpg", 7, "a\0b"])
def test_paths_that_lead_out_of_the_folder_are_refused(record, image):
    changed = content()
    changed["frames"][0]["image"] = image
    record.write_text(json.dumps(changed))
    with pytest.raises(DataError, match="scene.json: .*(leads out of|no path)"):
        read_prepared(record)


def test_a_link_that_ends_elsewhere_leads_out(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="leads out"):
        inside(tmp_path / "in", "link", "scene.json")


@pytest.mark.parametrize(
    "changed",
    [
        {"objects": [{"id": 1, "label": "x", "center": [0, float("nan"), 0], "size": [1, 1, 1]}]},
        {"objects": [{"id": 1, "label": "x", "center": [0, 0], "size": [1, 1, 1]}]},
        {"align": [[1, 0], [0, 1]]},
        {"bev": {}},
        {"frames": 3},
    ],
)
def test_a_damaged_scene_is_one_sentence(record, changed):
    record.write_text(json.dumps(content(**changed)))
    with pytest.raises(DataError, match="scene.json: is damaged; remove it and prepare the scene again"):
        read_prepared(record)
