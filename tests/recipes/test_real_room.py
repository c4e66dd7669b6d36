"""A room that somebody really walked through, from posed frames to scores, by the commands that a user types."""

import importlib.util
import json
from pathlib import Path

import pytest

from gpt4scene.cli import main
from gpt4scene.demo import tiny_model

_spec = importlib.util.spec_from_file_location("real_room", Path(__file__).with_name("real_room.py"))
real_room = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(real_room)


def run(*words):
    assert main([str(word) for word in words]) == 0, words


@pytest.mark.slow
def test_real_room_from_frames_to_scores(shared_data, tmp_path):
    recording = shared_data / "scenes" / "hololens_000"
    if not recording.is_dir():
        pytest.skip(f"the recorded room is absent: {recording}")
    scan = real_room.posed_folder(recording, tmp_path / "scans" / real_room.SCENE)
    for split in ("train", "val"):
        real_room.official_files(recording, tmp_path / "raw" / split, split)
        run(
            "prepare", "--format", "posed", "--scans", scan, "--frames", 32, "--split", split, "--out", tmp_path / split
        )
    run(*annotate(tmp_path, "train", "data", tmp_path / "raw" / "train"), "--task", "all")
    asked = "scanqa,sqa3d,scanrefer,multi3dref"
    run(*annotate(tmp_path, "val", "questions", tmp_path / "raw" / "val"), "--task", asked)
    run(*annotate(tmp_path, "val", "questions", tmp_path / "raw" / "val" / "captions"), "--task", "scan2cap")
    tiny_model.build(tmp_path / "model")
    name = "sharegpt_data_chat_scene_32_images_3D_mark"
    keys = {"model_name_or_path": tmp_path / "model", "dataset_dir": tmp_path / "data", "dataset": name}
    keys |= {"output_dir": tmp_path / "run", "max_steps": 2, "scene_packing": 8, "per_device_train_batch_size": 8}
    keys |= {"image_resolution": 112, "learning_rate": 1e-3, "use_cpu": "true", "do_train": "true", "report_to": "none"}
    run("train", *[word for key, value in keys.items() for word in (f"--{key}", value)])
    answers, questions = tmp_path / "answers", tmp_path / "questions"
    run("infer", "--model", tmp_path / "run", "--annotation_dir", questions, "--output_dir", answers, "--tasks", "all")
    run("score", "--predictions", answers, "--annotation_dir", questions, "--json", tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores) == {"scanqa", "sqa3d", "scanrefer", "multi3dref", "scan2cap"}
    written = sum(len(path.read_text().splitlines()) - 1 for path in answers.glob("*.jsonl"))
    assert written == 10 + 6 + 7 + 5 + 5


def annotate(folder, split, out, raw):
    return ["annotate", "--raw", raw, "--scenes", folder / split, "--split", split, "--out", folder / out]
