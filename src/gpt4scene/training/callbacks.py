"""What a run shows while it goes: ``trainer_log.jsonl``, progress on the terminal, and the loss curve."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from transformers import TrainerCallback

from gpt4scene.files.run_folder import LOG
from gpt4scene.files.whole import whole_file, write_text

LEFT_OUT = ("epoch", "total_flos", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
"""Figures of transformers that have no place in a line, or another name there."""
LINE_EVERY_S = 10.0
"""Seconds between two progress lines where the output is no terminal."""


SHOWN = (
    ("eval_exact_match", "exact match", ".1%"),
    ("questions_per_second", "questions/s", ".2f"),
    ("tokens_per_second", "tokens/s", ",.0f"),
    ("data_wait_share", "waiting for data", ".0%"),
    ("utilisation", "utilisation", ".0%"),
)
"""Figures of a line that the terminal shows: key, words and form; all of them are in the file."""


class StepLog(TrainerCallback):
    """Appends a line per logged step to ``trainer_log.jsonl``, flushed at once, in LLaMA-Factory's keys.

    Keys: ``current_steps, total_steps, loss | eval_loss, lr, epoch, percentage, elapsed_time, remaining_time``; then
    ``ends``, the time of day here, and every other figure that was logged: losses by task, speed, scores of answers. A
    fresh run starts an empty file; a resumed one drops the lines after its checkpoint. ``show`` gets every line too.
    """

    def __init__(self, output_dir: str | Path, show: Progress | None = None) -> None:
        self._file, self._show = Path(output_dir) / LOG, show
        self._start_time, self._start_step = 0.0, 0

    def on_train_begin(self, args, state, control, **_: object):
        """Begin or cut the file."""
        if not state.is_world_process_zero:
            return
        self._start_time, self._start_step = time.monotonic(), state.global_step
        kept = [line for line in _complete_lines(self._file) if line["current_steps"] <= state.global_step > 0]
        write_text(self._file, "".join(json.dumps(line) + "\n" for line in kept))
        if self._show:
            self._show.begin(state.global_step, state.max_steps)

    def on_log(self, args, state, control, logs: Mapping[str, Any] | None = None, **_: object):
        """Append one line for a training or evaluation loss."""
        if not state.is_world_process_zero or not logs or not {"loss", "eval_loss"} & set(logs):
            return
        line = self._line(state, logs)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        if self._show:
            self._show.line(line)

    def on_step_end(self, args, state, control, **_: object):
        """Move the progress bar."""
        if state.is_world_process_zero and self._show:
            self._show.step(state.global_step)

    def on_train_end(self, args, state, control, **_: object):
        """Close the progress bar."""
        if state.is_world_process_zero and self._show:
            self._show.close()

    def _line(self, state, logs: Mapping[str, Any]) -> dict[str, Any]:
        done = state.global_step - self._start_step
        elapsed = time.monotonic() - self._start_time
        remaining = elapsed / done * (state.max_steps - state.global_step) if done else 0.0
        ends = datetime.now().astimezone() + timedelta(seconds=remaining)
        names = {"loss": "loss", "eval_loss": "eval_loss", "learning_rate": "lr", "grad_norm": "grad_norm"}
        return {
            "current_steps": state.global_step,
            "total_steps": state.max_steps,
            **{ours: logs[theirs] for theirs, ours in names.items() if theirs in logs},
            "epoch": round(state.epoch or 0.0, 4),
            "percentage": round(100 * state.global_step / max(state.max_steps, 1), 2),
            "elapsed_time": duration(elapsed),
            "remaining_time": duration(remaining),
            "ends": ends.isoformat(timespec="minutes"),
            **{name: value for name, value in logs.items() if name not in names and name not in LEFT_OUT},
        }


class Progress:
    """A bar with the time left on a terminal; elsewhere a plain line now and then. Writes to stderr."""

    def __init__(self, stream=None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._bar: RichProgress | None = None
        self._task = TaskID(0)
        self._last_line = -math.inf

    def begin(self, step: int, total: int) -> None:
        """Start at ``step`` of ``total``."""
        if not self._stream.isatty():
            return
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[ends]}"),
        )
        self._bar = bar = RichProgress(*columns, console=Console(file=self._stream))
        self._task = bar.add_task("training", total=total, completed=step, loss="", ends="")
        bar.start()

    def step(self, step: int) -> None:
        """Say that ``step`` is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def line(self, line: Mapping[str, Any]) -> None:
        """Show a line of the step log."""
        kind = "loss" if "loss" in line else "eval_loss"
        last = line["current_steps"] >= line["total_steps"]
        ends = "" if last else f"ends about {clock(line['ends'])}"
        if self._bar is not None:
            self._bar.update(self._task, loss=f"{kind} {line[kind]:.4f}", ends=ends)
            return
        if kind == "loss" and not last and time.monotonic() - self._last_line < LINE_EVERY_S:
            return
        self._last_line = time.monotonic()
        said = [f"step {line['current_steps']}/{line['total_steps']}: {kind} {line[kind]:.4f}"]
        said += [f"lr {line['lr']:.2e}"] if "lr" in line else []
        said += [f"{words} {line[name]:{form}}" for name, words, form in SHOWN if name in line]
        said += [f"{line['elapsed_time']} passed", f"{line['remaining_time']} left", *filter(None, [ends])]
        print(", ".join(said), file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def clock(moment: str, now: datetime | None = None) -> str:
    """Return the time of day of an ISO ``moment``, with the day where that is not today."""
    then, now = datetime.fromisoformat(moment), now or datetime.now().astimezone()
    return then.strftime("%H:%M" if then.date() == now.date() else "%a %d %b, %H:%M")


def duration(seconds: float) -> str:
    """Return ``h:mm:ss``, with days in front where there are any."""
    return str(timedelta(seconds=int(seconds)))


def plot_losses(history: Sequence[Mapping[str, Any]], file: str | Path) -> bool:
    """Draw the losses of a Trainer's ``log_history`` over its steps; return False where there is none to draw."""
    train = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    held_out = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    if not train and not held_out:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    if train:
        steps, losses = zip(*train, strict=True)
        axes.plot(steps, losses, color="#9db8d9", linewidth=1, label="training")
        axes.plot(steps, smoothed(losses), color="#1f5fa8", linewidth=1.8, label="training, smoothed")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color="#c1502e", marker="o", markersize=3, label="evaluation")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=130, format="png")
    return True


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the running mean in which a value counts for about a twentieth of the curve's length."""
    weight = 1 - 1 / max(len(values) / 20, 1)
    mean, curve = values[0], []
    for value in values:
        mean = weight * mean + (1 - weight) * value
        curve.append(mean)
    return curve


def _complete_lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a step log; a torn last one is left out."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
