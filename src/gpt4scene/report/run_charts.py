"""The curves of a training run: which figures of its log share one, and under which heading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gpt4scene.files.run_folder import LogLine
from gpt4scene.report.curve import Curve, Point, draw


@dataclass(frozen=True)
class Chart:
    """A kind of curve: its title, the figures that it ``takes``, how each is called on it, and what it tells."""

    title: str
    takes: Callable[[str], bool]
    named: Callable[[str], str]
    tells: str = ""


def _one_of(*names: str) -> Callable[[str], bool]:
    return lambda name: name in names


def _begins(*starts: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(starts)


def _called(names: Mapping[str, str]) -> Callable[[str], str]:
    return lambda name: names.get(name, name)


def _without(start: str) -> Callable[[str], str]:
    return lambda name: name.removeprefix(start)


_ANSWERED = {
    "eval_exact_match": "exact match",
    "eval_refined_match": "refined match",
    "eval_word_f1": "words in common (F1)",
    "eval_object_f1": "objects in common (F1)",
}

CHARTS: tuple[Chart, ...] = (
    Chart(
        "Loss",
        _one_of("loss", "eval_loss"),
        _called({"loss": "training", "eval_loss": "held-out rows"}),
        "Lower is better. Where the line of held-out rows rises while the other falls, the model learns by heart.",
    ),
    Chart("Loss by task", _begins("loss_"), _without("loss_"), "Mean over the rows of a task since the last line."),
    Chart("Loss of held-out rows by task", _begins("eval_loss_"), _without("eval_loss_")),
    Chart(
        "Answers to held-out questions",
        _one_of(*_ANSWERED),
        _called(_ANSWERED),
        "Shares from 0 to 1, by our strict rules; higher is better.",
    ),
    *(
        Chart(f"{words.capitalize()} by task", _begins(f"{figure}_"), _without(f"{figure}_"))
        for figure, words in _ANSWERED.items()
    ),
    Chart(
        "Rewards of pairs of answers",
        lambda name: name in ("rewards/chosen", "rewards/rejected", "rewards/margins"),
        _called({"rewards/chosen": "chosen", "rewards/rejected": "rejected", "rewards/margins": "margin"}),
        "The chosen answer is to become likelier than the rejected one, so the margin rises.",
    ),
    Chart(
        "Pairs in which the chosen answer is ahead",
        lambda name: name.endswith("rewards/accuracies"),
        _called({"rewards/accuracies": "training", "eval_rewards/accuracies": "held-out pairs"}),
        "A share from 0 to 1; 0.5 is a guess.",
    ),
    Chart(
        "Rewards of held-out pairs",
        lambda name: name.startswith("eval_rewards/"),
        _without("eval_rewards/"),
    ),
    Chart(
        "Log-probabilities of answers", lambda name: "logps/" in name, lambda name: name.replace("eval_", "held-out ")
    ),
    Chart("Learning rate", _one_of("lr"), lambda name: "learning rate"),
    Chart("Norm of the gradient", _one_of("grad_norm"), lambda name: "norm"),
    Chart("Tokens per second", _one_of("tokens_per_second"), lambda name: "tokens"),
    Chart("Questions per second", _one_of("questions_per_second"), lambda name: "questions"),
    Chart(
        "Shares of time and of the GPU",
        _one_of("data_wait_share", "utilisation"),
        _called({"data_wait_share": "waiting for data", "utilisation": "utilisation"}),
    ),
    Chart(
        "Memory of a process (GB)",
        _one_of("peak_memory_gb"),
        lambda name: "most so far",
        "Tensors on a GPU, resident memory on a CPU.",
    ),
)
"""In the order of the page. A figure belongs to the first that takes it; one that none takes has a curve of its own."""


@dataclass(frozen=True)
class Drawn:
    """A curve of the page, and what it tells."""

    curve: Curve
    tells: str


def curves(log: Sequence[LogLine]) -> list[Drawn]:
    """Return a curve for every figure of the log, those that belong together in one."""
    points: dict[str, list[Point]] = {}
    for line in log:
        for name, value in line.figures.items():
            points.setdefault(name, []).append((line.step, value))
    found, left = [], dict(points)
    for chart in CHARTS:
        mine = {name: left.pop(name) for name in sorted(left, key=_order) if chart.takes(name)}
        if curve := draw(chart.title, {chart.named(name): steps for name, steps in mine.items()}):
            found.append(Drawn(curve, chart.tells))
    for name in sorted(left):
        if curve := draw(name.replace("_", " "), {name: left[name]}):
            found.append(Drawn(curve, "A figure of the log."))
    return found


def loss_curve(log: Sequence[LogLine]) -> Curve | None:
    """Return the curve of the losses alone, None where the log has no training loss."""
    known = [drawn.curve for drawn in curves([_losses(line) for line in log])]
    return known[0] if known and any("loss" in line.figures for line in log) else None


def _losses(line: LogLine) -> LogLine:
    kept = {name: value for name, value in line.figures.items() if name in ("loss", "eval_loss")}
    return LogLine(line.step, kept)


def _order(name: str) -> tuple[bool, str]:
    """Put figures of training before those of held-out rows."""
    return name.startswith("eval_"), name
