"""Official files and scenes, as `gpt4scene annotate` takes them."""

import json

import pytest
import torch
from official_files import CUBES, PROPOSALS, refer

from gpt4scene.benchmarks.annotate import AnnotateArguments


@pytest.fixture
def raw(tmp_path):
    """Official files about rooms a and b, and one row each about a room without images."""
    folder = tmp_path / "raw"
    (folder / "sqa").mkdir(parents=True)
    refers = [refer("a_00", 0), refer("a_00", 1), refer("a_00", 1, 1), refer("b_00", 3), refer("gone_00", 0)]
    multi = [
        {"scene_id": "a_00", "object_ids": [1, 2], "description": "the chairs?", "eval_type": "mt", "ann_id": 0},
        {"scene_id": "b_00", "object_ids": [], "description": "a bed.", "eval_type": "zt_wo_d", "ann_id": 1},
        {"scene_id": "b_00", "object_ids": [0, 1, 2], "description": "all", "eval_type": "mt", "ann_id": 2},
    ]
    qa = [
        {"scene_id": "a_00", "question_id": "q-0", "question": "What is it?", "answers": ["TV", "a lamp", "TV"]},
        {"scene_id": "gone_00", "question_id": "q-1", "question": "What is it?", "answers": ["x"], "object_ids": [1]},
    ]
    sqa = {"scene_id": "b_00", "situation": "I sit.", "alternative_situation": ["I stand."], "question_id": 7}
    for split in ("train", "val"):
        (folder / f"ScanRefer_filtered_{split}.json").write_text(json.dumps(refers))
        (folder / f"multi3drefer_{split}.json").write_text(json.dumps(multi))
        (folder / f"ScanQA_v1.0_{split}.json").write_text(json.dumps(qa))
        (folder / "sqa" / f"v1_balanced_questions_{split}_scannetv2.json").write_text(
            json.dumps({"questions": [{**sqa, "question": "Which side is the door?"}]})
        )
        (folder / "sqa" / f"v1_balanced_sqa_annotations_{split}_scannetv2.json").write_text(
            json.dumps({"annotations": [{"question_id": 7, "answers": [{"answer": "left"}]}]})
        )
    return folder


@pytest.fixture
def scenes(tmp_path):
    folder = tmp_path / "scenes"
    (folder / "images").mkdir(parents=True)
    images = {scene: [f"images/{scene}_{n}.jpg" for n in range(3)] for scene in ("a_00", "b_00")}
    for path in sum(images.values(), []):
        (folder / path).write_bytes(b"")
    for split in ("train", "val"):
        (folder / f"selected_images_mark_3D_{split}_2.json").write_text(json.dumps(images))
        for name, boxes in (("scannet", CUBES), ("scannet_mask3d", PROPOSALS)):
            content = {scene: {"objects": ["x"] * len(boxes), "locs": torch.tensor(boxes)} for scene in images}
            torch.save(content, folder / f"{name}_{split}_attributes.pt")
    return folder


@pytest.fixture
def arguments(raw, scenes, tmp_path):
    def make(**keys):
        return AnnotateArguments(**{"raw": str(raw), "scenes": str(scenes), "out": str(tmp_path / "out"), **keys})

    return make
