"""Objects from geometry alone, for scenes that nobody annotated: what is connected once floor and walls are taken off.

Points are grouped by density (DBSCAN: Ester et al., KDD 1996) on points spread evenly over the surface, so that the
result does not depend on how finely a mesh is divided. Each group is an object with the label "object".
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from gpt4scene.scans.geometry import box_of
from gpt4scene.scans.objects import FoundObjects
from gpt4scene.scans.types import Mesh, Scan, SceneObject
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.freespace import seen_through
from gpt4scene.scenes.fusion import fuse_depth
from gpt4scene.scenes.normals import area_normals, point_normals, wall_angle
from gpt4scene.scenes.voxels import summed_by_group, voxel_keys, voxel_mesh

THIN = 0.04
"""Metres between the points that are grouped."""
REACH = 0.10
"""Points nearer than this are connected, in metres."""
LEAST_NEIGHBOURS = 8
"""A point with fewer others in reach connects no two groups."""
LEAST_SIZE = 0.25
"""Groups whose longest side is shorter, in metres, are no objects."""
LEAST_SURFACE = 0.12
"""Nor are groups with fewer square metres of surface: scans are full of small fragments."""
LEAST_WALL = 3.0
"""Upright planes of fewer square metres are furniture."""
MOST_OBJECTS = 100
_NEAR = 0.06


def cluster_objects(scan: Scan, place: str) -> FoundObjects:
    """Boxes around the groups of an upright scan, the largest first.

    Walls are recognised where they meet at right angles. Where nothing stands out there is no object. What the depth
    of other frames sees through is none either: noise, a mirror's room, somebody who walked by.
    """
    mesh = scan.mesh if scan.mesh is not None else fuse_depth(scan.frames)
    surface = mesh if len(mesh.faces) else voxel_mesh(mesh, THIN).mesh
    floor, cut = floor_and_cut(surface, [frame.camera for frame in scan.frames])
    points = _thinned(spread_points(mesh) if len(mesh.faces) else mesh.vertices)
    points = points[(points[:, 2] > floor - 2 * _NEAR) & (points[:, 2] < cut)]
    if len(points) > LEAST_NEIGHBOURS:
        points = points[~_walls(points, floor, cut) & (points[:, 2] > floor + _NEAR)]
    groups = dense_groups(points)
    boxes, lumps = [], []
    for group in range(groups.max(initial=-1) + 1):
        members = groups == group
        if members.sum() * THIN**2 < LEAST_SURFACE:
            continue
        center, size = box_of(points[members])
        low, high = center - size / 2, center + size / 2
        if low[2] < floor + 2 * _NEAR:
            low[2] = floor  # what stands on the floor was cut off with it
        if (high - low).max() >= LEAST_SIZE:
            boxes.append((low, high))
            lumps.append(points[members])
    through = seen_through(scan.frames, lumps)
    boxes = [box for box, empty in zip(boxes, through, strict=True) if not empty]
    boxes.sort(key=lambda box: (-np.prod(box[1] - box[0] + 0.02), *box[0]))
    notes = []
    if through.any():
        notes.append(
            f"{scan.source}: {through.sum()} of {len(through)} clusters are no objects: frames see through them"
        )
    if len(boxes) > MOST_OBJECTS:
        notes.append(f"{scan.source}: the largest {MOST_OBJECTS} of {len(boxes)} clusters are objects")
    objects = tuple(
        SceneObject(number, "object", (low + high) / 2, high - low)
        for number, (low, high) in enumerate(boxes[:MOST_OBJECTS])
    )
    return FoundObjects(objects, tuple(notes))


def spread_points(mesh: Mesh) -> np.ndarray:
    """Points [N, 3] spread evenly over a mesh's faces, two for each ``THIN`` square, the same every time.

    Inside the triangles they follow Roberts' R2 sequence (the generalised golden ratio).
    """
    a, b, c = (corner.astype(np.float64) for corner in mesh.corners())
    area = np.linalg.norm(area_normals(a, b, c), axis=1) / 2
    # Shares of a point add up along the faces, so that tiny triangles together get their due.
    ends = np.floor(np.cumsum(area * 2 / THIN**2)).astype(np.int64)
    counts = np.diff(ends, prepend=0)
    face = np.repeat(np.arange(len(area)), counts)
    index = np.arange(len(face))
    u, v = (index * 0.7548776662466927) % 1.0, (index * 0.5698402909980532) % 1.0
    over = u + v > 1
    u, v = np.where(over, 1 - u, u)[:, None], np.where(over, 1 - v, v)[:, None]
    return a[face] + u * (b - a)[face] + v * (c - a)[face]


def _thinned(points_N3: np.ndarray) -> np.ndarray:
    """The mean point of every ``THIN`` cell that holds points."""
    _, inverse, counts = np.unique(voxel_keys(points_N3, THIN), return_inverse=True, return_counts=True)
    return summed_by_group(inverse, points_N3, len(counts)) / counts[:, None]


def _walls(points: np.ndarray, floor: float, cut: float) -> np.ndarray:
    """Which points lie on large upright planes that reach most of the height between floor and cut, bool [N]."""
    normals = point_normals(points)
    upright = np.abs(normals[:, 2]) < 0.3
    angle = wall_angle(normals, np.ones(len(normals)))
    on_wall = np.zeros(len(points), dtype=bool)
    for turn in (angle, angle + np.pi / 2):
        axis = np.array([np.cos(turn), np.sin(turn), 0.0])
        offset = points @ axis
        facing = upright & (np.abs(normals @ axis) > 0.9)
        if not facing.any():
            continue
        bins = np.floor((offset - offset.min()) / _NEAR).astype(np.int64)
        counts = np.bincount(bins[facing], minlength=bins.max() + 1)
        for place in np.nonzero(counts * THIN**2 > LEAST_WALL / 2)[0]:
            near = facing & (np.abs(bins - place) <= 1)
            heights = np.percentile(points[near, 2], [5, 95])
            if near.sum() * THIN**2 > LEAST_WALL and heights[1] - heights[0] > 0.7 * (cut - floor):
                on_wall |= np.abs(offset - np.median(offset[facing & (bins == place)])) < _NEAR
    return on_wall


def dense_groups(points_N3: np.ndarray) -> np.ndarray:
    """A group number for each point, int [N], -1 for points that belong to none (DBSCAN).

    Groups are numbered by their first point.
    """
    count = len(points_N3)
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    pairs = KDTree(points_N3).query_pairs(REACH, output_type="ndarray")
    core = np.bincount(pairs.ravel(), minlength=count) >= LEAST_NEIGHBOURS
    inner = pairs[core[pairs].all(axis=1)]
    graph = coo_matrix((np.ones(len(inner), dtype=np.int8), inner.T), shape=(count, count))
    groups = connected_components(graph, directed=False)[1]
    groups = np.where(core, groups, -1)
    for one, other in ((0, 1), (1, 0)):  # a point at the border goes with the first dense one in its reach
        edge = pairs[core[pairs[:, one]] & ~core[pairs[:, other]]]
        edge = edge[np.argsort(edge[:, one], kind="stable")[::-1]]
        free = groups[edge[:, other]] == -1
        groups[edge[free, other]] = groups[edge[free, one]]
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(np.where(groups[first] == -1, -1, first)))
    return order[inverse] - (1 if (groups == -1).any() else 0)
