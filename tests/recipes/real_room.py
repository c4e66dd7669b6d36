"""Turns the recorded room of the check data into a posed folder and official benchmark files. Used by tests only."""

import json
import shutil
from pathlib import Path

import numpy as np

SCENE = "hololens_000"
EVALUATION, TRAINING = "val", "train"


def posed_folder(recording: Path, out: Path) -> Path:
    """Write the recording as a posed folder ``out`` and return it."""
    poses = np.loadtxt(recording / "poses_all_373.txt").reshape(-1, 4, 4)
    index = [line.split() for line in (recording / "frame_index.txt").read_text().splitlines()]
    for name in ("images", "depth"):
        shutil.copytree(recording / name, out / name)
    np.savetxt(out / "poses.txt", [poses[int(line)].ravel() for _, line in sorted(index)])
    shutil.copy(recording / "K.txt", out / "intrinsics.txt")
    content = json.loads((recording / "objects.json").read_text())
    np.savetxt(out / "axis_align.txt", content["axis_align"])
    (out / "objects.json").write_text(json.dumps({"objects": content["objects"]}))
    return out


def official_files(recording: Path, out: Path, split: str) -> None:
    """Write the room's questions in the five official formats; ``out/captions`` holds Scan2Cap's own descriptions."""
    content = json.loads((recording / "questions.json").read_text())
    labels = {item["id"]: item["label"] for item in json.loads((recording / "objects.json").read_text())["objects"]}
    (out / "captions").mkdir(parents=True)
    rows = [{"scene_id": SCENE, "object_ids": [], "object_names": [], **row} for row in content["scanqa"]]
    (out / f"ScanQA_v1.0_{split}.json").write_text(json.dumps(rows))
    questions = [{"scene_id": SCENE, "alternative_situation": [], **row} for row in content["sqa3d"]]
    answers = [
        {"scene_id": SCENE, "question_id": row["question_id"], "answers": [{"answer": row["answer"]}]}
        for row in content["sqa3d"]
    ]
    (out / f"v1_balanced_questions_{split}_scannetv2.json").write_text(json.dumps({"questions": questions}))
    (out / f"v1_balanced_sqa_annotations_{split}_scannetv2.json").write_text(json.dumps({"annotations": answers}))
    described = [described_row(row, row["description"], row["ann_id"]) for row in content["scanrefer"]]
    (out / f"ScanRefer_filtered_{split}.json").write_text(json.dumps(described))
    several = [{"scene_id": SCENE, "ann_id": number, **row} for number, row in enumerate(content["multi3dref"])]
    (out / f"multi3drefer_{split}.json").write_text(json.dumps(several))
    captions = [
        described_row({"object_name": labels[row["object_id"]], **row}, caption, number)
        for number, row in enumerate(content["scan2cap"])
        for caption in row["captions"]
    ]
    (out / "captions" / f"ScanRefer_filtered_{split}.json").write_text(json.dumps(captions))


def described_row(row: dict, description: str, number: int) -> dict:
    """Return one ScanRefer row: ids are strings and names have underscores there."""
    tokens = description.replace(".", " .").replace(",", " ,").split()
    return {
        "scene_id": SCENE,
        "object_id": str(row["object_id"]),
        "object_name": row["object_name"].replace(" ", "_"),
        "ann_id": str(number),
        "description": description,
        "token": tokens,
    }
