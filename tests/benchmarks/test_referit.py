import csv
import random

import pytest

from gpt4scene.benchmarks import scanrefer
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.referit import NR3D, SR3D, question_type, score
from gpt4scene.benchmarks.registry import SOURCES
from gpt4scene.errors import DataError
from gpt4scene.metrics.boxes import scene_boxes

BOXES = {"s": [[2.0 * n, 0, 0, 1, 1, 1] for n in range(40)]}


def row(pred, target=1, kind="easy_dep"):
    return {"scene_id": "s", "pred": pred, "gt_id": target, "type_info": kind}


def test_accuracy_by_difficulty_and_view():
    rows = [row("<OBJ001>"), row("<OBJ002>", kind="hard_dep")]
    rows += [row("", 0, "hard_indep"), row("<OBJ001>", kind="easy_indep")]
    report = score(rows, BOXES)
    assert report.scores == {
        "Overall Acc": 0.75,
        "Easy Acc": 1.0,
        "Hard Acc": 0.5,
        "View Dep Acc": 0.5,
        "View Indep Acc": 1.0,
        "strict Overall Acc": 0.5,
    }
    assert report.counts["unreadable answers"] == 1


def test_rows_in_the_form_of_scanrefer_get_the_same_accuracy_where_objects_are_marked():
    rows = [row("<OBJ001>"), row("<OBJ002>", kind="hard_dep"), row("", 0, "hard_indep")]
    marked = scanrefer.score(rows, BOXES, BOXES).scores
    assert {metric: marked[metric] for metric in score(rows, BOXES).scores} == score(rows, BOXES).scores
    assert marked["Hard Acc@0.50"] == 0.5
    assert "Unique Acc@0.50" not in marked


def test_numbers_of_proposals_have_no_referit_accuracy():
    proposals = {"s": BOXES["s"][1:]}
    report = scanrefer.score([row("<OBJ000>"), row("<OBJ001>", kind="hard_dep")], proposals, BOXES)
    assert report.scores["Easy Acc@0.50"] == 1
    assert report.scores["View Dep Acc@0.50"] == 0.5
    assert "Easy Acc" not in report.scores
    assert "ground-truth objects" in report.notes[-1]
    assert report.rows.groups["kind"] == ("easy_dep", "hard_dep")


def test_bad_rows_are_named():
    with pytest.raises(DataError, match="nr3d, row 0: 'type_info' must be easy or hard"):
        score([row("", kind="easy")], BOXES)
    with pytest.raises(DataError, match="scene 's' is not in the ground-truth boxes"):
        score([row("")], {"t": []})


def test_question_types():
    assert question_type("scene0525_00-plant-5-10-9-11-12-13", ["the", "left", "plant"]) == "hard_dep"
    assert question_type("scene0525_00-plant-2-10-9", ["big"]) == "easy_indep"


COLUMNS = ["assignmentid", "stimulus_id", "utterance", "correct_guess", "speaker_id", "listener_id", "scan_id"]
COLUMNS += ["instance_type", "target_id", "tokens", "dataset", "mentions_target_class", "uses_object_lang"]
COLUMNS += ["uses_spatial_lang", "uses_color_lang", "uses_shape_lang"]
"""Columns of the official file."""


def nr3d_row(number, scene, stimulus, utterance, mentioned):
    tokens = str(utterance.replace(",", "").split())
    tail = [scene, "lamp", 3, tokens, "nr3d", mentioned, "True", "False", "False", "False"]
    return [number, stimulus, utterance, "True", 7, 8, *tail]


@pytest.fixture
def nr3d(tmp_path):
    path = tmp_path / "nr3d.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerow(nr3d_row(1, "s", "s-lamp-2-3-4", "the lamp on the right", "True"))
        writer.writerow(nr3d_row(2, "gone", "gone-lamp-4-3-4", "the lamp", "True"))
        writer.writerow(nr3d_row(3, "s", "s-lamp-2-3-4", "the thing, you know", "False"))
    return path


def test_referit_rows_become_training_rows(nr3d):
    boxes = scene_boxes(BOXES, "boxes")
    scenes = Scenes({"s": ("a.jpg",)}, boxes, boxes)
    records = NR3D.read([nr3d])
    made = NR3D.make_training(records, scenes, random.Random(0))
    assert [row.answer for row in made.rows] == ["<OBJ003>.", "<OBJ003>."]
    assert "the lamp on the right" in made.rows[0].question
    assert made.dropped == {"scene without images": 1}
    assert records[0].values["type_info"] == "easy_dep"


def test_referit_rows_become_questions_of_scanrefer(nr3d):
    boxes = scene_boxes(BOXES, "boxes")
    made = NR3D.make_questions(NR3D.read([nr3d]), Scenes({"s": ("a.jpg",)}, boxes, boxes))
    assert [(row["obj_id"], row["qid"], row["type_info"]) for row in made.rows] == [(3, "s_3_1", "easy_dep")]
    assert made.dropped == {"scene without images": 1, "target class not mentioned": 1}


def test_sr3d_columns(tmp_path):
    head = "scan_id,target_id,distractor_ids,utterance,stimulus_id,coarse_reference_type,reference_type,instance_type,"
    head += "anchors_types,anchor_ids,tokens,dataset,mentions_target_class,correct_guess\n"
    row = "s,3,[4],choose the lamp,s-lamp-2-3-4,horizontal,closest,lamp,\"['door']\",[9],"
    row += "\"['choose', 'lamp']\",sr3d,True,True\n"
    (tmp_path / "sr3d.csv").write_text(head + row)
    (record,) = SR3D.read([tmp_path / "sr3d.csv"])
    assert record.values["type_info"] == "easy_indep"
    assert record.whole("object_id") == 3


def test_broken_columns_are_named(nr3d):
    nr3d.write_text(nr3d.read_text().replace("s-lamp-2", "s-lamp-x"))
    with pytest.raises(DataError, match="nr3d.csv, row 0: 'stimulus_id' or 'tokens'"):
        NR3D.read([nr3d])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "rows", "none", "several"),
    [
        ("beacon3d", "beacon3d/scannet_grounding.json", 1611, 0, 234),
        ("vigil3d", "vigil3d/vigil3d_scannet.csv", 239, 29, 20),
    ],
)
def test_real_files(name, file, rows, none, several, shared_data):
    source = SOURCES[name]
    records = source.read([shared_data / "annotations" / file])
    counts = [len(record.wholes("object_ids")) for record in records]
    assert (len(records), counts.count(0), sum(count > 1 for count in counts)) == (rows, none, several)
    boxes = scene_boxes({r.text("scene_id"): [[2.0 * n, 0, 0, 1, 1, 1] for n in range(300)] for r in records}, "boxes")
    scenes = Scenes(dict.fromkeys(boxes, ("a.jpg",)), boxes, boxes)
    made = source.make_training(records, scenes, random.Random(0))
    assert len(made.rows) == rows
    assert sum(row.answer == "No." for row in made.rows) == none
