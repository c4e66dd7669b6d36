"""A point cloud is opened as its mesh is."""

import numpy as np
import pytest

from gpt4scene.scans.objects import FoundObjects
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.types import Mesh, Scan, SceneObject
from gpt4scene.scenes.opened_scene import open_scene
from gpt4scene.scenes.pixels import pixel_grid


@pytest.mark.slow
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
        open_scene(Scan("s", frames, mesh, np.eye(4), objs, scan.source), lambda s: FoundObjects(s.objects))
        for mesh, objs in ((scan.mesh, scan.objects), (cloud, objects))
    ]
    grid = pixel_grid(200, 150)
    for frame in frames[:3]:
        areas = [{s.object_index: s.area for s in room.visible_in(frame, grid, 0.001)} for room in rooms]
        for index, area in areas[0].items():
            if area > 0.01:
                assert abs(areas[1].get(index, 0) - area) < 0.35 * area + 0.004
