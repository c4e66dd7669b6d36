"""How pages are made: the Jinja environment, and how scores and object identifiers look on a page."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.metrics.object_ids import object_ids, object_mark
from gpt4scene.scenes.colors import color_of, ink_on


def render(template: str, **values: object) -> str:
    """Return the page of ``templates/<template>``; texts in ``values`` are escaped, a value that is missing raises.

    Templates see every benchmark under ``benchmarks``.
    """
    environment = Environment(
        loader=PackageLoader("gpt4scene.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"hundred": hundred, "objects": objects}
    environment.globals |= {"benchmarks": BENCHMARKS}
    return environment.get_template(template).render(**values)


def hundred(value: float | None) -> str:
    """Return a score as tables show it, times 100 with one decimal; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


def objects(text: str, labels: Mapping[int, str] | None = None) -> Markup:
    """Return ``text`` escaped, its ``<OBJ###>`` in the colour that the number has in the images.

    ``labels`` names the objects; the name shows when the pointer rests on the number.
    """
    done, rest = Markup(), text
    for number in object_ids(text):
        mark = object_mark(number)
        before, rest = rest.split(mark, 1)
        fill, ink = color_of(number), ink_on(color_of(number))
        done += escape(before) + Markup(
            '<span class="object" style="background:rgb{};color:rgb{}" title="{}">{}</span>'
        ).format(fill, ink, (labels or {}).get(number, ""), mark)
    return done + escape(rest)
