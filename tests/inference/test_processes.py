"""Real processes: kills, failures and the shell script. Each starts Python with torch several times."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import infer as main

from gpt4scene.files import journal

TASKS = ("scanqa", "scanrefer")
PROMPTS = tuple(f"What is object {number}?" for number in range(40))


@pytest.fixture
def flags(tiny_folder, tmp_path, write_annotation):
    folder = write_annotation(tmp_path / "annotation", ["a", "b", "c", "d"], TASKS, PROMPTS)
    common = [f"--model={tiny_folder}", f"--annotation_dir={folder}", "--image_resolution=112", "--device=cpu"]
    return lambda out, *more: [*common, "--max_new_tokens=8", f"--output_dir={tmp_path / out}", *more]


@pytest.fixture
def start(python):
    command = [python, "-m", "gpt4scene", "infer"]
    return lambda arguments: subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)


def lines(folder):
    """Whole answer lines of all journals in ``folder``."""
    return sum(
        max(0, path.read_bytes().count(b"\n") - 1) for task in TASKS for path in journal.journal_files(folder, task)
    )


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def being_written(folder):
    """Whether some process holds a journal in ``folder`` open."""
    for path in folder.glob("*.jsonl"):
        with open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def same_answers(one, other):
    for task in TASKS:
        rows = [row for path in journal.journal_files(one, task) for _, row in journal.read_journal(path).rows]
        assert sorted(row["index"] for row in rows) == list(range(4 * len(PROMPTS))), "each question once"
        wanted = {row["index"]: row["pred"] for row in journal.ordered_rows(other, task)}
        assert {row["index"]: row["pred"] for row in rows} == wanted


@pytest.mark.slow
def test_kill_9_and_resume_with_other_numbers_of_processes(start, flags, tmp_path):
    assert main(flags("whole", "--num_processes=1")) == 0
    out = tmp_path / "out"
    process = start(flags("out", "--num_processes=2", "--branch_limit=1"))
    shards = [out / f"scanqa.shard{index}.jsonl" for index in range(2)]
    wait_for(lambda: all(path.exists() and path.read_bytes().count(b"\n") > 10 for path in shards))
    process.kill()
    process.communicate()
    wait_for(lambda: not being_written(out))
    before = lines(out)
    assert 20 <= before < 8 * len(PROMPTS), "the workers stop by themselves when their launcher is killed"
    process = start(flags("out", "--branch_limit=1", "--num_processes=1"))
    wait_for(lambda: lines(out) > before + 5)
    process.kill()
    process.communicate()
    assert main(flags("out", "--num_shards=3", "--shard=1")) == 0
    process = start(flags("out", "--num_processes=3"))
    assert process.wait() == 0, process.stderr.read()
    process.stderr.close()
    assert [path.name for path in journal.journal_files(out, "scanqa")] == ["scanqa.jsonl"]
    same_answers(out, tmp_path / "whole")


@pytest.mark.slow
def test_worker_fails_with_its_own_error_and_ctrl_c_stops_all(start, flags, tmp_path):
    image = tmp_path / "annotation" / "images" / "d_1.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    process = start(flags("out", "--num_processes=2"))
    _, said = process.communicate()
    assert process.returncode == 1
    last = said.splitlines()[-1]
    assert last.startswith("error: process ") and "d_1.png" in last and "decoded" in last
    image.write_bytes(whole)
    process = start(flags("again", "--num_processes=2", "--branch_limit=1"))
    wait_for(lambda: lines(tmp_path / "again") > 5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130 and "the same command goes on" in said
    assert not being_written(tmp_path / "again")


def test_shell_script_infers_and_scores_from_any_folder(root, tmp_path):
    """The steps and their arguments; a stand-in for Python writes down what it is called with."""
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@" >> "$LOG"\ncase "$1" in *infer.py) exit ${STATUS:-0};; esac\n')
    fake.chmod(0o755)
    log = tmp_path / "log"
    script = str(root / "evaluate" / "infer.sh")

    def call(*words, **settings):
        log.write_text("")
        environment = {**os.environ, "PYTHON": str(fake), "LOG": str(log), **settings}
        done = subprocess.run(["bash", script, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done, log.read_text().splitlines()

    done, called = call(NAME="mine")
    assert done.returncode == 0, done.stderr
    assert called == [
        f"{root}/evaluate/infer.py --model {root}/model_outputs/mine --annotation_dir {root}/evaluate/annotation "
        f"--output_dir {root}/eval_outputs/outputs_3D_mark/mine --tasks all --media_dir {root}",
        f"{root}/evaluate/calculate_scores.py --predictions {root}/eval_outputs/outputs_3D_mark/mine "
        f"--annotation_dir {root}/evaluate/annotation --tasks all "
        f"--json {root}/eval_outputs/outputs_3D_mark/mine/scores.json",
    ]
    done, called = call(
        "--tasks=scanqa", "--model", "m", "--output_dir", "o", "--overwrite", "--seed", "3", TASKS="all"
    )
    assert called[0].startswith(f"{root}/evaluate/infer.py --model m ") and "--output_dir o --tasks scanqa" in called[0]
    assert called[0].endswith("--overwrite --seed 3")
    done, called = call(STATUS="1")
    assert done.returncode == 1 and len(called) == 1 and "step 'infer', exit status 1" in done.stderr
    done, called = call("--model")
    assert done.returncode == 2 and not called and "--model needs a value" in done.stderr
    done, called = call("--help")
    assert done.returncode == 0 and "ANNOTATION_DIR" in done.stdout and not called


def test_evaluate_infer_is_the_same_program(root, tmp_path):
    program = [sys.executable, root / "evaluate" / "infer.py", "--help"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"left out, --annotation_dir is {root}/evaluate/annotation" in done.stdout
