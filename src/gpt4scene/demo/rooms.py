"""Plans become rooms: a lit mesh with instance masks, a camera walk, rendered frames; written as posed folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt4scene.demo.furniture import KINDS, Part, box_mesh, parts_mesh
from gpt4scene.demo.plan import Piece, RoomPlan
from gpt4scene.files.whole import whole_folder
from gpt4scene.scans.geometry import box_of, transformed
from gpt4scene.scans.posed import write_posed
from gpt4scene.scans.types import Camera, Mesh, SceneObject
from gpt4scene.scenes.render import Raycaster

EYE_HEIGHT = 1.55
"""Height of the camera over the floor, metres."""
BACKGROUND = 235
"""Grey of pixels that no surface fills."""
LIGHT_RAYS = 12
"""Directions in which a vertex looks for what closes it in."""


@dataclass(frozen=True)
class View:
    """Size, number and field of view (degrees, horizontal) of the rendered frames."""

    width: int = 320
    height: int = 240
    frames: int = 16
    field: float = 72.0

    @property
    def intrinsics(self) -> np.ndarray:
        """3x3 pinhole matrix; the optical axis passes the middle of the image."""
        focal = self.width / 2 / np.tan(np.radians(self.field) / 2)
        return np.array([[focal, 0, (self.width - 1) / 2], [0, focal, (self.height - 1) / 2], [0, 0, 1.0]])


def piece_mesh(piece: Piece) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (vertices, faces, colours) of one piece where it stands in the plan frame."""
    vertices, faces, colours = parts_mesh(KINDS[piece.label].parts(piece.size, piece.rgb))
    right = np.array([piece.front[1], -piece.front[0]])
    vertices[:, :2] = vertices[:, :1] * right + vertices[:, 1:2] * piece.front + piece.spot
    return vertices, faces, colours


def build_room(plan: RoomPlan) -> tuple[Mesh, list[SceneObject]]:
    """Return the room in the plan frame: its mesh, lit, and one object with mask and box a piece.

    The first vertices are floor, walls and ceiling; each piece's follow in the order of ids.
    """
    vertices, faces, colours = _shell(plan)
    stacks = [(vertices, faces, colours)]
    offset, masks = len(vertices), []
    for piece in plan.pieces:
        points, triangles, paint = piece_mesh(piece)
        masks.append(np.arange(offset, offset + len(points)))
        stacks.append((points, triangles + offset, paint))
        offset += len(points)
    vertices, faces, colours = (np.concatenate([stack[part] for stack in stacks]) for part in range(3))
    lit = light(Mesh(vertices, faces, colours), plan)
    objects = []
    for piece, mask in zip(plan.pieces, masks, strict=True):
        center, size = box_of(vertices[mask])
        objects.append(SceneObject(piece.id, piece.label, center, size, mask))
    return lit, objects


def _shell(plan: RoomPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Floor of planks, four walls and a ceiling, all facing in."""
    half = np.array([plan.width, plan.depth, plan.height]) / 2
    vertices, faces = box_mesh(Part((0, 0, float(half[2])), tuple(2 * half), plan.wall), step=0.16)  # type: ignore[arg-type]
    faces = faces[:, ::-1]
    colours = np.tile(np.asarray(plan.wall, np.uint8), (len(vertices), 1))
    # The faces of a box come axis by axis, low side first; those of the z axis are floor and ceiling, last.
    share = len(vertices) - _side_count(plan)
    floor = slice(share, share + (len(vertices) - share) // 2)
    plank = np.floor((vertices[floor, 1] + half[1]) / 0.32).astype(int)
    tone = np.array([1.0, 0.9, 1.06, 0.95, 0.87])[plank % 5]
    colours[floor] = np.clip(np.asarray(plan.floor) * tone[:, None], 0, 255).astype(np.uint8)
    colours[floor.stop :] = 244
    return vertices, faces, colours


def _side_count(plan: RoomPlan) -> int:
    """Vertices of floor and ceiling together."""
    nx, ny = (int(np.ceil(side / 0.16)) + 1 for side in (plan.width, plan.depth))
    return 2 * nx * ny


def light(mesh: Mesh, plan: RoomPlan) -> Mesh:
    """Return ``mesh`` with light baked into its vertex colours, as a real scan has it.

    Each vertex gets ambient light, less where near surfaces close it in, and light from two points under the ceiling
    where nothing stands between.
    """
    caster = Raycaster(mesh)
    normals = vertex_normals(mesh)
    start = mesh.vertices + 4e-3 * normals
    sphere = np.random.default_rng(0).normal(size=(LIGHT_RAYS, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    open_share = np.zeros(len(start))
    for direction in sphere:
        ways = direction + normals * 1.01
        ways /= np.maximum(np.linalg.norm(ways, axis=1, keepdims=True), 1e-9)
        open_share += np.clip(caster.cast(start, ways).depth / 0.9, 0, 1) / LIGHT_RAYS
    bright = 0.18 + 0.42 * open_share
    for x in (-plan.width / 5, plan.width / 5):
        ways = np.array([x, 0.3 * x, plan.height - 0.15]) - start
        length = np.linalg.norm(ways, axis=1)
        ways /= length[:, None]
        clear = caster.cast(start, ways).depth >= length
        facing = np.clip(np.einsum("ij,ij->i", ways, normals), 0, 1)
        bright += 0.36 * clear * facing / (0.75 + 0.1 * length**2)
    colours = np.clip(mesh.colors * np.minimum(bright, 1.05)[:, None], 0, 255).astype(np.uint8)
    return Mesh(mesh.vertices, mesh.faces, colours)


def vertex_normals(mesh: Mesh) -> np.ndarray:
    """Return the mean direction of the faces around each vertex as unit vectors [V, 3]."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    normals = np.zeros_like(mesh.vertices)
    for corner in range(3):
        np.add.at(normals, mesh.faces[:, corner], across)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def camera_walk(plan: RoomPlan, view: View, random: np.random.Generator) -> list[Camera]:
    """Return cameras in the plan frame that walk round the room once at eye height and look across it.

    A camera never stands inside a piece that is taller than the eye: it steps towards the middle until it is free.
    """
    cameras = []
    start = random.uniform(0, 2 * np.pi)
    tall = [
        piece for piece in plan.pieces if piece.size[2] > EYE_HEIGHT - 0.3 and piece.label not in ("door", "window")
    ]
    for number in range(view.frames):
        angle = start + 2 * np.pi * number / view.frames
        ring = np.array([np.cos(angle) * plan.width, np.sin(angle) * plan.depth]) / 2
        spot = ring * 0.82
        while any((np.abs(spot - piece.spot) < piece.half + 0.3).all() for piece in tall):
            spot = spot * 0.9
        aim = -ring * 0.35 + random.uniform(-0.5, 0.5, 2)
        eye = np.array([*spot, EYE_HEIGHT + random.uniform(-0.06, 0.06)])
        cameras.append(Camera(view.intrinsics, look_at(eye, np.array([*aim, 0.62])), view.width, view.height))
    return cameras


def look_at(eye_3: np.ndarray, target_3: np.ndarray) -> np.ndarray:
    """Return the 4x4 camera-to-world pose at ``eye_3`` looking at ``target_3``: x right, y down, z ahead."""
    ahead = (target_3 - eye_3) / np.linalg.norm(target_3 - eye_3)
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    pose[:3, 3] = eye_3
    return pose


def photograph(caster: Raycaster, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return (image uint8 [H, W, 3], depth float32 [H, W] in metres, 0 for nothing) of what ``camera`` sees."""
    hits = caster.first_hits(camera)
    paint = np.where(hits.found[:, None], np.rint(caster.colors(hits)), BACKGROUND).astype(np.uint8)
    depth = np.where(hits.found, hits.depth, 0).astype(np.float32)
    return paint.reshape(camera.height, camera.width, 3), depth.reshape(camera.height, camera.width)


def write_room(plan: RoomPlan, out: str | Path, view: View, seed: int = 0) -> Path:
    """Write ``plan`` as the posed folder ``out/<scene_id>`` and return it. The folder appears whole or not at all."""
    mesh, objects = build_room(plan)
    cameras = camera_walk(plan, view, np.random.default_rng([seed, len(plan.pieces)]))
    caster = Raycaster(mesh)
    shots = [photograph(caster, camera) for camera in cameras]
    to_world = np.linalg.inv(plan.align)
    final = Path(out) / plan.scene_id
    with whole_folder(final, replace=True) as partial:
        write_posed(
            partial,
            [image for image, _ in shots],
            [camera.moved(to_world) for camera in cameras],
            depths=[depth for _, depth in shots],
            mesh=Mesh(transformed(mesh.vertices, to_world), mesh.faces, mesh.colors),
            align=plan.align,
            objects=objects,
        )
    return final
