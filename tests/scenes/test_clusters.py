import json
from dataclasses import replace

import numpy as np
import pytest
from commands import prepare as main
from PIL import Image

from gpt4scene.files.annotation import read_attributes
from gpt4scene.files.scenes import read_scene, scene_json, sheet_image
from gpt4scene.scans.ply import read_ply, write_ply
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.types import Mesh, Scan
from gpt4scene.scenes.clusters import REACH, cluster_objects, dense_groups, spread_points
from gpt4scene.scenes.freespace import seen_through
from gpt4scene.scenes.upright import upright

LUMPS = {"table": (0, 1, 2), "cabinet": (3,), "chair": (4,), "bin": (5,), "sofa": (6,)}
"""What hangs together in the box room: cup and book lie on the table."""


def expected_boxes(room):
    boxes = []
    for numbers in LUMPS.values():
        low = np.min([room.objects[i].center - room.objects[i].size / 2 for i in numbers], axis=0)
        high = np.max([room.objects[i].center + room.objects[i].size / 2 for i in numbers], axis=0)
        boxes.append((low, high))
    return boxes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mesh", "cloud", "depth"])
def test_the_furniture_stands_out(box_room, box_room_folder, tmp_path, kind):
    scan = read_posed(box_room_folder)
    if kind == "cloud":
        points = spread_points(scan.mesh)
        scan = Scan(
            "s",
            scan.frames,
            Mesh(points, np.zeros((0, 3), int), np.zeros((len(points), 3), np.uint8)),
            scan.align,
            (),
            scan.source,
        )
    if kind == "depth":
        scan = read_posed(box_room.write(tmp_path / "room", mesh=False, align=np.eye(4)))
    found = cluster_objects(upright(scan), "").objects
    assert [item.id for item in found] == list(range(len(found)))
    if kind == "depth":  # the cameras see neither under the table nor behind the sofa
        assert len(found) >= 4
        return
    expected = expected_boxes(box_room)
    assert len(found) == len(expected)
    for low, high in expected:
        off = [
            max(np.abs(i.center - i.size / 2 - low).max(), np.abs(i.center + i.size / 2 - high).max()) for i in found
        ]
        assert min(off) < 0.1


def test_points_are_spread_by_area(box_room):
    points = spread_points(box_room.mesh)
    on_table = (np.abs(points[:, 2] - 0.73) < 1e-9) & (np.abs(points[:, :2]) <= [0.7, 0.4]).all(axis=1)
    area = 1.4 * 0.8 + 0.1 * 0.1 + 0.3 * 0.2  # the undersides of cup and book lie in the same plane
    assert abs(on_table.sum() * 0.04**2 / 2 / area - 1) < 0.02
    quarters = np.histogram2d(points[on_table, 0], points[on_table, 1], bins=4)[0]
    assert quarters.min() > 0.8 * quarters.mean()


def reference_groups(points, least):
    """DBSCAN word for word, slowly: (labels of core points as sets, noise)."""
    near = [np.nonzero(np.linalg.norm(points - p, axis=1) <= REACH)[0] for p in points]
    core = [len(n) - 1 >= least for n in near]
    groups, seen = [], set()
    for start in range(len(points)):
        if not core[start] or start in seen:
            continue
        group, waiting = set(), [start]
        while waiting:
            one = waiting.pop()
            if one in group:
                continue
            group.add(one)
            waiting += [n for n in near[one] if core[n]]
        seen |= group
        groups.append(group)
    return groups, core, near


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.normal(c, 0.08, (60, 3)) for c in (0, 0.4, 0.9)] + [rng.random((40, 3)) * 2])
    found = dense_groups(points)
    groups, core, near = reference_groups(points, 8)
    assert {frozenset(np.nonzero((found == g) & core)[0]) for g in range(found.max() + 1)} == set(
        map(frozenset, groups)
    )
    for index in np.nonzero(~np.array(core))[0]:
        reachable = {found[n] for n in near[index] if core[n]}
        assert found[index] in reachable if reachable else found[index] == -1


@pytest.fixture
def bare_room(box_room, tmp_path):
    """A folder of the room with walls, floor and ceiling alone."""
    folder = box_room.write(tmp_path / "room", depth=False, align=np.eye(4))
    (folder / "objects.json").unlink()
    mesh, shell = read_ply(folder / "mesh.ply"), 48
    write_ply(folder / "mesh.ply", Mesh(mesh.vertices[:shell], mesh.faces[: shell // 8 * 12], mesh.colors[:shell]))
    return folder


CALL = ["--frames", "2", "--bev_size", "100", "--contact_sheet", "--outlines", "--keep_unmarked"]


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["even", "coverage"])
@pytest.mark.parametrize("objects", ["clusters", "none", "boxes:empty.json"])
def test_a_scene_without_objects_is_a_scene(bare_room, tmp_path, capsys, monkeypatch, objects, choice):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.json").write_text('{"objects": []}')
    call = ["--scans", str(bare_room), "--out", "out", *CALL, "--objects", objects, "--frame_choice", choice]
    assert main(call) == 0
    said = capsys.readouterr().err
    assert (f"note: room: {bare_room}: --objects {objects} gives no object" in said) == (objects != "none")
    scene = read_scene(scene_json(tmp_path / "out", "room"))
    assert scene["objects"] == scene["ground_truth"] == scene["bev"]["markers"] == []
    for image in (scene["bev"], *scene["frames"]):
        with Image.open(tmp_path / "out" / image["image"]) as shown:
            assert shown.size == (image["width"], image["height"])
    assert sheet_image(tmp_path / "out", "room").is_file()
    for name in ("scannet_val_attributes.pt", "scannet_mask3d_val_attributes.pt"):
        read = read_attributes(tmp_path / "out" / name)
        assert read.labels == {"room": ()} and read.scenes["room"].shape == (0, 6)


@pytest.mark.slow
def test_depth_alone_without_objects(box_room, tmp_path):
    folder = box_room.write(tmp_path / "room", mesh=False, align=np.eye(4))
    for geometry in ("voxels", "tsdf"):
        call = ["--scans", str(folder), "--out", str(tmp_path / geometry), *CALL, "--objects", "none"]
        assert main([*call, "--geometry", geometry]) == 0


def test_objects_that_a_scan_lacks_are_not_made_up(bare_room, tmp_path, capsys):
    assert main(["--scans", str(bare_room), "--out", str(tmp_path / "out"), *CALL]) == 1
    assert "has no objects of its own; add objects.json, or choose --objects" in capsys.readouterr().err


@pytest.mark.slow
def test_a_room_without_annotation_is_prepared(box_room, tmp_path):
    folder = box_room.write(tmp_path / "room", align=np.eye(4))
    (folder / "objects.json").unlink()
    call = ["--scans", str(folder), "--out", str(tmp_path / "out"), "--frames", "2", "--bev_size", "100"]
    assert main(call) == 1
    assert main([*call, "--objects", "clusters"]) == 0
    scene = json.loads((tmp_path / "out" / "scenes" / "room" / "scene.json").read_text())
    assert len(scene["objects"]) == len(LUMPS) and scene["ground_truth"] == []


@pytest.mark.slow
@pytest.mark.parametrize("looked_at", [True, False])
def test_what_other_frames_see_through_is_no_object(box_room, make_cuboid, tmp_path, looked_at):
    scan = upright(read_posed(box_room.write(tmp_path / "room", align=np.eye(4))))
    assert scan.mesh is not None
    vertices, faces, colors = make_cuboid((-1.2, 0.0, 1.3), (0.5, 0.5, 0.5), (200, 0, 0))
    mesh = Mesh(
        np.concatenate([scan.mesh.vertices, vertices]),
        np.concatenate([scan.mesh.faces, faces + len(scan.mesh.vertices)]),
        np.concatenate([scan.mesh.colors, colors]),
    )
    frames = scan.frames if looked_at else tuple(replace(frame, depth=None) for frame in scan.frames)
    found = cluster_objects(replace(scan, mesh=mesh, frames=frames), "")
    assert len(found.objects) == len(LUMPS) + (not looked_at)
    assert ("1 of 6 clusters are no objects" in "".join(found.notes)) == looked_at


def test_points_are_judged_by_those_who_look_at_them(box_room_folder):
    scan = upright(read_posed(box_room_folder))
    grid = np.stack(np.meshgrid(*[np.linspace(-0.1, 0.1, 5)] * 3), axis=-1).reshape(-1, 3)
    table = grid * [1, 1, 0] + [0, 0, 0.73]
    lumps = [grid + [-1.2, 0, 1.3], table, grid + [50, 0, 1], np.concatenate([table, table, grid + [-1.2, 0, 1.3]])]
    assert seen_through(scan.frames, lumps).tolist() == [True, False, False, False]
    assert seen_through(scan.frames, []).tolist() == []
    lost = [replace(frame, depth=None) for frame in scan.frames]
    assert seen_through(lost, lumps).tolist() == [False] * 4


def test_what_one_frame_alone_has_measured_is_not_there(box_room, tmp_path):
    folder = box_room.write(tmp_path / "room", mesh=False, align=np.eye(4))
    path = sorted((folder / "depth").glob("*.png"))[0]
    depth = np.asarray(Image.open(path)).copy()
    depth[40:80, 80:120] = 600
    Image.fromarray(depth).save(path)
    scan = upright(read_posed(folder))
    camera = scan.frames[0].depth_camera
    rows, columns = np.mgrid[44:76:4, 84:116:4].reshape(2, -1)
    rays = camera.rays(np.stack([columns, rows], axis=1))
    ghost, empty = (camera.pose[:3, 3] + rays * z for z in (0.6, 0.3))
    assert seen_through(scan.frames, [ghost]).tolist() == [True]
    assert seen_through(scan.frames[:1], [ghost]).tolist() == [False]
    assert seen_through(scan.frames[:1], [empty]).tolist() == [True]  # nothing is there that any frame has measured
