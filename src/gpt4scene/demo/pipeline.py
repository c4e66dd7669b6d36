"""The demo: synthetic rooms, a tiny random model, every stage of the program, and one page that shows what came out.

``gpt4scene demo --out DIR`` runs the steps of ``STEPS`` in order. A finished step is noted in ``DIR/steps.json`` and
skipped when the same command is given again; with other settings the demo starts over.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from gpt4scene.demo import steps
from gpt4scene.types import DataError

NOTES = "steps.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoArguments:
    """What the demo can be told; the defaults take under ten minutes on two cores."""

    out: str = field(default="outputs/demo", metadata={"help": "folder that receives everything"})
    rooms: int = field(default=6, metadata={"help": "rooms to learn from"})
    held_out: int = field(default=2, metadata={"help": "rooms that are only asked about"})
    frames: int = field(default=8, metadata={"help": "marked frames of each room, besides the bird's-eye view"})
    image_width: int = field(default=480, metadata={"help": "width of the rendered frames in pixels"})
    image_resolution: int = field(default=112, metadata={"help": "longest side of the images that the model sees"})
    epochs: float = field(default=110, metadata={"help": "passes over the training rows"})
    questions_per_step: int = field(default=16, metadata={"help": "questions of one room that share a training step"})
    learning_rate: float = field(default=1e-3, metadata={"help": "highest learning rate"})
    seed: int = field(default=0, metadata={"help": "seed of rooms, model and training"})

    def check(self) -> None:
        """ValueError with every wrong value at once."""
        least = {"rooms": 2, "held_out": 1, "frames": 1, "image_width": 64, "questions_per_step": 1}
        wrong = [
            f"{name} is {getattr(self, name)}, must be at least {low}"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        wrong += [f"{name} must be above 0" for name in ("epochs", "learning_rate") if getattr(self, name) <= 0]
        if wrong:
            raise ValueError("; ".join(wrong))

    def settings(self) -> dict:
        """What a finished step must have been made with to be kept."""
        return {name: value for name, value in asdict(self).items() if name != "out"}


@dataclass(frozen=True)
class Step:
    """One step of the demo: its name, what it does in a few words, and the function that does it."""

    name: str
    does: str
    work: Callable[[DemoArguments, Path], None]


STEPS: tuple[Step, ...] = (
    Step("rooms", "furnish rooms and walk a camera through them", steps.make_rooms),
    Step("prepare", "mark objects in frames and bird's-eye views", steps.prepare_rooms),
    Step("annotate", "make training rows and question files", steps.annotate_rooms),
    Step("model", "write a tiny random Qwen2-VL", steps.make_model),
    Step("before", "ask the untrained model", steps.ask_before),
    Step("train", "train it on the rooms", steps.train_model),
    Step("after", "ask the trained model", steps.ask_after),
    Step("swapped", "ask it the same with another room's images", steps.ask_swapped),
    Step("held_out", "ask it about rooms that it has never seen", steps.ask_held_out),
    Step("score", "score all answers and the controls", steps.score_all),
)


def demo(arguments: DemoArguments, say: Say | None = None) -> Path:
    """Run every step that is not finished and return the page, ``out/index.html``.

    Raises ``ValueError`` for wrong arguments and ``DataError`` naming the step that failed; the same call goes on.
    """
    from gpt4scene.demo.page import write_page

    say = say or (lambda line: print(line, file=sys.stderr, flush=True))
    arguments.check()
    out = Path(arguments.out).absolute()
    took = _open(out, arguments.settings())
    for number, step in enumerate(STEPS, start=1):
        place = f"step {number} of {len(STEPS)}, {step.name}"
        if step.name in took:
            say(f"{place}: done before")
            continue
        say(f"{place}: {step.does}")
        start = time.monotonic()
        try:
            step.work(arguments, out)
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            raise DataError(f"{place}: failed: {error}") from error
        took[step.name] = round(time.monotonic() - start, 2)
        _note(out, arguments.settings(), took)
        say(f"{place}: {took[step.name]:.0f} s")
    steps.write_summary(arguments.settings(), out, took)
    page = write_page(out)
    say(f"open {page} in a browser ({sum(took.values()):.0f} s in all)")
    return page


def _open(out: Path, settings: dict) -> dict[str, float]:
    """Return seconds by finished step; a folder with other settings is emptied of what the demo wrote.

    Raises ``DataError`` where the folder holds something else.
    """
    notes = out / NOTES
    if not notes.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise DataError(f"{out}: holds files that are not the demo's; choose another --out or empty it")
        _note(out, settings, {})
        return {}
    try:
        content = json.loads(notes.read_text(encoding="utf-8"))
        if content["settings"] == settings:
            return {step.name: content["took"][step.name] for step in STEPS if step.name in content["took"]}
    except (ValueError, KeyError, TypeError):
        pass  # a damaged note means that nothing can be trusted: start over
    for name in steps.FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in steps.FILES:
        (out / name).unlink(missing_ok=True)
    _note(out, settings, {})
    return {}


def _note(out: Path, settings: dict, took: dict[str, float]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f"{NOTES}.{os.getpid()}.part"
    partial.write_text(json.dumps({"settings": settings, "took": took}, indent=1) + "\n", encoding="utf-8")
    partial.replace(out / NOTES)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``gpt4scene demo``: 0 when the page is there, 1 when a step failed, 2 when the call was wrong."""
    parser = argparse.ArgumentParser(prog="gpt4scene demo", description="All stages on synthetic rooms, offline.")
    for entry in fields(DemoArguments):
        kind = {"int": int, "float": float}.get(str(entry.type), str)
        text = f"{entry.metadata['help']} (default: %(default)s)"
        parser.add_argument(f"--{entry.name}", type=kind, default=entry.default, help=text)
    try:
        arguments = DemoArguments(**vars(parser.parse_args(argv)))
        arguments.check()
    except SystemExit as stop:
        return int(stop.code or 0)
    except ValueError as error:
        print(f"gpt4scene demo: {error}", file=sys.stderr)
        return 2
    try:
        print(demo(arguments))
    except DataError as error:
        print(f"gpt4scene demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gpt4scene demo: stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0
