"""The images of a scene for the page: small, with the chosen object's mark outlined, as HTML that is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import Marker, PreparedScene, SceneBev, SceneFrame
from gpt4scene.scenes.colors import color_of, ink_on

SIDE = 560
"""Longest side of a picture on the page, in pixels."""
MOST_PIXELS = 64_000_000
"""Pixels of the largest image that is opened."""


def read_image(image: SceneFrame | SceneBev, side: int) -> np.ndarray:
    """Return the image, uint8 [H, W, 3], of at most ``side`` pixels a side; ``DataError`` naming the file."""
    from PIL import Image

    try:
        with Image.open(image.image) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise DataError(f"{image.image}: the image is too large to be shown")
            opened.draft("RGB", (side, side))
            small = opened.convert("RGB")
            small.thumbnail((side, side))
            return np.asarray(small)
    except (OSError, ValueError, SyntaxError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{image.image}: the image can't be read; prepare the scene again") from error


def outlined(image: SceneFrame | SceneBev, marker: Marker | None, side: int = SIDE) -> bytes:
    """Return the image as JPEG, with a ring around ``marker`` in its object's colour, edged by its ink."""
    from PIL import Image, ImageDraw

    pixels = read_image(image, side)
    drawn = Image.fromarray(pixels)
    if marker is not None:
        scale = drawn.width / image.width
        left, top, right, bottom = (value * scale for value in marker.label_box)
        wide = max(3, drawn.width // 130)
        room = 3 * wide
        color = color_of(marker.id)
        draw = ImageDraw.Draw(drawn)
        for grown, fill, line in ((room, ink_on(color), 3 * wide), (room - wide // 2, color, 2 * wide)):
            box = (left - grown, top - grown, right + grown, bottom + grown)
            draw.rounded_rectangle(box, radius=2 * wide, outline=fill, width=max(line // 2, 2))
    buffer = io.BytesIO()
    drawn.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def frames_showing(scene: PreparedScene, number: int | None) -> list[tuple[int, SceneFrame, Marker | None]]:
    """Return the frames, by place, with their mark of object ``number``; all frames where no object is chosen."""
    if number is None:
        return [(place, frame, None) for place, frame in enumerate(scene.frames)]
    found = [(place, frame, marker_of(frame, number)) for place, frame in enumerate(scene.frames)]
    return [one for one in found if one[2] is not None]


def marker_of(image: SceneFrame | SceneBev, number: int) -> Marker | None:
    """Return the mark of object ``number`` in an image, ``None`` where it has none."""
    return next((marker for marker in image.markers if marker.id == number), None)


def gallery(scene: PreparedScene, number: int | None, labels: Mapping[int, str], most: int = 12) -> str:
    """Return the bird's-eye view and the frames as HTML; at most ``most`` frames, and the count of all of them."""
    shown = frames_showing(scene, number)
    name = "" if number is None else f"object {number}, {labels.get(number, 'removed')}"
    mark = None if number is None else marker_of(scene.bev, number)
    parts = [_figure(scene.bev, mark, "Bird's-eye view", name if mark else "")]
    for place, frame, marker in shown[:most]:
        parts.append(_figure(frame, marker, f"Frame {place + 1}: {frame.name}", name))
    if number is None:
        said = f"{len(scene.frames)} frames. Choose an object to see the ones that show it."
    elif shown:
        said = f"{len(shown)} of {len(scene.frames)} frames show {name}."
    else:
        said = f"No frame has a number of {name}. It is too small, hidden, new or was removed."
    if len(shown) > most:
        said += f" The first {most} are below."
    return f'<p style="margin:4px 10px">{escape(said)}</p>' + "".join(parts)


def _figure(image: SceneFrame | SceneBev, marker: Marker | None, title: str, name: str) -> str:
    try:
        data = base64.b64encode(outlined(image, marker)).decode()
    except DataError as error:
        return f'<p role="alert" style="margin:4px 10px"><b>{escape(title)}</b>: {escape(str(error))}</p>'
    alt = f"{title}, with a ring around {name}" if marker else title
    return (
        f'<figure style="margin:0 10px 10px"><img alt="{escape(alt)}" src="data:image/jpeg;base64,{data}" '
        f'style="width:100%;border-radius:4px"><figcaption style="font-size:12px">{escape(title)}</figcaption></figure>'
    )


def swatch(number: int) -> str:
    """Return an object's number on its colour, as HTML."""
    color = color_of(number)
    return (
        f'<span style="background:rgb{color};color:rgb{ink_on(color)};border-radius:4px;padding:0 6px;'
        f'font-weight:700">{number}</span>'
    )


def chosen_html(number: int | None, label: str, size: Sequence[float]) -> str:
    """Return a line about the chosen object: its number, name and size in metres."""
    if number is None:
        return '<p style="margin:4px 10px">No object is chosen. Click one in the room or in the list.</p>'
    x, y, z = size
    return (
        f'<p style="margin:4px 10px" role="status">{swatch(number)} <b>{escape(label)}</b> '
        f"{x:.2f} × {y:.2f} × {z:.2f} m</p>"
    )
