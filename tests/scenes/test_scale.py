"""Many scans: array jobs into one folder, and runs that are killed in the middle."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import prepare as main
from PIL import Image

from gpt4scene.scenes import prepare_scene

pytestmark = pytest.mark.slow

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


def prepare(scans, out, *more, **how):
    command = [sys.executable, "-m", "gpt4scene", "prepare", "--scans", str(scans), "--out", str(out), *CALL, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


@pytest.fixture(scope="module")
def whole(scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert main(["--scans", str(scans), "--out", str(out), *CALL]) == 0
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
    assert digest(tmp_path) == whole  # nor is anything left of what the first had begun


@pytest.mark.parametrize("folder", ["images_2D/room1", "images_3D/room1", "scenes/room1", ""])
def test_what_a_killed_run_began_is_removed_by_the_next(scans, whole, tmp_path, folder):
    code = (
        "import os, sys\nfrom gpt4scene.cli import main\nfrom gpt4scene.files import whole\n"
        "to_disk, folder = whole._to_disk, sys.argv.pop()\n"
        "def kill(path):\n    os.kill(os.getpid(), 9) if str(path.parent) == folder else to_disk(path)\n"
        "whole._to_disk = kill\nmain(sys.argv[1:])\n"
    )
    call = ["prepare", "--scans", str(scans), "--out", str(tmp_path), *CALL, str(tmp_path / folder)]
    assert subprocess.run([sys.executable, "-c", code, *call], capture_output=True, timeout=60).returncode == -9
    assert len(list((tmp_path / folder).glob(".*.part"))) == 1
    assert main(["--scans", str(scans), "--out", str(tmp_path), *CALL]) == 0
    assert digest(tmp_path) == whole


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


@pytest.mark.parametrize("moment", ["while processes start", "when a scene is done"])
def test_an_interrupt_stops_after_the_scenes_at_hand(scans, whole, tmp_path, moment):
    out = tmp_path / "out"
    running = prepare(scans, out, "--workers", "2", start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.01)
        if out.exists() if moment == "while processes start" else list(out.glob("scenes/*/scene.json")):
            break
    if moment == "while processes start":
        time.sleep(0.3)  # workers are importing what they need
    os.killpg(running.pid, signal.SIGINT)  # a terminal sends it to the workers as well
    said = running.communicate(timeout=60)[1]
    assert running.returncode in (0, 130)  # 0 when all had been done by then
    assert "Traceback" not in said
    assert not list(out.rglob("*.part"))
    assert main(["--scans", str(scans), "--out", str(out), *CALL]) == 0
    assert digest(out) == whole


def test_after_a_kill_beside_workers_that_live_on_a_second_run_is_whole(scans, whole, tmp_path):
    running = prepare(scans, tmp_path, "--workers", "2")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("images_2D/*/*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.kill()  # its workers finish what they are at, at the same time as the next run does the same
    again = prepare(scans, tmp_path, "--workers", "2")
    said = again.communicate()[1]
    running.communicate()
    assert again.returncode == 0, said
    assert {name: value for name, value in digest(tmp_path).items() if not name.endswith(".part")} == whole


def test_a_place_that_cannot_be_written_is_one_sentence(scans, tmp_path, capsys):
    (tmp_path / "file").touch()
    for out in ("file", "file/below"):
        assert main(["--scans", str(scans), "--out", str(tmp_path / out), *CALL]) == 1
        assert f"error: {tmp_path / out}: " in capsys.readouterr().err
    (tmp_path / "out" / "images_3D").mkdir(parents=True)
    (tmp_path / "out" / "images_3D" / "room0").touch()  # where a folder must go
    assert main(["--scans", str(scans / "room0"), "--out", str(tmp_path / "out"), *CALL]) == 1
    assert "images_3D/room0: " in capsys.readouterr().err


def test_a_full_disk_is_named_and_leaves_nothing_half_written(scans, tmp_path, capsys, monkeypatch):
    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as writing says it: without a file

    monkeypatch.setattr(Image.Image, "save", full)
    assert main(["--scans", str(scans / "room0"), "--out", str(tmp_path / "out"), *CALL]) == 1
    assert f"{tmp_path / 'out' / 'images_3D' / 'room0' / 'bev.jpg'}: No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "out" / "scenes").exists()


def test_an_error_that_nobody_foresaw_costs_its_scene_only(scans, tmp_path, capsys, monkeypatch):
    look = prepare_scene.open_scene

    def stumbles(scan, *rest):
        if scan.scene_id == "room1":
            raise IndexError("out of reach")
        return look(scan, *rest)

    monkeypatch.setattr(prepare_scene, "open_scene", stumbles)
    assert main(["--scans", str(scans), "--out", str(tmp_path), *CALL]) == 1
    said = capsys.readouterr().err
    assert "4 prepared, 0 finished before, 1 failed" in said
    assert "room1: IndexError: out of reach" in said and "Traceback" in said


def test_the_right_format_is_proposed(scans, tmp_path, capsys):
    assert main(["--scans", str(scans), "--format", "scannet", "--out", str(tmp_path / "o")]) == 1
    assert "--format posed is what it looks like" in capsys.readouterr().err
