"""What ``scene.json`` says about objects, the bird's-eye view and frames, composed from the marked images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpt4scene.scans.types import Frame, SceneObject
from gpt4scene.scenes.marking import MarkedBev, MarkedImage


def object_rows(objects: Sequence[SceneObject]) -> list[dict]:
    """Objects as JSON: id, label, center and size in metres in the aligned frame."""
    return [
        {"id": item.id, "label": item.label, "center": _rounded(item.center), "size": _rounded(item.size)}
        for item in objects
    ]


def bev_row(image: str, bev: MarkedBev) -> dict:
    """The bird's-eye view as JSON: its camera and markers."""
    camera = bev.camera
    return {
        "image": image,
        "width": camera.width,
        "height": camera.height,
        "metres_per_pixel": camera.metres_per_pixel,
        "x_left": camera.x_left,
        "y_top": camera.y_top,
        "cut_height": camera.cut_height,
        "floor_height": camera.floor_height,
        "markers": _marker_rows(bev),
    }


def frame_row(image: str, frame: Frame, marked: MarkedImage, place: int) -> dict:
    """A frame as JSON: its camera in the aligned frame, markers, and its ``place`` in the recording, from 0.

    ``turned`` is there where the image is not as it is stored: degrees to the left, after which the camera is right.
    """
    camera = frame.camera
    return {
        "image": image,
        "name": frame.name,
        "place": place,
        **({"turned": 90 * frame.quarters} if frame.quarters else {}),
        "width": camera.width,
        "height": camera.height,
        "intrinsics": camera.intrinsics.tolist(),
        "pose": _rounded(camera.pose, 9),
        "markers": _marker_rows(marked),
    }


def _marker_rows(marked: MarkedImage) -> list[dict]:
    return [
        {"id": one.marker.id, "pixel": one.marker.pixel, "label_box": one.marker.box, "area": round(one.area, 6)}
        for one in marked.objects
    ]


def _rounded(values: np.ndarray, digits: int = 6) -> list:
    return (np.round(np.asarray(values, dtype=np.float64), digits) + 0.0).tolist()
