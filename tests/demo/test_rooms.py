from __future__ import annotations

import numpy as np
import pytest

from gpt4scene.demo.furniture import BALL, COLOURS, KINDS, Part, box_mesh, parts_mesh, turned_mesh
from gpt4scene.demo.plan import COUNTED, UNIQUE, draw_plan
from gpt4scene.demo.rooms import View, build_room, camera_walk, look_at, photograph, write_room
from gpt4scene.scans.geometry import transformed
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.types import Camera
from gpt4scene.scenes.render import Raycaster

SMALL = View(width=64, height=48, frames=3)


@pytest.fixture(scope="module")
def plan():
    return draw_plan("room0000_00", np.random.default_rng(5))


@pytest.fixture(scope="module")
def room(plan):
    return build_room(plan)


def test_plans_have_no_overlaps_and_stay_inside():
    random = np.random.default_rng(1)
    for _ in range(20):
        plan = draw_plan("room", random)
        half_room = np.array([plan.width, plan.depth]) / 2
        assert [piece.id for piece in plan.pieces] == list(range(len(plan.pieces)))
        for piece in plan.pieces:
            assert (np.abs(piece.spot) + piece.half <= half_room + 1e-9).all()
            for other in plan.pieces[piece.id + 1 :]:
                window_pair = "window" in (piece.label, other.label)
                assert window_pair or piece.gap(other) > 0, (piece, other)
        colours = [piece.colour for piece in plan.unique]
        assert len(set(colours)) == len(colours)
        assert all(1 <= len(plan.of(label)) <= 4 for label in COUNTED)
        assert all(len(plan.of(label)) <= 1 for label in UNIQUE)


def test_equal_seeds_give_equal_plans():
    first, second = (draw_plan("room", np.random.default_rng(9)) for _ in range(2))
    assert first == second
    assert first != draw_plan("room", np.random.default_rng(10))


@pytest.mark.parametrize("label", sorted(KINDS))
def test_furniture_fills_its_size(label):
    kind = KINDS[label]
    vertices, faces, colours = parts_mesh(kind.parts(kind.size, COLOURS["red"]))
    low, high = vertices.min(0), vertices.max(0)
    width, depth, height = kind.size
    assert (low >= np.array([-width / 2, -depth / 2, 0]) - 1e-6).all() and (
        high <= np.array([width / 2, depth / 2, height]) + 1e-6
    ).all()
    assert (high - low)[:2] == pytest.approx([width, depth], rel=0.15)
    assert faces.max() < len(vertices) == len(colours)
    assert high[2] == pytest.approx(height, rel=0.1)


def _volume(vertices, faces):
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_solids_face_outwards_and_have_their_volume():
    vertices, faces = box_mesh(Part((1, 2, 3), (0.5, 0.4, 0.3), (1, 2, 3)))
    assert _volume(vertices, faces) == pytest.approx(0.5 * 0.4 * 0.3)
    vertices, faces = turned_mesh(Part((0, 0, 1), (1, 1, 1), (1, 2, 3), BALL), sides=48)
    assert _volume(vertices, faces) == pytest.approx(np.pi / 6, rel=0.06)


def test_masks_and_boxes_fit_the_pieces(plan, room):
    mesh, objects = room
    assert [item.label for item in objects] == [piece.label for piece in plan.pieces]
    for item, piece in zip(objects, plan.pieces, strict=True):
        points = mesh.vertices[item.vertices]
        assert np.allclose(item.center - item.size / 2, points.min(0))
        assert np.allclose(item.center[:2], piece.spot, atol=0.06)
        assert (item.size[:2] <= 2 * piece.half + 1e-6).all()
    used = np.concatenate([item.vertices for item in objects])
    assert len(np.unique(used)) == len(used)


def test_pieces_turn_their_front_where_the_plan_says(plan, room):
    mesh, objects = room
    sofa = plan.only("sofa")
    points = mesh.vertices[objects[sofa.id].vertices]
    top = points[points[:, 2] > 0.7][:, :2].mean(0)
    assert (top - sofa.spot) @ sofa.front < -0.1


def test_look_at_is_a_right_handed_camera():
    pose = look_at(np.array([1.0, 2.0, 1.5]), np.array([3.0, 2.0, 1.5]))
    assert np.allclose(pose[:3, 2], [1, 0, 0]) and np.allclose(pose[:3, 1], [0, 0, -1])
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_depth_of_the_floor_is_exact(room, plan):
    mesh, _ = room
    pose = look_at(np.array([0.0, 0.0, 2.3]), np.array([1e-6, 0.0, 0.0]))
    image, depth = photograph(Raycaster(mesh), Camera(SMALL.intrinsics, pose, SMALL.width, SMALL.height))
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8
    assert depth.max() == pytest.approx(2.3, abs=1e-4)
    assert depth.min() > 0


def test_cameras_stand_in_the_room_outside_tall_pieces(plan):
    for camera in camera_walk(plan, View(frames=24), np.random.default_rng(0)):
        x, y, z = camera.pose[:3, 3]
        assert abs(x) < plan.width / 2 and abs(y) < plan.depth / 2 and 1.4 < z < 1.7
        for piece in plan.pieces:
            if piece.size[2] > 1.4 and piece.label not in ("door", "window"):
                assert (np.abs(piece.spot - [x, y]) > piece.half).any()


@pytest.mark.slow
def test_the_posed_folder_reads_back(plan, tmp_path):
    folder = write_room(plan, tmp_path, SMALL)
    scan = read_posed(folder)
    mesh, objects = build_room(plan)
    assert scan.scene_id == "room0000_00" and len(scan.frames) == 3
    assert np.allclose(transformed(scan.mesh.vertices, scan.align), mesh.vertices, atol=1e-4)
    assert not np.allclose(scan.mesh.vertices, mesh.vertices, atol=0.1)
    for read, made in zip(scan.objects, objects, strict=True):
        assert (read.id, read.label) == (made.id, made.label)
        assert np.array_equal(read.vertices, made.vertices) and np.allclose(read.center, made.center)


def test_equal_plans_give_equal_bytes(plan, tmp_path):
    first, second = (write_room(plan, tmp_path / name, SMALL) for name in ("a", "b"))
    for path in sorted(first.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()
