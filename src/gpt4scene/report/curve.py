"""Curves over training steps as the few numbers that an inline SVG needs, with their values as texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 24, 12, 40
MOST_POINTS = 240
"""Points of a line; of more, each is the mean of neighbours."""
MOST_COLUMNS = 80
"""Places of a curve that show their values where the pointer rests."""
TABLED = 8
"""Steps of a curve's table."""
COLORS, DASHES = 8, 3
"""Lines are told apart by so many colours, each in so many kinds of dashes."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A named line: ``points`` as an SVG polyline takes them, ``kind`` its classes, ``last`` its last value.

    ``single`` is the one point of a line that has no other, which a polyline would not show.
    """

    kind: str
    name: str
    points: str
    last: str
    single: Point | None = None


@dataclass(frozen=True)
class Tick:
    """A tick: where it stands in pixels and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Column:
    """A strip of the image, in pixels from its left, and what the lines are there, in words."""

    at: float
    wide: float
    text: str


@dataclass(frozen=True)
class Curve:
    """Everything the template draws, in pixels of a ``WIDTH`` x ``HEIGHT`` image.

    ``table`` holds rows of texts, the first with its headings. ``joined`` is the number of values that a point of the
    fullest line is the mean of. ``first`` and ``last`` are values of the first line.
    """

    title: str
    lines: tuple[Line, ...]
    steps: tuple[Tick, ...]
    values: tuple[Tick, ...]
    columns: tuple[Column, ...]
    table: tuple[tuple[str, ...], ...]
    joined: int
    first: float
    last: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def draw(title: str, lines: Mapping[str, Sequence[Point]]) -> Curve | None:
    """Return the curve of named lines of points (step, value), None where no line has a point.

    The axis of values begins at 0, or below it where a value is.
    """
    lines = {name: sorted(points) for name, points in lines.items() if points}
    if not lines:
        return None
    everything = [point for points in lines.values() for point in points]
    last = max(step for step, _ in everything)
    numbers = [value for _, value in everything]
    steps, values = ticks(0, max(last, 1), 8), ticks(min(0.0, *numbers), max(0.0, *numbers), 5)

    def x(step: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * step / max(steps[-1], last), 1)

    def y(value: float) -> float:
        share = (value - values[0]) / (values[-1] - values[0])
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share, 1)

    drawn = []
    for place, (name, points) in enumerate(lines.items()):
        joined = thinned(points, MOST_POINTS)
        texts = " ".join(f"{x(step)},{y(value)}" for step, value in joined)
        single = (x(joined[0][0]), y(joined[0][1])) if len(joined) == 1 else None
        drawn.append(Line(f"c{place % COLORS} d{place // COLORS % DASHES}", name, texts, number(points[-1][1]), single))
    first = next(iter(lines.values()))
    return Curve(
        title,
        tuple(drawn),
        tuple(Tick(x(step), number(step)) for step in steps),
        tuple(Tick(y(value), number(value)) for value in values),
        _columns(lines, x),
        _table(lines),
        -(-max(map(len, lines.values())) // MOST_POINTS),
        first[0][1],
        first[-1][1],
    )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most ``most`` points: each the mean of so many neighbours, at the step of the last of them."""
    size = -(-len(points) // most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], math.fsum(value for _, value in group) / len(group)) for group in groups]


def ticks(low: float, high: float, most: int) -> Sequence[float]:
    """Return about ``most`` + 1 round numbers, from one that is not above ``low`` to one that is not below ``high``."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10, 20) if factor * power * most >= span)
    begin, end = math.floor(round(low / step, 6)), math.ceil(round(high / step, 6))
    return [_round(place * step) for place in range(begin, max(end, begin + 1) + 1)]


def number(value: float) -> str:
    """Return a figure as a reader takes it in: four digits, thousands apart, small ones with an exponent."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _round(value: float) -> float:
    """Return the value without the last digits, in which sums of fractions are wrong."""
    return float(f"{value:.10g}")


def _columns(lines: Mapping[str, Sequence[Point]], x) -> tuple[Column, ...]:
    """Return the strips of the image that say what the lines are at a step."""
    by_name = {name: dict(points) for name, points in lines.items()}
    chosen = spread(sorted({step for points in lines.values() for step, _ in points}), MOST_COLUMNS)
    places = [x(step) for step in chosen]
    middles = [(one + other) / 2 for one, other in zip(places, places[1:], strict=False)]
    edges = [float(_LEFT), *middles, float(WIDTH - _RIGHT)]
    found = []
    for step, begin, end in zip(chosen, edges[:-1], edges[1:], strict=True):
        said = [f"{name}: {number(known[step])}" for name, known in by_name.items() if step in known]
        found.append(Column(round(begin, 1), round(end - begin, 1), "\n".join([f"step {number(step)}", *said])))
    return tuple(found)


def _table(lines: Mapping[str, Sequence[Point]]) -> tuple[tuple[str, ...], ...]:
    """Return the curve as texts: a row for each line, a column for some steps, then the lowest and the highest."""
    chosen = spread(sorted({step for points in lines.values() for step, _ in points}), TABLED)
    rows = [("step", *(number(step) for step in chosen), "lowest", "highest")]
    for name, points in lines.items():
        known, values = dict(points), [value for _, value in points]
        at = [number(known[step]) if step in known else "–" for step in chosen]
        rows.append((name, *at, number(min(values)), number(max(values))))
    return tuple(rows)


def spread(items: Sequence[float], most: int) -> list[float]:
    """Return at most ``most`` of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]
