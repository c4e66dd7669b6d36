"""How pages are made: the Jinja environment, and how scores and object identifiers look on a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.metrics.object_ids import object_spans
from gpt4scene.report.addresses import view
from gpt4scene.scenes.colors import color_of, ink_on

LONG, SHOWN = 320, 200
"""Characters from which a text is folded on a page, and how many of them show then at most."""
_NOT_FOR_PAGES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def render(template: str, **values: object) -> str:
    """Return the page of ``templates/<template>``; texts in ``values`` are escaped, a value that is missing raises.

    What no page can hold, such as half a character, is shown as a replacement character.

    Templates see every benchmark under ``benchmarks``.
    """
    return whole_utf8(_environment().get_template(template).render(**values))


def script(name: str) -> str:
    """Return the script ``templates/<name>``, which stands beside the pages that use it."""
    return (files("gpt4scene.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    """Return the environment of all pages, so that a template is compiled once."""
    environment = Environment(
        loader=PackageLoader("gpt4scene.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "hundred": hundred,
        "signed": signed,
        "objects": objects,
        "question": ALL_MARKS.question,
        "beginning": beginning,
    }
    environment.globals |= {"benchmarks": BENCHMARKS, "view": view}
    return environment


def hundred(value: float | None) -> str:
    """Return a score as tables show it, times 100 with one decimal; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


def signed(value: float) -> str:
    """Return a difference as tables show it, times 100 with one decimal and its sign; ``0.0`` where that is all."""
    shown = f"{100 * value:+.1f}"
    return "0.0" if float(shown) == 0 else shown


def objects(text: str, labels: Mapping[int, str] | None = None) -> Markup:
    """Return ``text`` escaped, its ``<OBJ###>`` in the colour that the number has in the images.

    ``labels`` names the objects; the name shows when the pointer rests on the number.
    """
    if "<OBJ" not in text:  # the most, and some 100,000 in a large report
        return escape(text)
    parts, end = [], 0
    for number, span in object_spans(text):
        name = escape((labels or {}).get(number, ""))
        parts += [escape(text[end : span.start]), _styled(number), f'title="{name}">{escape(text[span])}</span>']
        end = span.stop
    return Markup("".join([*parts, escape(text[end:])]))


@cache
def _styled(number: int) -> str:
    """Return the beginning of the element of an object number, in its colour."""
    fill = color_of(number)
    return f'<span class="object" style="background:{_hex(fill)};color:{_hex(ink_on(fill))}" '


def beginning(text: str) -> str:
    """Return the first words of a text that is too long to stand in a table; empty where all of it can stand there."""
    if len(text) <= LONG:
        return ""
    start = text[:SHOWN]
    cut = max(start.rfind(" "), start.rfind("\n"))
    return start[:cut].rstrip() if cut > SHOWN // 2 else start.rpartition("<")[0] or start


def _hex(color: Sequence[int]) -> str:
    return f"#{bytes(color).hex()}"


def whole_utf8(text: str) -> str:
    """Return ``text`` as a page can hold it: lone surrogates and control characters become replacement characters."""
    return _NOT_FOR_PAGES.sub("\ufffd", text)
