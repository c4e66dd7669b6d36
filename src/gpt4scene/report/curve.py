"""A loss curve as the few numbers that an inline SVG needs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 38

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A named line: ``points`` as an SVG polyline takes them, ``kind`` for its colour."""

    kind: str
    name: str
    points: str


@dataclass(frozen=True)
class Tick:
    """A tick: where it stands in pixels and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """Everything the template draws, in pixels of a ``WIDTH`` x ``HEIGHT`` image."""

    lines: tuple[Line, ...]
    steps: tuple[Tick, ...]
    losses: tuple[Tick, ...]
    first: float
    last: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def read_log(path: Path) -> dict[str, list[Point]]:
    """Return ``loss`` and ``eval_loss`` of a ``trainer_log.jsonl`` as points (step, loss), without a torn last line."""
    points: dict[str, list[Point]] = {"loss": [], "eval_loss": []}
    if not path.is_file():
        return points
    text = path.read_text(encoding="utf-8")
    for line in text[: text.rfind("\n") + 1].splitlines():
        record = json.loads(line)
        for kind, found in points.items():
            if kind in record and math.isfinite(record[kind]):
                found.append((float(record["current_steps"]), float(record[kind])))
    return points


def loss_curve(log: dict[str, list[Point]]) -> Curve | None:
    """Return the curve of a log's losses, or None where it has fewer than two points."""
    everything = [point for points in log.values() for point in points]
    if len(log["loss"]) < 2:
        return None
    steps, losses = ticks(0, max(step for step, _ in everything), 8), ticks(0, max(loss for _, loss in everything), 5)

    def x(step: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * step / max(steps[-1], everything[-1][0]), 1)

    def y(loss: float) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * loss / losses[-1], 1)

    names = {"loss": "training", "eval_loss": "evaluation"}
    lines = tuple(
        Line(kind, names[kind], " ".join(f"{x(step)},{y(loss)}" for step, loss in points))
        for kind, points in log.items()
        if points
    )
    return Curve(
        lines,
        tuple(Tick(x(step), f"{step:g}") for step in steps),
        tuple(Tick(y(loss), f"{loss:g}") for loss in losses),
        log["loss"][0][1],
        log["loss"][-1][1],
    )


def ticks(low: float, high: float, most: int) -> Sequence[float]:
    """Return at most ``most`` + 1 round numbers from ``low`` to the first one that is not below ``high``."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10, 20) if factor * power * most >= span)
    return [round(low + number * step, 10) for number in range(math.ceil(round(span / step, 6)) + 1)]
