"""Recordings in which up can't be told are warned about; in all others it is found without a word."""

from pathlib import Path

import numpy as np
import pytest

from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.rooms import View, build_room
from gpt4scene.scans.repairs import Repairs
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan
from gpt4scene.scenes.agreement import Agreement
from gpt4scene.scenes.horizon import horizon
from gpt4scene.scenes.normals import area_normals
from gpt4scene.scenes.sanity import report
from gpt4scene.scenes.up_choice import SIDES, Up, choose_up

VIEW = View(80, 60, 16)


def camera(eye, ahead, roll=0.0):
    """A camera at ``eye`` that looks ``ahead``, its image turned by ``roll`` (radians) from upright."""
    ahead = np.asarray(ahead, float) / np.linalg.norm(ahead)
    right = np.cross(ahead, [0, 0, 1.0] if abs(ahead[2]) < 0.99 else [1.0, 0, 0])
    right /= np.linalg.norm(right)
    down, pose = np.cross(ahead, right), np.eye(4)
    cos, sin = np.cos(roll), np.sin(roll)
    pose[:3, :3] = np.stack([cos * right + sin * down, cos * down - sin * right, ahead], axis=1)
    pose[:3, 3] = eye
    return Camera(VIEW.intrinsics, pose, VIEW.width, VIEW.height)


def walk(look, roll=lambda number: 0.0, count=16, size=(4, 3), height=1.5):
    """Cameras once around a room; ``look`` is where they look to from a place ``[x, y]``."""
    found = []
    for number in range(count):
        angle = 2 * np.pi * number / count
        x, y = 0.38 * size[0] * np.cos(angle), 0.38 * size[1] * np.sin(angle)
        found.append(camera((x, y, height + 0.05 * np.sin(3 * number)), look(x, y), roll(number)))
    return found


def inward(x, y):
    return -x, -y, -0.9


def outward(x, y):
    return x, y, -0.2


def surface(*quads):
    """Unit normals, areas and centres of small triangles that fill quadrilaterals."""
    steps, parts = np.linspace(0, 1, 21), []
    for a, b, c, d in np.array(quads, float):
        grid = [[a + u * (b - a) + v * (d - a + u * (c - d - b + a)) for v in steps] for u in steps]
        grid = np.array(grid)
        corners = [grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]]
        for order in ((0, 1, 2), (0, 2, 3)):
            parts.append(np.stack([corners[i].reshape(-1, 3) for i in order]))
    a, b, c = np.concatenate(parts, axis=1)
    return described(a, b, c)


def described(a, b, c):
    normals = area_normals(a, b, c)
    areas = np.linalg.norm(normals, axis=1)
    good = areas > 0
    return normals[good] / areas[good, None], areas[good] / 2, ((a + b + c) / 3)[good]


@pytest.fixture(scope="module", params=[0, 1])
def room(request):
    plan = choose_plans(2, request.param)[0]
    mesh, _ = build_room(plan)
    return described(*mesh.corners()), (plan.width, plan.depth)


QUARTERS = {f"{90 * number} degrees": lambda _, number=number: number * np.pi / 2 for number in range(3)}


@pytest.mark.slow
@pytest.mark.parametrize("held", QUARTERS)
@pytest.mark.parametrize("look", [inward, outward, lambda x, y: (-0.2 * x, -0.2 * y, -1)])
def test_a_walk_through_a_room_leaves_no_doubt(room, held, look):
    found = choose_up(walk(look, QUARTERS[held], size=room[1]), *room[0])
    assert found.direction[2] > 0.99 and found.certain and found.doubt == ""


TURNED = {
    "half the way": lambda number: (number >= 8) * np.pi / 2,
    "half the way, upside down": lambda number: (number >= 8) * np.pi,
    "a third of the way": lambda number: (number >= 11) * np.pi / 2,
    "all the way": lambda number: number * np.pi / 8,
    "anyhow": lambda number: np.random.default_rng(number).uniform(0, 2 * np.pi),
    "aslant": lambda number: np.pi / 4,
}


@pytest.mark.slow
@pytest.mark.parametrize("turned", TURNED)
def test_a_camera_that_is_turned_on_the_way_is_warned_about(room, turned):
    assert not choose_up(walk(inward, TURNED[turned], size=room[1]), *room[0]).certain


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 16])
@pytest.mark.parametrize("held", QUARTERS)
@pytest.mark.parametrize("ahead", [(0, 0, -1), (0, 0, 1)])
def test_cameras_that_only_look_down_or_up_are_warned_about(room, count, held, ahead):
    cameras = walk(lambda x, y: ahead, QUARTERS[held], size=room[1])[:count]
    found = choose_up(cameras, *room[0])
    assert found.direction[2] > 0.99 or not found.certain


@pytest.mark.slow
@pytest.mark.parametrize("height", [0.15, 0.25, 0.4])
def test_a_robot_on_the_floor_is_not_put_on_the_ceiling_in_silence(room, height):
    found = choose_up(walk(lambda x, y: (-x, -y, 0.1), size=room[1], height=height), *room[0])
    assert found.direction[2] > 0.99 or not found.certain


def gable(low, high, x=2.0, y=1.5):
    """The inside of a roof: a floor, and two slopes above walls of ``low`` metres."""
    return (
        [(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)],
        [(-x, -y, low), (0, -y, high), (0, y, high), (-x, y, low)],
        [(x, -y, low), (0, -y, high), (0, y, high), (x, y, low)],
        [(-x, -y, 0), (-x, y, 0), (-x, y, low), (-x, -y, low)],
        [(x, -y, 0), (x, y, 0), (x, y, low), (x, -y, low)],
        [(-x, -y, 0), (x, -y, 0), (0, -y, high), (0, -y, high)],
        [(-x, y, 0), (x, y, 0), (0, y, high), (0, y, high)],
    )


@pytest.mark.parametrize("held", QUARTERS)
@pytest.mark.parametrize(("low", "high"), [(0.1, 4), (0.6, 3), (2, 2.8)])
@pytest.mark.parametrize("look", [inward, outward, lambda x, y: (x, y, 1.2)])
@pytest.mark.parametrize("seen", ["all", "without the floor"])
def test_rooms_under_a_roof_are_upright_or_warned_about(low, high, look, held, seen):
    quads = gable(low, high)
    found = choose_up(walk(look, QUARTERS[held]), *surface(*(quads if seen == "all" else quads[1:])))
    assert found.direction[2] > 0.99 or not found.certain


OUTSIDE = {
    "a slope": ([(-6, -6, -2), (6, -6, 1), (6, 6, 3), (-6, 6, 0)],),
    "a front": ([(-6, 5, 0), (6, 5, 0), (6, 5, 8), (-6, 5, 8)],),
}


@pytest.mark.parametrize("held", QUARTERS)
@pytest.mark.parametrize("place", OUTSIDE)
@pytest.mark.parametrize("ahead", [(0, 8, 0.8), (0, 5, 4), None])
def test_what_has_no_floor_is_upright_or_warned_about(place, held, ahead):
    roll = QUARTERS[held](0)
    cameras = [camera((x, -3, 2.5), (-0.1 * x, *ahead[1:]), roll) for x in np.linspace(-5, 5, 16)] if ahead else None
    found = choose_up(cameras or walk(inward, QUARTERS[held], size=(9, 9), height=4), *surface(*OUTSIDE[place]))
    assert found.direction[2] > np.cos(np.radians(8)) or not found.certain


@pytest.mark.slow
def test_the_horizon_of_cameras(room):
    for name, side in (("0 degrees", "top"), ("90 degrees", "left")):
        seen = horizon(walk(outward, QUARTERS[name], size=room[1]), SIDES[side])
        assert abs(seen.axis[2]) > 0.999 and seen.blur < 1e-6 and seen.turned > 0.3
        assert seen.apart(np.array([0, 0, -1.0])) < 0.1 and seen.apart(np.array([1.0, 0, 0])) > 89
    assert horizon(walk(lambda x, y: (0, 1, 0)), SIDES["top"]).turned < 1e-6


def test_the_report_says_why_up_is_not_certain(make_cuboid):
    mesh = Mesh(*make_cuboid((0, 0, 1), (4, 3, 2), (9, 9, 9)))
    frames = tuple(Frame(str(number), Path("a.jpg"), one) for number, one in enumerate(walk(inward)))
    scan = Scan("room", frames, mesh, np.eye(4), (), Path("room"))
    up = Up(np.array([0, 0, 1.0]), "left", 3, 2, "the camera was turned on the way")
    said = report(scan, mesh, Agreement(), (), up, Repairs()).warnings
    assert said == (
        "which way is up is not certain (left was taken): the camera was turned on the way; look at the images, and "
        "choose by --up",
    )
