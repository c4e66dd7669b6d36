"""What stands in the room of one person's page: points, boxes, cameras, floor plan; each layer has a switch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import PreparedScene, SceneBox, SceneFrame
from gpt4scene.files.scenes import read_scene
from gpt4scene.scenes.colors import color_of
from gpt4scene.view.geometry import Geometry, face_slabs, slabs_of
from gpt4scene.view.pictures import marker_of, read_image

if TYPE_CHECKING:
    import viser

LAYERS = ("points", "boxes", "names", "frames", "path", "plan", "outline", "answers")
"""The layers by their name in the scene tree."""
FRAME_HEIGHT = 0.28
"""Height in metres of a frame's picture before its camera."""
THUMBNAIL = 256
"""Longest side in pixels of a frame's picture in the room."""
_EDGES = np.array([(a, b) for a in range(8) for b in range(a) if bin(a ^ b).count("1") == 1])
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_GREY, _NAMED, _MEANT = (128, 128, 128), (225, 95, 0), (0, 140, 70)


class Scenery:
    """Draws one scene into the 3D page ``api`` of one person."""

    def __init__(self, api: viser.SceneApi, scene: PreparedScene, geometry: Geometry) -> None:
        self._api, self._scene, self._geometry = api, scene, geometry
        api.reset()
        api.configure_default_lights(cast_shadow=False)
        self._groups = {name: api.add_frame(f"/{name}", show_axes=False) for name in LAYERS}
        self._slabs: list[tuple[float, Any]] = []
        self._levels: list[Any] = []
        self._waiting = slabs_of(geometry.places_N3) if geometry.faces_F3 is None else []
        self._names: dict[int, tuple[Any, SceneBox]] = {}
        self._frustums: list[Any] = []

    def show_layer(self, name: str, shown: bool) -> None:
        """Show or hide a whole layer."""
        self._groups[name].visible = shown

    def draw_room(self, cut: float, level: int) -> list[str]:
        """Draw geometry, plan, outline, path and frames; return a sentence for each image that can't be read."""
        self._draw_geometry(cut, level)
        self._draw_lines()
        problems = []
        for draw in (self._draw_plan, *(self._frustum(place) for place in range(len(self._scene.frames)))):
            try:
                draw()
            except DataError as error:
                problems.append(str(error))
        return problems

    def cut(self, height: float, level: int) -> None:
        """Hide what lies above ``height`` metres, and the levels of detail after ``level``."""
        while len(self._levels) <= level and self._geometry.faces_F3 is None:
            self._send_level(len(self._levels))
        shown = [(handle, bottom < height) for bottom, handle in self._slabs]
        shown += [(handle, number <= level) for number, handle in enumerate(self._levels)]
        for handle, visible in shown:
            if handle.visible != visible:
                handle.visible = visible

    def draw_boxes(self, boxes: Sequence[SceneBox], chosen: int | None) -> None:
        """Draw all boxes with numbers and names; that of object ``chosen`` is thick and filled."""
        solid = [box for box in boxes if any(box.size)]
        self._segments("/boxes/all", [box for box in solid if box.id != chosen], 1.5)
        one = [box for box in solid if box.id == chosen]
        self._segments("/boxes/chosen", one, 5.0)
        for box in one:
            self._api.add_box(
                "/boxes/fill", color_of(box.id), box.size, opacity=0.15, side="double", position=box.center,
                cast_shadow=False, receive_shadow=False,
            )  # fmt: skip
        if not one:
            self._remove("/boxes/fill")
        self._draw_names(solid, chosen)

    def draw_answer(self, named: Sequence[SceneBox], meant: Sequence[SceneBox]) -> None:
        """Draw the boxes that an answer names and those that were meant, each with its word, so not by colour alone."""
        self._remove("/answers/named")
        self._remove("/answers/meant")
        for what, boxes, color, place in (("named", named, _NAMED, 0), ("meant", meant, _MEANT, 1)):
            if not boxes:
                continue
            self._api.add_frame(f"/answers/{what}", show_axes=False)
            self._segments(f"/answers/{what}/boxes", boxes, 6.0 - 3 * place, color)
            for number, box in enumerate(boxes):
                both = box in named and box in meant
                if both and what == "meant":
                    continue  # the word at the answer's box says both
                word = "answer and true object" if both else "true object" if what == "meant" else "answer"
                x, y, z = box.center  # the number and name of the object stand on top of its box, these below them
                self._api.add_label(
                    f"/answers/{what}/{number}", f"{word}: {box.id} {box.label}", anchor="top-center",
                    position=(x, y, z + box.size[2] / 2 if what == "named" else z),
                )  # fmt: skip

    def mark_frames(self, number: int | None) -> None:
        """Colour the frames that show object ``number``."""
        for frustum, frame in zip(self._frustums, self._scene.frames, strict=False):
            shows = number is not None and marker_of(frame, number) is not None
            frustum.color = color_of(number) if shows and number is not None else _GREY

    def box_tool(
        self, name: str, center: Sequence[float], size: Sequence[float], color: tuple[int, int, int],
        moved: Callable[[tuple[float, float, float]], None],
    ) -> None:  # fmt: skip
        """Draw a box that can be dragged; ``moved`` gets its new centre when a drag has ended."""
        self._remove(f"/{name}")
        gizmo = self._api.add_transform_controls(
            f"/{name}",
            scale=max(0.5, 0.8 * max(size)),
            disable_rotations=True,
            depth_test=False,
            position=np.asarray(center, dtype=np.float64),
        )
        self._api.add_box(
            f"/{name}/box",
            color,
            np.asarray(size, dtype=np.float64),
            opacity=0.35,
            side="double",
            cast_shadow=False,
            receive_shadow=False,
        )

        @gizmo.on_drag_end
        def _(event: Any) -> None:
            x, y, z = map(float, event.target.position)
            moved((x, y, z))

    def drop_tool(self, name: str) -> None:
        """Remove a box that can be dragged."""
        self._remove(f"/{name}")

    def _draw_geometry(self, cut: float, level: int) -> None:
        if self._geometry.faces_F3 is not None:
            for number, (bottom, rows) in enumerate(face_slabs(self._geometry)):
                self._slabs.append((bottom, self._surface(f"/points/surface{number}", rows)))
        self.cut(cut, level)

    def _send_level(self, level: int) -> None:
        """Send the points of one more level; those of finer levels wait until someone wants to see them."""
        places, colors = self._geometry.places_N3, self._geometry.colors_N3
        size = float(np.clip(0.012 * np.sqrt(200_000 / max(len(places), 1)), 0.006, 0.03))
        middle, coarse = coarse_middle(places)
        self._levels.append(self._api.add_frame(f"/points/{level}", show_axes=False))
        for number, slab in enumerate(slab for slab in self._waiting if slab.level == level):
            handle = self._api.add_point_cloud(
                f"/points/{level}/{number}", places[slab.rows_N] - middle, colors[slab.rows_N], point_size=size,
                precision="float16" if coarse else "float32", point_shading="flat", position=middle,
            )  # fmt: skip
            self._slabs.append((slab.bottom, handle))

    def _surface(self, name: str, rows: np.ndarray) -> Any:
        import trimesh

        assert self._geometry.faces_F3 is not None, "a surface has triangles"
        used, faces = np.unique(self._geometry.faces_F3[rows], return_inverse=True)
        mesh = trimesh.Trimesh(
            self._geometry.places_N3[used], faces.reshape(-1, 3), vertex_colors=self._geometry.colors_N3[used],
            process=False,
        )  # fmt: skip
        return self._api.add_mesh_trimesh(name, mesh, cast_shadow=False, receive_shadow=False)

    def _draw_plan(self) -> None:
        bev = self._scene.bev
        wide, high = bev.width * bev.metres_per_pixel, bev.height * bev.metres_per_pixel
        middle = (bev.x_left + wide / 2, bev.y_top - high / 2, bev.floor_height - 0.02)
        self._api.add_image(
            "/plan/image", read_image(bev, 1024), wide, high, position=middle, wxyz=(0.0, 1.0, 0.0, 0.0),
            cast_shadow=False, receive_shadow=False,
        )  # fmt: skip

    def _draw_lines(self) -> None:
        room = read_scene(self._scene.record).get("room") or {}
        floor = self._scene.bev.floor_height + 0.01
        outline = np.array([(x, y, floor) for x, y in self._scene.outline])
        if len(outline) > 2:
            sides = np.stack([outline, np.roll(outline, -1, axis=0)], axis=1)
            self._api.add_line_segments("/outline/line", sides, (30, 110, 220), thickness=3.0, thickness_units="screen")
        path = _path(room.get("path"))
        if len(path) < 2:
            path = np.array([frame.pose_44[:3, 3] for frame in self._scene.frames])
        if len(path) > 1:
            steps = np.stack([path[:-1], path[1:]], axis=1)
            self._api.add_line_segments("/path/line", steps, (200, 40, 140), thickness=2.5, thickness_units="screen")

    def _frustum(self, place: int) -> Callable[[], None]:
        def draw() -> None:
            frame = self._scene.frames[place]
            slope = frame.height / 2 / float(frame.intrinsics_33[1, 1])
            aspect = frame.width / frame.height
            # The page gives a frustum of scale 1 the volume 1, whatever its shape.
            scale = FRAME_HEIGHT / 2 / slope * float(np.cbrt(slope * slope * aspect / 3))
            image, problem = None, None
            try:
                image = read_image(frame, THUMBNAIL)
            except DataError as error:
                problem = error
            handle = self._api.add_camera_frustum(
                f"/frames/{place}", 2 * float(np.arctan(slope)), aspect, scale=scale, thickness=2.0,
                thickness_units="screen", color=_GREY, image=image, wxyz=quaternion_of(frame.pose_44[:3, :3]),
                position=frame.pose_44[:3, 3], cast_shadow=False, receive_shadow=False,
            )  # fmt: skip
            self._frustums.append(handle)
            if problem is not None:
                raise problem

        return draw

    def _segments(
        self, name: str, boxes: Sequence[SceneBox], thickness: float, color: tuple[int, int, int] | None = None
    ) -> None:
        if not boxes:
            self._remove(name)
            return
        corners = np.array([np.asarray(box.center) + _CORNERS * np.asarray(box.size) for box in boxes])
        colors = np.array([color or color_of(box.id) for box in boxes], dtype=np.uint8)
        lines = corners[:, _EDGES].reshape(-1, 2, 3)
        each = np.repeat(colors, len(_EDGES), axis=0)[:, None].repeat(2, axis=1)
        self._api.add_line_segments(name, lines, each, thickness=thickness, thickness_units="screen")

    def _draw_names(self, solid: Sequence[SceneBox], chosen: int | None) -> None:
        wanted = {box.id: box for box in solid}
        for number in [number for number in self._names if number not in wanted]:
            self._names.pop(number)[0].remove()
        for number, box in wanted.items():
            drawn = self._names.get(number)
            key = box if number != chosen else SceneBox(number, f"{box.label} ◄", box.center, box.size)
            if drawn is not None and drawn[1] == key:
                continue
            top = (box.center[0], box.center[1], box.center[2] + box.size[2] / 2)
            handle = self._api.add_label(
                f"/names/{number}", f"{number} {key.label}", position=top, anchor="bottom-center",
                font_screen_scale=1.4 if number == chosen else 0.9,
            )  # fmt: skip
            self._names[number] = (handle, key)

    def _remove(self, name: str) -> None:
        handle = self._api.get_handle_by_name(name)
        if handle is not None:
            handle.remove()


def coarse_middle(places_N3: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the middle of the points, and whether half precision around it moves none by more than 2 mm."""
    if not len(places_N3):
        return np.zeros(3, np.float32), False
    low, high = places_N3.min(axis=0), places_N3.max(axis=0)
    return (low + high) / 2, bool((high - low).max() < 16.0)


def _path(rows: Any) -> np.ndarray:
    """Return the camera's path, float64 [N, 3]; none where it is not written as one."""
    try:
        path = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError):
        path = np.zeros((0, 3))
    good = path.ndim == 2 and path.shape[1:] == (3,) and np.isfinite(path).all()
    return path if good else np.zeros((0, 3))


def quaternion_of(rotation_33: np.ndarray) -> np.ndarray:
    """Return the quaternion (w, x, y, z) of a rotation, float64 [4]."""
    import viser.transforms as transforms

    u, _, v = np.linalg.svd(rotation_33)
    return transforms.SO3.from_matrix(u @ v).wxyz


def look_through(camera: Any, frame: SceneFrame) -> None:
    """Put a person's camera where a frame was taken, as wide as that one is."""
    pose = frame.pose_44
    camera.up_direction = -pose[:3, 1]
    camera.position = pose[:3, 3]
    camera.look_at = pose[:3, 3] + 2 * pose[:3, 2]
    camera.fov = 2 * float(np.arctan(frame.height / 2 / float(frame.intrinsics_33[1, 1])))


def look_over(camera: Any, scene: PreparedScene, box: SceneBox | None = None) -> None:
    """Put a person's camera above the room, or before one object."""
    bev = scene.bev
    wide, deep = bev.width * bev.metres_per_pixel, bev.height * bev.metres_per_pixel
    camera.up_direction = (0.0, 0.0, 1.0)
    camera.fov = 0.9
    if box is None:
        middle = np.array([bev.x_left + wide / 2, bev.y_top - deep / 2, bev.floor_height + 0.5])
        away = max(wide, deep, 2.0)
    else:
        middle, away = np.array(box.center), max(2.0, 1.5 * float(np.linalg.norm(box.size)))
    away *= max(1.0, 1.2 / max(float(camera.aspect), 0.3))  # a phone's picture is narrow
    camera.position = middle + away * np.array([0.15, -0.85, 0.95])
    camera.look_at = middle
