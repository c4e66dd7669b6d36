"""Several processes for one run, one a GPU, each with its own scenes.

When one fails, all stop, and the error that it printed last becomes the error of the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gpt4scene
from gpt4scene.errors import WorkError

PARENT = "GPT4SCENE_LAUNCHER"
"""Environment variable that tells a worker which process started it."""

_TAIL = 60
_GRACE_S = 10.0


class WorkerError(WorkError):
    """A worker process failed; the message holds the error that it printed."""


def visible_gpus(environment: Mapping[str, str], count: Callable[[], int]) -> list[str]:
    """Return the names of the GPUs to use, for ``CUDA_VISIBLE_DEVICES``: the listed ones, else all; none is empty.

    ``count`` tells how many GPUs this process can use (``torch.cuda.device_count``).
    """
    usable = count()
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(index) for index in range(usable)]
    return [name.strip() for name in listed.split(",") if name.strip()][:usable]


@dataclass
class _Worker:
    """A process, what it is called in messages, and its last lines."""

    name: str
    process: subprocess.Popen[str]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))
    relay: threading.Thread | None = None

    def last_error(self) -> str:
        """Return the sentence of its error, its traceback where it had none, or its last line."""
        lines = [line for line in self.lines if line.strip()]
        for index, line in enumerate(lines):
            if line.startswith("Traceback"):
                return "\n" + "\n".join(lines[index:])
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else lines[-1] if lines else "it printed nothing"


def run_workers(commands: Sequence[Sequence[str]], gpus: Sequence[str], say: Callable[[str], None]) -> None:
    """Run ``python -m gpt4scene infer`` once for each of ``commands``, and wait for all.

    Worker i sees ``gpus[i modulo their number]`` only, or shares the CPU's cores where there are none. Its lines go
    through ``say`` under its name. The first failure stops the others and raises ``WorkerError``; so does leaving this
    function in any other way (Ctrl-C).
    """
    workers: list[_Worker] = []
    try:
        for index, command in enumerate(commands):
            workers.append(_start(index, len(commands), command, gpus, say))
        while any(worker.process.poll() is None for worker in workers):
            _raise_first_failure(workers)
            time.sleep(0.1)
        _raise_first_failure(workers)
    finally:
        _stop(workers)


def _start(index: int, number: int, command: Sequence[str], gpus: Sequence[str], say: Callable[[str], None]) -> _Worker:
    environment = dict(os.environ)
    environment[PARENT] = str(os.getpid())
    package = str(Path(gpt4scene.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    name = f"process {index + 1} of {number}"
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
        name += f" (GPU {gpus[index % len(gpus)]})"
    else:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt4scene", "infer", *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches this process only, which then stops the workers
    )
    worker = _Worker(name, process)
    worker.relay = threading.Thread(target=_relay, args=(worker, say), daemon=True)
    worker.relay.start()
    return worker


def _relay(worker: _Worker, say: Callable[[str], None]) -> None:
    assert worker.process.stderr is not None
    for line in worker.process.stderr:
        worker.lines.append(line.rstrip("\n"))
        say(f"[{worker.name}] {line.rstrip()}")


def _raise_first_failure(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        status = worker.process.poll()
        if status:
            if worker.relay is not None:
                worker.relay.join(timeout=2)
            how = f"was killed by signal {-status}" if status < 0 else "failed"
            raise WorkerError(f"{worker.name} {how}: {worker.last_error()}")


def _stop(workers: Sequence[_Worker]) -> None:
    """Ask all workers that still run to end, wait, and kill those that do not."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.terminate()
    deadline = time.monotonic() + _GRACE_S
    for worker in workers:
        try:
            worker.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        if worker.relay is not None:
            worker.relay.join(timeout=2)
        if worker.process.stderr is not None:
            worker.process.stderr.close()


def check_launcher() -> None:
    """Raise ``WorkerError`` in a worker whose launcher has died: another run may already ask the same questions."""
    parent = os.environ.get(PARENT)
    if parent is not None and int(parent) != os.getppid():
        raise WorkerError("the process that started this one is gone; run the same command again to go on")
