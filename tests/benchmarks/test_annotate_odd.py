"""Official files with odd rows: each is used, counted, or refused with file and row."""

import json

import pytest
from official_files import answers_of

from gpt4scene.benchmarks.annotate import annotate
from gpt4scene.errors import DataError

ABSENT = object()
OFFICIAL = {
    "scanqa": ("ScanQA_v1.0_{}.json", None),
    "scanrefer": ("ScanRefer_filtered_{}.json", None),
    "scan2cap": ("ScanRefer_filtered_{}.json", None),
    "multi3dref": ("multi3drefer_{}.json", None),
    "sqa3d": ("sqa/v1_balanced_questions_{}_scannetv2.json", "questions"),
    "answers of sqa3d": ("sqa/v1_balanced_sqa_annotations_{}_scannetv2.json", "annotations"),
}


@pytest.fixture
def changed(raw, arguments):
    """Annotate after the first row of an official file was changed."""

    def run(which, split="val", say=lambda line: None, more=(), beside="", **change):
        name, around = OFFICIAL[which]
        path = raw / name.format(split)
        content = json.loads(path.read_text())
        rows = content if around is None else content[around]
        rows[0] = {key: value for key, value in (rows[0] | change).items() if value is not ABSENT}
        rows += more
        path.write_text(json.dumps(content))
        task = which.split()[-1]
        return annotate(arguments(split=split, task=f"{task},{beside}"), say=say).tasks[task]

    return run


@pytest.mark.parametrize(
    ("which", "change", "sentence"),
    [
        ("scanrefer", {"object_id": "9"}, "object 9 is past the 4 boxes of scene 'a_00'"),
        ("scanrefer", {"object_id": "-1"}, "object -1 is past the 4 boxes"),
        *(("scanrefer", {"object_id": value}, "'object_id' must hold whole") for value in (None, 1.5, True, "x", [1])),
        *(("scanrefer", {"description": value}, "'description' is missing or no text") for value in (" ", ABSENT, 3)),
        *(("scanrefer", {"ann_id": value}, "'ann_id' must be a text or a number") for value in ([1], {"a": 1}, True)),
        *(("scanrefer", {"object_name": value}, "'object_name' is missing") for value in (ABSENT, 3, "")),
        *(("scan2cap", {"token": value}, "'token' must be a list, found") for value in ("abc", 3, {"a": 1})),
        *(("scan2cap", {"token": ["a", value]}, "'token' must hold texts, found") for value in (None, ["b"], True)),
        *(("scanqa", {"answers": value}, "'answers' must be a list, found") for value in (ABSENT, None, "red", 3)),
        *(("scanqa", {"answers": ["red", value]}, "'answers' must hold texts, found") for value in (None, ["a"], True)),
        *(("scanqa", {"question_id": value}, "'question_id' must be a text or a") for value in ([1], {}, True)),
        *(("scanqa", {"object_ids": value}, "'object_ids' must") for value in (3, ["x"], [1.5], [None])),
        *(("scanqa", {"question": value}, "'question' is missing or no text") for value in ("  ", ABSENT, None)),
        *(("sqa3d", {"question_id": value}, "'question_id' is missing, by which") for value in (ABSENT, None, "")),
        ("sqa3d", {"question_id": [7]}, "'question_id' must be a text or a number"),
        ("sqa3d", {"question_id": 8}, "question 8 has no answers in the annotation file"),
        ("answers of sqa3d", {"scene_id": "a_00"}, "question 7 is about scene 'a_00' here, and about 'b_00' in"),
        *(("answers of sqa3d", {"answers": value}, "'answers' must be a list") for value in (None, "left", {"a": 1})),
        *(("answers of sqa3d", {"answers": [value]}, "'answers' must hold texts") for value in (None, {"a": 1}, ["x"])),
        ("multi3dref", {"eval_type": "zt_w_d"}, r"kind 'zt_w_d' means no object, but 'object_ids' holds .1, 2."),
        ("multi3dref", {"object_ids": []}, "a question of kind 'mt' has no target in 'object_ids'"),
        *(("multi3dref", {"object_ids": value}, "'object_ids' must") for value in (None, 1, "1", [1.5], [True])),
        ("multi3dref", {"eval_type": "many"}, "'eval_type' must be one of"),
        *(("multi3dref", {"ann_id": value}, "'ann_id' must be a text or a number") for value in ([1], True)),
    ],
)
def test_broken_raw_rows_are_named(changed, which, change, sentence):
    name = OFFICIAL[which][0].format("val")
    with pytest.raises(DataError, match=rf"{name}, row 0: .*{sentence}".replace(": .*'", ": '")):
        changed(which, **change)


@pytest.mark.parametrize("value", ["I stand.", 3, [None], {"a": 1}])
def test_situations_are_a_list_of_texts(changed, value):
    with pytest.raises(DataError, match="row 0: 'alternative_situation' must"):
        changed("sqa3d", "train", alternative_situation=value)


@pytest.mark.parametrize("which", ["sqa3d", "answers of sqa3d"])
def test_a_question_id_that_stands_twice_is_refused(changed, which):
    again = {"scene_id": "b_00", "question_id": 7, "situation": "x", "question": "Which?", "answers": ["right"]}
    with pytest.raises(DataError, match="row 1: 'question_id' is 7, as in .*row 0; remove one"):
        changed(which, more=[again])


@pytest.mark.parametrize(
    ("which", "change", "key"),
    [
        ("scanqa", {"question_id": ABSENT}, "qid"),
        ("scanqa", {"object_ids": ABSENT}, "obj_id"),
        ("scanrefer", {"ann_id": ABSENT}, "qid"),
        ("multi3dref", {"ann_id": None}, "qid"),
    ],
)
def test_what_a_row_does_not_say_is_null_and_never_0(changed, which, change, key):
    assert changed(which, **change).rows[0][key] is None


@pytest.mark.parametrize("which", ["scanqa", "answers of sqa3d"])
@pytest.mark.parametrize("answers", [[], [""], [" \n"]])
def test_questions_without_an_answer_are_counted(changed, which, answers):
    before = changed(which, "train").rows
    made = changed(which, "train", beside="scanrefer", answers=answers)
    assert len(made.rows) < len(before) and made.dropped["empty answer"] == 1
    assert changed(which, answers=answers).rows[0]["ref_captions"] == answers  # asked, and counted when it is scored


def test_answers_of_any_script_are_kept_as_they_are(changed):
    said = ["cafe\u0301 \u05db\u05d9\u05e1\u05d0", " two ", "\U0001fa91"]
    assert changed("scanqa", answers=said).rows[0]["ref_captions"] == said


def test_captions_without_tokens_are_said(changed):
    lines = []
    changed("scan2cap", token=ABSENT, say=lines.append)
    assert any("1 descriptions have no 'token'; their words" in line for line in lines)


def test_names_that_the_label_map_does_not_know_are_said(arguments, raw):
    head = "id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnyuClass\tnyu40class\n"
    (raw / "scannetv2-labels.combined.tsv").write_text(head + "1\tchair\tx\t1\t1\t1\tx\tchair\n")
    lines = []
    annotate(arguments(task="scanrefer"), say=lines.append)
    assert any("2 object names are not in" in line and "count as 'others': 'cabinet', 'lamp'" in line for line in lines)


@pytest.mark.parametrize(
    ("object_id", "sentence"), [("3a", "must hold whole numbers, found '3a'"), ("1,none", "found 'none'")]
)
def test_a_target_that_cannot_be_read_is_refused(arguments, raw, object_id, sentence):
    (raw / "vigil3d_scannet.csv").write_text(f'scene_id,object_id,description\na_00,"{object_id}",the chair\n')
    with pytest.raises(
        DataError, match=f"vigil3d_scannet.csv, row 0: 'object_id' .*{sentence}".replace(".*must", "must")
    ):
        annotate(arguments(split="train", task="vigil3d"))


def test_rows_that_are_marked_as_not_valid_are_counted(arguments, raw):
    rows = 'a_00,"1, 2",the chairs,1\na_00,,a bed,1\nb_00,0,the cabinet,0\n'
    (raw / "vigil3d_scannet.csv").write_text(f"scene_id,object_id,description,is_valid\n{rows}")
    made = annotate(arguments(split="train", task="vigil3d"), say=lambda line: None).tasks["vigil3d"]
    assert answers_of(made.rows) == ["Yes. <OBJ003> and <OBJ004>.", "No."]
    assert made.dropped == {"marked as not valid": 1}
