"""Processes that die while they work: what they had is tried again alone, and everything else is done as usual."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gpt4scene.scenes.workers import in_processes

pytestmark = pytest.mark.slow

WORK = """
import os, signal, time
from pathlib import Path

def double(item):
    folder, number = item
    if number == 3 and (folder / "always").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 1 and not (folder / "tried").exists():
        (folder / "tried").touch()
        os._exit(7)
    (folder / f"pid{os.getpid()}").touch()
    return 2 * number

def slow(item):
    folder, number = item
    (folder / f"begun{number}").touch()
    time.sleep(1)
    (folder / f"ended{number}").touch()
    return number
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that processes can import, as they can import what is installed."""
    (tmp_path / "work_of_a_test.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("work_of_a_test")
    sys.modules.pop("work_of_a_test")


def told(item, exit_code):
    return item[1], exit_code


def test_one_that_dies_beside_others_is_done_alone(work, tmp_path):
    items = [(tmp_path, number) for number in range(6)]
    assert sorted(in_processes(work.double, items, 2, told)) == [0, 2, 4, 6, 8, 10]
    assert (tmp_path / "tried").exists()


def test_one_that_dies_twice_is_named_with_its_exit_code_and_the_others_are_done(work, tmp_path):
    (tmp_path / "always").touch()
    done = list(in_processes(work.double, [(tmp_path, number) for number in range(6)], 2, told))
    assert done.count((3, -signal.SIGKILL)) == 1
    assert sorted(one for one in done if isinstance(one, int)) == [0, 2, 4, 8, 10]


def test_processes_are_used_again_and_gone_in_the_end(work, tmp_path):
    others = set(multiprocessing.active_children())  # what other tests have left running
    (tmp_path / "tried").touch()
    assert len(list(in_processes(work.double, [(tmp_path, 2)] * 20, 2, told))) == 20
    assert len(list(tmp_path.glob("pid*"))) == 2
    assert set(multiprocessing.active_children()) <= others


def test_a_caller_that_stops_lets_them_finish_what_they_are_at_and_nothing_else(work, tmp_path):
    others = set(multiprocessing.active_children())
    outcomes = in_processes(work.slow, [(tmp_path, number) for number in range(6)], 2, told)
    next(outcomes)
    outcomes.close()
    begun, ended = (sorted(path.name[5:] for path in tmp_path.glob(name)) for name in ("begun*", "ended*"))
    assert begun == ended and 2 <= len(ended) < 6
    assert set(multiprocessing.active_children()) <= others


def workers_of(process):
    """Process ids of the workers that a run of ``prepare`` has at the moment."""
    found = []
    for path in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        try:
            if b"spawn_main" in Path(f"/proc/{path}/cmdline").read_bytes():
                found.append(int(path))
        except OSError:  # it has gone
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes where Linux lists them")
def test_a_scene_whose_process_is_killed_is_named_and_costs_no_other(box_room, tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    for name in ("a", "b", "c", "stuck"):
        box_room.write(scans / name, depth=False, align=np.eye(4))
    (scans / "stuck" / "images" / "00000.png").unlink()
    os.mkfifo(scans / "stuck" / "images" / "00000.png")  # whoever reads this waits for ever
    command = [sys.executable, "-m", "gpt4scene", "prepare", "--scans", str(scans), "--out", str(out)]
    command += ["--frames", "2", "--bev_size", "100", "--workers", "2"]
    log = tmp_path / "log"
    with open(log, "w") as stream:
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)
    deadline = time.monotonic() + 120
    while running.poll() is None and time.monotonic() < deadline:
        if log.read_text().count(": done") == 3:  # not before: a scene whose files are there may not be reported yet
            for process in workers_of(running):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
    running.wait(5)
    said = log.read_text()
    assert running.returncode == 1 and "Traceback" not in said
    assert "3 prepared, 0 finished before, 1 failed" in said
    assert "stuck: the process that prepared it was killed twice" in said
    assert (out / "selected_images_mark_3D_val_2.json").read_text().count("bev.jpg") == 3
