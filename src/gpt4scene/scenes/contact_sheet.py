"""One page a scene, to see at a glance whether its numbers are right: bird's-eye view, objects with crops, frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from gpt4scene.files.whole import whole_file
from gpt4scene.scenes.colors import color_of, ink_on

WIDTH = 2048
_COLUMNS = 4
_CROPS = range(240, 110, -10)
"""Sides of crops: the largest with which all objects fit beside the bird's-eye view."""
_GAP = 8
_LINE = 22
_PAGE = (245, 245, 245)
_INK = (20, 20, 20)


def contact_sheet(out: Path, content: Mapping) -> Image.Image:
    """The page of a prepared scene, from its ``scene.json`` and images under ``out``."""
    bev = _fitting(out / content["bev"]["image"], WIDTH // 2, WIDTH // 2)
    objects = [item for item in content["objects"] if any(item["size"])]
    crop, per_row, list_height = _list_size(len(objects), bev.height)
    frame_width = WIDTH // _COLUMNS
    frames = [(_fitting(out / row["image"], frame_width, frame_width), row["name"]) for row in content["frames"]]
    frame_height = max((image.height for image, _ in frames), default=0) + _LINE
    rows = -(-len(frames) // _COLUMNS)
    head = 44
    body = max(bev.height, list_height) + 8
    page = Image.new("RGB", (WIDTH, head + body + rows * frame_height), _PAGE)
    pen = ImageDraw.Draw(page)
    title = f"{content['scene_id']}: {len(objects)} objects, {len(frames)} frames"
    pen.text((12, 8), title, fill=_INK, font=ImageFont.load_default(26))
    page.paste(bev, (0, head))
    small = ImageFont.load_default(15)
    best = _best_views(content)
    for index, item in enumerate(objects):
        x = WIDTH // 2 + _GAP + index % per_row * (crop + _GAP)
        y = head + index // per_row * (crop + _LINE + _GAP)
        if item["id"] in best:
            page.paste(_crop(out, *best[item["id"]], crop), (x, y))
        else:
            pen.rectangle([x, y, x + crop - 1, y + crop - 1], outline=_INK)
            pen.text((x + 8, y + crop // 2 - 8), "in no frame", fill=_INK, font=small)
        color = color_of(item["id"])
        pen.rectangle([x, y + crop, x + crop - 1, y + crop + _LINE - 1], fill=color)
        name = _shortened(f"{item['id']} {item['label']}", small, crop - 8)
        pen.text((x + 4, y + crop + 2), name, fill=ink_on(color), font=small)
    for index, (image, name) in enumerate(frames):
        x, y = index % _COLUMNS * frame_width, head + body + index // _COLUMNS * frame_height
        page.paste(image, (x + (frame_width - image.width) // 2, y))
        pen.text((x + 6, y + image.height + 2), name, fill=_INK, font=small)
    return page


def _list_size(objects: int, height: int) -> tuple[int, int, int]:
    """Side of a crop, crops in a row, and height of all of them, if possible within ``height``."""
    sizes = []
    for crop in _CROPS:
        per_row = WIDTH // 2 // (crop + _GAP)
        sizes.append((crop, per_row, -(-objects // per_row) * (crop + _LINE + _GAP)))
    return next((size for size in sizes if size[2] <= height), sizes[-1])


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text as far as it fits; dots stand for the rest."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def write_sheet(out: Path, content: Mapping, path: Path) -> None:
    """Write the page of a prepared scene as JPEG."""
    page = contact_sheet(out, content)
    with whole_file(path) as partial:
        page.save(partial, "JPEG", quality=88)


def _fitting(path: Path, width: int, height: int) -> Image.Image:
    with Image.open(path) as image:
        image = image.convert("RGB")
    scale = min(width / image.width, height / image.height)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def _best_views(content: Mapping) -> dict[int, tuple[Mapping, Mapping]]:
    """Object -> (frame, marker) where it covers most of the image."""
    best: dict[int, tuple[Mapping, Mapping]] = {}
    for frame in content["frames"]:
        for marker in frame["markers"]:
            if marker["id"] not in best or marker["area"] > best[marker["id"]][1]["area"]:
                best[marker["id"]] = (frame, marker)
    return best


def _crop(out: Path, frame: Mapping, marker: Mapping, shown: int) -> Image.Image:
    """A square around the marker, about as large as the object, ``shown`` pixels wide."""
    width, height = frame["width"], frame["height"]
    shorter = min(width, height)
    side = int(min(shorter, max(shorter / 4, 2 * (marker["area"] * width * height) ** 0.5)))
    x = min(max(0, marker["pixel"][0] - side // 2), width - side)
    y = min(max(0, marker["pixel"][1] - side // 2), height - side)
    with Image.open(out / frame["image"]) as image:
        return image.convert("RGB").crop((x, y, x + side, y + side)).resize((shown, shown), Image.Resampling.LANCZOS)
