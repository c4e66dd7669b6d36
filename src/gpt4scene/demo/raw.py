"""The questions of synthetic rooms as the official raw files of the five benchmarks (Scan2Cap reads ScanRefer's)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.benchmarks import multi3dref, scanqa, scanrefer, sqa3d
from gpt4scene.demo.plan import RoomPlan
from gpt4scene.demo.questions import Asked, questions
from gpt4scene.files.whole import write_json


def write_raw(plans: Sequence[RoomPlan], out: str | Path, split: str) -> list[Path]:
    """Write the raw files of ``split`` about ``plans`` into ``out``, names and keys as official; return their paths."""
    out = Path(out)
    asked = [(plan, item) for plan in plans for item in questions(plan)]
    kinds = {kind: [pair for pair in asked if pair[1].kind == kind] for kind in ("qa", "situated", "one", "several")}
    situated = kinds["situated"]
    info = {"info": {"description": "questions about synthetic rooms"}, "data_type": "scannet", "data_subtype": "v2"}
    (qa,), (scanrefer_file,), (multi3dref_file,) = (
        value.BENCHMARK.raw_names(split) for value in (scanqa, scanrefer, multi3dref)
    )
    sqa_questions, sqa_annotations = sqa3d.BENCHMARK.raw_names(split)
    contents: dict[str, Any] = {
        qa: [_scanqa(plan, item, split, row) for row, (plan, item) in enumerate(kinds["qa"])],
        sqa_questions: {
            **info,
            "questions": [_sqa3d_question(plan, item, row) for row, (plan, item) in enumerate(situated)],
        },
        sqa_annotations: {
            **info,
            "annotations": [_sqa3d_annotation(plan, item, row) for row, (plan, item) in enumerate(situated)],
        },
        scanrefer_file: _scanrefer(kinds["one"]),
        multi3dref_file: [_multi3drefer(plan, item, row) for row, (plan, item) in enumerate(kinds["several"])],
    }
    return [write_json(out / name, content) for name, content in contents.items()]


def _scanqa(plan: RoomPlan, item: Asked, split: str, row: int) -> dict:
    return {
        "scene_id": plan.scene_id,
        "question_id": f"{split}-{plan.scene_id[:-3]}-{row}",
        "question": item.words,
        "answers": [item.answer],
        "object_ids": list(item.objects),
        "object_names": [plan.pieces[index].label for index in item.objects],
    }


def _sqa3d_question(plan: RoomPlan, item: Asked, row: int) -> dict:
    assert item.viewpoint
    return {
        "scene_id": plan.scene_id,
        "situation": item.viewpoint.words,
        "alternative_situation": [],
        "question": item.words,
        "question_id": row,
    }


def _sqa3d_annotation(plan: RoomPlan, item: Asked, row: int) -> dict:
    """The answer with the place it was asked from: metres and a turn about the vertical, in the aligned frame."""
    assert item.viewpoint
    half = float(np.arctan2(item.viewpoint.facing[1], item.viewpoint.facing[0])) / 2
    return {
        "scene_id": plan.scene_id,
        "question_id": row,
        "question_type": "N/A",
        "answer_type": "other",
        "answers": [{"answer": item.answer, "answer_confidence": "yes", "answer_id": 1}],
        "position": {"x": float(item.viewpoint.spot[0]), "y": float(item.viewpoint.spot[1]), "z": 0.0},
        "rotation": {"_x": 0, "_y": 0, "_z": float(np.sin(half)), "_w": float(np.cos(half))},
    }


def _scanrefer(asked: Sequence[tuple[RoomPlan, Asked]]) -> list[dict]:
    rows, counts = [], {}
    for plan, item in asked:
        target = plan.pieces[item.objects[0]]
        number = counts[plan.scene_id, target.id] = counts.get((plan.scene_id, target.id), -1) + 1
        rows.append(
            {
                "scene_id": plan.scene_id,
                "object_id": str(target.id),
                "object_name": target.label,
                "ann_id": str(number),
                "description": item.words,
                "token": re.findall(r"\w+|[^\w\s]", item.words),
            }
        )
    return rows


def _multi3drefer(plan: RoomPlan, item: Asked, row: int) -> dict:
    return {
        "scene_id": plan.scene_id,
        "object_ids": list(item.objects),
        "ann_id": row,
        "description": item.words,
        "eval_type": item.eval_type,
    }
