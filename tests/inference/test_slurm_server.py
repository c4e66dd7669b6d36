"""``examples/slurm/vllm_server.sh`` with stand-ins for ``srun`` and ``vllm``: what is started, asked and stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest
from chat_server import wait_for

from gpt4scene.files import journal

SRUN = """#!/usr/bin/env bash
# Two tasks on one node; the first bad end stops the other, as --kill-on-bad-exit does.
[ "$1" = --kill-on-bad-exit=1 ] && shift
export SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=2
tasks=()
for id in 0 1; do SLURM_PROCID=$id SLURM_LOCALID=$id "$@" & tasks+=($!); done
trap 'kill -TERM "${tasks[@]}" 2>/dev/null' TERM
status=0
for _ in 0 1; do
    wait -n || { [ "$status" != 0 ] || status=$?; kill -TERM "${tasks[@]}" 2>/dev/null; }
done
wait
exit "$status"
"""
VLLM = """#!{python}
import os, sys, time
sys.path.insert(0, {fixtures!r})
from chat_server import ChatServer, reply
words = sys.argv[1:]
port, parallel = (int(words[words.index(flag) + 1]) for flag in ("--port", "--tensor-parallel-size"))
with open({notes!r}, "a") as file:
    print(os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", ""), parallel, *words[:2], file=file)
kind = os.environ.get("KIND")
if kind == "broken":
    sys.exit("no such model")
if kind == "silent":
    time.sleep(600)
server = ChatServer(port)
server.models[0]["id"] = words[1]
server.probe = lambda: reply("A wooden chair.", model=words[1])
server.answer = lambda prompt: None if kind == "hangs" else (400, {{}}) if kind == "refuses" else reply(model=words[1])
time.sleep(600)
"""
PYTHON = """#!/usr/bin/env bash
# Notes down how the scores are asked for; everything else is run.
if [ "$1" = evaluate/calculate_scores.py ]; then printf "%s " "$@" >{scored}; else exec {python} "$@"; fi
"""


@pytest.fixture
def job(python, root, tmp_path, write_annotation):
    """Runs the script as a job of one node and two tasks; ``notes()`` are the servers that were started."""
    pytest.importorskip("httpx")
    annotation = write_annotation(tmp_path / "annotation", ["a", "b"], ["sqa3d"], ("What is it?", "Where is it?"))
    folder = tmp_path / "bin"
    folder.mkdir()
    notes = tmp_path / "notes"
    words = {"python": python, "fixtures": str(root / "tests" / "fixtures"), "notes": str(notes)}
    counted = PYTHON.format(scored=tmp_path / "scored", **words)
    for name, text in (
        ("srun", SRUN),
        ("vllm", VLLM.format(**words | {"python": sys.executable})),
        ("python", counted),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    flags = [
        "--model",
        "room",
        "--output_dir",
        str(tmp_path / "out"),
        f"--annotation_dir={annotation}",
        "--tasks=sqa3d",
    ]

    def call(*more, **environment):
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "CUDA_VISIBLE"))}
        path = os.pathsep.join([str(folder), os.path.dirname(sys.executable), os.environ["PATH"]])
        clean |= {"PATH": path, "SLURM_SUBMIT_DIR": str(root), "PYTHONPATH": str(root / "src")} | environment
        script = str(root / "examples" / "slurm" / "vllm_server.sh")
        return subprocess.Popen(["bash", script, *flags, *more], env=clean, stderr=subprocess.PIPE, text=True)

    call.notes = lambda: [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
    call.rows = lambda: journal.ordered_rows(tmp_path / "out", "sqa3d")
    call.out, call.scored = tmp_path / "out", tmp_path / "scored"
    return call


def ended(job):
    """Whether no server is left."""
    for pid, *_ in job.notes():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            continue
        return False
    return True


@pytest.mark.slow
def test_every_task_starts_asks_and_stops_a_server_of_its_own(job):
    running = job("--image_resolution=56", CUDA_VISIBLE_DEVICES="0,1,2,3")
    said = running.communicate(timeout=120)[1]
    assert running.returncode == 0, said
    assert [row["pred"] for row in job.rows()] == ["A chair."] * 4
    assert sorted(line[1:] for line in job.notes()) == [["0,1", "2", "serve", "room"], ["2,3", "2", "serve", "room"]]
    assert ended(job) and f"--predictions {job.out} --annotation_dir " in job.scored.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("broken", 1, "vLLM ended before it answered"),
        ("silent", 1, "vLLM did not answer within 3 s"),
        ("refuses", 1, "the server refused the request"),
    ],
)
def test_what_fails_is_said_and_no_server_stays(job, kind, status, words):
    running = job("--image_resolution=56", KIND=kind, start_seconds="3" if kind == "silent" else "90")
    said = running.communicate(timeout=120)[1]
    assert running.returncode == status and words in said
    if kind == "broken":
        assert "no such model" in said, "the end of the server's own log"
    wait_for(lambda: ended(job), 10)
    assert not job.scored.exists()


@pytest.mark.slow
def test_a_job_that_is_stopped_stops_its_servers(job):
    running = job("--image_resolution=56", KIND="hangs")
    wait_for(lambda: len(list(job.out.glob("sqa3d*.jsonl"))) == 2, 60)
    time.sleep(0.5)
    children = subprocess.run(["pgrep", "-P", str(running.pid)], capture_output=True, text=True).stdout.split()
    for pid in (*children, running.pid):  # Slurm signals every process of the job
        os.kill(int(pid), signal.SIGTERM)
    assert running.wait(40) != 0
    wait_for(lambda: ended(job), 40)
