"""Every synthetic room, checked from what is written: no marker lies, no visible object lacks one, none covers another.

The checks read ``scene.json``, the PLY and mask files by themselves and ask rays of their own: for the pixels that
markers name one ray against every triangle (Moeller and Trumbore), for whole images trimesh's ray queries.
"""

import copy
import json

import numpy as np
import pytest
import trimesh

from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.scenes.prepare import PrepareArguments, prepare

LEAST = 0.001
FRAMES = 8


class Truth:
    """A posed folder's mesh in the aligned frame, and which object each triangle belongs to (-1: none)."""

    def __init__(self, folder):
        mesh = trimesh.load(folder / "mesh.ply", process=False)
        align = np.loadtxt(folder / "axis_align.txt")
        self.vertices = np.asarray(mesh.vertices) @ align[:3, :3].T + align[:3, 3]
        self.faces = np.asarray(mesh.faces)
        owner = np.full(len(self.vertices), -1)
        self.boxes = {}
        for entry in json.loads((folder / "objects.json").read_text())["objects"]:
            owner[np.loadtxt(folder / entry["mask"], dtype=int)] = entry["id"]
            self.boxes[entry["id"]] = np.array(entry["center"]), np.array(entry["size"])
        self.owner = owner[self.faces[:, 0]]
        self._surface = trimesh.Trimesh(self.vertices, self.faces, process=False)

    def seen(self, origins, directions):
        """Object numbers [N] that rays meet first, by trimesh."""
        face = self._surface.ray.intersects_first(origins, directions)
        return np.where(face >= 0, self.owner[face], -1)

    def met(self, origin, direction):
        """The object number that one ray meets first, by trying every triangle."""
        a, b, c = (self.vertices[self.faces[:, corner]] for corner in range(3))
        across = np.cross(direction, c - a)
        volume = np.einsum("ij,ij->i", b - a, across)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.einsum("ij,ij->i", origin - a, across) / volume
            other = np.cross(origin - a, b - a)
            v = other @ direction / volume
            t = np.einsum("ij,ij->i", c - a, other) / volume
            inside = (np.abs(volume) > 1e-14) & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 1e-6)
        assert inside.any(), "the ray leaves the room"
        return self.owner[np.argmin(np.where(inside, t, np.inf))]


def rays_of(frame, pixels):
    k, pose = np.array(frame["intrinsics"]), np.array(frame["pose"])
    local = np.stack([(pixels[:, 0] - k[0, 2]) / k[0, 0], (pixels[:, 1] - k[1, 2]) / k[1, 1], np.ones(len(pixels))], 1)
    return np.tile(pose[:3, 3], (len(pixels), 1)), local @ pose[:3, :3].T


def rays_down(bev, pixels):
    x = bev["x_left"] + (pixels[:, 0] + 0.5) * bev["metres_per_pixel"]
    y = bev["y_top"] - (pixels[:, 1] + 0.5) * bev["metres_per_pixel"]
    return np.stack([x, y, np.full(len(x), bev["cut_height"])], 1), np.tile([0.0, 0.0, -1.0], (len(x), 1))


def all_pixels(image):
    return np.stack(np.meshgrid(np.arange(image["width"]), np.arange(image["height"])), -1).reshape(-1, 2)


def areas_of(truth, image, rays):
    seen = truth.seen(*rays(image, all_pixels(image)))
    return np.bincount(seen[seen >= 0], minlength=max(truth.boxes) + 1) / len(seen)


def check_frame(truth, frame):
    markers = frame["markers"]
    origins, directions = rays_of(frame, np.array([marker["pixel"] for marker in markers]).reshape(-1, 2))
    for marker, origin, direction in zip(markers, origins, directions, strict=True):
        assert truth.met(origin, direction) == marker["id"], (frame["name"], marker)
    areas, marked = areas_of(truth, frame, rays_of), {marker["id"]: marker["area"] for marker in markers}
    for number in truth.boxes:  # the program asks a part of the pixels: near the limit it may differ from all of them
        if areas[number] >= 1.3 * LEAST:
            assert number in marked, (frame["name"], number, areas[number])
        if number in marked:
            assert abs(marked[number] - areas[number]) < 0.15 * areas[number] + 0.0004, (frame["name"], number)
    return len(markers)


def check_top(truth, bev):
    assert {marker["id"] for marker in bev["markers"]} == set(truth.boxes)
    areas = areas_of(truth, bev, rays_down)
    for marker in bev["markers"]:
        origin, direction = rays_down(bev, np.array([marker["pixel"]]))
        if marker["area"] > 0:
            assert truth.met(origin[0], direction[0]) == marker["id"], marker
        else:
            center, size = truth.boxes[marker["id"]]
            assert (np.abs(origin[0, :2] - center[:2]) <= size[:2] / 2 + 2 * bev["metres_per_pixel"]).all(), marker
            assert areas[marker["id"]] * bev["width"] * bev["height"] < 2 * 12, marker  # really hidden


def check_labels(image):
    for index, one in enumerate(image["markers"]):
        x0, y0, x1, y1 = one["label_box"]
        assert 0 <= x0 < x1 <= image["width"] and 0 <= y0 < y1 <= image["height"]
        for other in image["markers"][:index]:
            u0, v0, u1, v1 = other["label_box"]
            assert x1 <= u0 or u1 <= x0 or y1 <= v0 or v1 <= y0, (one, other)
        for other in image["markers"]:
            x, y = other["pixel"]
            assert other is one or not (x0 <= x < x1 and y0 <= y < y1), "a label lies on another object's marked pixel"


def check_rooms(plans, view, tmp_path, bev_size, **more):
    for plan in plans:
        write_room(plan, tmp_path / "rooms", view)
    out = tmp_path / "out"
    report = prepare(
        PrepareArguments(scans=(str(tmp_path / "rooms"),), out=str(out), frames=FRAMES, bev_size=bev_size, **more)
    )
    assert len(report.done) == len(plans)
    markers = 0
    for plan in plans:
        truth = Truth(tmp_path / "rooms" / plan.scene_id)
        scene = json.loads((out / "scenes" / plan.scene_id / "scene.json").read_text())
        assert scene["settings"]["least_area"] == LEAST and len(scene["frames"]) == FRAMES
        markers += sum(check_frame(truth, frame) for frame in scene["frames"])
        check_top(truth, scene["bev"])
        for image in [scene["bev"], *scene["frames"]]:
            check_labels(image)
    return markers, truth, scene


@pytest.mark.parametrize("marker_place", ["inside", "centroid"])
@pytest.mark.slow
def test_markers_of_a_synthetic_room_are_true(tmp_path, marker_place):
    plans, view = choose_plans(2, seed=3)[:1], View(320, 240, FRAMES)
    markers, truth, scene = check_rooms(plans, view, tmp_path, 320, marker_place=marker_place)
    assert markers > 30
    check_that_checks_can_fail(truth, scene)


def check_that_checks_can_fail(truth, scene):
    frame = max(scene["frames"], key=lambda one: len(one["markers"]))
    exchanged, short, covered = (copy.deepcopy(frame) for _ in range(3))
    first, second = exchanged["markers"][:2]
    first["id"], second["id"] = second["id"], first["id"]
    short["markers"].remove(max(short["markers"], key=lambda marker: marker["area"]))
    covered["markers"][0]["label_box"] = covered["markers"][1]["label_box"]
    for check, wrong in ((check_frame, exchanged), (check_frame, short)):
        with pytest.raises(AssertionError):
            check(truth, wrong)
    with pytest.raises(AssertionError):
        check_labels(covered)
    for change in ({"area": 0.0}, {"pixel": [0, 0]}):
        bev = copy.deepcopy(scene["bev"])
        bev["markers"][0].update(change)
        with pytest.raises(AssertionError):
            check_top(truth, bev)


@pytest.mark.slow
def test_markers_of_all_rooms_of_the_demo_are_true(tmp_path):
    """The rooms, the frames and the sizes of ``gpt4scene demo``, which are its six rooms and the two held out."""
    markers, _, _ = check_rooms(choose_plans(8, seed=0), View(480, 360, 2 * FRAMES), tmp_path, 480)
    assert markers > 600
