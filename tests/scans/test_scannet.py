"""ScanNet files are written here as the format says, byte by byte, and read back."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from commands import prepare as main
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.ply import write_ply
from gpt4scene.scans.scannet import read_scannet
from gpt4scene.scans.sens import read_sens
from gpt4scene.scans.types import Mesh

CLASSES = (21, 22, 23, 24, 26, 27, 28)
ALIGN = np.array([[0.8, 0.6, 0, 1], [-0.6, 0.8, 0, 2], [0, 0, 1, 0.5], [0, 0, 0, 1.0]])


def matrix44(intrinsics):
    full = np.eye(4)
    full[:3, :3] = intrinsics
    return full


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_sens(path, images, depths, cameras, depth_codec=1, color_codec=2):
    height, width = images[0].shape[:2]
    small = cameras[0].resized(depths[0].shape[1], depths[0].shape[0])
    with open(path, "wb") as file:
        file.write(struct.pack("<IQ", 4, 15) + b"StructureSensor")
        for matrix in (matrix44(cameras[0].intrinsics), np.eye(4), matrix44(small.intrinsics), np.eye(4)):
            file.write(matrix.astype("<f4").tobytes())
        file.write(
            struct.pack("<2i4IfQ", color_codec, depth_codec, width, height, *depths[0].shape[::-1], 1000.0, len(images))
        )
        for index, (image, depth, camera) in enumerate(zip(images, depths, cameras, strict=True)):
            color = jpeg(image)
            raw = np.rint(depth * 1000).astype("<u2").tobytes()
            raw = zlib.compress(raw) if depth_codec == 1 else raw
            file.write(camera.pose.astype("<f4").tobytes())
            file.write(struct.pack("<4Q", index, index, len(color), len(raw)) + color + raw)
        file.write(struct.pack("<Q", 0))  # no inertial readings
    return path


def write_exported(folder, images, depths, cameras):
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True)
    for index, (image, depth, camera) in enumerate(zip(images, depths, cameras, strict=True)):
        (folder / "color" / f"{index}.jpg").write_bytes(jpeg(image))
        Image.fromarray(np.rint(depth * 1000).astype(np.uint16)).save(folder / "depth" / f"{index}.png")
        np.savetxt(folder / "pose" / f"{index}.txt", camera.pose)
    small = cameras[0].resized(depths[0].shape[1], depths[0].shape[0])
    np.savetxt(folder / "intrinsic" / "intrinsic_color.txt", matrix44(cameras[0].intrinsics))
    np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", matrix44(small.intrinsics))


def write_annotation(folder, room):
    """Each cuboid is a segment; the cabinet is made of two, by half its vertices."""
    scene = folder.name
    segments = np.repeat(np.arange(len(room.mesh.vertices) // 8) * 3 + 5, 8)
    cabinet = room.objects[3].vertices
    segments[cabinet[:4]] = 999
    (folder / f"{scene}_vh_clean_2.0.010000.segs.json").write_text(json.dumps({"segIndices": segments.tolist()}))
    groups = [
        {"id": i, "objectId": o.id, "segments": np.unique(segments[o.vertices]).tolist(), "label": o.label}
        for i, o in enumerate(room.objects)
    ]
    groups.append({"id": 9, "objectId": len(groups), "segments": [5], "label": "floor"})
    (folder / f"{scene}.aggregation.json").write_text(json.dumps({"sceneId": scene, "segGroups": groups}))
    text = " ".join(str(v) for v in ALIGN.ravel())
    (folder / f"{scene}.txt").write_text(f"axisAlignment = {text} \ncolorHeight = 150\n")


def write_mask3d(folder, scene, room):
    (folder / "pred_mask").mkdir(parents=True)
    lines = []
    for number, item in enumerate(reversed(room.objects)):
        mask = np.zeros(len(room.mesh.vertices), int)
        mask[item.vertices] = 1
        np.savetxt(folder / "pred_mask" / f"{scene}_{number:03d}.txt", mask, fmt="%d")
        lines.append(f"pred_mask/{scene}_{number:03d}.txt {CLASSES[number]} 0.9{number}")
    np.savetxt(folder / "pred_mask" / "none.txt", np.zeros(len(room.mesh.vertices), int), fmt="%d")
    (folder / f"{scene}.txt").write_text("\n".join([*lines, "pred_mask/none.txt 18 0.1"]) + "\n")


@pytest.fixture(scope="module")
def world(box_room):
    """The box room in a world whose axis alignment leads to the room's own frame."""
    return box_room.moved(np.linalg.inv(ALIGN))


@pytest.fixture(scope="module")
def recording(world):
    images, depths = world.images()
    return images, [depth[::2, ::2] for depth in depths], world.cameras


@pytest.fixture
def folder(world, recording, tmp_path):
    scene = tmp_path / "scene0000_00"
    scene.mkdir()
    write_ply(scene / "scene0000_00_vh_clean_2.ply", world.mesh)
    write_annotation(scene, world)
    write_sens(scene / "scene0000_00.sens", *recording)
    return scene


@pytest.mark.parametrize("kind", ["zlib", "raw", "exported"])
def test_frames_poses_and_depth_come_back(world, recording, folder, kind):
    images, depths, cameras = recording
    if kind == "raw":
        write_sens(folder / "scene0000_00.sens", images, depths, cameras, depth_codec=0)
    if kind == "exported":
        write_exported(folder, images, depths, cameras)
    frames = read_scannet(folder).frames
    assert [frame.name for frame in frames] == [f"{i:06d}" for i in range(len(images))]
    for frame, image, depth, camera in zip(frames, images, depths, cameras, strict=True):
        assert np.allclose(frame.camera.pose, camera.pose, atol=1e-6)
        assert np.allclose(frame.camera.intrinsics, camera.intrinsics, atol=1e-4)
        assert np.abs(read_color(frame).astype(int) - image).mean() < 3
        assert np.allclose(read_depth(frame), depth, atol=6e-4)
        assert (frame.depth_camera.width, frame.depth_camera.height) == (100, 75)


def test_vertices_masks_and_alignment_come_back(world, folder):
    scan = read_scannet(folder)
    assert np.allclose(scan.mesh.vertices, world.mesh.vertices, atol=1e-5)
    assert np.array_equal(scan.mesh.faces, world.mesh.faces) and np.array_equal(scan.align, ALIGN)
    assert scan.scene_id == "scene0000_00" and scan.objects[-1].label == "floor"
    for found, item in zip(scan.objects, world.objects, strict=False):
        assert (found.id, found.label) == (item.id, item.label)
        assert np.array_equal(found.vertices, item.vertices)
        assert np.allclose(found.center, item.center, atol=1e-5) and np.allclose(found.size, item.size, atol=1e-5)


def test_lost_poses_and_missing_depth_are_kept_apart(recording, tmp_path):
    images, depths, cameras = recording
    lost = [type(c)(c.intrinsics, np.full((4, 4), -np.inf), c.width, c.height) for c in cameras]
    frames = read_sens(write_sens(tmp_path / "a.sens", images[:3], depths[:3], [cameras[0], lost[1], cameras[2]]))
    assert [frame.camera.tracked for frame in frames] == [True, False, True]


@pytest.mark.slow
def test_a_scannet_scene_is_prepared_with_annotation_and_with_proposals(world, folder, tmp_path, capsys):
    write_mask3d(tmp_path / "proposals", "scene0000_00", world)
    common = ["--format", "scannet", "--scans", str(folder), "--frames", "3", "--bev_size", "200"]
    for objects, out in (("scannet", "gt"), (f"mask3d:{tmp_path / 'proposals'}", "m3d")):
        assert main([*common, "--objects", objects, "--out", str(tmp_path / out)]) == 0, capsys.readouterr().err
    truth, proposed = (
        json.loads((tmp_path / out / "scenes/scene0000_00/scene.json").read_text()) for out in ("gt", "m3d")
    )
    assert truth["objects"][-1]["label"] == "floor" and len(truth["objects"]) == 8
    assert proposed["ground_truth"] == truth["objects"] and len(proposed["objects"]) == 8
    assert [item["label"] for item in proposed["objects"][:2]] == ["curtain", "book"]  # classes 21 and 22
    assert proposed["objects"][7] == {"id": 7, "label": "bookshelf", "center": [0.0] * 3, "size": [0.0] * 3}
    for a, b in zip(truth["frames"], proposed["frames"], strict=True):
        ids = {marker["id"]: marker["area"] for marker in a["markers"]}
        assert 7 not in ids  # the floor has no number
        assert {6 - marker["id"]: marker["area"] for marker in b["markers"]} == ids


def _edit(name, change):
    def edit(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return edit


SEGMENTS, GROUPS = "scene0000_00_vh_clean_2.0.010000.segs.json", "scene0000_00.aggregation.json"
BREAKS = {
    "segment numbers for": _edit(SEGMENTS, lambda content: content["segIndices"].pop()),
    "are not whole numbers": _edit(SEGMENTS, lambda content: content["segIndices"].__setitem__(0, "x")),
    "must be JSON with a list 'segGroups'": lambda folder: (folder / GROUPS).write_text("{}"),
    "group 0: needs objectId": _edit(GROUPS, lambda content: content["segGroups"][0].pop("label")),
    "negative or used twice": _edit(GROUPS, lambda content: content["segGroups"][1].update(objectId=0)),
    "axisAlignment is not sixteen": lambda folder: (folder / "scene0000_00.txt").write_text("axisAlignment = 1 2"),
    "has neither": lambda folder: (folder / "scene0000_00.sens").unlink(),
}


@pytest.mark.parametrize("sentence", BREAKS)
def test_broken_folders_say_what_is_wrong(folder, sentence):
    BREAKS[sentence](folder)
    with pytest.raises(DataError, match=sentence):
        read_scannet(folder)


def test_masks_of_another_mesh_are_refused(world, folder, tmp_path, capsys):
    write_mask3d(tmp_path / "p", "scene0000_00", world)
    mask = tmp_path / "p" / "pred_mask" / "scene0000_00_002.txt"
    mask.write_text(mask.read_text() + "0\n")
    call = ["--format", "scannet", "--scans", str(folder), "--objects", f"mask3d:{tmp_path / 'p'}"]
    assert main([*call, "--out", str(tmp_path / "o")]) == 1
    count = len(world.mesh.vertices)
    assert f"has {count + 1} lines for {count} vertices" in capsys.readouterr().err


@pytest.mark.slow
def test_a_frame_that_inflates_without_end_stays_small(recording, tmp_path):
    images, depths, cameras = recording
    path = write_sens(tmp_path / "a.sens", images[:1], depths[:1], cameras[:1])
    frame = read_sens(path)[0]
    bomb = zlib.compress(bytes(200_000_000), 9)
    blob = path.read_bytes()
    head = frame.depth.offset - frame.image.length - 8
    blob = blob[:head] + struct.pack("<Q", len(bomb)) + blob[head + 8 : frame.depth.offset] + bomb
    path.write_bytes(blob)
    with pytest.raises(DataError, match="pixels need"):
        read_depth(read_sens(path)[0])


@pytest.fixture(scope="module")
def small_sens(recording, tmp_path_factory):
    images, depths, cameras = recording
    return write_sens(tmp_path_factory.mktemp("sens") / "a.sens", images[:2], depths[:2], cameras[:2]).read_bytes()


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_recordings_are_errors_and_nothing_else(small_sens, tmp_path_factory, data):
    blob = bytearray(small_sens)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.one_of(st.integers(0, 420), st.integers(0, len(blob) - 1)))
        blob[place] = data.draw(st.integers(0, 255))
    blob = blob[: data.draw(st.integers(0, len(blob)))]
    path = tmp_path_factory.mktemp("fuzz") / "a.sens"
    path.write_bytes(bytes(blob))
    try:
        for frame in read_sens(path):
            read_color(frame)
            read_depth(frame)
    except DataError as error:
        assert "a.sens" in str(error)


def test_objects_stay_right_beside_a_vertex_that_is_not_finite(folder, world):
    before = read_scannet(folder).objects
    broken = Mesh(world.mesh.vertices.copy(), world.mesh.faces, world.mesh.colors)
    broken.vertices[0] = np.nan  # one of the floor, before all others
    write_ply(folder / "scene0000_00_vh_clean_2.ply", broken)
    scan = read_scannet(folder)
    assert len(scan.mesh.vertices) == len(world.mesh.vertices) - 1 and "1 of" in scan.all_notes[0]
    for item, old in zip(scan.objects, before, strict=True):
        if item.label != "floor":
            assert np.allclose(item.center, old.center) and np.array_equal(item.vertices, old.vertices - 1)
