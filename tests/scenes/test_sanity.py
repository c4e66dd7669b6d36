"""A recording in another convention is noticed, the repair is named, and given, makes the scan what it should be."""

import re
from dataclasses import replace

import numpy as np
import pytest
from commands import prepare as main
from scan_slips import APPLIED, FLIP, in_units, larger_mesh, longer, moved, without_depth

from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.files.whole import read_json
from gpt4scene.scans.ply import write_ply
from gpt4scene.scans.posed import read_posed, write_posed
from gpt4scene.scans.repairs import Repairs, repaired
from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.agreement import Agreement
from gpt4scene.scenes.render import Raycaster
from gpt4scene.scenes.sanity import raw_warnings, report


def write_poses(folder, poses):
    np.savetxt(folder / "poses.txt", np.reshape(poses, (-1, 16)))


SLIPS = {
    "opengl": (lambda scan: moved(scan, lambda pose: pose @ FLIP), "--pose opengl"),
    "world to camera": (lambda scan: moved(scan, np.linalg.inv), "--pose world_to_camera"),
    "millimetres read as 1/5": (in_units(5), "--depth_scale 1000"),
    "metres read as millimetres": (in_units(0.001), "--depth_scale 1000"),
    "poses of a fifth": (lambda scan: moved(scan, longer(0.2)), "--scale 5"),
    "poses of five": (lambda scan: moved(scan, longer(5)), "--scale 0.2"),
}
"""What went wrong -> how, and the repair of a scan without mesh."""


@pytest.fixture(scope="module")
def scans(box_room, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sanity")
    found = [read_posed(box_room.write(folder / "box"))]
    write_room(choose_plans(2, 3)[0], folder / "demo", View(160, 120, 16), 3)
    found.append(read_posed(next((folder / "demo").iterdir())))
    return found


def kinds(scan):
    return [scan, replace(scan, mesh=None), without_depth(scan)]


@pytest.mark.slow
def test_a_right_recording_gives_no_warning(scans):
    for scan in scans:
        for kind in kinds(scan):
            agreement, warnings = raw_warnings(kind, Repairs(), "opencv")
            assert warnings == () and agreement.worst > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_noticed_and_its_repair_is_named(scans, slip):
    spoil, repair = SLIPS[slip]
    for scan in scans:
        _, warnings = raw_warnings(spoil(replace(scan, mesh=None)), Repairs(), "opencv")
        assert len(warnings) == 1 and f"with {repair} " in warnings[0], warnings


@pytest.mark.slow
@pytest.mark.parametrize("slip", ["opengl", "world to camera"])
def test_poses_are_compared_with_the_mesh_by_depth_and_by_color(scans, slip):
    spoil, repair = SLIPS[slip]
    for scan in scans:
        for kind in (scan, without_depth(scan)):
            _, warnings = raw_warnings(spoil(kind), Repairs(), "opencv")
            assert len(warnings) == 1 and f"with {repair} " in warnings[0], warnings


APART = {
    "axes": (lambda scan: moved(scan, lambda pose: APPLIED @ pose), "poses' x, y, z were the mesh's y, x, -z"),
    "another place": (lambda scan: moved(scan, lambda pose: far @ APPLIED @ pose), "applied_transform"),
    "poses of a fifth": (lambda scan: moved(scan, longer(0.2)), "positions of the cameras were multiplied by 5"),
    "poses of five": (lambda scan: moved(scan, longer(5)), "positions of the cameras were multiplied by 0.2"),
    "a mesh of millimetres": (lambda scan: larger_mesh(scan, 1000), "of the mesh were multiplied by 0.001"),
}
far = np.array([[1.0, 0, 0, 3], [0, 1, 0, -1], [0, 0, 1, 0.5], [0, 0, 0, 1]])


@pytest.mark.parametrize("factor", [0.001, 1000])
def test_depth_that_no_room_has_is_noticed_where_poses_tell_no_lengths(make_camera, make_cuboid, tmp_path, factor):
    mesh = shell((5, 4, 2.5), make_cuboid, np.random.default_rng(0))
    views = [(3 * np.cos(a), 3 * np.sin(a), 1) for a in np.arange(16) * np.pi / 8]
    cameras = [make_camera((0.0, 0, 1.5), view, 80, 60) for view in views]
    scan = replace(read_posed(recorded(tmp_path / "room", mesh, cameras)), mesh=None)
    assert raw_warnings(scan, Repairs(), "opencv")[1] == ()
    _, warnings = raw_warnings(in_units(factor)(scan), Repairs(), "opencv")
    assert len(warnings) == 1 and "with --depth_scale 1000 " in warnings[0]


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.13, 0.37, 2.7, 7.5])
def test_a_reconstruction_of_any_scale_is_noticed(scans, factor):
    _, warnings = raw_warnings(moved(replace(scans[0], mesh=None), longer(1 / factor)), Repairs(), "opencv")
    assert len(warnings) == 1
    named = float(re.search(r"--scale ([\d.]+) ", warnings[0]).group(1))
    assert abs(named / factor - 1) < 0.3
    scan = repaired(moved(replace(scans[0], mesh=None), longer(1 / factor)), Repairs(scale=factor))
    assert raw_warnings(scan, Repairs(), "opencv")[1] == ()


@pytest.mark.slow
@pytest.mark.parametrize("apart", APART)
def test_a_mesh_of_another_world_is_noticed_and_the_difference_is_named(scans, apart):
    spoil, hint = APART[apart]
    for kind in (scans[0], without_depth(scans[0])):
        _, warnings = raw_warnings(spoil(kind), Repairs(), "opencv")
        part = hint if kind is scans[0] else hint.rpartition(" ")[2]  # without depth either side may be at fault
        assert len(warnings) == 1 and part in warnings[0]


@pytest.mark.slow
@pytest.mark.parametrize("native", ["opencv", "opengl", "world_to_camera"])
@pytest.mark.parametrize("written", ["opencv", "opengl", "world_to_camera"])
def test_poses_are_read_as_they_are_written_whatever_the_format_says(scans, native, written):
    """``native`` is what the reader takes for granted, ``written`` what the file holds."""
    to_file = {"opencv": lambda pose: pose, "opengl": lambda pose: pose @ FLIP, "world_to_camera": np.linalg.inv}
    scan = scans[0]
    read = moved(moved(scan, to_file[written]), to_file[native])  # each of the three undoes itself
    found = repaired(read, Repairs(pose=written), native)
    for ours, true in zip(found.frames, scan.frames, strict=True):
        assert np.allclose(ours.camera.pose, true.camera.pose)
        assert np.allclose(ours.depth_camera.pose, true.depth_camera.pose)


@pytest.mark.slow
def test_a_scale_makes_metres_of_everything(scans):
    scan = scans[0]
    small = repaired(scan, Repairs(scale=0.2))
    again = repaired(small, Repairs(scale=5))
    assert np.allclose(again.mesh.vertices, scan.mesh.vertices)
    assert np.allclose(again.frames[3].camera.pose, scan.frames[3].camera.pose)
    assert again.frames[3].depth_scale == pytest.approx(scan.frames[3].depth_scale)
    assert all(np.allclose(a.size, b.size) for a, b in zip(again.objects, scan.objects, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "factor"), [(0.2, 5), (5, 0.2), (0.001, 1000)])
def test_lengths_that_are_no_metres_are_noticed_and_mended_by_the_command(box_room, tmp_path, capsys, scale, factor):
    scan = repaired(read_posed(box_room.write(tmp_path / "true")), Repairs(scale=scale))
    folder = box_room.write(tmp_path / "scans" / "room", masks=False, depth=False)
    (folder / "objects.json").unlink()
    write_poses(folder, [frame.camera.pose for frame in scan.frames])
    write_ply(folder / "mesh.ply", scan.mesh)
    flags = ["--scans", str(folder), "--objects", "boxes:" + str(tmp_path / "boxes.json"), "--frames", "2"]
    (tmp_path / "boxes.json").write_text('{"objects": []}')
    out = tmp_path / "out"
    assert main([*flags, "--out", str(out), "--strict"]) == 1
    assert f"--scale {factor:g} " in capsys.readouterr().err
    assert not (out / "scenes" / "room" / "scene.json").exists()
    assert main([*flags, "--out", str(out), "--strict", "--scale", str(factor)]) == 0
    record = read_json(out / "scenes" / "room" / "scene.json")
    assert record["settings"]["scale"] == factor and record["sanity"]["camera_height"] == pytest.approx(1.5, abs=0.1)


@pytest.mark.slow
def test_the_report_is_printed_kept_and_strict_makes_an_error_of_it(box_room, tmp_path, capsys):
    folder = box_room.write(tmp_path / "scans" / "room", align=np.eye(4))
    lines = [
        np.array(line.split(), dtype=float).reshape(4, 4) for line in (folder / "poses.txt").read_text().splitlines()
    ]
    (folder / "poses.txt").write_text("\n".join(" ".join(map(repr, (pose @ FLIP).ravel().tolist())) for pose in lines))
    flags = ["--scans", str(folder), "--frames", "4", "--out", str(tmp_path / "out")]
    assert main([*flags, "--strict"]) == 1
    said = capsys.readouterr().err
    assert "--pose opengl" in said and not (tmp_path / "out" / "scenes" / "room" / "scene.json").exists()
    assert main(flags) == 0
    said = capsys.readouterr().err
    assert "warning: room: only" in said and "--pose opengl" in said
    assert main([*flags, "--pose", "opengl"]) == 1  # finished before, with other settings
    assert "pose None -> opengl" in capsys.readouterr().err
    assert main([*flags, "--pose", "opengl", "--overwrite", "--strict"]) == 0
    said = capsys.readouterr().err
    assert "warning" not in said and "cameras 1.50 m above the floor" in said
    assert read_json(tmp_path / "out" / "scenes" / "room" / "scene.json")["sanity"]["warnings"] == []


@pytest.mark.slow
def test_strict_refuses_what_was_finished_with_a_warning(box_room, tmp_path, capsys):
    folder = box_room.write(tmp_path / "scans" / "room", align=np.eye(4))
    (folder / "depth_intrinsic.txt").write_text("a slip of a name")
    flags = ["--scans", str(folder), "--frames", "20", "--bev_size", "100", "--out", str(tmp_path / "out")]
    assert main(flags) == 0
    said = capsys.readouterr().err
    assert "did you mean 'depth_intrinsics.txt'?" in said and "only 8 of the 20 frames asked for" in said
    record = tmp_path / "out" / "scenes" / "room" / "scene.json"
    assert read_json(record)["sanity"]["files_not_read"] == ["depth_intrinsic.txt"]
    assert main(flags) == 0
    assert "warning: room: depth_intrinsic.txt" in capsys.readouterr().err  # finished before, and still said
    assert main([*flags, "--strict"]) == 1
    assert "depth_intrinsic.txt" in capsys.readouterr().err and not record.exists()
    assert read_json(tmp_path / "out" / "selected_images_mark_3D_val_20.json") == {}
    (folder / "depth_intrinsic.txt").unlink()
    assert main([*flags, "--strict"]) == 0


def boxes_far_away(item):
    return replace(item, center=item.center + [0, 0, 30])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "warned"), [(0, False), (1, False), (3, True), (7, True)])
def test_boxes_outside_of_the_scene_are_named(scans, count, warned):
    scan = replace(scans[0], align=np.eye(4))
    moved_boxes = tuple(boxes_far_away(one) if one.id < count else one for one in scan.objects)
    found = report(scan, scan.mesh, Agreement(), (), None, Repairs(), moved_boxes).warnings
    assert bool(found) == warned and all("lie outside of the scene (0, 1, 2" in one for one in found)


RIGHT = {
    "a corridor": ((30, 2.2, 2.6), 1.5, 0.0),
    "a hall": ((30, 20, 7), 1.5, 0.35),
    "a bathroom": ((1.8, 1.6, 2.4), 1.5, 0.3),
    "cameras near walls": ((5, 4, 2.5), 1.4, 0.46),
    "a robot": ((6, 5, 2.6), 0.35, 0.35),
    "a ladder": ((6, 5, 3.5), 2.9, 0.3),
}
"""Recordings that are right -> size, height of cameras, and where they stand (share of the room; 0: along it)."""


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0, 0.02])
@pytest.mark.parametrize("name", RIGHT)
def test_unusual_recordings_that_are_right_give_no_warning(make_camera, make_cuboid, tmp_path, name, noise):
    size, height, share = RIGHT[name]
    rng = np.random.default_rng(0)
    if share:
        spots = [(size[0] * share * np.cos(a), size[1] * share * np.sin(a)) for a in np.arange(16) * np.pi / 8]
        cameras = [make_camera((x, y, height), (-0.3 * x, -0.3 * y, 0.6), 80, 60) for x, y in spots]
    else:
        spots = np.linspace(-size[0] / 2 + 1, size[0] / 2 - 4, 24)
        cameras = [make_camera((x, 0, height), (x + 3, 0.3 * np.sin(x), 1), 80, 60) for x in spots]
    mesh = shell(size, make_cuboid, rng)
    folder = recorded(tmp_path / "room", mesh, cameras, noise)
    for kind in kinds(read_posed(folder)):
        agreement, warnings = raw_warnings(kind, Repairs(), "opencv")
        found = report(replace(kind, align=np.eye(4)), mesh, agreement, warnings, None, Repairs())
        assert found.warnings == ()


def recorded(folder, mesh, cameras, noise=0.0):
    """A posed folder of what cameras of 80x60 see; depth has ``noise`` times its length, and holes with it."""
    caster, images, depths, rng = Raycaster(mesh), [], [], np.random.default_rng(1)
    for camera in cameras:
        hits = caster.first_hits(camera)
        images.append(caster.colors(hits).astype(np.uint8).reshape(60, 80, 3))
        depth = np.where(hits.found, hits.depth, 0).reshape(60, 80)
        depths.append(depth * (1 + noise * rng.normal(size=depth.shape)) * (rng.random(depth.shape) > 10 * noise))
    return write_posed(folder, images, cameras, depths=depths, mesh=mesh)


def shell(size, make_cuboid, rng):
    """A room with a few boxes in it, each side in a colour."""
    x, y, z = size
    solids = [((0, 0, side), (x, y, 0.1)) for side in (-0.05, z + 0.05)]
    solids += [((side * (x / 2 + 0.05), 0, z / 2), (0.1, y, z)) for side in (-1, 1)]
    solids += [((0, side * (y / 2 + 0.05), z / 2), (x, 0.1, z)) for side in (-1, 1)]
    solids += [((x * u, y * v, 0.35), (0.4, 0.4, 0.7)) for u, v in rng.uniform(-0.15, 0.15, (3, 2))]
    parts = [make_cuboid(center, side, rng.integers(30, 230, 3)) for center, side in solids]
    points, faces, colors = zip(*parts, strict=True)
    faces = [part + 8 * number for number, part in enumerate(faces)]
    return Mesh(np.concatenate(points), np.concatenate(faces), np.concatenate(colors))
