"""Prepared scenes as people look at them: boxes, cameras and images, read from its ``scene.json``.

Files named in a ``scene.json`` are taken from its own folder alone: it may come from a stranger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.scenes import read_scene


@dataclass(frozen=True)
class SceneBox:
    """A box in the aligned frame: ``center`` and ``size`` in metres, edges along the axes."""

    id: int
    label: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]


@dataclass(frozen=True)
class Marker:
    """A number drawn into an image: its object, its place (column, row), and the box of its label (left, top, …)."""

    id: int
    pixel: tuple[int, int]
    label_box: tuple[int, int, int, int]


@dataclass(frozen=True)
class SceneFrame:
    """A marked frame: ``pose_44`` leads from the camera (x right, y down, z ahead) to the aligned frame."""

    name: str
    image: Path
    width: int
    height: int
    intrinsics_33: np.ndarray
    pose_44: np.ndarray
    markers: tuple[Marker, ...]


@dataclass(frozen=True)
class SceneBev:
    """The bird's-eye view: pixel (0, 0) lies at ``x_left``, ``y_top``; x grows to the right, y upwards."""

    image: Path
    width: int
    height: int
    metres_per_pixel: float
    x_left: float
    y_top: float
    floor_height: float
    markers: tuple[Marker, ...]


@dataclass(frozen=True)
class PreparedScene:
    """A prepared scene. ``out`` is the folder of all scenes, ``record`` the file that all this was read from.

    ``objects`` are the marked ones, ``ground_truth`` the annotated ones (none where the scan has no annotation).
    ``align`` leads from the recording's frame to the aligned one, float64[4, 4].
    """

    scene_id: str
    out: Path
    record: Path
    objects: tuple[SceneBox, ...]
    ground_truth: tuple[SceneBox, ...]
    bev: SceneBev
    frames: tuple[SceneFrame, ...]
    align_44: np.ndarray
    outline: tuple[tuple[float, float], ...]
    settings: Mapping[str, Any]
    warnings: tuple[str, ...]

    @property
    def images(self) -> tuple[Path, ...]:
        """The images in the order in which a model sees them: the bird's-eye view, then the frames."""
        return (self.bev.image, *(frame.image for frame in self.frames))


def find_scenes(places: Iterable[str | Path]) -> list[Path]:
    """Return the ``scene.json`` files that ``places`` mean, in order and each once.

    A place is a folder that ``prepare`` wrote, its ``scenes`` folder, one scene's folder, or a ``scene.json``. Raises
    ``DataError`` for a place that has none.
    """
    found: dict[Path, None] = {}
    for place in map(Path, places):
        if place.name == "scene.json" and place.is_file():
            records = [place]
        elif (place / "scene.json").is_file():
            records = [place / "scene.json"]
        else:
            records = sorted(place.glob("scenes/*/scene.json")) or sorted(place.glob("*/scene.json"))
        if not records:
            why = "holds no prepared scene" if place.is_dir() else "there is no such folder"
            raise DataError(f"{place}: {why}; name a folder that 'gpt4scene prepare' wrote, or one scene of it")
        found |= dict.fromkeys(record.absolute() for record in records)
    return list(found)


def read_prepared(record: Path) -> PreparedScene:
    """Return the scene that a ``scene.json`` describes; ``DataError`` names the file and what is wrong in it."""
    record = record.absolute()
    content, out = read_scene(record), record.parent.parent.parent
    try:
        bev, room = content["bev"], content.get("room") or {}
        return PreparedScene(
            scene_id=str(content["scene_id"]),
            out=out,
            record=record,
            objects=tuple(map(_object, content["objects"])),
            ground_truth=tuple(map(_object, content["ground_truth"] or ())),
            bev=SceneBev(
                inside(out, bev["image"], record),
                int(bev["width"]),
                int(bev["height"]),
                float(bev["metres_per_pixel"]),
                float(bev["x_left"]),
                float(bev["y_top"]),
                float(bev["floor_height"]),
                tuple(map(_marker, bev["markers"])),
            ),
            frames=tuple(_frame(frame, out, record) for frame in content["frames"]),
            align_44=_matrix(content["align"], 4),
            outline=tuple((float(x), float(y)) for x, y in room.get("outline", ())),
            settings=content["settings"],
            warnings=tuple(map(str, content.get("sanity", {}).get("warnings", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        missing = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{record}: is damaged; remove it and prepare the scene again ({missing})") from error


def inside(folder: Path, written: object, origin: object) -> Path:
    """Return the file under ``folder`` that ``written`` names; ``DataError`` naming ``origin`` where it leads out.

    Absolute paths, ``..`` and links that end elsewhere lead out.
    """
    if not isinstance(written, str) or "\0" in written:
        raise DataError(f"{origin}: {str(written)[:80]!r} is no path of a file")
    path = folder / written
    try:
        stays = not Path(written).is_absolute() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that go in a circle
        stays = False
    if not stays:
        raise DataError(f"{origin}: '{written[:200]}' leads out of {folder}; paths of a scene stay in its folder")
    return path


def _object(row: Mapping[str, Any]) -> SceneBox:
    return SceneBox(int(row["id"]), str(row["label"]), _three(row["center"]), _three(row["size"]))


def _three(values: Any) -> tuple[float, float, float]:
    x, y, z = map(float, values)
    if not np.isfinite([x, y, z]).all():
        raise ValueError(f"{values} are not three lengths")
    return x, y, z


def _marker(row: Mapping[str, Any]) -> Marker:
    column, line = row["pixel"]
    left, top, right, bottom = row["label_box"]
    return Marker(int(row["id"]), (int(column), int(line)), (int(left), int(top), int(right), int(bottom)))


def _frame(row: Mapping[str, Any], out: Path, record: Path) -> SceneFrame:
    image = inside(out, row["image"], record)
    size = int(row["width"]), int(row["height"])
    markers = tuple(map(_marker, row["markers"]))
    return SceneFrame(str(row["name"]), image, *size, _matrix(row["intrinsics"], 3), _matrix(row["pose"], 4), markers)


def _matrix(rows: Any, side: int) -> np.ndarray:
    """Return a square matrix, float64[side, side], or raise ``ValueError``."""
    matrix = np.asarray(rows, dtype=np.float64)
    if matrix.shape != (side, side) or not np.isfinite(matrix).all():
        raise ValueError(f"a matrix of {side} x {side} numbers is wanted, found {str(rows)[:60]}")
    return matrix
