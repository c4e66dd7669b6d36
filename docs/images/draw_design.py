"""Draws docs/images/design-light.svg and design-dark.svg: the package's rooms on their floors, and the way of a value.

    python docs/images/draw_design.py

Floors come from ``tests/test_architecture.py``'s rule: a room imports only from floors below its own.
"""

from html import escape
from pathlib import Path

FLOORS = (
    (("cli", "one door: errors, exit statuses"),),
    (("report", "pages"), ("demo", "synthetic scenes, tiny model")),
    (("inference", "answers, scene by scene"), ("training", "fine-tuning on packs")),
    (("model", "folders, loading, pack attention"),),
    (("scenes", "scan to marked images"), ("benchmarks", "one value each"), ("families", "one value each")),
    (("settings", "YAML keys and flags"),),
    (("scans", "one reader a format"), ("data", "row to batch"), ("geometry", "rooms to questions")),
    (("files", "what lies on disk"),),
    (("metrics", "pure figures"),),
    (("types, registry, errors", ""),),
)
LANES = (
    ("prepare", ("recording", "scans", "Scan", "scenes", "marked images", "files", "scene folder")),
    ("annotate", ("official files", "files", "Record", "benchmarks", "rows, questions", "files", "annotation folder")),
    ("annotate", ("scene folder", "files", "Room", "geometry", "spatial questions", "benchmarks", "question files")),
    (
        "train",
        ("dataset files", "files", "row", "data", "Batch", "model", "losses", "training", "weights"),
    ),
    ("infer", ("question files", "files", "Question", "data", "Pack", "inference", "Answer", "files", "journal")),
    ("score", ("journal", "files", "AnswerRow", "benchmarks", "Report", "report", "tables, pages")),
)
INSIDE = {
    "train": (3, "Conversation > EncodedSample > Pack > Batch"),
    "infer": (5, "on model, scene by scene"),
    "score": (3, "metrics: boxes, texts"),
}
"""Lane -> index of a room in it, and the types that pass inside the room."""

HUES = {
    "scans": 200,
    "scenes": 170,
    "files": 40,
    "data": 265,
    "families": 285,
    "model": 300,
    "training": 330,
    "inference": 340,
    "benchmarks": 110,
    "geometry": 145,
    "metrics": 90,
    "report": 20,
}
THEMES = {
    "light": {"back": "#ffffff", "ink": "#1f2328", "dim": "#59636e", "line": "#8c959f", "fill": (70, 92), "edge": 45},
    "dark": {"back": "#0d1117", "ink": "#f0f6fc", "dim": "#9198a1", "line": "#6e7681", "fill": (35, 20), "edge": 60},
}
WIDTH, HEIGHT = 1240, 640
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


class Drawing:
    """Collects the elements of one figure in one theme."""

    def __init__(self, theme):
        self.theme, self.parts = theme, []

    def text(self, x, y, words, size=13, anchor="middle", dim=False, weight=400, mono=False):
        """Write words."""
        family = "ui-monospace, 'DejaVu Sans Mono', monospace" if mono else FONT
        color = self.theme["dim" if dim else "ink"]
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{color}" '
            f'font-weight="{weight}" font-family="{family}">{escape(words)}</text>'
        )

    def room(self, x, y, width, height, name, about="", size=14):
        """Draw a room with its name and a word about it."""
        hue, (saturation, lightness) = HUES.get(name), self.theme["fill"]
        fill = f"hsl({hue},{saturation}%,{lightness}%)" if hue is not None else "none"
        edge = f"hsl({hue},50%,{self.theme['edge']}%)" if hue is not None else self.theme["line"]
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{edge}"/>'
        )
        middle = y + height / 2
        self.text(x + width / 2, middle + (-2 if about else 5), name, size, weight=600, mono=True)
        if about:
            self.text(x + width / 2, middle + 14, about, 11, dim=True)

    def arrow(self, x1, y1, x2, y2):
        """Draw an arrow from the first point to the second."""
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{self.theme["line"]}" stroke-width="1.4" '
            'marker-end="url(#head)"/>'
        )

    def svg(self):
        """Return the file."""
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto">'
            f'<path d="M0,0 L8,4 L0,8 z" fill="{self.theme["line"]}"/></marker></defs>'
        )
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" aria-label="Rooms of the package on their floors, and the way of a value">\n{head}\n'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{self.theme["back"]}"/>\n{body}\n</svg>\n'
        )


def draw_floors(drawing, left, width):
    """Draw the rooms, one floor a line."""
    drawing.text(left + width / 2, 32, "Rooms on their floors", 16, weight=600)
    drawing.text(left + width / 2, 52, "a room imports only from the floors below it", 12, dim=True)
    height, gap, top = 46, 10, 70
    for floor, rooms in enumerate(FLOORS):
        each = (width - gap * (len(rooms) - 1)) / len(rooms)
        for place, (name, about) in enumerate(rooms):
            drawing.room(left + place * (each + gap), top + floor * (height + gap), each, height, name, about)
    drawing.arrow(left - 14, top + 20, left - 14, top + len(FLOORS) * (height + gap) - 30)


def draw_lanes(drawing, left, width):
    """Draw the way of a value through each command."""
    drawing.text(left + width / 2, 32, "The way of a value", 16, weight=600)
    drawing.text(left + width / 2, 52, "commands on the left, types on the arrows", 12, dim=True)
    top, step = 104, 92
    for lane, (command, stops) in enumerate(LANES):
        y = top + lane * step
        drawing.text(left, y + 5, command, 14, anchor="start", weight=700, mono=True)
        rooms = stops[1::2]
        start, box = left + 84, 92
        span = (width - 84 - box * len(rooms)) / (len(rooms) + 1)
        for place, name in enumerate(stops):
            number = place // 2
            if place % 2:
                x = start + span * (number + 1) + box * number
                drawing.room(x, y - 20, box, 40, name, size=13)
                continue
            x1 = start + (span + box) * number
            drawing.arrow(x1 + 4, y, x1 + span - 4, y)
            lines = name.split(" ") if span < 7.5 * len(name) else [name]
            for line, words in enumerate(reversed(lines)):
                drawing.text(x1 + span / 2, y - 9 - 14 * line, words, 12)
        if command in INSIDE:
            index, words = INSIDE[command]
            number = index // 2
            x = start + span * (number + 1) + box * number + box / 2
            drawing.text(x, y + 38, words, 11, dim=True)


def main():
    """Write both files."""
    folder = Path(__file__).resolve().parent
    for name, theme in THEMES.items():
        drawing = Drawing(theme)
        draw_floors(drawing, 40, 380)
        draw_lanes(drawing, 470, 740)
        (folder / f"design-{name}.svg").write_text(drawing.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
