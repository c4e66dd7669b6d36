"""Fusing depth, voxels, upright rooms, the bird's-eye camera, and who owns a pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.errors import DataError
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.types import Camera, Mesh, Scan, SceneObject
from gpt4scene.scenes.bev_camera import TopView, floor_and_cut, look_down, top_points, top_view
from gpt4scene.scenes.freespace import FreeSpace
from gpt4scene.scenes.fusion import fuse_depth, voxel_keys, voxel_mesh
from gpt4scene.scenes.opened_scene import open_room
from gpt4scene.scenes.render import Hits, Raycaster
from gpt4scene.scenes.tsdf import fuse_mesh
from gpt4scene.scenes.upright import estimated_align, upright
from gpt4scene.scenes.visibility import ObjectFinder, agreeing, pixel_grid, shown_objects


def surface_distance(room, points):
    """Distance of points to the nearest side of the room's solids."""
    best = np.full(len(points), np.inf)
    for first in range(0, len(room.mesh.vertices), 8):
        low, high = room.mesh.vertices[first : first + 8].min(axis=0), room.mesh.vertices[first : first + 8].max(axis=0)
        outside = np.linalg.norm(np.maximum(np.maximum(low - points, points - high), 0), axis=1)
        inside = np.minimum(points - low, high - points).min(axis=1)
        best = np.minimum(best, np.where(outside > 0, outside, np.abs(inside)))
    return best


@pytest.fixture(scope="module")
def depth_scan(box_room, tmp_path_factory):
    folder = box_room.write(tmp_path_factory.mktemp("depth") / "room", mesh=False, align=np.eye(4))
    return read_posed(folder)


def test_fused_points_lie_on_the_surface_in_its_colour(box_room, depth_scan):
    cloud = fuse_depth(depth_scan.frames)
    assert len(cloud.vertices) > 5000
    assert np.percentile(surface_distance(box_room, cloud.vertices), 99) < 0.02
    on_sofa = (np.abs(cloud.vertices - [0.5, 1.9, 0.8]) < [0.8, 0.3, 0.005]).all(axis=1)
    shade = box_room.mesh.colors[box_room.objects[6].vertices[0]].astype(int)
    assert on_sofa.sum() > 50 and np.abs(cloud.colors[on_sofa].astype(int) - shade).max() <= 3


def test_the_smooth_surface_is_closer_than_its_voxels_and_faces_the_cameras(box_room, depth_scan):
    mesh = fuse_mesh(depth_scan.frames[::2])
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    normals, centers = np.cross(b - a, c - a), (a + b + c) / 3
    assert len(mesh.faces) > 5000
    assert np.percentile(surface_distance(box_room, centers), 90) < 0.012
    floor = (np.abs(centers[:, 2]) < 0.01) & (np.abs(normals[:, 2]) > 0.9 * np.linalg.norm(normals, axis=1))
    assert floor.sum() > 500 and (normals[floor, 2] > 0).mean() > 0.9


def test_without_mesh_and_depth_there_is_one_clear_sentence(depth_scan):
    bare = [type(f)(f.name, f.image, f.camera) for f in depth_scan.frames]
    with pytest.raises(DataError, match="neither a mesh nor depth"):
        fuse_depth(bare)


def test_voxels_are_closed_and_keep_masks():
    rng = np.random.default_rng(2)
    points = rng.random((400, 3)) * [1, 0.6, 0.4]
    cloud = Mesh(points, np.zeros((0, 3), int), rng.integers(0, 256, (400, 3)).astype(np.uint8))
    voxels = voxel_mesh(cloud, 0.1)
    a, b, c = (voxels.mesh.vertices[voxels.mesh.faces[:, i]] for i in range(3))
    volume = np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6
    assert volume == pytest.approx(len(np.unique(voxel_keys(points, 0.1))) * 0.001)  # outward faces, no gap
    mask = np.nonzero(points[:, 0] < 0.3)[0]
    carried = voxels.carried(SceneObject(0, "x", np.zeros(3), np.ones(3), mask))
    held = voxels.mesh.vertices[carried.vertices]
    assert held[:, 0].min() >= 0 and held[:, 0].max() <= 0.3 + 1e-9
    outer = set(voxels.of_vertices)  # a voxel with six neighbours has no side
    assert set(voxels.of_vertices[carried.vertices]) == set(voxels.of_points[mask]) & outer


def test_points_kilometres_away_are_an_error():
    with pytest.raises(DataError, match="in metres"):
        voxel_keys(np.array([[1e6, 0, 0]]), 0.02)


def test_a_point_cloud_is_prepared_like_its_mesh(box_room, box_room_folder):
    scan = read_posed(box_room_folder)
    rng = np.random.default_rng(0)
    points, faces, masks = [], box_room.mesh.faces, [[] for _ in box_room.objects]
    for number in range(0, len(faces), 12):
        low, high = (
            f(box_room.mesh.vertices[faces[number : number + 12]].reshape(-1, 3), axis=0) for f in (np.min, np.max)
        )
        count = int(np.prod(np.sort(high - low)[1:]) * 12_000)
        inside = rng.random((count, 3))
        side = rng.integers(0, 3, count)
        inside[np.arange(count), side] = rng.integers(0, 2, count)
        solid = number // 12 - (len(faces) // 12 - len(masks))
        if solid >= 0:
            first = sum(len(part) for part in points)
            masks[solid] = np.arange(first, first + count)
        points.append(low + inside * (high - low))
    cloud = Mesh(np.concatenate(points), np.zeros((0, 3), int), np.full((sum(map(len, points)), 3), 90, np.uint8))
    objects = tuple(
        SceneObject(o.id, o.label, o.center, o.size, np.array(m)) for o, m in zip(box_room.objects, masks, strict=True)
    )
    frames = tuple(type(f)(f.name, f.image, f.camera) for f in scan.frames)
    rooms = [
        open_room(Scan("s", frames, mesh, np.eye(4), objs, scan.source), lambda s: s.objects)
        for mesh, objs in ((scan.mesh, scan.objects), (cloud, objects))
    ]
    grid = pixel_grid(200, 150)
    for frame in frames[:3]:
        areas = [{s.object_index: s.area for s in room.shown_in(frame, grid, 0.001)} for room in rooms]
        for index, area in areas[0].items():
            if area > 0.01:
                assert abs(areas[1].get(index, 0) - area) < 0.35 * area + 0.004


def test_free_space_tells_open_ways_from_unmeasured_ones(depth_scan, make_camera):
    free = FreeSpace(depth_scan.frames)
    camera = make_camera((1.9, 0, 1.5), (0, 0.3, 0.6))
    middle = np.array([[100, 75]])
    assert free.leads_to(camera, middle, np.array([1.5]))[0]
    assert not free.leads_to(camera, middle, np.array([np.inf]))[0]
    outside = make_camera((8.0, 0, 1.5), (0, 0, 1.5))
    assert not free.leads_to(outside, middle, np.array([5.0]))[0]


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


views = st.builds(
    TopView,
    st.floats(-50, 50),
    st.floats(-50, 50),
    st.floats(1e-3, 0.1),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.just(2.0),
    st.just(0.0),
)


@settings(max_examples=50, deadline=None)
@given(views, st.tuples(st.floats(0, 2000), st.floats(0, 2000)))
def test_pixels_and_metres_are_inverse(view, pixel):
    back = view.to_pixels(view.to_metres(np.array([pixel])))[0]
    assert np.allclose(back, pixel, atol=1e-6)


def test_the_top_view_is_tight_and_its_rays_are_where_it_says(box_room):
    caster = Raycaster(box_room.mesh)
    view = top_view(caster, box_room.objects, box_room.cameras, 400)
    assert max(view.width, view.height) == 400
    corners = view.to_metres(np.array([[-0.5, view.height - 0.5], [view.width - 0.5, -0.5]]))
    assert (corners[0] < [-2.5, -2.3]).all() and (corners[0] > [-2.9, -2.7]).all()
    assert (corners[1] > [2.5, 2.3]).all() and (corners[1] < [2.9, 2.7]).all()
    pixel = np.rint(view.to_pixels(np.array([[0.5, 1.9]]))).astype(int)
    point = top_points(view, pixel, look_down(caster, view, pixel))[0]
    assert np.allclose(point, [0.5, 1.9, 0.8], atol=0.01)


def test_stray_points_do_not_shrink_the_room(box_room):
    speck = np.array([[60, 60, 1], [60.01, 60, 1], [60, 60.01, 1.0]])
    count = len(box_room.mesh.vertices)
    mesh = Mesh(
        np.concatenate([box_room.mesh.vertices, speck]),
        np.concatenate([box_room.mesh.faces, [[count, count + 1, count + 2]]]),
        np.concatenate([box_room.mesh.colors, np.zeros((3, 3), np.uint8)]),
    )
    view = top_view(Raycaster(mesh), box_room.objects, box_room.cameras, 400)
    assert view.width * view.metres_per_pixel < 6


def test_smaller_objects_own_what_larger_boxes_hold_too():
    big = SceneObject(0, "sofa", np.array([0, 0, 0.5]), np.array([2, 1, 1.0]))
    small = SceneObject(1, "bag", np.array([0.5, 0, 0.6]), np.array([0.4, 0.4, 0.4]))
    empty = SceneObject(2, "nothing", np.zeros(3), np.zeros(3))
    mesh = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]), np.zeros((3, 3), np.uint8))
    finder = ObjectFinder([big, small, empty], mesh)
    points = np.array([[-0.5, 0, 0.5], [0.5, 0, 0.6], [5, 5, 5], [np.nan] * 3, [0, 0, 0.005], [0, 0, 1.01]])
    shown = shown_objects(finder, points, None, (2, 3), 0.0)
    assert [one.object_index for one in shown] == [0, 1]
    assert shown[0].mask.ravel().tolist() == [True, True, False, False, False, True]  # the floor is not the sofa
    assert shown[0].own.ravel().tolist() == [True, False, False, False, False, True]
    assert shown[1].area == pytest.approx(1 / 6)
    assert shown_objects(finder, points, None, (2, 3), 0.3)[0].object_index == 0


def test_depth_readings_overrule_hits_they_contradict():
    hits = Hits(np.array([2.0, 2.0, 2.0, np.inf, 10.0]), np.array([4, 5, 6, -1, 7]), np.zeros((5, 3)))
    measured = np.array([2.1, 1.0, 0.0, 2.0, 10.5])
    assert agreeing(hits, measured).tolist() == [4, -1, 6, -1, 7]


@pytest.mark.parametrize(
    ("size", "longest"), [((1296, 968), 324), ((640, 480), 320), ((200, 150), 200), ((4000, 10), 1000)]
)
def test_the_grid_is_a_quarter_of_the_image_and_whole_pixels_inside(size, longest):
    grid = pixel_grid(*size)
    assert max(len(grid.columns), len(grid.rows)) == longest
    for values, side in zip((grid.columns, grid.rows), size, strict=True):
        assert values.min() >= 0 and values.max() < side and (np.diff(values) > 0).all()


def test_a_lost_camera_stays_lost_when_the_world_moves():
    camera = Camera(np.eye(3), np.full((4, 4), -np.inf), 4, 4)
    assert not camera.tracked and not camera.moved(np.eye(4)).tracked
