"""One page a scene, to see at a glance whether its numbers are right: bird's-eye view, objects with crops, frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .markers import color_of, ink_on

WIDTH = 2048
_COLUMNS = 4
_CROP = 120
_LINE = 22
_PAGE = (245, 245, 245)
_INK = (20, 20, 20)


def contact_sheet(out: Path, content: Mapping) -> Image.Image:
    """The page of a prepared scene, from its ``scene.json`` and pictures under ``out``."""
    top = _fitting(out / content["bev"]["image"], WIDTH // 2, WIDTH // 2)
    objects = [item for item in content["objects"] if any(item["size"])]
    per_row = WIDTH // 2 // (_CROP + 8)
    list_height = -(-len(objects) // per_row) * (_CROP + _LINE + 8)
    frame_width = WIDTH // _COLUMNS
    frames = [(_fitting(out / row["image"], frame_width, frame_width), row["name"]) for row in content["frames"]]
    frame_height = max((picture.height for picture, _ in frames), default=0) + _LINE
    rows = -(-len(frames) // _COLUMNS)
    head = 44
    body = max(top.height, list_height) + 8
    page = Image.new("RGB", (WIDTH, head + body + rows * frame_height), _PAGE)
    pen = ImageDraw.Draw(page)
    title = f"{content['scene_id']}: {len(objects)} objects, {len(frames)} frames"
    pen.text((12, 8), title, fill=_INK, font=ImageFont.load_default(26))
    page.paste(top, (0, head))
    small = ImageFont.load_default(15)
    best = _best_views(content)
    for index, item in enumerate(objects):
        x = WIDTH // 2 + 8 + index % per_row * (_CROP + 8)
        y = head + index // per_row * (_CROP + _LINE + 8)
        if item["id"] in best:
            page.paste(_crop(out, *best[item["id"]]), (x, y))
        else:
            pen.rectangle([x, y, x + _CROP - 1, y + _CROP - 1], outline=_INK)
            pen.text((x + 8, y + _CROP // 2 - 8), "in no frame", fill=_INK, font=small)
        color = color_of(item["id"])
        pen.rectangle([x, y + _CROP, x + _CROP - 1, y + _CROP + _LINE - 1], fill=color)
        pen.text((x + 4, y + _CROP + 2), f"{item['id']} {item['label']}"[:17], fill=ink_on(color), font=small)
    for index, (picture, name) in enumerate(frames):
        x, y = index % _COLUMNS * frame_width, head + body + index // _COLUMNS * frame_height
        page.paste(picture, (x, y))
        pen.text((x + 6, y + picture.height + 2), name, fill=_INK, font=small)
    return page


def write_sheet(out: Path, content: Mapping, path: Path) -> None:
    """Write the page as JPEG under a temporary name, then rename."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    contact_sheet(out, content).save(part, "JPEG", quality=88)
    os.replace(part, path)


def _fitting(path: Path, width: int, height: int) -> Image.Image:
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
    scale = min(width / picture.width, height / picture.height)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def _best_views(content: Mapping) -> dict[int, tuple[Mapping, Mapping]]:
    """Object -> (frame, marker) where it covers most of the picture."""
    best: dict[int, tuple[Mapping, Mapping]] = {}
    for frame in content["frames"]:
        for marker in frame["markers"]:
            if marker["id"] not in best or marker["area"] > best[marker["id"]][1]["area"]:
                best[marker["id"]] = (frame, marker)
    return best


def _crop(out: Path, frame: Mapping, marker: Mapping) -> Image.Image:
    """A square around the marker, about as large as the object."""
    width, height = frame["width"], frame["height"]
    shorter = min(width, height)
    side = int(min(shorter, max(shorter / 4, 2 * (marker["area"] * width * height) ** 0.5)))
    x = min(max(0, marker["pixel"][0] - side // 2), width - side)
    y = min(max(0, marker["pixel"][1] - side // 2), height - side)
    with Image.open(out / frame["image"]) as picture:
        return picture.convert("RGB").crop((x, y, x + side, y + side)).resize((_CROP, _CROP), Image.Resampling.LANCZOS)
