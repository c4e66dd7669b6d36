"""The doctor finds in scans what ``prepare`` would warn of, under the same flags, and writes nothing."""

import shutil

import numpy as np
import pytest
from box_scene import build_room
from commands import doctor as doctor_command

from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.scans.text_files import number_lines, read_matrices

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return write_room(choose_plans(2, 3)[0], folder, View(120, 90, 12), 3)


@pytest.fixture
def room(demo, tmp_path):
    folder = shutil.copytree(demo, tmp_path / "room")
    (folder / "mesh.ply").unlink()
    (folder / "objects.json").unlink()
    (folder / "axis_align.txt").unlink()
    shutil.rmtree(folder / "masks")
    return folder


def spoiled(folder, change):
    poses = [change(pose) for pose in read_matrices(folder / "poses.txt", 4)]
    (folder / "poses.txt").write_text(number_lines(poses))


def smaller(pose):
    pose = pose.copy()
    pose[:3, 3] *= 0.2
    return pose


SLIPS = {
    "right": (lambda pose: pose, []),
    "opengl": (lambda pose: pose @ FLIP, ["--pose", "opengl"]),
    "world to camera": (np.linalg.inv, ["--pose", "world_to_camera"]),
    "a fifth": (smaller, ["--scale", "5"]),
    "a fifth, opengl": (lambda pose: smaller(pose) @ FLIP, ["--pose", "opengl", "--scale", "5"]),
    "a fifth, world to camera": (lambda p: np.linalg.inv(smaller(p)), ["--pose", "world_to_camera", "--scale", "5"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_wrong_until_its_flags_are_given(room, capsys, slip, tmp_path):
    change, flags = SLIPS[slip]
    spoiled(room, change)
    words = ["--scans", str(room), "--objects", "none"]
    if flags:
        assert doctor_command(words) == 1
        said = capsys.readouterr().out
        assert f"with {' '.join(flags)} it would be" in said
    assert doctor_command([*words, *flags]) == 0
    said = capsys.readouterr().out
    assert "objects in an upright scene" in said and "frames agree" in said
    assert [path.name for path in tmp_path.iterdir()] == ["room"]


def test_a_scan_that_can_not_be_is_wrong_though_it_is_not_the_first(tmp_path, capsys):
    for name in ("a", "b"):
        build_room(cameras=4, width=120, height=90).write(tmp_path / name, align=np.eye(4))
    spoiled(tmp_path / "b", lambda pose: pose @ np.diag([1, -1, 1, 1.0]))
    assert doctor_command(["--scans", str(tmp_path)]) == 1
    assert "wrong b: " in (said := capsys.readouterr().out) and "mirrors" in said and "ok    a:" in said


def test_slips_of_names_are_wrong_and_notes_are_not(tmp_path, capsys):
    folder = build_room(cameras=4, width=120, height=90).write(tmp_path / "a", align=np.eye(4))
    (folder / "masks" / "0.txt").write_text("")
    assert doctor_command(["--scans", str(folder)]) == 0
    assert "note  a: " in capsys.readouterr().out
    (folder / "depth_intrinsic.txt").write_text("")
    assert doctor_command(["--scans", str(folder)]) == 1
    assert "did you mean 'depth_intrinsics.txt'?" in capsys.readouterr().out
