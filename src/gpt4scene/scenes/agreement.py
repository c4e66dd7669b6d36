"""How well the parts of a scan agree: depth of one frame with another's, with the mesh, and colours with the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from gpt4scene.scans.images import read_color
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan
from gpt4scene.scenes.depth_frames import FARTHEST, measured_depth
from gpt4scene.scenes.frame_choice import evenly
from gpt4scene.scenes.render import Raycaster
from gpt4scene.scenes.voxels import voxel_mesh

FRAMES, PIXELS = 8, 300
"""Frames and pixels of each that are compared."""
GROUPS, TURN = 6, 15.0
"""Places of a recording at which frames are compared with later ones, and degrees by which some of those turned."""
POINTS = 100_000
"""Points of a cloud that are compared."""
GRAIN = 0.025
"""Distance of a cloud's points, for each metre of its size, up to which they are compared."""
LEAST = 150
"""Comparisons without which nothing is said."""
SHARE, NEAR = 0.05, 0.05
"""Metres for each metre of distance by which two readings of one place may differ, and metres more, at most 10 %."""
HIDDEN = 0.25
"""What a place counts that the other frame has behind something nearer, which may be right."""
MESH_SHARE, MESH_NEAR = 0.07, 0.15
"""The same for a reading and a mesh, the larger of both, as for what a frame shows (``visibility.confirmed_faces``)."""


@dataclass(frozen=True)
class Agreement:
    """Shares from 0 to 1 of what agrees; None where there is too little to compare.

    ``frames``: readings of one frame that another has too; against it counts fully where the other looks through the
    place, and a little where it is hidden there. ``mesh``: readings that the mesh has. ``colors``: the correlation of
    the images' brightness with the mesh's, where there is no depth. ``distance`` is the usual reading of depth, metres.
    """

    frames: float | None = None
    mesh: float | None = None
    colors: float | None = None
    distance: float | None = None

    @property
    def worst(self) -> float | None:
        """The smallest share, None where nothing was compared."""
        known = [share for share in (self.frames, self.mesh, self.colors) if share is not None]
        return min(known) if known else None


class Compared:
    """Compares the frames of a scan, read once, under any poses and units."""

    def __init__(self, scan: Scan) -> None:
        tracked = [frame for frame in scan.frames if frame.camera.tracked]
        with_depth = [frame for frame in tracked if frame.depth is not None]
        chosen = with_depth or tracked
        self.deep, self.several = bool(with_depth), len(with_depth) > 1
        """Whether there are frames with depth, which are compared rather than colours, and more than one."""
        self._names = {chosen[index].name for index in evenly(len(chosen), FRAMES)}
        self._pairs = _pairs(with_depth)
        self._raw: dict[str, np.ndarray] = {}
        self._places: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._colors: dict[str, np.ndarray] = {}
        self._casters: list[tuple[Mesh, Raycaster | None, float]] = []

    def agreement(self, scan: Scan) -> Agreement:
        """Return how well the parts of ``scan`` agree, which is the scan of before or one with other poses or units."""
        frames = [frame for frame in scan.frames if frame.name in self._names]
        deep = [frame for frame in frames if frame.depth is not None]
        mesh = scan.mesh if scan.mesh is not None and len(scan.mesh.vertices) else None
        mesh = mesh if mesh is None or self._caster(mesh)[0] is not None else None
        if deep:
            distances = np.concatenate([self._sample(frame)[1] for frame in deep])
            distance = float(np.median(distances)) if len(distances) else None
            mesh_share = self._with_mesh(deep, mesh) if mesh is not None else None
            return Agreement(self._between(scan.frames), mesh_share, distance=distance)
        return Agreement(colors=self._with_colors(frames, mesh) if mesh is not None else None)

    @property
    def flat(self) -> bool:
        """Whether all readings of the frames that were compared are one number, which no room gives."""
        readings = [raw[raw > 0] for raw in self._raw.values()]
        readings = [raw for raw in readings if len(raw)]
        return len(readings) > 1 and len({float(end) for raw in readings for end in (raw.min(), raw.max())}) == 1

    def _readings(self, frame: Frame) -> tuple[np.ndarray, Camera]:
        """Depth in metres and its camera; files are read once."""
        assert frame.depth_camera is not None
        if frame.name not in self._raw:
            self._raw[frame.name] = measured_depth(frame)[0] * frame.depth_scale
        return self._raw[frame.name] / frame.depth_scale, frame.depth_camera

    def _sample(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, 2] and depths [N] of readings spread over the image; the pixels are the same in every unit."""
        depth, _ = self._readings(frame)
        if frame.name not in self._places:
            rows, columns = np.nonzero(depth > 0)
            chosen = evenly(len(rows), PIXELS)
            self._places[frame.name] = rows[chosen], columns[chosen]
        rows, columns = self._places[frame.name]
        return np.stack([columns, rows], axis=1), depth[rows, columns].astype(np.float64)

    def _between(self, frames: Sequence[Frame]) -> float | None:
        """The share of places in one frame that another, where it looks there, has at the same depth."""
        named = {frame.name: frame for frame in frames}
        same = through = hidden = 0
        for one, other in self._pairs:
            for first, second in ((named[one], named[other]), (named[other], named[one])):
                counts = self._seen_again(first, second)
                same, through, hidden = same + counts[0], through + counts[1], hidden + counts[2]
        return same / (same + through + HIDDEN * hidden) if same + through + hidden >= LEAST else None

    def _seen_again(self, first: Frame, second: Frame) -> tuple[int, int, int]:
        """How many places of ``first`` the other frame has too, looks through, and has something nearer before.

        The other's reading may be any between those of the pixels around, which differ at edges and on slopes.
        """
        pixels, z = self._sample(first)
        depth, camera = self._readings(second)
        assert first.depth_camera is not None
        points = first.depth_camera.pose[:3, 3] + z[:, None] * first.depth_camera.rays(pixels)
        seen, ahead = camera.project(points)
        with np.errstate(invalid="ignore"):
            places = np.nan_to_num(np.clip(np.rint(seen), -1, 1e6), nan=-1).astype(np.int64)
        size = np.array([camera.width, camera.height])
        inside = (ahead > 0) & ((places >= 1) & (places < size - 1)).all(axis=1)
        (x, y), ahead = places[inside].T, ahead[inside]
        around = np.stack([depth[y + down, x + right] for down in (-1, 0, 1) for right in (-1, 0, 1)])
        known = (around > 0).sum(axis=0) >= 3
        nearest = np.where(around > 0, around, np.inf).min(axis=0)[known]
        farthest, ahead = around.max(axis=0)[known], ahead[known]
        off = SHARE * ahead + np.minimum(NEAR, 0.1 * ahead)
        through, hidden = ahead < nearest - off, ahead > farthest + off
        return int((~through & ~hidden).sum()), int(through.sum()), int(hidden.sum())

    def _with_mesh(self, frames: Sequence[Frame], mesh: Mesh) -> float | None:
        agree = compared = 0.0
        caster, grain = self._caster(mesh)
        assert caster is not None, "the caller has looked"
        for frame in frames:
            pixels, z = self._sample(frame)
            assert frame.depth_camera is not None
            hits = caster.first_hits(frame.depth_camera, pixels)
            usual = z < FARTHEST * max(1.0, float(np.median(z)) / FARTHEST) if len(z) else z > 0
            off = np.where(hits.found, hits.depth, np.inf) - z
            most = np.maximum(np.minimum(MESH_NEAR, 0.1 * z), MESH_SHARE * z) + np.minimum(grain, 0.1 * z)
            weights = np.ones(len(z))
            if grain:  # between the points of a cloud another surface may be seen, or none
                weights = np.where(off < most, weights, HIDDEN)
            agree += float(weights[usual & (np.abs(off) < most)].sum())
            compared += float(weights[usual].sum())
        return agree / compared if compared >= LEAST else None

    def _with_colors(self, frames: Sequence[Frame], mesh: Mesh) -> float | None:
        """The correlation of brightness over the pixels that meet the mesh; 0 where next to none does."""
        caster, grain = self._caster(mesh)
        assert caster is not None, "the caller has looked"
        theirs, ours, rays = [], [], 0
        for frame in frames:
            camera = frame.camera
            step = max(1, int(np.sqrt(camera.width * camera.height / PIXELS)))
            grid = np.mgrid[step // 2 : camera.width : step, step // 2 : camera.height : step].reshape(2, -1).T
            hits = caster.first_hits(camera, grid)
            if frame.name not in self._colors:
                self._colors[frame.name] = read_color(frame).astype(np.float32).mean(axis=2)
            theirs.append(caster.colors(hits)[hits.found].mean(axis=1))
            ours.append(self._colors[frame.name][grid[hits.found, 1], grid[hits.found, 0]])
            rays += len(grid)
        mine, others = np.concatenate(ours), np.concatenate(theirs)
        if rays < LEAST or mesh.colors.mean(axis=1).std() < 1 or (len(mine) and mine.std() < 1):
            return None  # one colour all over
        if len(mine) <= 0.1 * rays or others.std() < 1:
            return None if grain else 0.0  # points that are few are no wrong ones
        return float(np.corrcoef(mine, others)[0, 1])

    def _caster(self, mesh: Mesh) -> tuple[Raycaster | None, float]:
        """What casts rays at a mesh, or at cubes around the points of a cloud, and the edge of these, 0 for a mesh.

        None for a cloud whose points are too few to close a surface.
        """
        for known, caster, grain in self._casters:
            if known is mesh:
                return caster, grain
        solid, grain = (mesh, 0.0) if len(mesh.faces) else _cubes(mesh)
        size = float(np.ptp(np.percentile(mesh.vertices, [1, 99], axis=0), axis=0).max())
        self._casters.append((mesh, Raycaster(solid) if grain <= GRAIN * size else None, grain))
        return self._casters[-1][1:]


def _cubes(cloud: Mesh) -> tuple[Mesh, float]:
    """Cubes around the points of a cloud, at most ``POINTS``, as large as their usual distance, and their edge."""
    some = evenly(len(cloud.vertices), POINTS)
    points = cloud.vertices[some]
    away = KDTree(points).query(points[evenly(len(points), 1000)], k=min(4, len(points)))[0]
    edge = max(1.5 * float(np.median(away[..., -1])), 1e-9)
    return voxel_mesh(Mesh(points, cloud.faces, cloud.colors[some]), edge).mesh, edge


def _pairs(frames: Sequence[Frame]) -> list[tuple[str, str]]:
    """Names of frames that are likely to show the same places from elsewhere, in places all over the recording.

    A frame is compared with one soon after it, and with the first one that has turned by ``TURN`` degrees.
    """
    count, pairs = len(frames), []
    for start in evenly(count, GROUPS):
        soon = start + max(1, count // 16)
        later = range(start + 1, min(count, start + max(2, count // 4)))
        turned = (other for other in later if _turn(frames[start].camera, frames[other].camera) > TURN)
        for other in {soon, next(turned, start + max(1, count // 8))}:
            if other < count:
                pairs.append((frames[start].name, frames[other].name))
    return sorted(set(pairs))


def _turn(one: Camera, other: Camera) -> float:
    """Degrees between two cameras, however poses are written."""
    cosine = (float((one.pose[:3, :3] * other.pose[:3, :3]).sum()) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
