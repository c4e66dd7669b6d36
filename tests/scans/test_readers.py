"""Folders of transforms.json, COLMAP, TUM and ARKitScenes, written from the box room as each has it, and read back."""

import json
import shutil

import numpy as np
import pytest
from commands import prepare as main
from recordings import WRITERS, arkit, as_binary, colmap, objects_json, transforms

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.unused import Unused, unused_files


@pytest.fixture(scope="module")
def folders(box_room, tmp_path_factory):
    made = {}
    for name, write in WRITERS.items():
        made[name] = tmp_path_factory.mktemp("formats") / f"{name}_room"
        made[name].mkdir()
        write(made[name], box_room)
        if name != "arkit":
            (made[name] / "objects.json").write_text(objects_json(box_room))
    return made


@pytest.mark.parametrize("name", WRITERS)
def test_cameras_images_and_geometry_come_back(folders, box_room, name):
    images, depths = box_room.images()
    reader = SCAN_READERS[name]
    assert reader.accepts(folders[name])
    scan = reader.read(folders[name])
    assert scan.scene_id == f"{name}_room" and len(scan.frames) == len(images)
    for frame, image, depth, camera in zip(scan.frames, images, depths, box_room.cameras, strict=True):
        assert np.allclose(frame.camera.pose, camera.pose, atol=1e-6)
        assert np.allclose(frame.camera.intrinsics, camera.intrinsics)
        assert np.array_equal(read_color(frame), image)
        if name != "colmap":
            assert np.allclose(read_depth(frame), depth, atol=6e-4)
    if name != "tum":
        assert np.allclose(scan.mesh.vertices, box_room.mesh.vertices, atol=1e-5)
    for found, item in zip(scan.objects, box_room.objects, strict=True):
        assert found.label == item.label
        assert np.allclose(found.center, item.center) and np.allclose(found.size, item.size)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_prepared(folders, tmp_path, name):
    call = [
        "--format",
        name,
        "--scans",
        str(folders[name]),
        "--out",
        str(tmp_path),
        "--frames",
        "2",
        "--bev_size",
        "100",
    ]
    assert main(call) == 0
    scene = json.loads((tmp_path / "scenes" / f"{name}_room" / "scene.json").read_text())
    assert all(len(frame["markers"]) >= 3 for frame in scene["frames"])


def test_sparse_points_stand_in_for_a_mesh(folders, box_room):
    folder = folders["colmap"]
    (folder / "mesh.ply").rename(folder / "kept.ply")
    try:
        track = " 1 2 3 4 5 6"
        lines = [f"{i} {i} 0 {i} 10 20 30 0.5{track}" for i in range(5)] + ["9 0 0 0 1 2 3 0.5 1 2"]
        (folder / "sparse/0/points3D.txt").write_text("# points\n" + "\n".join(lines))
        mesh = SCAN_READERS["colmap"].read(folder).mesh
        assert mesh.vertices.tolist() == [[i, 0, i] for i in range(5)] and (mesh.colors == [10, 20, 30]).all()
    finally:
        (folder / "kept.ply").rename(folder / "mesh.ply")


def edit_transforms(change):
    def edit(folder):
        content = json.loads((folder / "transforms.json").read_text())
        change(content)
        (folder / "transforms.json").write_text(json.dumps(content))

    return edit


def replaced(name, old, new):
    return lambda folder: (folder / name).write_text((folder / name).read_text().replace(old, new))


def camera_line(folder, line):
    (folder / "sparse/0/cameras.txt").write_text(f"# Camera list\n{line}\n")


def binary_model(folder):
    for name in ("cameras", "images"):
        (folder / f"sparse/0/{name}.txt").rename(folder / f"sparse/0/{name}.bin")


@pytest.mark.parametrize(
    "line",
    [
        "1 SIMPLE_PINHOLE 200 150 140 100 75",
        "1 SIMPLE_RADIAL 200 150 140 100 75 0",
        "1 RADIAL 200 150 140 100 75 0 0",
        "1 OPENCV 200 150 140 140 100 75 0 0 0 0",
    ],
)
def test_colmap_models_without_distortion_are_pinholes(box_room, tmp_path, line):
    (tmp_path / "room").mkdir()
    colmap(tmp_path / "room", box_room)
    camera_line(tmp_path / "room", line)
    (tmp_path / "room" / "sparse/0/images.txt").write_text(
        (tmp_path / "room" / "sparse/0/images.txt").read_text().replace("1.0 2.0 -1 3.0 4.0 7", "")  # no points at all
    )
    scan = SCAN_READERS["colmap"].read(tmp_path / "room")
    assert len(scan.frames) == len(box_room.cameras)
    assert scan.frames[0].camera.intrinsics.tolist() == [[140, 0, 99.5], [0, 140, 74.5], [0, 0, 1]]


def test_instant_ngp_names_images_with_dots_and_gives_an_angle(box_room, tmp_path):
    (tmp_path / "room").mkdir()
    transforms(tmp_path / "room", box_room)
    content = json.loads((tmp_path / "room" / "transforms.json").read_text())
    angle = 2 * np.arctan(100 / content.pop("fl_x"))
    for key in ("fl_y", "cx", "cy", "w", "h"):
        content.pop(key)
    for row in content["frames"]:
        row["file_path"] = "./" + row["file_path"]
    common = {"camera_angle_x": angle, "k1": 0, "k2": 0, "p1": 0, "p2": 0, "aabb_scale": 16, "scale": 0.33}
    (tmp_path / "room" / "transforms.json").write_text(json.dumps({**common, **content}))
    for frame, camera in zip(SCAN_READERS["transforms"].read(tmp_path / "room").frames, box_room.cameras, strict=True):
        assert np.allclose(frame.camera.intrinsics, camera.intrinsics) and np.allclose(frame.camera.pose, camera.pose)


def test_arkit_images_between_two_poses_have_none(box_room, tmp_path):
    (tmp_path / "room").mkdir()
    arkit(tmp_path / "room", box_room)
    inside = tmp_path / "room" / "room_frames"
    for folder, ending in (("lowres_wide", "png"), ("lowres_wide_intrinsics", "pincam")):
        first = inside / folder / f"room_100.000.{ending}"
        first.with_name(f"room_100.017.{ending}").write_bytes(first.read_bytes())
    track = inside / "lowres_wide.traj"
    track.write_text(
        track.read_text().replace("100.1 ", "100.1 inf ", 1).replace("inf ", "inf inf inf inf inf inf #", 1)
    )
    tracked = {frame.name: frame.camera.tracked for frame in SCAN_READERS["arkit"].read(tmp_path / "room").frames}
    assert not tracked.pop("room_100.017") and not tracked.pop("room_100.100")
    assert all(tracked.values()) and len(tracked) == len(box_room.cameras) - 1


BREAKS = [
    ("transforms", "list 'frames'", lambda folder: (folder / "transforms.json").write_text("{}")),
    ("transforms", "lacks or spoils 'file_path'", edit_transforms(lambda c: c["frames"][0].pop("file_path"))),
    ("transforms", "no 4x4", edit_transforms(lambda c: c["frames"][0].update(transform_matrix=[1]))),
    ("transforms", "lens distortion", edit_transforms(lambda c: c.update(k1=0.2))),
    ("transforms", "lens distortion", edit_transforms(lambda c: c["frames"][3].update(k4=0.2))),
    ("transforms", "model OPENCV_FISHEYE", edit_transforms(lambda c: c.update(camera_model="OPENCV_FISHEYE"))),
    ("transforms", "model EQUIRECTANGULAR", edit_transforms(lambda c: c.update(camera_model="EQUIRECTANGULAR"))),
    ("transforms", "lens distortion", edit_transforms(lambda c: c.update(is_fisheye=True))),
    ("transforms", "two images are called", edit_transforms(lambda c: c["frames"].append(c["frames"][0]))),
    ("colmap", "promises", lambda folder: binary_model(folder)),
    ("colmap", "has lens distortion", lambda folder: camera_line(folder, "1 SIMPLE_RADIAL 200 150 140 100 75 0.01")),
    ("colmap", "has lens distortion", lambda folder: camera_line(folder, "1 OPENCV_FISHEYE 200 150 1 1 1 1 0 0 0 0")),
    ("colmap", "is no camera", lambda folder: camera_line(folder, "1 PINHOLE 200 x 1 1 1 1")),
    (
        "transforms",
        "none of its 8 images is there, the first: missing.png",
        edit_transforms(lambda c: [row.update(file_path="missing.png") for row in c["frames"]]),
    ),
    ("colmap", "has lens distortion; run", lambda folder: camera_line(folder, "1 OPENCV 200 150 1 1 1 1 0 0 1e-4 0")),
    ("colmap", "camera 8 is not in the list", replaced("sparse/0/images.txt", " 1 0.png", " 8 0.png")),
    ("colmap", "is no image", replaced("sparse/0/images.txt", " 1 0.png", " x 0.png")),
    ("tum", "a quaternion", replaced("groundtruth.txt", "# timestamp", "1 2 3\n#")),
    ("tum", "is not 'time-stamp file'", replaced("rgb.txt", "# color", "x y\n#")),
    ("arkit", "is no ARKitScenes annotation", lambda folder: next(folder.glob("*.json")).write_text("{}")),
    ("arkit", "three angles", lambda folder: next(folder.glob("*/lowres_wide.traj")).write_text("1 2\n")),
    ("arkit", "width height fx", lambda folder: sorted(folder.glob("*/*/*.pincam"))[0].write_text("1 2\n")),
]


@pytest.mark.parametrize(
    ("name", "sentence", "damage"), BREAKS, ids=[f"{i} {b[0]}: {b[1]}" for i, b in enumerate(BREAKS)]
)
def test_broken_folders_say_what_is_wrong(box_room, tmp_path, name, sentence, damage):
    folder = tmp_path / "room"
    folder.mkdir()
    WRITERS[name](folder, box_room)
    damage(folder)
    with pytest.raises(DataError, match=sentence):
        SCAN_READERS[name].read(folder)


def test_an_absent_image_is_left_out_and_said(box_room, tmp_path):
    for name in ("transforms", "colmap", "tum"):
        folder = tmp_path / name
        folder.mkdir()
        WRITERS[name](folder, box_room)
        gone = sorted((folder / "images" if name != "tum" else folder / "rgb").iterdir())[2]
        gone.unlink()
        scan = SCAN_READERS[name].read(folder)
        assert len(scan.frames) == len(box_room.cameras) - 1
        assert any("1 of 8 images are not there and left out" in note and gone.stem in note for note in scan.notes)


def test_windows_separators_are_read(box_room, tmp_path):
    folder = tmp_path / "room"
    folder.mkdir()
    transforms(folder, box_room)
    path = folder / "transforms.json"
    path.write_text(path.read_text().replace("images/", "images\\\\"))
    assert len(SCAN_READERS["transforms"].read(folder).frames) == len(box_room.cameras)


@pytest.mark.parametrize("kept", ["as COLMAP writes it", "empty lines stripped", "no second lines"])
def test_images_txt_gives_every_image_whatever_became_of_its_second_lines(box_room, tmp_path, kept):
    folder = tmp_path / "room"
    folder.mkdir()
    colmap(folder, box_room)
    path = folder / "sparse/0/images.txt"
    lines = path.read_text().splitlines()
    if kept == "empty lines stripped":
        lines = [line for line in path.read_text().replace("1.0 2.0 -1 3.0 4.0 7", "").splitlines() if line.strip()]
    if kept == "no second lines":
        lines = [line for line in lines if line.startswith("#") or line.endswith(".png")]
    path.write_text("\n".join(lines) + "\n")
    assert len(SCAN_READERS["colmap"].read(folder).frames) == len(box_room.cameras)


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "dense/0/sparse", "dense/sparse", "dense/0", "."])
@pytest.mark.parametrize("ending", [".txt", ".bin"])
def test_colmap_models_are_read_wherever_they_lie_and_however_they_are_written(box_room, tmp_path, place, ending):
    folder = tmp_path / "room"
    folder.mkdir()
    colmap(folder, box_room)
    expected = SCAN_READERS["colmap"].read(folder)
    model = tmp_path / "model"
    (folder / "sparse/0").rename(model)
    shutil.rmtree(folder / "sparse")
    (folder / place).mkdir(parents=True, exist_ok=True)
    for path in model.iterdir():
        (folder / place / path.name).write_bytes(path.read_bytes())
    if ending == ".bin":
        as_binary(folder / place)
    found = SCAN_READERS["colmap"].read(folder)
    assert [frame.name for frame in found.frames] == [frame.name for frame in expected.frames]
    for ours, true in zip(found.frames, expected.frames, strict=True):
        assert np.allclose(ours.camera.pose, true.camera.pose)
        assert np.allclose(ours.camera.intrinsics, true.camera.intrinsics)
    assert np.allclose(found.mesh.vertices, expected.mesh.vertices)


@pytest.mark.parametrize("keep", [4, 30, 200])
@pytest.mark.parametrize("name", ["cameras.bin", "images.bin"])
def test_a_binary_model_that_is_cut_off_is_named(box_room, tmp_path, name, keep):
    folder = tmp_path / "room"
    folder.mkdir()
    colmap(folder, box_room)
    as_binary(folder / "sparse/0")
    path = folder / "sparse/0" / name
    path.write_bytes(path.read_bytes()[: min(keep, path.stat().st_size - 1)])
    with pytest.raises(DataError, match=name):
        SCAN_READERS["colmap"].read(folder)


def test_depth_may_be_called_depth_path(box_room, tmp_path):
    folder = tmp_path / "room"
    folder.mkdir()
    transforms(folder, box_room)
    path = folder / "transforms.json"
    path.write_text(path.read_text().replace("depth_file_path", "depth_path"))
    assert all(frame.depth is not None for frame in SCAN_READERS["transforms"].read(folder).frames)


@pytest.mark.parametrize("name", WRITERS)
def test_files_that_a_format_does_not_read_are_named_and_no_others(box_room, tmp_path, name):
    folder = tmp_path / f"{name}_room"
    folder.mkdir()
    WRITERS[name](folder, box_room)
    reader = SCAN_READERS[name]

    def unused():
        return unused_files(reader.read(folder), reader.reads(folder))

    assert unused() == Unused()
    (folder / "notes.md").write_text("seen")
    (folder / "other").mkdir()
    for number in range(3):
        (folder / "other" / f"{number}.bin").write_text("seen")
    assert unused() == Unused(("notes.md",), ("3 x other/*.bin",))
