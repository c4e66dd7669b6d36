"""Preparing, annotating and scoring work where PyTorch cannot be imported."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gpt4scene.demo.plan import draw_plan
from gpt4scene.demo.rooms import View, write_room

RUN = "import sys; sys.modules['torch'] = None; from gpt4scene.cli import main; sys.exit(main(sys.argv[1:]))"


def run(*words):
    return subprocess.run([sys.executable, "-c", RUN, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A folder with one small recording."""
    folder = tmp_path_factory.mktemp("rooms")
    plan = draw_plan("room0000_00", np.random.default_rng(0))
    write_room(plan, folder, View(160, 120, 3))
    return folder


@pytest.mark.slow
def test_rooms_to_scores(tmp_path, rooms):
    scenes, raw, questions, answers = (tmp_path / name for name in ("scenes", "raw", "questions", "answers"))
    size = ("--frames", 2, "--bev_size", 128)
    done = run("prepare", "--format", "posed", "--scans", rooms, *size, "--out", scenes)
    assert done.returncode == 0, done.stderr
    marked = json.loads((scenes / "scenes/room0000_00/scene.json").read_text())["objects"][0]["id"]
    record = {"scene_id": "room0000_00", "object_id": str(marked), "object_name": "thing", "ann_id": "0", "token": []}
    raw.mkdir()
    (raw / "ScanRefer_filtered_val.json").write_text(json.dumps([{**record, "description": "it stands there"}]))
    done = run("annotate", "--raw", raw, "--scenes", scenes, "--task", "scanrefer", "--out", questions)
    assert done.returncode == 0, done.stderr
    answers.mkdir()
    row = {"scene_id": "room0000_00", "gt_id": marked, "pred": f"<OBJ{marked:03d}>."}
    (answers / "scanrefer.json").write_text(json.dumps([row]))
    figures = tmp_path / "figures.json"
    done = run("score", "--predictions", answers, "--annotation_dir", questions, "--json", figures)
    assert done.returncode == 0, done.stderr
    assert json.loads(figures.read_text())["scanrefer"]["Acc@0.25"] == 1.0
