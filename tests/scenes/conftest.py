"""A small furnished room with known geometry: boxes on a floor, walls, a ceiling, cameras that walk around."""

from dataclasses import dataclass

import numpy as np
import pytest

from gpt4scene.scenes.posed import write_posed
from gpt4scene.scenes.render import Raycaster
from gpt4scene.scenes.types import Camera, Mesh, SceneObject

FURNITURE = (
    ("table", (0.0, 0.0, 0.7), (1.4, 0.8, 0.06)),
    ("cup", (0.3, 0.1, 0.78), (0.1, 0.1, 0.1)),
    ("book", (-0.3, 0.1, 0.745), (0.3, 0.2, 0.03)),
    ("cabinet", (-2.2, 0.5, 0.6), (0.5, 1.0, 1.2)),
    ("chair", (0.9, -0.9, 0.4), (0.4, 0.4, 0.8)),
    ("bin", (0.0, 0.0, 0.2), (0.3, 0.3, 0.4)),
    ("sofa", (0.5, 1.9, 0.4), (1.8, 0.8, 0.8)),
)
SIZE = (5.0, 4.6, 2.6)


def cuboid(center, size, color):
    """Vertices [8, 3], outward faces [12, 3], colours [8, 3] of a box."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(q[0], q[i], q[i + 1]) for q in quads for i in (1, 2)]
    return corners * size + center, np.array(faces), np.tile(np.array(color, np.uint8), (8, 1))


@dataclass
class BoxRoom:
    mesh: Mesh
    objects: tuple
    cameras: list

    def images(self):
        caster = Raycaster(self.mesh)
        pictures, depths = [], []
        for camera in self.cameras:
            hits = caster.first_hits(camera)
            shape = (camera.height, camera.width)
            pictures.append(caster.colors(hits).round().astype(np.uint8).reshape(*shape, 3))
            depths.append(np.where(hits.found, hits.depth, 0).reshape(shape))
        return pictures, depths

    def moved(self, transform):
        points = self.mesh.vertices @ transform[:3, :3].T + transform[:3, 3]
        mesh = Mesh(points, self.mesh.faces, self.mesh.colors)
        return BoxRoom(mesh, self.objects, [camera.moved(transform) for camera in self.cameras])

    def write(self, folder, *, mesh=True, depth=True, masks=True, align=None):
        pictures, depths = self.images()
        objects = [
            SceneObject(o.id, o.label, o.center, o.size, o.vertices if masks and mesh else None) for o in self.objects
        ]
        return write_posed(
            folder,
            pictures,
            self.cameras,
            depths=depths if depth else None,
            mesh=self.mesh if mesh else None,
            align=align,
            objects=objects,
            image_type="png",
        )


def look_at(eye, target, width=200, height=150):
    """A camera with 70 degrees of view at ``eye`` that sees ``target`` in its middle, upright."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    focal = width / 2 / np.tan(np.radians(35))
    return Camera(np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]]), pose, width, height)


def build_room(cameras=8, width=200, height=150):
    x, y, z = SIZE
    solids = [((0, 0, -0.05), (x, y, 0.1), (150, 120, 90)), ((0, 0, z + 0.05), (x, y, 0.1), (250, 0, 250))]
    solids += [((s * (x / 2 + 0.05), 0, z / 2), (0.1, y, z), (200, 200, 190)) for s in (-1, 1)]
    solids += [((0, s * (y / 2 + 0.05), z / 2), (x, 0.1, z), (190, 200, 200)) for s in (-1, 1)]
    shades = np.random.default_rng(5).integers(20, 230, size=(len(FURNITURE), 3))
    solids += [(center, size, shade) for (_, center, size), shade in zip(FURNITURE, shades, strict=True)]
    vertices, faces, colors, objects = [], [], [], []
    for index, solid in enumerate(solids):
        points, triangles, shade = cuboid(*solid)
        first = 8 * index
        vertices.append(points)
        faces.append(triangles + first)
        colors.append(shade)
        number = index - (len(solids) - len(FURNITURE))
        if number >= 0:
            label, center, size = FURNITURE[number]
            objects.append(SceneObject(number, label, np.array(center), np.array(size), np.arange(first, first + 8)))
    mesh = Mesh(np.concatenate(vertices), np.concatenate(faces), np.concatenate(colors))
    angles = np.arange(cameras) / cameras * 2 * np.pi
    views = [look_at((1.9 * np.cos(a), 1.7 * np.sin(a), 1.5), (0, 0.3, 0.6), width, height) for a in angles]
    return BoxRoom(mesh, tuple(objects), views)


@pytest.fixture(scope="session")
def box_room():
    return build_room()


@pytest.fixture(scope="session")
def make_room():
    return build_room


@pytest.fixture(scope="session")
def make_camera():
    return look_at


@pytest.fixture(scope="session")
def make_cuboid():
    return cuboid


@pytest.fixture(scope="session")
def box_room_folder(box_room, tmp_path_factory):
    """The room as a posed folder with mesh, depth and masks; its world is the aligned frame."""
    return box_room.write(tmp_path_factory.mktemp("scans") / "boxes", align=np.eye(4))
