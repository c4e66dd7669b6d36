"""How long a tiny model's training takes on one thread and on all, alone and beside a busy loop on each core.

Threads of one matrix product wait for each other, so that one whose core is busy with another program holds up all. The
usual side lets PyTorch take every core; ours is what ``gpt4scene train`` chooses by itself. Both make the same steps.

    python scripts/bench/threads.py [--small] [--json FILE] [--beside N]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comparison import finish, line_of

from gpt4scene.demo import steps
from gpt4scene.demo.arguments import DemoArguments
from gpt4scene.files.whole import read_json

FULL, SMALL = {"steps": 300, "repeats": 3}, {"steps": 20, "repeats": 2}


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Keep ``number`` processes busy meanwhile."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def train(folder: Path, number: int, threads: int | None) -> tuple[float, list[float]]:
    """Return the seconds of ``number`` training steps, start of the program included, and the losses."""
    arguments = DemoArguments(str(folder), rooms=2, held_out=1, frames=4)
    flags = steps.training_flags(arguments, folder) + ["--max_steps", str(number)]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "gpt4scene", "train", *flags], env=environment, check=True, capture_output=True
    )
    took = time.monotonic() - start
    return took, [
        entry["loss"] for entry in read_json(folder / "run/trainer_state.json")["log_history"] if "loss" in entry
    ]


def main() -> int:
    """Run both sides in turn; return 1 where their losses disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--beside", type=int, default=os.cpu_count(), help="busy loops of the second line")
    options = parser.parse_args()
    sizes, cores = SMALL if options.small else FULL, os.cpu_count() or 1
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = DemoArguments(name, rooms=2, held_out=1, frames=4)
        for step in (steps.make_rooms, steps.prepare_rooms, steps.annotate_rooms, steps.make_model):
            step(arguments, folder)
        for work, loops in (("alone", 0), ("busy", options.beside)):
            usual, ours, equal = [], [], True
            with busy_loops(loops):
                for _ in range(sizes["repeats"]):
                    seconds, losses = train(folder, sizes["steps"], cores)
                    usual.append(seconds)
                    seconds, others = train(folder, sizes["steps"], None)
                    ours.append(seconds)
                    equal &= len(losses) == len(others) and all(
                        abs(a - b) < 1e-2 * max(a, 1) for a, b in zip(losses, others, strict=True)
                    )
            lines.append({"work": work, **line_of(sizes["steps"] * arguments.questions_per_step, usual, ours, equal)})
    return finish("threads", {}, ("torch", "transformers"), sizes, lines, options.json)


if __name__ == "__main__":
    sys.exit(main())
