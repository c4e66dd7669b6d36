"""Slips beside those of a single flag: two at once, poses of other images, intrinsics, clouds, and alignments."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scan_slips import APPLIED, FLIP, each_camera, in_units, larger_mesh, longer, moved, with_poses, without_depth

from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.errors import DataError
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.repairs import Repairs, repaired
from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.ceilings import without_ceilings
from gpt4scene.scenes.render import Raycaster
from gpt4scene.scenes.sanity import raw_warnings, report
from gpt4scene.scenes.upright import alignment_doubt
from gpt4scene.scenes.voxels import voxel_mesh


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_room(choose_plans(2, 3)[0], folder, View(100, 75, 12), 3)
    return read_posed(next(folder.iterdir()))


def warnings_of(scan):
    return raw_warnings(scan, Repairs(), "opencv")[1]


def scaled(factor):
    return lambda scan: moved(larger_mesh(scan, factor) if scan.mesh is not None else scan, longer(factor))


def opengl(scan):
    return moved(scan, lambda pose: pose @ FLIP)


def inverted(scan):
    return moved(scan, np.linalg.inv)


PAIRS = {
    "a fifth, opengl": (scaled(0.2), opengl, Repairs("opengl", 5)),
    "millimetres, opengl": (scaled(1000), opengl, Repairs("opengl", 0.001)),
    "five, world to camera": (scaled(5), inverted, Repairs("world_to_camera", 0.2)),
    "TUM's unit, opengl": (in_units(0.2), opengl, Repairs("opengl", depth_scale=1000)),
    "a quarter millimetre, world to camera": (in_units(0.25), inverted, Repairs("world_to_camera", depth_scale=1000)),
    "centimetres, opengl": (in_units(10), opengl, Repairs("opengl", depth_scale=1000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_two_slips_at_once_are_named_and_mended_by_the_flags(scan, pair):
    first, second, repair = PAIRS[pair]
    wrong = second(first(scan if pair.endswith("opengl") else replace(scan, mesh=None)))
    said = warnings_of(wrong)
    assert len(said) == 1 and f"with {repair.flags()} it would be" in said[0]
    assert raw_warnings(wrong, repair, "opencv")[1] == ()


def poses_of(order):
    """What gives the images the poses of others."""
    return lambda scan: with_poses(scan, [scan.frames[place].camera.pose for place in order(len(scan.frames))])


def intrinsics(change):
    return lambda scan: each_camera(scan, lambda _, one: replace(one, intrinsics=change(one.intrinsics.copy())))


def swapped_axes(matrix):
    matrix[0, 2], matrix[1, 2] = matrix[1, 2], matrix[0, 2]
    return matrix


def focal(factor):
    return lambda matrix: matrix * np.array([[factor, factor, 1], [factor, factor, 1], [1, 1, 1]])


OTHERS = {
    "one on": (poses_of(lambda n: [*range(1, n), 0]), "had the pose of the one before"),
    "one back": (poses_of(lambda n: [n - 1, *range(n - 1)]), "had the pose of the next one"),
    "backwards": (poses_of(lambda n: range(n)[::-1]), "poses stood in reverse order"),
    "cx and cy": (intrinsics(swapped_axes), "cx and cy were exchanged"),
    "half the focal length": (intrinsics(focal(0.5)), "focal lengths were twice as long"),
    "twice the focal length": (intrinsics(focal(2)), "focal lengths were half as long"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["depth", "mesh"])
@pytest.mark.parametrize("slip", OTHERS)
def test_what_the_files_mix_up_is_named(scan, slip, kind):
    spoil, said = OTHERS[slip]
    given = {"depth": replace(scan, mesh=None), "mesh": without_depth(scan)}[kind]
    found = warnings_of(spoil(given))
    assert len(found) == 1 and said in found[0] and "change the file" in found[0]


@pytest.mark.slow
def test_names_that_count_without_zeros_are_named(scan):
    names = [f"img{number}" for number in range(4, 16)]
    frames = [replace(frame, name=name) for frame, name in zip(scan.frames, names, strict=True)]
    by_text = replace(scan, frames=tuple(sorted(frames, key=lambda frame: frame.name)))
    found = warnings_of(with_poses(by_text, [frame.camera.pose for frame in frames]))
    assert len(found) == 1 and "in the order of the numbers in the images' names" in found[0]


UNITS = {
    "inches": (39.3701, "0.0254"),
    "feet": (3.28084, "0.3048"),
    "centimetres": (100, "0.01"),
    "mm": (1e3, "0.001"),
}


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", ["mesh and depth", "mesh"])
def test_a_mesh_of_another_unit_is_named_with_the_factor(scan, unit, kind):
    factor, named = UNITS[unit]
    found = warnings_of(larger_mesh(scan if kind != "mesh" else without_depth(scan), factor))
    assert len(found) == 1 and f"mesh by {named}" in found[0].replace("mesh were multiplied by", "mesh by")


def mirrored(scan):
    mesh = scan.mesh
    return replace(scan, mesh=replace(mesh, vertices=mesh.vertices * [-1, 1, 1], faces=mesh.faces[:, ::-1]))


@pytest.mark.slow
def test_a_mirrored_mesh_is_named(scan):
    found = warnings_of(mirrored(without_depth(scan)))
    assert len(found) == 1 and "if the mesh were mirrored along x" in found[0]


def cloud_of(scan, count):
    """The scan with points on its mesh in the place of triangles."""
    rng = np.random.default_rng(0)
    a, b, c = scan.mesh.corners()
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(areas), count, p=areas / areas.sum())
    u, v = np.sort(rng.random((2, count)), axis=0)
    points = a[face] * u[:, None] + b[face] * (v - u)[:, None] + c[face] * (1 - v)[:, None]
    return replace(scan, mesh=Mesh(points, np.zeros((0, 3), int), scan.mesh.colors[scan.mesh.faces[face, 0]]))


@pytest.mark.slow
@pytest.mark.parametrize("count", [300, 3000, 60_000])
def test_a_right_cloud_gives_no_warning_however_few_its_points_are(scan, count):
    for given in (scan, without_depth(scan)):
        assert warnings_of(cloud_of(given, count)) == ()


CLOUDS = {
    "axes": (lambda scan: moved(scan, lambda pose: APPLIED @ pose), "poses' x, y, z were the mesh's y, x, -z"),
    "a mesh of millimetres": (lambda scan: larger_mesh(scan, 1000), "0.001"),
    "opengl": (opengl, "with --pose opengl it would be"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["depth", "colours"])
@pytest.mark.parametrize("slip", CLOUDS)
def test_a_cloud_of_another_world_is_named(scan, slip, kind):
    spoil, said = CLOUDS[slip]
    given = cloud_of(scan if kind == "depth" else without_depth(scan), 60_000)
    found = warnings_of(spoil(given))
    assert len(found) == 1 and said in found[0]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.6, 1])
def test_many_frames_of_one_pose_are_named(scan, share):
    count = round(share * len(scan.frames))
    spoil = poses_of(lambda n: [0] * count + list(range(count, n)))
    for given in (replace(scan, mesh=None), without_depth(scan)):
        found = warnings_of(spoil(given))
        named = [one for one in found if f"{count} of the 12 frames have one and the same pose" in one]
        assert bool(named) == (share >= 0.5) and not any("--scale" in one.partition("with ")[2] for one in found)


@pytest.mark.slow
def test_depth_that_reads_nothing_or_one_number_is_named(scan, tmp_path):
    for number, said in ((0, "hold no reading"), (65535, "hold no reading"), (1000, "one and the same number")):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((75, 100), number, np.uint16)).save(path)
        frames = tuple(replace(frame, depth=path) for frame in scan.frames)
        for given in (replace(scan, frames=frames), replace(scan, frames=frames, mesh=None)):
            found = warnings_of(given)
            assert len(found) == 1 and said in found[0] and "give that" not in found[0]


SIDE = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
ALIGNED = {
    "as it is": (np.eye(4), ""),
    "on its side": (SIDE, "lean by 90 degrees"),
    "on its other side": (SIDE.T, "lean by 90 degrees"),
    "upside down": (np.diag([1.0, -1, -1, 1]), "stands the room on its ceiling"),
}


@pytest.mark.slow
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("turn", ALIGNED)
def test_an_alignment_that_can_not_be_is_named(scan, turn, quarters):
    matrix, said = ALIGNED[turn]
    align = matrix @ scan.align
    mesh = replace(scan.mesh, vertices=scan.mesh.vertices @ align[:3, :3].T + align[:3, 3])
    cameras = [frame.camera.turned(quarters).moved(align) for frame in scan.frames]
    found = alignment_doubt(cameras, mesh)
    if turn == "upside down" and quarters:
        return  # how a camera was held is no evidence then
    assert said in found and bool(found) == bool(said)


@pytest.mark.slow
def test_the_report_has_it(scan):
    align = SIDE @ scan.align
    mesh = replace(scan.mesh, vertices=scan.mesh.vertices @ align[:3, :3].T + align[:3, 3])
    aside = replace(moved(scan, lambda pose: align @ pose), mesh=mesh)
    agreement, warnings = raw_warnings(aside, Repairs(), "opencv")
    said = report(aside, mesh, agreement, warnings, None, Repairs()).warnings
    assert any(
        "the recording's own alignment lets the cameras lean by 90 degrees; is axis_align right" in one for one in said
    )


@pytest.mark.slow
def test_a_cloud_of_kilometres_takes_no_memory_for_its_ceiling(scan):
    cloud = cloud_of(repaired(scan, Repairs(scale=1000)), 5000).mesh
    caster = Raycaster(voxel_mesh(cloud, 0.03).mesh)
    assert without_ceilings(caster, [frame.camera for frame in scan.frames], 0.03) is caster


@pytest.mark.slow
def test_a_scale_that_would_be_usual_is_named_with_the_other_flags(scan):
    small = scaled(0.2)(opengl(without_depth(scan)))
    repairs = Repairs("opengl")
    mended = repaired(small, repairs)
    found = report(mended, mended.mesh, *raw_warnings(small, repairs, "opencv"), None, repairs).warnings
    assert len(found) == 1 and "with --pose opengl --scale 5 they would be usual" in found[0]


@pytest.mark.slow
def test_a_scene_of_kilometres_names_the_repair_that_was_found_alone(scan):
    wrong = larger_mesh(scan, 1000)
    agreement, warnings = raw_warnings(wrong, Repairs(), "opencv")
    with pytest.raises(DataError, match="mesh were multiplied by 0.001.*m long") as error:
        report(wrong, wrong.mesh, agreement, warnings, None, Repairs())
    assert "they would be usual" not in str(error.value)
