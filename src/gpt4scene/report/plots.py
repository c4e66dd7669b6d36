"""Plots as the few shapes that an inline SVG needs, each with a sentence and a table that say the same in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpt4scene.benchmarks.judging import Verdict
from gpt4scene.report.addresses import view
from gpt4scene.report.answer_rows import AnswerLine
from gpt4scene.report.curve import ticks
from gpt4scene.report.grouping import JUDGED, Group

WIDTH = 720
_ROW, _NAME, _COUNT = 24, 250, 118
_PLOT, _LEFT, _RIGHT, _TOP, _BOTTOM = 220, 64, 10, 12, 40
TYPES = 40
"""Most rows of the plot of types."""
IOU_BINS = 20
LENGTHS = ("0", "1", "2", "3", "4", "5", "6–10", "11–20", "21–40", "41–80", "over 80")
_LENGTH_ENDS = (0, 1, 2, 3, 4, 5, 10, 20, 40, 80)


@dataclass(frozen=True)
class Bar:
    """A bar in pixels. ``kind`` chooses its colour, ``says`` is its sentence, ``link`` where it leads, or empty."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    says: str = ""
    link: str = ""


@dataclass(frozen=True)
class Words:
    """A text at a place; ``anchor`` is the side of it that stands there, as SVG names it."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    strong: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot of ``WIDTH`` pixels; ``says`` sums it up, and ``header`` and ``rows`` are the table of its figures.

    ``links`` hold, for each row of the table, where its first cell leads, or nothing. ``legend`` are (kind, name).
    """

    title: str
    says: str
    height: int
    bars: tuple[Bar, ...]
    words: tuple[Words, ...]
    lines: tuple[tuple[float, float, float, float], ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    links: tuple[str, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    width: int = WIDTH


def accuracy_by_type(groups: Sequence[Group], titles: Mapping[str, str]) -> Plot | None:
    """Return the shares of right, partly right and wrong answers of each type; ``None`` without judged answers.

    ``titles`` names the tasks. Types past the ``TYPES`` with most answers are in the table alone.
    """
    if not groups:
        return None
    most = {id(group) for group in sorted(groups, key=lambda group: -group.count)[:TYPES]}
    drawn = [group for group in groups if id(group) in most]
    bars: list[Bar] = []
    words: list[Words] = []
    y, task, wide = 0, "", WIDTH - _NAME - _COUNT
    for group in drawn:
        if group.task != task:
            task = group.task
            words.append(Words(0, y + 17, titles[task], "start", True))
            y += _ROW
        words.append(Words(_NAME - 10, y + 16, _short(group.name or "all questions"), "end"))
        words.append(
            Words(WIDTH - _COUNT + 8, y + 16, f"{100 * group.share('right'):.1f} % of {group.count:,}", "start")
        )
        x = float(_NAME)
        for verdict in JUDGED:
            share = group.share(verdict)
            says = f"{titles[task]}, {group.name or 'all questions'}: {_of(share)} {verdict} ({group.count:,} answers)"
            bars += _bar(verdict, x, y + 4, wide * share, _ROW - 8, says, _view(group, verdict))
            x += wide * share
        y += _ROW
    right, count = sum(group.right for group in groups), sum(group.count for group in groups)
    left_out = f" The {TYPES} types with most answers are drawn." if len(groups) > TYPES else ""
    return Plot(
        "Right answers by type of question",
        f"{right:,} of {count:,} judged answers are right; a row for each type of question.{left_out}",
        y + 4,
        tuple(bars),
        tuple(words),
        (),
        ("task", "type", "answers", *JUDGED, "right"),
        tuple((titles[g.task], g.name or "–", f"{g.count:,}", *_three(g), _of(g.share("right"))) for g in groups),
        tuple(_view(group, "") for group in groups),
        tuple((verdict, f"{verdict} right" if verdict == "partly" else verdict) for verdict in JUDGED),
    )


def iou_histogram(lines: Iterable[AnswerLine]) -> Plot | None:
    """Return how well the boxes named match those meant, where it is one and one; ``None`` where it never is."""
    values = [line.iou for line in lines if line.iou is not None]
    if not values:
        return None
    counts = [0] * IOU_BINS
    for value in values:
        counts[min(int(value * IOU_BINS), IOU_BINS - 1)] += 1
    names = [f"{bin / IOU_BINS:.2f}–{(bin + 1) / IOU_BINS:.2f}" for bin in range(IOU_BINS)]
    half, quarter = (sum(value >= limit for value in values) for limit in (0.5, 0.25))
    says = (
        f"Of {len(values):,} answers that name one box where one was meant, {quarter:,} reach an IoU of 0.25 and "
        f"{half:,} one of 0.5."
    )
    kinds = ["wrong"] * (IOU_BINS // 4) + ["partly"] * (IOU_BINS // 4) + ["right"] * (IOU_BINS // 2)
    columns = [
        [(kind, count, f"IoU {name}: {count:,} answers")]
        for kind, count, name in zip(kinds, counts, names, strict=True)
    ]
    edges = [(bin / IOU_BINS, f"{bin / IOU_BINS:g}") for bin in range(0, IOU_BINS + 1, IOU_BINS // 4)]
    plot = _columns("IoU of the box named with the box meant", says, columns, edges, "IoU", "answers")
    legend = (("wrong", "under 0.25"), ("partly", "0.25 to 0.5"), ("right", "0.5 and more"))
    table = tuple((name, f"{count:,}") for name, count in zip(names, counts, strict=True))
    return Plot(*plot, header=("IoU", "answers"), rows=table, legend=legend)


def length_histogram(lines: Sequence[AnswerLine]) -> Plot | None:
    """Return how long right and wrong answers are, as shares of each; ``None`` without judged answers."""
    counts = {verdict: [0] * len(LENGTHS) for verdict in ("right", "wrong")}
    for line in lines:
        if line.judged.verdict in counts:
            place = next((at for at, end in enumerate(_LENGTH_ENDS) if line.words <= end), len(LENGTHS) - 1)
            counts[line.judged.verdict][place] += 1
    totals = {verdict: sum(found) for verdict, found in counts.items()}
    if not any(totals.values()):
        return None
    shares = {verdict: [n / totals[verdict] if totals[verdict] else 0.0 for n in counts[verdict]] for verdict in counts}
    columns = [
        [
            (
                verdict,
                100 * shares[verdict][at],
                f"{name} words: {counts[verdict][at]:,} {verdict}, {_of(shares[verdict][at])}",
            )
            for verdict in counts
        ]
        for at, name in enumerate(LENGTHS)
    ]
    means = {verdict: _mean([line.words for line in lines if line.judged.verdict == verdict]) for verdict in counts}
    says = f"Right answers have {means['right']} on average, wrong ones {means['wrong']}; each as a share of its own."
    names = [((at + 0.5) / len(LENGTHS), name) for at, name in enumerate(LENGTHS)]
    plot = _columns("Length of right and of wrong answers", says, columns, names, "words in the answer", "%")
    rows = tuple(
        (name, *(f"{counts[verdict][at]:,} ({_of(shares[verdict][at])})" for verdict in counts))
        for at, name in enumerate(LENGTHS)
    )
    legend = tuple((verdict, f"{verdict} ({totals[verdict]:,})") for verdict in counts)
    return Plot(*plot, header=("words", "right", "wrong"), rows=rows, legend=legend)


def _columns(
    title: str,
    says: str,
    columns: Sequence[Sequence[tuple[str, float, str]]],
    names: Iterable[tuple[float, str]],
    below: str,
    beside: str,
) -> tuple[str, str, int, tuple[Bar, ...], tuple[Words, ...], tuple[tuple[float, float, float, float], ...]]:
    """Return the first fields of a plot of columns; each has bars side by side as (kind, value, sentence).

    ``names`` are places on the axis, 0 to 1, and what is written there.
    """
    heights = ticks(0, max(1e-9, max(value for column in columns for _, value, _ in column)), 4)
    wide, high = WIDTH - _LEFT - _RIGHT, _PLOT - _TOP - _BOTTOM
    bottom, step = _PLOT - _BOTTOM, wide / len(columns)
    bars: list[Bar] = []
    for at, column in enumerate(columns):
        each = (step - 4) / len(column)
        for place, (kind, value, sentence) in enumerate(column):
            tall = high * value / heights[-1]
            bars += _bar(kind, _LEFT + at * step + 2 + place * each, bottom - tall, each, tall, sentence)
    lines, words = [], []
    for value in heights:
        y = round(bottom - high * value / heights[-1], 1)
        lines.append((float(_LEFT), y, float(WIDTH - _RIGHT), y))
        words.append(Words(_LEFT - 7, y + 4, f"{value:g}", "end"))
    words += [Words(round(_LEFT + wide * at, 1), bottom + 16, name) for at, name in names]
    words += [Words(_LEFT + wide / 2, _PLOT - 5, below), Words(_LEFT - 7, _PLOT - 5, beside, "end")]
    return title, says, _PLOT, tuple(bars), tuple(words), tuple(lines)


def _bar(kind: str, x: float, y: float, width: float, height: float, says: str, link: str = "") -> list[Bar]:
    """Return the bar in a list, an empty one where there is nothing to see."""
    shown = width > 0 and height > 0
    return [Bar(kind, round(x, 1), round(y, 1), round(width, 1), round(height, 1), says, link)] if shown else []


def _view(group: Group, verdict: Verdict) -> str:
    return view(task=group.task, type=group.name, verdict=verdict)


def _three(group: Group) -> tuple[str, ...]:
    return tuple(f"{getattr(group, verdict):,}" for verdict in JUDGED)


def _of(share: float) -> str:
    return f"{100 * share:.1f} %"


def _mean(values: Sequence[int]) -> str:
    return f"{sum(values) / len(values):.1f} words" if values else "none"


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:33]}…"
