"""Object numbers for people: chips in texts, and buttons on the images where each number is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path

from gpt4scene.files.prepared import Marker, PreparedScene
from gpt4scene.metrics.object_ids import object_ids, object_mark, object_spans
from gpt4scene.scenes.colors import color_of, ink_on
from gpt4scene.view.links import address

MOST_MARKS = 500
"""Buttons on an image; more are not drawn, and nobody could tell them apart."""

Link = Callable[[int], str | None]
"""Gives the address of an object in the 3D view, None where there is no view."""


def labels_of(scene: PreparedScene) -> dict[int, str]:
    """Return the labels of the marked objects by number."""
    return {item.id: item.label for item in scene.objects}


def said(text: str, scene: PreparedScene) -> list[int]:
    """Return the numbers of objects of the scene that ``text`` names, in order and each once."""
    known = labels_of(scene)
    return [number for number in dict.fromkeys(object_ids(text)) if number in known]


def marked_text(text: str, labels: Mapping[int, str], link: Link) -> str:
    """Return ``text`` as HTML: escaped, with a chip in place of every ``<OBJ003>``."""
    parts, end = [], 0
    for number, place in object_spans(text):
        parts += [escape(text[end : place.start]), chip(number, labels.get(number), link(number))]
        end = place.stop
    return "".join([*parts, escape(text[end:])])


def chip(number: int, label: str | None, address: str | None = None) -> str:
    """Return the button of an object; ``label`` None is an object that the scene lacks."""
    if label is None:
        name = f"object {number}, which this scene does not have"
        return f'<span class="g4s-chip g4s-none" title="{name}" aria-label="{name}">{number} ?</span>'
    name = escape(f"object {number}, {label or 'without a name'}")
    button = (
        f'<button type="button" class="g4s-chip" data-object="{number}" data-mark="{escape(_mark(number))}" '
        f'style="{_colors(number)}" title="{name}"><b>{number}</b> {escape(label)}</button>'
    )
    if address is None:
        return button
    shown = f"show object {number} in the 3D view"
    return (
        f'{button}<a class="g4s-3d" href="{escape(address)}" target="_blank" rel="noopener" aria-label="{shown}">3D</a>'
    )


def object_list(scene: PreparedScene, link: Link) -> str:
    """Return all marked objects of a scene as chips."""
    if not scene.objects:
        return '<p class="g4s-note">The images of this scene have no numbers.</p>'
    chips = "".join(f"<li>{chip(item.id, item.label, link(item.id))}</li>" for item in scene.objects)
    return f'<ul class="g4s-objects" aria-label="Objects of the scene">{chips}</ul>'


def scene_images(scene: PreparedScene, addresses: Iterable[str], link: Link) -> str:
    """Return the bird's-eye view, the objects, and the frames as HTML; ``addresses`` are those of ``scene.images``."""
    first, *others = addresses
    labels = labels_of(scene)
    name = escape(scene.scene_id)
    bev = scene.bev
    view = _figure(first, f"bird's-eye view of {name}", bev.width, bev.height, bev.markers, labels, "g4s-bev")
    frames = "".join(
        _figure(address, f"frame {escape(frame.name)}", frame.width, frame.height, frame.markers, labels, "g4s-frame")
        for address, frame in zip(others, scene.frames, strict=True)
    )
    return (
        f'<div class="g4s-images">{view}{object_list(scene, link)}'
        f'<h3>{len(others)} frames</h3><div class="g4s-frames">{frames}</div></div>'
    )


def _figure(
    address: str, name: str, width: int, height: int, markers: Iterable[Marker], labels: Mapping[int, str], kind: str
) -> str:
    """Return an image with its buttons; ``name`` is escaped already."""
    width, height = max(1, width), max(1, height)
    buttons = "".join(_button(marker, width, height, labels) for marker in [*markers][:MOST_MARKS])
    return (
        f'<figure class="g4s-figure {kind}"><div class="g4s-picture"><img src="{escape(address)}" alt="{name}" '
        f'width="{width}" height="{height}" loading="lazy">{buttons}</div><figcaption>{name}</figcaption></figure>'
    )


def _button(marker: Marker, width: int, height: int, labels: Mapping[int, str]) -> str:
    """Return the button over a number in an image. The keyboard reaches the same object in the list."""
    left, top, right, bottom = marker.label_box
    places = (left / width, top / height, (right - left) / width, (bottom - top) / height)
    css = ";".join(
        f"{side}:{100 * min(max(share, 0), 1):.2f}%"
        for side, share in zip(("left", "top", "width", "height"), places, strict=True)
    )
    name = escape(f"object {marker.id}, {labels.get(marker.id, '')}")
    return (
        f'<button type="button" tabindex="-1" class="g4s-mark" data-object="{marker.id}" '
        f'data-mark="{escape(_mark(marker.id))}" style="{css};{_colors(marker.id)}" title="{name}" '
        f'aria-label="{name}"></button>'
    )


def _mark(number: int) -> str:
    return object_mark(number) if 0 <= number < 1000 else str(number)


def _colors(number: int) -> str:
    color = color_of(number)
    return f"--object:rgb{color};--ink:rgb{ink_on(color)}".replace(" ", "")


def view_link(view_url: str | None, scene: PreparedScene) -> Link:
    """Return what gives the address of an object in the 3D view at ``view_url``."""

    def link(number: int) -> str | None:
        return None if view_url is None else address(view_url, scene.record.parent.name, number)

    return link


def kind_of(image: Path) -> str:
    """Return what an image is sent as. A browser must never take a file of a stranger's scene for a page."""
    kinds = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
    return kinds.get(image.suffix.lower(), "application/octet-stream")
