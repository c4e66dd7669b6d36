"""Scans are set upright whatever their world was, and the floor is found."""

import numpy as np
import pytest

from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.upright import estimated_align, upright


def turned(angles, shift):
    from scipy.spatial.transform import Rotation

    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix()
    move[:3, 3] = shift
    return move


@pytest.mark.parametrize("angles", [(0, 0, 0), (1.2, -0.4, 2.0), (-1.5, 0.3, -2.9), (3.0, 0.1, 0.7)])
def test_a_room_is_set_upright_whatever_its_world_was(box_room, angles):
    move = turned(angles, (30, -12, 5))
    other = box_room.moved(move)
    reference = estimated_align(box_room.mesh, box_room.cameras)
    align = estimated_align(other.mesh, other.cameras)
    assert np.allclose(align @ move, reference, atol=2e-3)
    up = (align @ move)[:3, :3] @ [0, 0, 1]
    assert np.degrees(np.arccos(up[2])) < 0.5
    assert abs((align @ move @ [0, 0, 0, 1])[2]) < 0.03  # the floor
    level = (align @ move)[:3, :3] @ [1, 0, 0]
    assert max(abs(level[0]), abs(level[1])) > np.cos(np.radians(1))  # walls along the axes


def test_depth_frames_alone_are_set_upright(box_room, tmp_path):
    move = turned((0.4, -1.1, 0.8), (3, 2, 1))
    folder = box_room.moved(move).write(tmp_path / "room", mesh=False, masks=False)
    (folder / "objects.json").unlink()
    scan = upright(read_posed(folder))
    up = (scan.align @ move)[:3, :3] @ [0, 0, 1]
    assert np.degrees(np.arccos(up[2])) < 2 and abs((scan.align @ move @ [0, 0, 0, 1])[2]) < 0.06


def test_the_ceiling_is_cut_and_the_floor_found(box_room):
    floor, cut = floor_and_cut(box_room.mesh, box_room.cameras)
    assert abs(floor) < 0.01 and 2.3 < cut < 2.6
    no_lid = box_room.mesh.faces[(box_room.mesh.faces[:, 0] // 8) != 1]
    floor, cut = floor_and_cut(Mesh(box_room.mesh.vertices, no_lid, box_room.mesh.colors), box_room.cameras)
    assert abs(floor) < 0.01 and cut == pytest.approx(2.2, abs=0.01)
