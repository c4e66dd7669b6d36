"""What a ``transforms.json`` may say about cameras and depth is used, refused by name, or noted."""

import json

import numpy as np
import pytest
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_depth
from gpt4scene.scans.transforms import read_transforms

PLAIN = {"fl_x": 30, "fl_y": 31, "w": 40, "h": 30}


def scan_of(folder, common, rows=({},), depth=None):
    (folder / "images").mkdir(parents=True)
    frames = []
    for number, row in enumerate(rows):
        name = row.get("file_path", f"images/{number}.png")
        if not (folder / name.replace("\\", "/")).exists():
            (folder / name.replace("\\", "/")).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30)).save(folder / name.replace("\\", "/"), "PNG")
        frames.append({"file_path": name, "transform_matrix": np.eye(4).tolist(), **row})
        if depth is not None:
            Image.fromarray(np.full((30, 40), depth, np.uint16)).save(folder / f"{number}.png")
            frames[-1]["depth_path"] = f"{number}.png"
    (folder / "transforms.json").write_text(json.dumps({**common, "frames": frames}))
    return read_transforms(folder)


@pytest.mark.parametrize(
    "values, expected",
    [
        ({"fl_x": 30, "fl_y": 31}, (30, 31)),
        ({"fl_x": 30}, (30, 30)),
        ({"fl_y": 31}, (31, 31)),
        ({"camera_angle_x": 2 * np.arctan(20 / 30), "camera_angle_y": 2 * np.arctan(15 / 25)}, (30, 25)),
        ({"camera_angle_x": 2 * np.arctan(20 / 30)}, (30, 30)),
        ({"fl_x": 30, "camera_angle_y": 2 * np.arctan(15 / 25)}, (30, 25)),
    ],
)
@pytest.mark.parametrize("of_frame", [False, True])
def test_focal_lengths_come_from_lengths_or_angles_of_all_or_one(tmp_path, values, expected, of_frame):
    size = {"w": 40, "h": 30}
    scan = scan_of(tmp_path / "a", size if of_frame else {**size, **values}, [values if of_frame else {}])
    assert np.diag(scan.frames[0].camera.intrinsics)[:2] == pytest.approx(expected)


@pytest.mark.parametrize(
    "values",
    [{name: 0.2} for name in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")]
    + [{"distortion_params": [0, 0.2, 0, 0]}, {"is_fisheye": True}, {"k1": float("nan")}]
    + [{"camera_model": model} for model in ("OPENCV_FISHEYE", "opencv_fisheye", "EQUIRECTANGULAR", "FOV")],
)
@pytest.mark.parametrize("of_frame", [False, True])
def test_distortion_is_refused_wherever_it_stands(tmp_path, values, of_frame):
    with pytest.raises(DataError, match="lens distortion"):
        scan_of(tmp_path / "a", PLAIN if of_frame else {**PLAIN, **values}, [values if of_frame else {}])


@pytest.mark.parametrize("model", ["PINHOLE", "opencv", "SIMPLE_RADIAL", None])
def test_models_without_distortion_are_pinholes(tmp_path, model):
    scan = scan_of(tmp_path / "a", {**PLAIN, "camera_model": model, "k1": 0, "k2": None})
    assert scan.notes == () and scan.frames[0].camera.intrinsics[0, 0] == 30


def test_what_is_left_as_it_is_is_said(tmp_path):
    scan = scan_of(tmp_path / "a", {**PLAIN, "k1": 0.0005}, [{"mask_path": "m.png"}, {}])
    assert "k1 = 0.0005" in scan.notes[0] and "'mask_path' of 1 frames" in scan.notes[1]


@pytest.mark.parametrize(
    "values, metres",
    [({}, 2), ({"depth_unit_scale_factor": 0.0005}, 1), ({"integer_depth_scale": 0.002}, 4)]
    + [({"depth_unit_scale_factor": 0.002, "integer_depth_scale": 0.002}, 4)],
)
def test_the_unit_of_depth_has_two_names(tmp_path, values, metres):
    scan = scan_of(tmp_path / "a", {**PLAIN, **values}, depth=2000)
    assert np.allclose(read_depth(scan.frames[0]), metres)


@pytest.mark.parametrize(
    "values",
    [{"depth_unit_scale_factor": 0}, {"integer_depth_scale": -1}, {"depth_unit_scale_factor": float("nan")}]
    + [{"depth_unit_scale_factor": 0.001, "integer_depth_scale": 0.002}],
)
def test_units_of_depth_that_cannot_be_are_refused(tmp_path, values):
    with pytest.raises(DataError, match="transforms.json, frame 0.*one positive number"):
        scan_of(tmp_path / "a", {**PLAIN, **values}, depth=2000)


def test_frames_without_depth_beside_others_are_counted(tmp_path):
    Image.fromarray(np.full((30, 40), 2000, np.uint16)).save(tmp_path / "d.png")
    scan = scan_of(tmp_path / "a", PLAIN, [{"depth_file_path": "../d.png"}, {}, {}])
    assert "2 of 3 images have no depth image: 1, 2" in scan.notes[0]


@pytest.mark.parametrize("name", ["images/my room/a b.png", "images\\sub\\c.png", "images/D.PNG", "images/a.b.1.png"])
def test_names_of_images_are_taken_as_they_are(tmp_path, name):
    assert len(scan_of(tmp_path / "a", PLAIN, [{"file_path": name}]).frames) == 1


def test_images_of_a_phone_are_named_with_the_way_out(tmp_path):
    (tmp_path / "a" / "images").mkdir(parents=True)
    (tmp_path / "a" / "images" / "1.HEIC").write_bytes(b"heic")
    (tmp_path / "a" / "transforms.json").write_text(
        json.dumps({"fl_x": 30, "frames": [{"file_path": "images/1.HEIC", "transform_matrix": np.eye(4).tolist()}]})
    )
    with pytest.raises(DataError, match="1.HEIC: is no readable image; HEIC is not read; save the images as .jpg"):
        read_transforms(tmp_path / "a")
