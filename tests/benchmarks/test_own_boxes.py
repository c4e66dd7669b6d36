"""Objects that answers name by number or by boxes of their own, against the official file and true boxes alone."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.benchmarks.objects_said import objects_said
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.row_details import row_details
from gpt4scene.benchmarks.score import score_answers, score_files
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.boxes import boxes_by_number, read_boxes
from gpt4scene.files.named_answers import named_of
from gpt4scene.metrics.answer_boxes import boxes_of
from gpt4scene.report.judging import judge_all

TRUTH = {
    "room": {"0": [0, 0, 0, 1, 1, 1], "4": [5.0, 0, 0, 2, 1, 1], "7": [0, 9, 0, 1, 1, 1]},
    "hall": {"1": [1.5, 1.5, 1.5, 1, 2, 3]},
}


def described(scene, target, number, text="the thing"):
    return {"scene_id": scene, "object_id": str(target), "object_name": "thing", "ann_id": number, "description": text}


SCANREFER = [described("room", 4, "0"), described("room", 7, "1"), described("hall", 1, "0")]
MULTI = [
    {"scene_id": "room", "ann_id": 0, "object_ids": [0, 7], "eval_type": "mt", "description": "two things"},
    {"scene_id": "room", "ann_id": 1, "object_ids": [], "eval_type": "zt_w_d", "description": "no thing"},
    {"scene_id": "hall", "ann_id": 2, "object_ids": [1], "eval_type": "st_wo_d", "description": "a thing"},
]
RIGHT = {"room_4_0": [5.0, 0, 0, 2, 1, 1], "room_7_1": [0.0, 9, 0, 1, 1, 1], "hall_1_0": [1.5, 1.5, 1.5, 1, 2, 3]}


def corners(box, turn=0.0):
    """The eight corners of a box, turned around its centre."""
    centre, size = np.array(box[:3], dtype=float), np.array(box[3:], dtype=float)
    signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    turned = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    return (signs @ turned.T + centre).tolist()


def grounded(answers, **more):
    return score_answers(answers, SCANREFER, "scanrefer", boxes=TRUTH, **more)


def test_the_true_boxes_are_all_right_in_every_form():
    forms = {
        "box": RIGHT,
        "boxes": {qid: [box] for qid, box in RIGHT.items()},
        "corners": {qid: corners(box) for qid, box in RIGHT.items()},
        "text": {qid: json.dumps(box) for qid, box in RIGHT.items()},
        "ids with bars": {qid.replace("_", "|"): box for qid, box in RIGHT.items()},
        "rows": [{"question_id": qid, "pred_bbox": box} for qid, box in RIGHT.items()],
        "submission": [
            {"scene_id": qid.split("_")[0], "object_id": int(qid.split("_")[1]), "ann_id": 0, "bbox": corners(box)}
            | {"ann_id": int(qid.split("_")[2])}
            for qid, box in RIGHT.items()
        ],
        "numbers": {"room_4_0": 4, "room_7_1": [7], "hall_1_0": 1},
        "number texts": {"room_4_0": "4", "room_7_1": "7", "hall_1_0": "1"},
        "marks": {"room_4_0": "<OBJ004>.", "room_7_1": "It is <OBJ007>", "hall_1_0": "<OBJ001>"},
    }
    for name, answers in forms.items():
        report = grounded(answers)
        assert report.scores["Acc@0.50"] == report.scores["strict Acc@0.50"] == 1, name
        assert report.counts["missing questions"] == report.counts["unreadable answers"] == 0, name


def test_arrays_of_a_detector_are_boxes():
    for kind in (np.float64, np.float32):
        answers = {qid: np.array(box, dtype=kind) for qid, box in RIGHT.items()}
        truth = {scene: {key: np.array(box) for key, box in found.items()} for scene, found in TRUTH.items()}
        for found in (answers, {qid: [box] for qid, box in answers.items()}):
            report = score_answers(found, SCANREFER, "scanrefer", boxes=truth)
            assert report.scores == grounded(RIGHT).scores and report.signature == grounded(RIGHT).signature
    rows = [{"qid": qid, "boxes": np.array([box, box]), "scores": np.array([0.5, 0.1])} for qid, box in RIGHT.items()]
    assert grounded(rows).scores == grounded(RIGHT).scores


def test_references_that_are_no_rows_are_one_sentence():
    with pytest.raises(DataError, match="references, row 0: expected an official row, .* found a str"):
        score_answers(RIGHT, {"scene_id": "room"}, "scanrefer", boxes=TRUTH)


def test_what_is_written_of_an_answer_are_its_own_boxes():
    entries = row_details(grounded(RIGHT), BENCHMARKS["scanrefer"])
    assert [entry["pred"] for entry in entries] == [str([float(value) for value in box]) for box in RIGHT.values()]
    (entry, *_) = row_details(grounded(RIGHT | {"room_4_0": None}), BENCHMARKS["scanrefer"])
    assert entry["pred"] == ""


def test_own_boxes_and_proposals_have_signatures_of_their_own():
    own, numbered = grounded(RIGHT).signature, grounded({"room_4_0": 4, "room_7_1": 7, "hall_1_0": 1}).signature
    assert "|boxes:own-" in own and "|boxes:proposals-" in numbered
    other = {qid: [*box[:3], 3.0, 3.0, 3.0] for qid, box in RIGHT.items()}
    assert grounded(other).signature == own, "the signature is about the truth, not about what a detector found"


def test_an_answer_without_a_box_meets_nothing():
    truth = {"room": {"4": TRUTH["room"]["4"], "7": TRUTH["room"]["4"]}, "hall": TRUTH["hall"]}
    answers = {"room_4_0": RIGHT["room_4_0"], "room_7_1": None, "hall_1_0": []}
    report = score_answers(answers, SCANREFER, "scanrefer", boxes=truth)
    assert report.scores["Acc@0.25"] == pytest.approx(1 / 3), "the box of another answer is nobody's fallback"
    assert report.counts["unreadable answers"] == 2
    assert "boxes are those of the answers themselves" in report.notes


def test_turned_boxes_count_by_the_box_around_their_corners():
    square = [0.0, 0.0, 0.0, 2.0, 2.0, 1.0]
    around = boxes_of(corners(square, math.pi / 4), "row")[0]
    np.testing.assert_allclose(around, [0, 0, 0, 2 * math.sqrt(2), 2 * math.sqrt(2), 1], atol=1e-12)


def test_of_several_boxes_the_first_or_the_surest_counts_where_one_is_asked_for():
    wrong = [99.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    first = grounded({qid: [box, wrong] for qid, box in RIGHT.items()})
    assert first.scores["Acc@0.50"] == 1
    assert any(
        "several boxes in an answer: 3; where one object is asked for, the first counts" in n for n in first.notes
    )
    assert grounded({qid: [wrong, box] for qid, box in RIGHT.items()}).scores["Acc@0.50"] == 0
    surest = grounded({qid: {"boxes": [wrong, box], "scores": [0.2, 0.9]} for qid, box in RIGHT.items()})
    assert surest.scores["Acc@0.50"] == 1
    assert any("the one of the highest score counts" in note for note in surest.notes)
    rows = [{"qid": qid, "boxes": [wrong, box], "scores": [0.2, 0.9]} for qid, box in RIGHT.items()]
    assert grounded(rows).scores == surest.scores


def test_all_boxes_count_where_all_objects_are_asked_for():
    answers = {"room_0": [TRUTH["room"]["7"], TRUTH["room"]["0"]], "room_1": [], "hall_2": [RIGHT["hall_1_0"]]}
    report = score_answers(answers, MULTI, "multi3dref", boxes=TRUTH)
    assert report.scores["all F1@0.50"] == report.scores["zt_w_d F1@0.50"] == 1
    half = {**answers, "room_0": [TRUTH["room"]["7"]], "room_1": [RIGHT["hall_1_0"]]}
    report = score_answers(half, MULTI, "multi3dref", boxes=TRUTH)
    assert report.scores["mt F1@0.50"] == pytest.approx(2 / 3)
    assert report.scores["zt_w_d F1@0.50"] == 0
    numbers = {"room_0": [0, 7], "room_1": [], "hall_2": 1}
    assert score_answers(numbers, MULTI, "multi3dref", boxes=TRUTH).scores["all F1@0.50"] == 1


def test_more_answers_of_a_room_than_marks_can_tell_apart():
    records = [described("room", 4, str(number)) for number in range(1200)]
    answers = {f"room_4_{number}": [5.0, 0, 0, 2, 1, 1 + number * 1e-6] for number in range(1200)}
    assert score_answers(answers, records, "scanrefer", boxes=TRUTH).scores["Acc@0.50"] == 1


def test_captions_about_the_objects_themselves_need_no_boxes(monkeypatch, tmp_path):
    monkeypatch.setattr("gpt4scene.metrics.texts.find_java", lambda: None)
    official = tmp_path / "ScanRefer_filtered_val.json"
    official.write_text(json.dumps([*SCANREFER, described("room", 4, "1", "a wide table")]))
    mine = tmp_path / "mine.json"
    for spelled in ("{}|{}", "{}_{}"):
        captions = {spelled.format(scene, target): "the thing" for scene, target in (("room", 4), ("hall", 1))}
        mine.write_text(json.dumps(captions))
        report = score_files(mine, official, "scan2cap")
        assert report.counts["objects"] == report.counts["questions"] == 3
        assert report.counts["objects without an answer"] == 1
        assert report.scores["ROUGE_L@0.25"] == report.scores["ROUGE_L@0.50"] > 0.5
        assert any("no box is compared" in note for note in report.notes)
        assert "|boxes:none|" in report.signature


@pytest.mark.parametrize("suffix", ["json", "pt"])
def test_true_boxes_come_from_json_or_an_attributes_file(tmp_path, suffix):
    from gpt4scene.files.annotation import write_attributes

    path = tmp_path / f"boxes.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps({"hall": [[0, 0, 0, 1, 1, 1], corners([1.5, 1.5, 1.5, 1, 2, 3])]}))
    else:
        boxes = [[0.0, 0, 0, 1, 1, 1], [1.5, 1.5, 1.5, 1, 2, 3]]
        write_attributes(path, {"hall": {"objects": ["a", "b"], "locs": boxes}})
    np.testing.assert_allclose(read_boxes(path).row("hall", 1, "row"), [1.5, 1.5, 1.5, 1, 2, 3])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], r"expected \{scene: \{object id: box\}\}"),
        ({"room": 3}, r"scene 'room' must hold \{object id: box\}, found 3"),
        ({"room": {"chair": [0, 0, 0, 1, 1, 1]}}, "scene 'room' has the object 'chair'; the number of an object"),
        ({"room": {"999999999999": [0, 0, 0, 1, 1, 1]}}, "has the object '999999999999'"),
        ({"room": {"0": [0, 0, 0, 1, 1]}}, r"scene 'room', object 0: \[0, 0, 0, 1, 1\] is no box"),
        ({"room": {"0": [0, 0, 0, 1, 1, -1]}}, "holds a value that is not finite or a negative size"),
    ],
)
def test_broken_true_boxes_are_named(content, sentence):
    with pytest.raises(DataError, match=sentence):
        boxes_by_number(content, "boxes.json")


def test_an_object_without_a_true_box_is_refused_not_empty():
    with pytest.raises(DataError, match=r"has no box of object 7 of scene 'room' \(it has 0, 4, …\)"):
        score_answers(RIGHT, SCANREFER, "scanrefer", boxes={**TRUTH, "room": {"0": [0, 0, 0, 1, 1, 1], "4": [0] * 6}})


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"a": [1.5, 2, 3, 4, 5]}, "are no numbers of objects and no box"),
        ({"a": [1.5, 2, 3, 4, 5, 6, 0.1]}, "are no numbers of objects and no box"),
        ({"a": [[1, 2, 3, 4, 5, 6, 7]]}, "box 0 has 7 values; a box is"),
        ({"a": [[0.0, 0, 0, 1, 1, 1], [0, 0, 0]]}, "box 1 has 3 values"),
        ({"a": [0.0, 0, 0, 1, 1, -1]}, "negative size"),
        ({"a": [0.0, 0, 0, 1, 1, float("inf")]}, "not finite"),
        ({"a": [1, 2, 3, 4, 5, 6]}, "six whole numbers may be a box or six objects"),
        ({"a": [1.0, 2, 3, 4, 5, 6], "b": 3}, "gives boxes, and .* numbers of objects"),
        ({"a": -1}, "a whole number from 0, found -1"),
        ({"a": 2.5}, "a whole number from 0, found 2.5"),
        ({"a": 1000}, "names object 1000; answers can name objects 0 to 999"),
        ({"a": {"boxes": [[0, 0, 0, 1, 1, 1]], "scores": [0.1, 0.2]}}, "has 1 boxes and 2 scores"),
        ({"a": {"boxes": [[0, 0, 0, 1, 1, 1]], "scores": ["high"]}}, "a score must be a number"),
        ({"a": {"boxes": [], "bbox": []}}, "keep one list of boxes"),
    ],
)
def test_answers_that_are_no_objects_are_named(answers, sentence):
    with pytest.raises(DataError, match=sentence):
        objects_said(named_of(answers, "mine").rows)


def test_six_whole_numbers_are_what_the_rest_of_the_file_is():
    six = [1, 2, 3, 4, 5, 6]
    assert not objects_said(named_of({"a": six, "b": 3}, "mine").rows).own
    assert len(objects_said(named_of({"a": six, "b": [1.5, 2, 3, 4, 5, 6]}, "mine").rows).own) == 2


BOX = st.tuples(*[st.floats(-9, 9)] * 3, *[st.floats(0, 9)] * 3).map(lambda box: [float(one) for one in box])


@given(BOX, st.permutations(range(8)))
def test_corners_in_any_order_are_the_box(box, order):
    points = corners(box)
    np.testing.assert_allclose(boxes_of([points[place] for place in order], "row")[0], box, atol=1e-9)


@pytest.mark.slow
@given(st.fixed_dictionaries({qid: st.one_of(BOX, st.lists(BOX, max_size=3)) for qid in RIGHT}), st.randoms())
def test_figures_stay_in_range_and_the_order_of_rows_is_free(answers, chance):
    report = grounded(answers)
    assert all(0 <= value <= 1 for value in report.scores.values())
    shuffled = list(answers.items())
    chance.shuffle(shuffled)
    assert grounded(dict(shuffled)).scores == report.scores


def test_what_numbers_mean_without_proposals_and_how_kinds_were_told_is_said():
    notes = grounded({"room_4_0": 4}).notes
    assert "no file of proposals: numbers in answers mean the objects of the true boxes" in notes
    assert any("unique and multiple go by the raw object names" in note for note in notes)
    assert not any("numbers in answers mean" in note for note in grounded(RIGHT).notes)


def test_a_number_of_no_object_is_a_wrong_answer():
    assert grounded({"room_4_0": 4, "room_7_1": 500, "hall_1_0": 0}).scores["strict Acc@0.25"] == pytest.approx(1 / 3)


def test_a_report_holds_the_boxes_that_its_answers_were_scored_with():
    report = grounded({"room_4_0": [RIGHT["room_4_0"]], "room_7_1": None})
    found = report.annotation.proposals
    shapes = [found.of(row.scene_id, row.origin).shape for row in report.answers]
    assert shapes == [(1, 6), (0, 6)]


def test_true_boxes_that_no_task_looks_at_are_refused():
    questions = [{"scene_id": "room", "question_id": "a", "question": "What?", "answers": ["chair"]}]
    with pytest.raises(ConfigError, match="scanqa compares no boxes"):
        score_answers({"a": "chair"}, questions, "scanqa", boxes=TRUTH)


def test_objects_are_called_as_the_official_rows_name_them_and_by_number_alone_where_none_does():
    named = [SCANREFER[0] | {"object_name": "office_chair"}, *SCANREFER[1:]]
    report = score_answers(RIGHT, named, "scanrefer", boxes=TRUTH)
    judged = judge_all(BENCHMARKS["scanrefer"], report.answers, report, report.annotation)
    assert [one.compared for one in judged] == [
        ("object 4 (office chair)",),
        ("object 7 (thing)",),
        ("object 1 (thing)",),
    ]
    assert report.rows.groups["label"] == ("office chair", "thing", "thing")
    multi = [MULTI[0] | {"object_name": "lamp"}, MULTI[1], MULTI[2] | {"object_name": ""}]
    report = score_answers({"room_0": [], "room_1": [], "hall_2": []}, multi, "multi3dref", boxes=TRUTH)
    judged = judge_all(BENCHMARKS["multi3dref"], report.answers, report, report.annotation)
    assert [one.references for one in judged] == [("object 0 (lamp)", "object 7 (lamp)"), ("no object",), ("object 1",)]


def test_a_choice_of_text_metrics_is_said_to_change_nothing_where_there_are_none():
    said = "the choice of metrics changes nothing here: scanrefer has no metrics of texts by these rules"
    assert said in grounded(RIGHT, metrics="em").notes and said not in grounded(RIGHT).notes
