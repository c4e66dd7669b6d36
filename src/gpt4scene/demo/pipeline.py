"""The demo: synthetic rooms, a tiny random model, every stage of the program, and one page that shows what came out.

``gpt4scene demo --out DIR`` runs the steps of ``STEPS`` in order. A finished step is noted in ``DIR/steps.json`` and
skipped when the same command is given again; with other settings the demo starts over.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpt4scene import talk
from gpt4scene.demo import steps
from gpt4scene.demo.arguments import DemoArguments
from gpt4scene.demo.page import chat_command, view_command, write_page
from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json, write_json

NOTES = "steps.json"
Say = Callable[[str], None]


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
    say(f"the demo is done ({sum(took.values()):.0f} s in all)")
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
        content = read_json(notes)
        if content["settings"] == settings:
            return {step.name: content["took"][step.name] for step in STEPS if step.name in content["took"]}
    except (ValueError, KeyError, TypeError):
        print(f"{notes}: is damaged, so the demo starts over", file=sys.stderr)
    for name in steps.FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in steps.FILES:
        (out / name).unlink(missing_ok=True)
    _note(out, settings, {})
    return {}


def _note(out: Path, settings: dict, took: dict[str, float]) -> None:
    write_json(out / NOTES, {"settings": settings, "took": took})


def main(arguments: DemoArguments) -> int:
    """Run the demo as the arguments say; return 0 when the page is there.

    It ends with three lines: the page to open, and the commands to look at its scenes and to ask its model.
    """
    page = demo(arguments)
    look, ask = view_command(page.parent), chat_command(page.parent, arguments.settings())
    lines = (f"open the page: {page}", f"look at rooms: {look}", f"ask the model: {ask}")
    talk.result("\n".join(lines), page=str(page), view=look, chat=ask)
    return 0
