"""The bird's-eye view of rooms of many kinds: whole, tight, without ceiling, and exact to the pixel."""

import numpy as np
import pytest

from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.rooms import View, build_room, camera_walk
from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.bev_camera import bev_hits
from gpt4scene.scenes.bev_fit import fit_bev_camera
from gpt4scene.scenes.bev_image import render_bev
from gpt4scene.scenes.ceilings import without_ceilings
from gpt4scene.scenes.floor import floor_facing_up
from gpt4scene.scenes.render import Raycaster
from gpt4scene.scenes.voxels import voxel_mesh

HALF_X, HALF_Y = 2.5, 2.3
FLOOR, CEILING, WALL, THING = (150, 120, 90), (250, 0, 250), (200, 200, 190), (20, 140, 40)


def sheet(corners, color, steps=16):
    """A four-cornered surface, divided as scans are, facing the side from which its corners turn to the left."""
    a, b, c, d = (np.array(corner, float) for corner in corners)
    u, v = (axis[..., None] for axis in np.meshgrid(*[np.linspace(0, 1, steps + 1)] * 2, indexing="ij"))
    points = a + u * (b - a) + v * (d - a) + u * v * (a - b + c - d)
    index = np.arange(u.size).reshape(steps + 1, steps + 1)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return points.reshape(-1, 3), faces, np.tile(np.array(color, np.uint8), (u.size, 1))


def level(z_left, z_right, x0=-HALF_X, x1=HALF_X):
    return [(x0, -HALF_Y, z_left), (x1, -HALF_Y, z_right), (x1, HALF_Y, z_right), (x0, HALF_Y, z_left)]


def joined(parts):
    first = np.cumsum([0, *[len(points) for points, _, _ in parts]])
    return Mesh(
        np.concatenate([points for points, _, _ in parts]),
        np.concatenate([faces + start for (_, faces, _), start in zip(parts, first, strict=False)]),
        np.concatenate([colors for _, _, colors in parts]),
    )


def shell(floors, ceilings, walls=2.6):
    parts = [sheet(corners, FLOOR) for corners in floors] + [sheet(corners[::-1], CEILING) for corners in ceilings]
    around = [(-HALF_X, -HALF_Y), (HALF_X, -HALF_Y), (HALF_X, HALF_Y), (-HALF_X, HALF_Y)]
    for (x0, y0), (x1, y1) in zip(around, around[1:] + around[:1], strict=True):
        parts.append(sheet([(x0, y0, walls), (x1, y1, walls), (x1, y1, 0), (x0, y0, 0)], WALL))
    return parts


FLAT = level(2.6, 2.6)
ROOMS = {
    "a flat ceiling": shell([level(0, 0)], [FLAT]),
    "no ceiling": shell([level(0, 0)], []),
    "a low ceiling": shell([level(0, 0)], [level(2.1, 2.1)], 2.1),
    "a sloped ceiling": shell([level(0, 0)], [level(1.6, 3.4)]),
    "two ceilings": shell([level(0, 0)], [level(2.4, 2.4, x1=0), level(3.2, 3.2, x0=0)], 2.4),
    "two floors": shell([level(0, 0, x1=0), level(0.5, 0.5, x0=0)], [FLAT]),
}


@pytest.fixture(scope="module")
def furniture(box_room, make_cuboid):
    return [make_cuboid(item.center, item.size, THING) for item in box_room.objects]


def seen_from_above(mesh, room, size=300):
    caster = Raycaster(floor_facing_up(mesh, room.cameras))
    view = fit_bev_camera(caster, room.objects, room.cameras, size)
    return view, render_bev(caster, view, bev_hits(caster, view)).astype(int)


def check_whole(view, image, tolerance=0.05):
    """The room's rectangle has no hole and no ceiling, and what is around it is a narrow white margin."""
    (left, top), (right, bottom) = view.to_pixels(np.array([[-HALF_X, HALF_Y], [HALF_X, -HALF_Y]]))
    inside = image[int(np.ceil(top)) + 1 : int(bottom) - 1, int(np.ceil(left)) + 1 : int(right) - 1]
    assert (inside.min(axis=2) > 245).sum() == 0
    assert (np.abs(inside - CEILING).max(axis=2) < 60).sum() == 0
    assert inside.shape[0] * inside.shape[1] > 0.88 * image.shape[0] * image.shape[1]
    share = (np.abs(inside - THING).max(axis=2) < 20).mean()
    assert share == pytest.approx((1.4 * 0.8 + 0.5 + 0.4 * 0.4 + 1.8 * 0.8) / (4 * HALF_X * HALF_Y), rel=tolerance)


@pytest.mark.parametrize("inside_out", [False, True], ids=["", "inside out"])
@pytest.mark.parametrize("kind", ROOMS)
def test_rooms_of_many_kinds_are_whole_and_open(box_room, furniture, kind, inside_out):
    mesh = joined(ROOMS[kind] + furniture)
    if inside_out:
        mesh = Mesh(mesh.vertices, mesh.faces[:, ::-1], mesh.colors)
    check_whole(*seen_from_above(mesh, box_room))


def test_specks_far_away_of_any_size_do_not_shrink_the_room(box_room, furniture, make_cuboid):
    specks = [((40, 30, 5), 0.5), ((-25, 10, 1), 0.2), ((0, 0, 12), 1.0), ((300, -900, 2), 0.4)]
    parts = [make_cuboid(center, (size,) * 3, (0, 0, 0)) for center, size in specks]
    check_whole(*seen_from_above(joined(ROOMS["a flat ceiling"] + furniture + parts), box_room))


def test_missing_triangles_and_lattices_of_points_leave_no_holes(box_room, furniture):
    mesh = joined(
        [part if part[2][0, 0] != FLOOR[0] else sheet(level(0, 0), FLOOR, 120) for part in ROOMS["no ceiling"]]
    )
    mesh = joined([(mesh.vertices, mesh.faces, mesh.colors), *furniture])
    keep = np.random.default_rng(0).random(len(mesh.faces)) > 0.1
    keep |= np.abs(mesh.vertices[mesh.faces, 2]).max(axis=1) > 0.01  # one triangle in ten is missing in the floor
    check_whole(*seen_from_above(Mesh(mesh.vertices, mesh.faces[keep], mesh.colors), box_room))


def test_edges_are_smooth(box_room):
    """A disc of known radius covers its border pixels in part, and their colours say how much."""
    angles = np.linspace(0, 2 * np.pi, 361)[:-1]
    rim = np.stack([np.cos(angles), np.sin(angles), np.full(360, 0.5)], 1) * [0.7, 0.7, 1]
    fan = np.stack([np.zeros(360, int), np.arange(1, 361), np.roll(np.arange(1, 361), -1)], 1)
    disc = np.concatenate([[[0, 0, 0.5]], rim]), fan, np.tile(np.array(THING, np.uint8), (361, 1))
    view, image = seen_from_above(joined([*ROOMS["no ceiling"], disc]), box_room)
    share = (image - FLOOR) @ np.subtract(THING, FLOOR) / (np.subtract(THING, FLOOR) ** 2).sum()
    between = (share > 0.1) & (share < 0.9)
    assert between.sum() > 0.6 * 2 * np.pi * 0.7 / view.metres_per_pixel
    metres = view.to_metres(np.stack(np.nonzero(between)[::-1], 1))
    assert np.abs(np.hypot(*metres.T) - 0.7).max() < 1.5 * view.metres_per_pixel
    rows, columns = np.indices(share.shape)
    share = share[np.hypot(*view.to_metres(np.stack([columns.ravel(), rows.ravel()], 1)).T).reshape(share.shape) < 1]
    assert share.sum() * view.metres_per_pixel**2 == pytest.approx(np.pi * 0.49, rel=0.005)


def test_pixels_are_where_the_description_says_to_the_pixel(box_room):
    """A post a tenth of a pixel high stands on a known spot; its middle in the image is that spot."""
    spots = np.array([[-1.234, 0.567], [1.9, -1.7], [0.001, 2.0]])
    for x, y in spots:
        post = sheet(
            [(x - 0.1, y - 0.1, 0.3), (x + 0.1, y - 0.1, 0.3), (x + 0.1, y + 0.1, 0.3), (x - 0.1, y + 0.1, 0.3)], THING
        )
        view, image = seen_from_above(joined([*ROOMS["no ceiling"], post]), box_room, 500)
        share = (image - FLOOR) @ np.subtract(THING, FLOOR) / (np.subtract(THING, FLOOR) ** 2).sum()
        share = np.where(share > 0.05, share, 0)
        rows, columns = np.indices(share.shape)
        middle = np.array([[(share * columns).sum(), (share * rows).sum()]]) / share.sum()
        assert np.abs(view.to_metres(middle)[0] - (x, y)).max() < 0.2 * view.metres_per_pixel


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_synthetic_rooms_are_whole(number):
    plan = choose_plans(3, seed=1)[number]
    mesh, objects = build_room(plan)
    colors = np.where(mesh.vertices[:, 2:] > plan.height - 0.01, CEILING, mesh.colors // 2).astype(np.uint8)
    caster = Raycaster(Mesh(mesh.vertices, mesh.faces, colors))
    view = fit_bev_camera(caster, objects, camera_walk(plan, View(64, 48, 4), np.random.default_rng(0)), 1024)
    image = render_bev(caster, view, bev_hits(caster, view)).astype(int)
    corners = np.array([[-plan.width, plan.depth], [plan.width, -plan.depth]]) / 2
    (left, top), (right, bottom) = view.to_pixels(corners)
    inside = image[int(top) + 2 : int(bottom) - 1, int(left) + 2 : int(right) - 1]
    assert max(image.shape[:2]) == 1024 and inside.max() < 200  # neither holes, nor the ceiling's purple
    assert (right - left) * (bottom - top) > 0.85 * image.shape[0] * image.shape[1]


def cloud_of(mesh, count=700_000):
    """Points without faces, spread over a mesh."""
    rng = np.random.default_rng(0)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(area), count, p=area / area.sum())
    u, v = np.sort(rng.random((2, len(face), 1)), axis=0)
    weights = np.concatenate([u, v - u, 1 - v], axis=1)[..., None]
    points = (mesh.vertices[mesh.faces[face]] * weights).sum(axis=1)
    colors = (mesh.colors[mesh.faces[face]] * weights).sum(axis=1).astype(np.uint8)
    return Mesh(points, np.zeros((0, 3), int), colors)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a sloped ceiling", "two ceilings", "no ceiling"])
def test_clouds_of_points_are_open_too(box_room, furniture, kind):
    voxels = voxel_mesh(cloud_of(joined(ROOMS[kind] + furniture)), 0.03).mesh
    caster = without_ceilings(Raycaster(voxels), box_room.cameras, 0.03)
    view = fit_bev_camera(Raycaster(voxels), box_room.objects, box_room.cameras, 300)
    check_whole(view, render_bev(caster, view, bev_hits(caster, view), 0.1).astype(int), tolerance=0.1)


@pytest.mark.slow
def test_a_cloud_of_points_looks_like_its_mesh():
    """The same synthetic room as mesh and as 700,000 points without faces."""
    (plan,) = choose_plans(2, seed=1)[:1]
    mesh, objects = build_room(plan)
    voxels = voxel_mesh(cloud_of(mesh), 0.03).mesh
    cameras = camera_walk(plan, View(64, 48, 4), np.random.default_rng(0))
    caster = Raycaster(mesh)
    view = fit_bev_camera(caster, objects, cameras, 400)
    whole, cloud = (
        render_bev(one, view, bev_hits(one, view), gap).astype(int)
        for one, gap in ((caster, 0.06), (Raycaster(voxels), 0.1))
    )
    inside = (whole.min(axis=2) < 245) & (cloud.min(axis=2) < 245)
    assert ((whole.min(axis=2) < 245) != (cloud.min(axis=2) < 245)).mean() < 0.03  # the same outline
    off = np.abs(whole - cloud).max(axis=2)
    assert np.median(off[inside]) < 8 and (off[inside] < 40).mean() > 0.9
