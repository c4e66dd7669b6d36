"""Furniture from simple coloured solids: every class is a function from a size and a colour to a list of parts.

Local frame of a piece: origin on the floor at the middle of its footprint, x to the right, y to the front, z up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpt4scene.registry import Registry

Rgb = tuple[int, int, int]
Profile = tuple[tuple[float, float], ...]
"""Outline of a turned solid: (radius, height) pairs from bottom to top, both 0 to 1 of the part's size."""

CYLINDER: Profile = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
CONE: Profile = ((0.0, 0.0), (1.0, 0.0), (0.55, 1.0), (0.0, 1.0))
POT: Profile = ((0.0, 0.0), (0.7, 0.0), (1.0, 1.0), (0.0, 1.0))
BALL: Profile = tuple((float(np.sin(a)), float(0.5 - np.cos(a) / 2)) for a in np.linspace(0, np.pi, 9))

WOOD: Rgb = (164, 116, 73)
DARK: Rgb = (64, 62, 66)
STEEL: Rgb = (150, 153, 158)
LINEN: Rgb = (236, 231, 220)
LEAF: Rgb = (74, 128, 62)
CLAY: Rgb = (178, 102, 68)
LIGHT: Rgb = (250, 233, 180)
GLASS: Rgb = (186, 214, 232)

COLOURS: dict[str, Rgb] = {
    "red": (196, 40, 38),
    "orange": (236, 128, 26),
    "yellow": (240, 206, 44),
    "green": (40, 150, 66),
    "blue": (38, 84, 190),
    "purple": (122, 56, 158),
    "pink": (240, 140, 182),
    "turquoise": (52, 190, 190),
    "black": (42, 42, 46),
    "white": (240, 240, 240),
}
"""The colours that a question can ask for."""


@dataclass(frozen=True)
class Part:
    """A box of ``size`` around ``center``, or the solid that ``profile`` describes inside that box."""

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    rgb: Rgb
    profile: Profile | None = None


@dataclass(frozen=True)
class Kind:
    """A class of furniture: its name, its size (width, depth, height), where it stands, and its parts.

    ``wall`` pieces stand with their back to a wall.
    """

    label: str
    size: tuple[float, float, float]
    parts: Callable[[tuple[float, float, float], Rgb], list[Part]]
    wall: bool = True


def _shade(rgb: Rgb, factor: float) -> Rgb:
    r, g, b = (int(min(255, max(0, value * factor))) for value in rgb)
    return (r, g, b)


def _legs(width: float, depth: float, height: float, rgb: Rgb, thick: float = 0.05) -> list[Part]:
    x, y = width / 2 - thick / 2, depth / 2 - thick / 2
    spots = ((-x, -y), (x, -y), (-x, y), (x, y))
    return [Part((px, py, height / 2), (thick, thick, height), rgb) for px, py in spots]


def _bed(size, rgb):
    w, d, h = size
    return [
        Part((0, 0, 0.14), (w, d, 0.28), WOOD),
        Part((0, 0.02, 0.39), (w - 0.08, d - 0.1, 0.22), LINEN),
        Part((0, 0.28, 0.47), (w - 0.04, d - 0.6, 0.1), rgb),
        Part((-w / 4, -d / 2 + 0.32, 0.55), (w * 0.36, 0.34, 0.12), _shade(rgb, 0.8)),
        Part((w / 4, -d / 2 + 0.32, 0.55), (w * 0.36, 0.34, 0.12), _shade(rgb, 0.8)),
        Part((0, -d / 2 + 0.04, h / 2), (w, 0.08, h), rgb),
    ]


def _sofa(size, rgb):
    w, d, h = size
    seat = (w - 0.44) / 2
    return [
        Part((0, 0, 0.15), (w - 0.02, d - 0.04, 0.24), _shade(rgb, 0.75)),
        Part((0, -d / 2 + 0.12, h / 2 + 0.05), (w - 0.04, 0.24, h - 0.1), rgb),
        Part((-w / 2 + 0.1, 0.01, 0.32), (0.2, d - 0.02, 0.6), rgb),
        Part((w / 2 - 0.1, 0.01, 0.32), (0.2, d - 0.02, 0.6), rgb),
        Part((-seat / 2, 0.11, 0.36), (seat - 0.03, d - 0.26, 0.16), _shade(rgb, 1.12)),
        Part((seat / 2, 0.11, 0.36), (seat - 0.03, d - 0.26, 0.16), _shade(rgb, 1.12)),
        Part((0, 0, 0.02), (w - 0.1, d - 0.1, 0.04), DARK),
    ]


def _armchair(size, rgb):
    w, d, h = size
    return [
        Part((0, 0, 0.18), (w - 0.02, d - 0.04, 0.22), _shade(rgb, 0.75)),
        Part((0, -d / 2 + 0.1, h / 2 + 0.04), (w - 0.04, 0.2, h - 0.08), rgb),
        Part((-w / 2 + 0.08, 0.01, 0.33), (0.16, d - 0.02, 0.52), rgb),
        Part((w / 2 - 0.08, 0.01, 0.33), (0.16, d - 0.02, 0.52), rgb),
        Part((0, 0.09, 0.37), (w - 0.34, d - 0.22, 0.16), _shade(rgb, 1.12)),
        *_legs(w - 0.06, d - 0.06, 0.07, WOOD),
    ]


def _table(size, rgb):
    w, d, h = size
    return [Part((0, 0, h - 0.03), (w, d, 0.06), rgb), *_legs(w - 0.1, d - 0.1, h - 0.06, _shade(rgb, 0.7), 0.07)]


def _desk(size, rgb):
    w, d, h = size
    top = 0.74
    return [
        Part((0, 0, top - 0.025), (w, d, 0.05), rgb),
        Part((w / 2 - 0.2, 0, (top - 0.05) / 2), (0.38, d - 0.06, top - 0.05), _shade(rgb, 0.8)),
        Part((-w / 2 + 0.03, 0, (top - 0.05) / 2), (0.05, d - 0.06, top - 0.05), _shade(rgb, 0.8)),
        *(Part((w / 2 - 0.2, d / 2 - 0.02, z), (0.32, 0.03, 0.18), rgb) for z in (0.14, 0.36, 0.57)),
        Part((-0.1, -d / 2 + 0.15, top + 0.01), (0.22, 0.16, 0.02), DARK),
        Part((-0.1, -d / 2 + 0.14, (top + h) / 2), (0.05, 0.04, h - top), DARK),
        Part((-0.1, -d / 2 + 0.17, h - 0.16), (0.52, 0.03, 0.32), DARK),
    ]


def _chair(size, rgb):
    w, d, h = size
    return [
        Part((0, 0, 0.45), (w, d, 0.07), rgb),
        Part((0, -d / 2 + 0.03, (h + 0.55) / 2), (w, 0.06, h - 0.55), rgb),
        Part((-w / 2 + 0.04, -d / 2 + 0.03, 0.52), (0.05, 0.05, 0.1), _shade(rgb, 0.7)),
        Part((w / 2 - 0.04, -d / 2 + 0.03, 0.52), (0.05, 0.05, 0.1), _shade(rgb, 0.7)),
        *_legs(w - 0.02, d - 0.02, 0.42, _shade(rgb, 0.7)),
    ]


def _cabinet(size, rgb):
    w, d, h = size
    front = d / 2 - 0.02
    return [
        Part((0, -0.01, h / 2 + 0.03), (w, d - 0.02, h - 0.06), _shade(rgb, 0.85)),
        Part((-w / 4, front, h / 2 + 0.02), (w / 2 - 0.04, 0.04, h - 0.14), rgb),
        Part((w / 4, front, h / 2 + 0.02), (w / 2 - 0.04, 0.04, h - 0.14), rgb),
        Part((-0.06, d / 2 - 0.01, h / 2), (0.03, 0.02, 0.16), STEEL),
        Part((0.06, d / 2 - 0.01, h / 2), (0.03, 0.02, 0.16), STEEL),
        *_legs(w - 0.04, d - 0.08, 0.08, DARK),
    ]


def _bookshelf(size, rgb):
    w, d, h = size
    boards = [Part((0, 0, z), (w, d, 0.04), rgb) for z in np.linspace(0.02, h - 0.02, 6)]
    sides = [Part((side * (w / 2 - 0.02), 0, h / 2), (0.04, d, h), rgb) for side in (-1, 1)]
    back = [Part((0, -d / 2 + 0.01, h / 2), (w, 0.02, h), _shade(rgb, 0.6))]
    covers = (LINEN, CLAY, STEEL, DARK, LEAF, WOOD)
    books = []
    step = (h - 0.04) / 5
    for shelf in range(5):
        for place in range(6 - shelf % 2):
            tall = step * (0.55 + 0.07 * ((shelf + 2 * place) % 4))
            x = -w / 2 + 0.1 + place * 0.075
            books.append(
                Part(
                    (x, -0.02, 0.04 + shelf * step + tall / 2), (0.06, d - 0.12, tall), covers[(shelf * 2 + place) % 6]
                )
            )
    return [*boards, *sides, *back, *books]


def _refrigerator(size, rgb):
    w, d, h = size
    return [
        Part((0, -0.02, h / 2), (w, d - 0.04, h), _shade(rgb, 0.9)),
        Part((0, d / 2 - 0.02, h * 0.33), (w, 0.04, h * 0.62), rgb),
        Part((0, d / 2 - 0.02, h * 0.83), (w, 0.04, h * 0.32), rgb),
        Part((w / 2 - 0.08, d / 2 - 0.01, h * 0.5), (0.03, 0.02, 0.28), STEEL),
        Part((w / 2 - 0.08, d / 2 - 0.01, h * 0.76), (0.03, 0.02, 0.18), STEEL),
    ]


def _piano(size, rgb):
    w, d, h = size
    keys = [Part((x, 0.22, 0.715), (0.018, 0.1, 0.02), DARK) for x in np.linspace(-w / 2 + 0.15, w / 2 - 0.15, 14)]
    return [
        Part((0, -0.12, h / 2), (w, d - 0.24, h), rgb),
        Part((0, 0.16, 0.64), (w, d - 0.32, 0.1), _shade(rgb, 0.85)),
        Part((0, 0.2, 0.7), (w - 0.1, 0.16, 0.02), LINEN),
        *keys,
        Part((-w / 2 + 0.05, d / 2 - 0.05, 0.3), (0.08, 0.08, 0.6), rgb),
        Part((w / 2 - 0.05, d / 2 - 0.05, 0.3), (0.08, 0.08, 0.6), rgb),
    ]


def _lamp(size, rgb):
    w, d, h = size
    return [
        Part((0, 0, 0.02), (w * 0.7, d * 0.7, 0.04), STEEL, CYLINDER),
        Part((0, 0, h * 0.45), (0.04, 0.04, h * 0.85), STEEL, CYLINDER),
        Part((0, 0, h - 0.17), (w, d, 0.34), rgb, CONE),
    ]


def _plant(size, rgb):
    w, d, h = size
    leaves = (
        (0.0, 0.0, 0.0, 1.0),
        (-0.28, 0.12, -0.1, 0.7),
        (0.28, -0.1, -0.06, 0.75),
        (0.08, 0.3, -0.14, 0.6),
        (-0.12, -0.3, -0.04, 0.6),
    )
    crown = [
        Part((x * w, y * d, h - 0.24 + z), (0.55 * w * r, 0.55 * d * r, 0.46 * r), _shade(rgb, 0.8 + 0.35 * r), BALL)
        for x, y, z, r in leaves
    ]
    return [
        Part((0, 0, 0.15), (w * 0.75, d * 0.75, 0.3), CLAY, POT),
        Part((0, 0, 0.4), (0.05, 0.05, 0.3), WOOD, CYLINDER),
        *crown,
    ]


def _stool(size, rgb):
    w, d, h = size
    return [
        Part((0, 0, h - 0.03), (w, d, 0.06), rgb, CYLINDER),
        *_legs(w * 0.75, d * 0.75, h - 0.06, _shade(rgb, 0.7), 0.04),
    ]


def _door(size, rgb):
    w, d, h = size
    return [
        Part((0, -d / 4, h / 2), (w, d / 2, h), _shade(rgb, 0.7)),
        Part((0, d / 8, h / 2 - 0.02), (w - 0.12, d / 4, h - 0.08), rgb),
        Part((w / 2 - 0.14, d * 0.4, 1.0), (0.1, d * 0.2, 0.03), STEEL),
    ]


def _window(size, rgb):
    w, d, h = size
    low, mid = 0.95, 0.95 + (h - 0.95) / 2
    return [
        Part((0, -d / 4, mid), (w, d / 2, h - low), rgb),
        Part((0, d / 4, low + 0.03), (w, d / 2, 0.06), LINEN),
        Part((0, d / 4, h - 0.03), (w, d / 2, 0.06), LINEN),
        *(Part((x, d / 4, mid), (0.06, d / 2, h - low), LINEN) for x in (-w / 2 + 0.03, 0, w / 2 - 0.03)),
    ]


KINDS: Registry[Kind] = Registry("furniture class")
for _kind in (
    Kind("bed", (1.5, 2.0, 0.9), _bed),
    Kind("sofa", (1.9, 0.85, 0.8), _sofa),
    Kind("table", (1.3, 0.85, 0.74), _table, wall=False),
    Kind("desk", (1.25, 0.65, 1.2), _desk),
    Kind("cabinet", (1.1, 0.45, 0.95), _cabinet),
    Kind("bookshelf", (0.95, 0.35, 1.8), _bookshelf),
    Kind("chair", (0.48, 0.5, 0.92), _chair, wall=False),
    Kind("armchair", (0.85, 0.85, 0.85), _armchair),
    Kind("refrigerator", (0.7, 0.7, 1.75), _refrigerator),
    Kind("piano", (1.4, 0.62, 1.1), _piano),
    Kind("lamp", (0.42, 0.42, 1.55), _lamp, wall=False),
    Kind("plant", (0.5, 0.5, 0.85), _plant, wall=False),
    Kind("stool", (0.38, 0.38, 0.46), _stool, wall=False),
    Kind("door", (0.95, 0.1, 2.05), _door),
    Kind("window", (1.5, 0.1, 2.0), _window),
):
    KINDS.add(_kind.label, _kind)


def box_mesh(part: Part, step: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Return (vertices_V3, faces_F3) of a box whose sides are cut into squares of about ``step`` metres."""
    center, size = np.asarray(part.center), np.asarray(part.size)
    vertices, faces, offset = [], [], 0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        nu, nv = (max(1, int(np.ceil(size[a] / step))) for a in (u, v))
        grid_u, grid_v = np.meshgrid(np.linspace(-0.5, 0.5, nu + 1), np.linspace(-0.5, 0.5, nv + 1), indexing="ij")
        corner = np.arange((nu + 1) * (nv + 1)).reshape(nu + 1, nv + 1)
        a, b, c, d = corner[:-1, :-1].ravel(), corner[1:, :-1].ravel(), corner[1:, 1:].ravel(), corner[:-1, 1:].ravel()
        quads = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
        for side in (-0.5, 0.5):
            points = np.zeros((grid_u.size, 3))
            points[:, u], points[:, v], points[:, axis] = grid_u.ravel(), grid_v.ravel(), side
            vertices.append(points * size + center)
            faces.append((quads if side > 0 else quads[:, ::-1]) + offset)
            offset += len(points)
    return np.concatenate(vertices), np.concatenate(faces)


def turned_mesh(part: Part, sides: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return (vertices_V3, faces_F3) of the solid that turning ``part.profile`` about the vertical gives.

    Each band between two profile points has vertices of its own, so edges stay sharp.
    """
    assert part.profile is not None
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) / 2
    here, following = np.arange(sides), (np.arange(sides) + 1) % sides
    vertices, faces = [], []
    for number, ((r0, z0), (r1, z1)) in enumerate(zip(part.profile[:-1], part.profile[1:], strict=True)):
        low = np.column_stack([ring * r0, np.full(sides, z0 - 0.5)])
        high = np.column_stack([ring * r1, np.full(sides, z1 - 0.5)])
        vertices += [low, high]
        at = number * 2 * sides
        if r0 > 0:
            faces.append(at + np.stack([here, following, here + sides], 1))
        if r1 > 0:
            faces.append(at + np.stack([following, following + sides, here + sides], 1))
    return np.concatenate(vertices) * np.asarray(part.size) + np.asarray(part.center), np.concatenate(faces)


def parts_mesh(parts: list[Part]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (vertices_V3 float64, faces_F3 int64, colours_V3 uint8) of all ``parts`` as one mesh."""
    vertices, faces, colours, offset = [], [], [], 0
    for part in parts:
        points, triangles = box_mesh(part) if part.profile is None else turned_mesh(part)
        vertices.append(points)
        faces.append(triangles + offset)
        colours.append(np.tile(np.asarray(part.rgb, np.uint8), (len(points), 1)))
        offset += len(points)
    return np.concatenate(vertices), np.concatenate(faces), np.concatenate(colours)
