"""What recordings hold besides what is right: said in a note, or refused with the file and the way out."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.checks import check_geometry, check_scan
from gpt4scene.scans.colmap import read_colmap
from gpt4scene.scans.named_files import existing_file
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.scannet import read_scannet
from gpt4scene.scans.transforms import read_transforms
from gpt4scene.scans.tum import read_tum

COUNT, WIDTH, HEIGHT = 4, 40, 30


def images(folder, names, depth=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = np.full((HEIGHT, WIDTH), 1500, np.uint16) if depth else np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(content).save(folder / name)


@pytest.fixture
def posed(make_room, tmp_path):
    return make_room(COUNT, WIDTH, HEIGHT).write(tmp_path / "room", align=np.eye(4))


# TUM


@pytest.fixture
def tum(tmp_path):
    folder = tmp_path / "room"
    images(folder / "rgb", [f"{number}.png" for number in range(COUNT)])
    images(folder / "depth", [f"{number}.png" for number in range(COUNT)], depth=True)
    for name in ("rgb", "depth"):
        (folder / f"{name}.txt").write_text("".join(f"{number}.0 {name}/{number}.png\n" for number in range(COUNT)))
    (folder / "groundtruth.txt").write_text("".join(f"{number}.0 {number} 0 0 0 0 0 1\n" for number in range(COUNT)))
    np.savetxt(folder / "intrinsics.txt", [[30, 0, 19.5], [0, 30, 14.5], [0, 0, 1]])
    return folder


def test_a_line_that_is_there_twice_is_taken_once_and_said(tum):
    for name in ("rgb.txt", "depth.txt", "groundtruth.txt"):
        text = (tum / name).read_text()
        (tum / name).write_text(text + text.splitlines()[2] + "\n")
    scan = read_tum(tum)
    assert [frame.name for frame in scan.frames] == ["0", "1", "2", "3"]
    assert [note.partition(": ")[2] for note in scan.notes] == ["1 lines are there twice and taken once"] * 2


TWICE = {
    "rgb.txt": ("2.0 rgb/3.png", "rgb/2.png and rgb/3.png have the same time 2.000000"),
    "depth.txt": ("2.0 depth/3.png", "depth/2.png and depth/3.png have the same time"),
    "groundtruth.txt": ("2.0 9 9 9 0 0 0 1", "two different poses have the time 2.000000; remove one"),
}


@pytest.mark.parametrize("name", TWICE)
def test_two_things_of_one_time_are_refused(tum, name):
    line, said = TWICE[name]
    (tum / name).write_text((tum / name).read_text() + line + "\n")
    with pytest.raises(DataError, match=f"{name}: .*{said}"):
        read_tum(tum)


def test_an_image_listed_at_two_times_is_refused(tum):
    (tum / "rgb.txt").write_text((tum / "rgb.txt").read_text() + "9.0 rgb/3.png\n")
    with pytest.raises(DataError, match="two frames are called '3'"):
        check_scan(read_tum(tum))


@pytest.mark.parametrize(("name", "what"), [("groundtruth.txt", "no pose"), ("depth.txt", "no depth image")])
@pytest.mark.parametrize("clock", [lambda time: time + 0.5, lambda time: 1000 * time + 500])
def test_times_of_another_clock_are_refused_with_their_distance(tum, name, what, clock):
    lines = [line.split(maxsplit=1) for line in (tum / name).read_text().splitlines()]
    (tum / name).write_text("".join(f"{clock(float(time))} {rest}\n" for time, rest in lines))
    with pytest.raises(DataError, match=rf"{name}: {what} has the time of an image, the nearest is \S+ s away.*clock"):
        read_tum(tum)


@pytest.mark.parametrize("kind", ["rgb", "depth"])
def test_images_under_other_names_are_seen(tum, kind):
    for path in (tum / kind).iterdir():
        path.rename(path.with_suffix(".tiff"))
    with pytest.raises(DataError, match=rf"{kind}.txt: none of its 4 .*images is there.*; seen .*{kind}/0.tiff"):
        read_tum(tum)


def test_one_absent_depth_image_is_counted(tum):
    (tum / "depth" / "2.png").unlink()
    scan = read_tum(tum)
    assert [frame.depth is None for frame in scan.frames] == [False, False, True, False]
    assert "depth.txt: 1 of 4 depth images are not there and left out: depth/2.png" in scan.notes[0]


# transforms.json


def transforms(folder, common=(), rows=None):
    rows = [{"file_path": f"images/{number}.png"} for number in range(2)] if rows is None else rows
    images(folder, [row["file_path"] for row in rows])
    frames = [{"transform_matrix": np.eye(4).tolist(), **row} for row in rows]
    content = {"fl_x": 30, "w": WIDTH, "h": HEIGHT, **dict(common), "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "values",
    [{name: 0.2} for name in ("dist_k1", "K1", "camera_p2", "radial_distortion", "tangential", "distortion_k1")]
    + [{name: [0.2, 0, 0]} for name in ("distortion_coefficients", "dist_coeffs", "dist_coef", "radial_distortion")]
    + [{"distortion": {"k1": 0.2, "k2": None}}, {"distortion_params": [[0.2, 0]]}],
)
def test_distortion_is_refused_however_it_is_spelled(tmp_path, values):
    with pytest.raises(DataError, match="lens distortion"):
        read_transforms(transforms(tmp_path / "a", values))


@pytest.mark.parametrize("values", [{"distortion": None}, {"K1": 0}, {"radial_distortion": [0, 0]}, {"dist_k1": 0.0}])
def test_distortion_of_nothing_is_none(tmp_path, values):
    assert not [note for note in read_transforms(transforms(tmp_path / "a", values)).notes if "lens" in note]


def test_keys_that_are_not_known_are_named(tmp_path):
    rows = [{"file_path": "images/0.png", "K": [[30, 0, 20], [0, 30, 15], [0, 0, 1]], "sharpness": 3.0}]
    scan = read_transforms(transforms(tmp_path / "a", {"camera": {"k1": 0}, "aabb_scale": 16}, rows))
    assert scan.notes == (f"{tmp_path / 'a' / 'transforms.json'}: not used: 'K', 'camera'",)


def test_a_file_of_another_name_is_seen(tmp_path):
    folder = transforms(tmp_path / "a")
    (folder / "transforms.json").rename(folder / "transforms_train.json")
    with pytest.raises(DataError, match="transforms.json: is missing; seen transforms_train.json"):
        read_transforms(folder)


@pytest.mark.parametrize("absent", [1, 2])
def test_absent_depth_images_are_left_out_unless_all_are(tmp_path, absent):
    rows = [{"file_path": f"images/{number}.png", "depth_file_path": f"depth/{number}.png"} for number in range(2)]
    folder = transforms(tmp_path / "a", {}, rows)
    images(folder / "depth", [f"{number}.png" for number in range(absent, 2)], depth=True)
    if absent == 2:
        with pytest.raises(DataError, match="none of its 2 depth images is there, the first: depth/0.png"):
            read_transforms(folder)
        return
    scan = read_transforms(folder)
    assert scan.frames[0].depth is None and scan.frames[1].depth is not None
    assert "1 of 2 depth images are not there and left out: depth/0.png" in scan.notes[0]


@pytest.mark.parametrize("places", [("left", "right"), ("left/rgb", "right/rgb"), ("1/cam0/data", "2/cam0/data")])
def test_images_of_one_name_in_several_folders_are_told_apart(tmp_path, places):
    names = [f"{place}/{number}.png" for place in places for number in range(2)]
    scan = read_transforms(transforms(tmp_path / "a", {}, [{"file_path": name} for name in names]))
    found = {frame.name for frame in scan.frames}
    assert len(found) == 4 and all(name.endswith(("_0", "_1")) for name in found)


def test_an_image_that_is_listed_twice_is_named(tmp_path):
    rows = [{"file_path": "images/0.png"}, {"file_path": "images/1.png"}, {"file_path": "images/1.png"}]
    with pytest.raises(DataError, match="two images are called '1'; .*images/1.png is listed twice: remove one"):
        read_transforms(transforms(tmp_path / "a", {}, rows))


# COLMAP


@pytest.fixture
def colmap(tmp_path):
    folder = tmp_path / "room"
    images(folder / "images", ["0.png", "1.png"])
    (folder / "sparse" / "0").mkdir(parents=True)
    (folder / "sparse" / "0" / "cameras.txt").write_text(f"1 PINHOLE {WIDTH} {HEIGHT} 30 30 20 15\n")
    (folder / "sparse" / "0" / "images.txt").write_text("1 1 0 0 0 0 0 0 1 0.png\n\n2 1 0 0 0 1 0 0 1 1.png\n\n")
    return folder


def test_a_camera_that_is_there_twice_is_refused(colmap):
    path = colmap / "sparse" / "0" / "cameras.txt"
    path.write_text(path.read_text() + f"1 PINHOLE {WIDTH} {HEIGHT} 60 60 20 15\n")
    with pytest.raises(DataError, match="cameras.txt, line 2: a camera 1 is there already"):
        read_colmap(colmap)


@pytest.mark.parametrize(("count", "noted"), [(2, False), (80, True), (1, True)])
def test_a_list_that_contradicts_its_own_comment_is_noted(colmap, count, noted):
    path = colmap / "sparse" / "0" / "images.txt"
    path.write_text(f"# Number of images: {count}, mean observations per image: 0\n" + path.read_text())
    notes = read_colmap(colmap).notes
    assert bool(notes) == noted and all(f"lists 2 images, but its comment says {count}" in note for note in notes)


def test_images_in_a_folder_of_another_name_are_seen(colmap):
    (colmap / "images").rename(colmap / "input")
    with pytest.raises(DataError, match=r"none of its 2 images is there, the first: 0.png; seen .*/input/0.png"):
        read_colmap(colmap)


# ScanNet


@pytest.fixture
def scannet(posed, tmp_path):
    scene = "scene0000_00"
    folder = tmp_path / scene
    shutil.copytree(posed / "images", folder / "color")
    (folder / "pose").mkdir()
    for number, line in enumerate((posed / "poses.txt").read_text().splitlines()):
        (folder / "color" / f"{number:05d}.png").rename(folder / "color" / f"{number}.png")
        (folder / "pose" / f"{number}.txt").write_text(line)
    shutil.copy(posed / "intrinsics.txt", folder / "intrinsic_color.txt")
    shutil.copy(posed / "mesh.ply", folder / f"{scene}_vh_clean_2.ply")
    (folder / f"{scene}.txt").write_text("axisAlignment = " + " ".join(map(str, np.eye(4).ravel())) + "\n")
    count = len(read_posed(posed).mesh.vertices)
    segments = {"segIndices": [number // 8 for number in range(count)]}
    (folder / f"{scene}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(segments))
    groups = [{"objectId": number, "label": "thing", "segments": [6 + number]} for number in range(3)]
    (folder / f"{scene}.aggregation.json").write_text(json.dumps({"segGroups": groups}))
    return folder


@pytest.mark.parametrize(
    ("values", "said"),
    [({"label": None}, "label a text, found None"), ({"label": 3}, "label a text, found 3")]
    + [({"objectId": value}, f"{value!r} is no whole number") for value in (0.5, True, None)],
)
def test_objects_of_scannet_without_name_or_number_are_refused(scannet, values, said):
    path = scannet / f"{scannet.name}.aggregation.json"
    content = json.loads(path.read_text())
    content["segGroups"][1].update(values)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"group 1: .*{said}"):
        read_scannet(scannet)


@pytest.mark.parametrize("key", ["axisAlignment", "axis_alignment", "AxisAlignment", "axisalignment"])
def test_the_alignment_is_read_however_its_key_is_spelled(scannet, key):
    path = scannet / f"{scannet.name}.txt"
    path.write_text(path.read_text().replace("axisAlignment", key))
    assert np.array_equal(read_scannet(scannet).align, np.eye(4))


def test_absent_segments_are_named(scannet):
    path = scannet / f"{scannet.name}_vh_clean_2.0.010000.segs.json"
    path.unlink()
    with pytest.raises(DataError, match="segs.json: is missing"):
        read_scannet(scannet)


def test_names_that_become_one_are_refused(scannet):
    shutil.copy(scannet / "color" / "1.png", scannet / "color" / "01.png")
    shutil.copy(scannet / "pose" / "1.txt", scannet / "pose" / "01.txt")
    with pytest.raises(DataError, match=r"two frames are called '000001' \(.*1.png and .*1.png\)"):
        check_scan(read_scannet(scannet))


# posed


def test_hidden_files_and_folders_are_no_images(posed):
    for path in sorted((posed / "images").iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (posed / "images" / "more.png").mkdir()
    assert len(read_posed(posed).frames) == COUNT


GEOMETRY = {
    "scan.stl": "seen scan.stl",
    "room.ply": "seen room.ply",
    "mesh.PLY": "seen mesh.PLY",
    "cloud.las": "seen cloud.las",
    "depths/": "seen depths/",
    "": r"needed \(a mesh is called mesh.ply or mesh.obj or mesh.glb\)\Z",
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_a_scan_without_geometry_names_what_looks_like_it(posed, name):
    (posed / "mesh.ply").unlink()
    shutil.rmtree(posed / "depth")
    (posed / "objects.json").unlink()
    if name.endswith("/"):
        (posed / name).mkdir()
    elif name:
        (posed / name).write_bytes(b"something")
    with pytest.raises(DataError, match=GEOMETRY[name]):
        check_geometry(read_posed(posed), SCAN_READERS["posed"].meshes)


def test_depth_without_any_pose_is_no_geometry(posed):
    (posed / "mesh.ply").unlink()
    (posed / "objects.json").unlink()
    (posed / "poses.txt").write_text((" ".join(["nan"] * 16) + "\n") * COUNT)
    with pytest.raises(DataError, match="no mesh, and no depth frame has a pose"):
        check_geometry(read_posed(posed))


def test_masks_without_a_mesh_name_what_looks_like_one(posed):
    (posed / "mesh.ply").rename(posed / "Mesh.ply")
    with pytest.raises(DataError, match="need a mesh.ply; seen Mesh.ply"):
        read_posed(posed)


PLACES = {
    "images/0.png": ("input/0.png", "input/0.png"),
    "depth/0.png": ("images/0.png", ""),
    "pred_mask/0.txt": ("masks/0.txt", "masks/0.txt"),
    "rgb/0.png": ("depth/0.png", ""),
    "frames/0.jpg": ("frames/0.png", "frames/0.png"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_lies_elsewhere_is_seen_if_it_is_of_the_same_kind(tmp_path, name):
    there, seen = PLACES[name]
    (tmp_path / there).parent.mkdir()
    (tmp_path / there).write_bytes(b"")
    with pytest.raises(DataError, match=f"{name}: is missing" + (f"; seen .*{seen}" if seen else r"\Z")):
        existing_file(tmp_path, name)
