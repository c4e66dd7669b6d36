"""A question drawn from above as SVG: outline, footprints with their labels, and how the answer is decided."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from gpt4scene.geometry.ask_directions import Direction
from gpt4scene.geometry.hull import hull_corners
from gpt4scene.geometry.question import GeometryQuestion
from gpt4scene.geometry.room import Room, RoomObject
from gpt4scene.geometry.rules import rules_named

PIXELS = 78
"""Pixels a metre."""
BORDER = 0.35
"""Free space around everything drawn, in metres."""
INK, PALE, ASKED, GUIDE = "#5b6472", "#9aa3b2", "#c2410c", "#2563eb"


def footprint(item: RoomObject) -> np.ndarray:
    """Return the corners of what an object covers seen from above, float64[K, 2], in order around it."""
    corners_82 = item.corners_83[:, :2]
    corners = hull_corners(corners_82)
    if corners is None:
        return corners_82[[int(corners_82[:, 0].argmin()), int(corners_82[:, 0].argmax())]]
    return corners


def plan_svg(room: Room, question: GeometryQuestion) -> str:
    """Return a picture of the room from above, y up, with the objects of ``question`` in colour.

    Of a direction it shows the way one looks and the limits of the sectors. Object labels stand at their centres.
    """
    shapes = {item.id: footprint(item) for item in room.objects}
    around = [*shapes.values(), *([] if room.outline_N2 is None else [room.outline_N2])]
    low, high = _limits(around)
    draw = _Pen(low, high)
    if room.outline_N2 is not None:
        draw.polygon(room.outline_N2, INK, "none", 2.5)
    asked = [room.objects[[item.id for item in room.objects].index(number)] for number in question.objects]
    guides = _guides(asked, question)
    for item in room.objects:
        if item.id not in question.objects:
            draw.polygon(shapes[item.id], PALE, PALE, 1.2)
    for item in asked:
        draw.polygon(shapes[item.id], ASKED, ASKED, 2)
    for start, end, dashed in guides:
        draw.line(start, end, dashed)
    for item in room.objects:
        draw.text(item.center_3[:2], item.label, ASKED if item.id in question.objects else INK)
    return draw.svg(f"{question.question} {question.truth}")


def _limits(around: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    points = np.concatenate([np.zeros((0, 2)), *around]) if around else np.zeros((1, 2))
    points = points if len(points) else np.zeros((1, 2))
    return points.min(axis=0) - BORDER, points.max(axis=0) + BORDER


def _guides(asked: list[RoomObject], question: GeometryQuestion) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Return lines (start, end, dashed): where one looks, and the limits of the sectors around where one stands."""
    kind = rules_named(question.rules).kinds.get(question.kind)
    if kind is None or not isinstance(kind.ask, Direction):
        return []
    stand, face, other = (item.center_3[:2] for item in asked)
    ahead = (face - stand) * (-1 if kind.ask.backward else 1)
    reach = max(np.linalg.norm(ahead), np.linalg.norm(other - stand))
    unit = ahead / np.linalg.norm(ahead)
    lines = [(stand, stand + unit * reach, False)]
    for _, _, end in kind.ask.rule.sectors:
        angle = np.radians(end)
        turned = np.array(
            [unit[0] * np.cos(angle) - unit[1] * np.sin(angle), unit[0] * np.sin(angle) + unit[1] * np.cos(angle)]
        )
        if end < 360:
            lines.append((stand, stand + turned * reach, True))
    return lines


class _Pen:
    """Collects the parts of a picture whose lower left corner is ``low``; metres become pixels, y points up."""

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self._low, self._high = low, high
        self._parts: list[str] = []

    def _at(self, point: np.ndarray) -> tuple[str, str]:
        x, y = (point[0] - self._low[0]) * PIXELS, (self._high[1] - point[1]) * PIXELS
        return f"{x:.1f}", f"{y:.1f}"

    def polygon(self, corners_N2: np.ndarray, stroke: str, fill: str, width: float) -> None:
        points = " ".join(",".join(self._at(corner)) for corner in corners_N2)
        self._parts.append(
            f'<polygon points="{points}" stroke="{stroke}" fill="{fill}" fill-opacity="0.22" stroke-width="{width}"/>'
        )

    def line(self, start: np.ndarray, end: np.ndarray, dashed: bool) -> None:
        (x1, y1), (x2, y2) = self._at(start), self._at(end)
        style = 'stroke-dasharray="5 5"' if dashed else 'marker-end="url(#tip)"'
        self._parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{GUIDE}" stroke-width="2" {style}/>')

    def text(self, point: np.ndarray, words: str, colour: str) -> None:
        x, y = self._at(point)
        self._parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{escape(words)}</text>')

    def svg(self, title: str) -> str:
        width, height = (self._high - self._low) * PIXELS
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.1f} {height:.1f}" role="img" font-family="system-ui, sans-serif" font-size="13" '
            'text-anchor="middle" dominant-baseline="middle">'
        )
        tip = (
            '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">'
            f'<path d="M0,0 L8,4 L0,8 z" fill="{GUIDE}"/></marker></defs>'
        )
        paper = '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>'
        return "\n".join([head, f"<title>{escape(title)}</title>", tip, paper, *self._parts, "</svg>", ""])
