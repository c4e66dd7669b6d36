"""The table's data as scripts beside the page: a page that is opened from disk may load scripts and nothing else.

Each file calls one function of ``table.js`` with one JSON value in plain ASCII. ``answers-NNN.js`` holds what is shown
and searched, ``details-NNN.js`` what only the view of a single answer shows, which is loaded when one is opened.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.files.whole import write_text
from gpt4scene.metrics.object_ids import MOST_OBJECTS
from gpt4scene.report.answer_rows import AnswerLine
from gpt4scene.report.images import PageImage
from gpt4scene.report.rendering import whole_utf8
from gpt4scene.report.scene_pages import ScenePage
from gpt4scene.scenes.colors import color_of, ink_on

FOLDER = "data"
PROGRAM = "table.js"
LINES = 2000
"""Answers in one file."""
_PERHAPS_ODD = re.compile(r"\\u(?:d[89a-f]|00[01]|007f)")
"""Stands in JSON that may hold what no page can, such as half a character."""
VERDICTS = ("right", "partly", "wrong", "")


@dataclass(frozen=True)
class Written:
    """The scripts that a page loads, in their order, under its folder; ``scripts`` do not include those of details."""

    scripts: tuple[str, ...]
    parts: int


def write_data(
    out: Path,
    lines: Sequence[AnswerLine],
    pages: Sequence[ScenePage],
    images: Mapping[str, Sequence[PageImage]],
) -> Written:
    """Write the data of all ``lines`` and the program of the table to ``out/data``; return what the page must load.

    ``images`` are those of each scene, of which the first is shown beside a single answer.
    """
    (out / FOLDER).mkdir()
    head = _Head.of(lines, pages)
    parts = [lines[start : start + LINES] for start in range(0, len(lines), LINES)]
    write_text(out / FOLDER / PROGRAM, "\n".join(_template(name) for name in ("find.js", "answer.js", PROGRAM)))
    write_text(out / FOLDER / "head.js", _call("head", head.record(len(lines), len(parts), images)))
    names = []
    for number, part in enumerate(parts):
        names.append(f"{FOLDER}/answers-{number:03d}.js")
        write_text(out / names[-1], _call("part", [number, [head.line(line) for line in part]]))
        write_text(
            out / FOLDER / f"details-{number:03d}.js", _call("details", [number, [_detail(line) for line in part]])
        )
    return Written((f"{FOLDER}/{PROGRAM}", f"{FOLDER}/head.js", *names), len(parts))


@dataclass(frozen=True)
class _Head:
    """The values that many lines share, numbered, so that lines name them by their number."""

    tasks: dict[str, int]
    kinds: dict[str, int]
    scenes: dict[str, int]
    labels: dict[str, int]
    metrics: dict[str, int]
    pages: Sequence[ScenePage]
    counts: Mapping[str, Counter]

    @classmethod
    def of(cls, lines: Sequence[AnswerLine], pages: Sequence[ScenePage]) -> _Head:
        counts = {
            "task": Counter(line.task for line in lines),
            "kind": Counter((line.task, line.kind) for line in lines),
            "verdict": Counter(line.judged.verdict for line in lines),
            "scene": Counter(line.scene for line in lines),
            "label": Counter(label for line in lines for label in line.labels),
        }
        return cls(
            _numbered(task for task in BENCHMARKS if task in counts["task"]),
            _numbered(sorted({line.kind for line in lines})),
            _numbered(page.scene for page in pages),
            _numbered(sorted(counts["label"])),
            _numbered(dict.fromkeys(line.metric for line in lines)),
            pages,
            counts,
        )

    def record(self, lines: int, parts: int, images: Mapping[str, Sequence[PageImage]]) -> dict[str, Any]:
        """Return what the table's program must know before the first line."""
        kinds = self.counts["kind"]
        return {
            "lines": lines,
            "parts": parts,
            "tasks": [[task, BENCHMARKS[task].title, self.counts["task"][task]] for task in self.tasks],
            "kinds": list(self.kinds),
            "kindsOf": [[self.tasks[task], self.kinds[kind], count] for (task, kind), count in sorted(kinds.items())],
            "verdicts": [[verdict, self.counts["verdict"][verdict]] for verdict in VERDICTS],
            "scenes": [
                [page.scene, page.file, self.counts["scene"][page.scene], _first(images.get(page.scene, ()))]
                for page in self.pages
            ],
            "labels": [[label, self.counts["label"][label]] for label in self.labels],
            "metrics": list(self.metrics),
            "colors": [_color(number) for number in range(MOST_OBJECTS)],
        }

    def line(self, line: AnswerLine) -> list[Any]:
        """Return a line as a list; ``table.js`` names its places."""
        row = line.judged.row
        return [
            self.tasks[line.task],
            self.kinds[line.kind],
            VERDICTS.index(line.judged.verdict),
            self.scenes[line.scene],
            line.place,
            "" if row.qid is None else str(row.qid),
            line.question,
            row.pred,
            list(line.judged.references),
            [self.labels[label] for label in line.labels],
            None if line.figure is None else round(line.figure, 4),
            self.metrics[line.metric],
            line.words,
            int(line.cut_off),
        ]


def _template(name: str) -> str:
    return files("gpt4scene.report").joinpath(f"templates/{name}").read_text("utf-8")


def _detail(line: AnswerLine) -> list[Any]:
    judged = line.judged
    return [
        judged.reason,
        judged.parsed,
        None if judged.compared is None else list(judged.compared),
        list(judged.details),
        None if line.iou is None else round(line.iou, 3),
        [list(one) for one in line.named],
        [list(one) for one in line.meant],
        judged.row.index,
    ]


def _first(images: Sequence[PageImage]) -> list[Any] | None:
    """Return file, size and name of the first image of a scene that there is."""
    found = next((image for image in images if image.file), None)
    return None if found is None else [found.file, found.width, found.height, found.name]


def _color(number: int) -> str:
    fill = color_of(number)
    return "{:02x}{:02x}{:02x}".format(*fill) + ("w" if ink_on(fill)[0] else "b")


def _numbered(values: Iterable[str]) -> dict[str, int]:
    return {value: number for number, value in enumerate(values)}


def _call(name: str, value: object) -> str:
    """Return a script that hands ``value`` over; in plain ASCII, without any sign that HTML could take for its own."""
    text = _json(value)
    if _PERHAPS_ODD.search(text):
        text = _json(_whole(value))
    text = text.replace("<", "\\u003c").replace("\\", "\\\\").replace("'", "\\'")
    return f"gpt4sceneReport.{name}(JSON.parse('{text}'))\n"  # which browsers read twice as fast as a literal


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _whole(value: Any) -> Any:
    """Return ``value`` with every text as a page can hold it."""
    if isinstance(value, str):
        return whole_utf8(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {key: _whole(one) for key, one in value.items()} if isinstance(value, dict) else value
