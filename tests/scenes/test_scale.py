"""Many scans: array jobs into one folder, and runs that are killed in the middle."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gpt4scene.scenes.prepare import main

CALL = ["--frames", "2", "--bev_size", "100"]


@pytest.fixture(scope="module")
def scans(box_room, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for index in range(5):
        box_room.write(folder / f"room{index}", depth=False, align=np.eye(4))
    return folder


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def prepare(scans, out, *more):
    command = [sys.executable, "-m", "gpt4scene.scenes.prepare", "--scans", str(scans), "--out", str(out), *CALL, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def whole(scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert prepare(scans, out).wait() == 0
    return digest(out)


def test_array_tasks_divide_the_scans_and_share_one_folder(root, scans, whole, tmp_path):
    script = root / "examples" / "slurm" / "prepare.sh"
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    for task in (3, 4):
        job = {"SLURM_SUBMIT_DIR": str(root), "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "2"}
        environment = {**os.environ, **job, "SLURM_ARRAY_TASK_ID": str(task), "PATH": path, "SLURM_CPUS_PER_TASK": "1"}
        done = subprocess.run(
            ["bash", str(script), "--scans", str(scans), "--out", str(tmp_path), *CALL],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert f"{3 if task == 3 else 2} prepared" in done.stderr
    assert digest(tmp_path) == whole


@pytest.mark.parametrize(("env", "sentence"), [({}, "sbatch"), ({"SLURM_SUBMIT_DIR": "."}, "project folder")])
def test_the_array_script_wants_sbatch_and_the_project_folder(root, tmp_path, env, sentence):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
    script = str(root / "examples" / "slurm" / "prepare.sh")
    done = subprocess.run(["bash", script], cwd=tmp_path, env={**clean, **env}, capture_output=True, text=True)
    assert done.returncode != 0 and sentence in done.stderr


def test_after_a_kill_the_same_command_finishes_with_the_same_bytes(scans, whole, tmp_path):
    running = prepare(scans, tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("scenes/*/scene.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    before = len(list(tmp_path.glob("scenes/*/scene.json")))
    again = prepare(scans, tmp_path)
    said = again.communicate()[1]
    assert again.returncode == 0 and before >= 1
    assert f"{5 - before} prepared, {before} finished before" in said
    left = digest(tmp_path)
    assert {name: value for name, value in left.items() if not name.endswith(".part")} == whole


def test_a_damaged_description_is_named(scans, tmp_path, capsys):
    call = ["--scans", str(scans / "room0"), "--out", str(tmp_path), *CALL]
    assert main(call) == 0
    record = tmp_path / "scenes" / "room0" / "scene.json"
    record.write_text(record.read_text()[:100])
    assert main(call) == 1
    assert "scene.json: is damaged" in capsys.readouterr().err


def test_lists_keep_the_scenes_of_earlier_runs(scans, tmp_path):
    for index in (1, 0):
        assert main(["--scans", str(scans / f"room{index}"), "--out", str(tmp_path), *CALL]) == 0
    assert list(json.loads((tmp_path / "selected_images_mark_3D_val_2.json").read_text())) == ["room0", "room1"]


def test_an_interrupt_stops_after_the_scenes_at_hand(scans, whole, tmp_path):
    running = prepare(scans, tmp_path, "--workers", "2")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("scenes/*/scene.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=60)[1]
    assert running.returncode in (0, 1)  # 0 when all had been done by then
    assert "Traceback" not in said
    assert prepare(scans, tmp_path).wait() == 0
    assert digest(tmp_path) == whole
