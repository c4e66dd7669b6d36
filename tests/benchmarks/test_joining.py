"""The question file is the truth about answers: how they find their question, and what may not differ."""

import json

import pytest
import torch
from five import FIVE

from gpt4scene.benchmarks.answers import read_answered
from gpt4scene.benchmarks.joining import join, meaning
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.types import Question

FILES = {task: benchmark.question_name("val") for task, benchmark in BENCHMARKS.items()}
ASKED = {
    "scanqa": {"ref_captions": ["brown", "dark brown"]},
    "sqa3d": {"ref_captions": ["two"], "sqa_type": 2},
    "scan2cap": {"ref_captions": ["sos a chair eos"], "pred_id": 1},
    "scanrefer": {"ref_captions": ["<OBJ001>."]},
    "multi3dref": {"ref_captions": [1], "eval_type": "st_wo_d"},
}
NEEDS = {
    "scanqa": {"ref_captions"},
    "sqa3d": {"ref_captions", "type_info"},
    "scan2cap": {"gt_id", "pred_id"},
    "scanrefer": {"gt_id"},
    "multi3dref": {"ref_captions", "type_info"},
}


def asked(task, prompt="What?", scene="s", **keys):
    return {"scene_id": scene, "obj_id": 1, "prompt": prompt, **ASKED[task], **keys}


def said(task, question, pred="x", **keys):
    """The public row of an answer to ``question``."""
    kind = question.get("sqa_type", question.get("eval_type", 0))
    row = {"scene_id": question["scene_id"], "qid": question.get("qid", 0), "gt_id": question["obj_id"]}
    row |= {"pred_id": question.get("pred_id", 0), "prompt": question["prompt"], "pred": pred}
    return row | {"ref_captions": question["ref_captions"], "type_info": kind} | keys


@pytest.fixture
def answered(tmp_path):
    """Write questions and predictions of a task and read them together."""

    def read(task, questions, rows):
        for folder, name, content in (("annotation", FILES[task], questions), ("predictions", f"{task}.json", rows)):
            (tmp_path / folder).mkdir(exist_ok=True)
            if content is not None:
                (tmp_path / folder / name).write_text(json.dumps(content))
        return read_answered(tmp_path / "predictions", tmp_path / "annotation", task)

    return read


def test_every_benchmark_declares_what_it_needs():
    assert {task: set(BENCHMARKS[task].needs) for task in FIVE} == NEEDS


@pytest.mark.parametrize(("task", "key"), [(task, key) for task, keys in NEEDS.items() for key in sorted(keys)])
@pytest.mark.parametrize("empty", ["absent", None])
def test_a_missing_key_is_refused_without_a_question_file_and_taken_from_it_with_one(answered, task, key, empty):
    full = said(task, asked(task))
    row = {name: value for name, value in full.items() if name != key} | ({key: None} if empty is None else {})
    single = key in BENCHMARKS[task].single  # one row is counted instead
    if single:
        assert answered(task, None, [full, row]).rows
    with pytest.raises(DataError, match=rf"{task}.json, row {int(not single)}: '{key}' is missing.*question file"):
        answered(task, None, [row, row] if single else [full, row])
    joined = answered(task, [asked(task), asked(task, "Other?")], [row]).rows[0]
    expected = full[key] if key != "ref_captions" else tuple(full[key])
    assert getattr(joined, key) == expected


@pytest.mark.parametrize("task", FIVE)
def test_an_unneeded_key_may_be_missing(answered, task):
    full = said(task, asked(task))
    optional = {"gt_id", "pred_id", "ref_captions", "type_info"} - NEEDS[task]
    assert answered(task, None, [{name: value for name, value in full.items() if name not in optional}]).rows


@pytest.mark.parametrize(
    ("task", "key", "value"),
    [
        ("scanqa", "ref_captions", ["x"]),
        ("sqa3d", "ref_captions", ["x"]),
        ("sqa3d", "type_info", 0),
        ("multi3dref", "ref_captions", []),
        ("multi3dref", "type_info", "mt"),
        ("scan2cap", "pred_id", 0),
        ("scan2cap", "ref_captions", ["sos x eos"]),
        ("scanrefer", "gt_id", 0),
    ],
)
@pytest.mark.parametrize("identity", [{"qid": "q1"}, {"index": 1, "qid": None}])
def test_what_contradicts_the_question_file_is_refused_by_row(answered, task, key, value, identity):
    questions = [asked(task, "First?", qid="q0"), asked(task, "Second?", qid="q1")]
    rows = [said(task, questions[0], **({"index": 0} if "index" in identity else {}))]
    rows.append(said(task, questions[1], **identity, **{key: value}))
    with pytest.raises(DataError, match=rf"{task}.json, row 1: '{key}' is .*_val.json, row 1, which"):
        answered(task, questions, rows)


def test_references_that_repeat_the_answers_do_not_score(answered):
    questions = [asked("scanqa", f"What {n}?") for n in range(3)]
    with pytest.raises(DataError, match="row 0: 'ref_captions' is"):
        answered("scanqa", questions, [said("scanqa", q, pred="x", ref_captions=["x"]) for q in questions])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1", 1),
        (1.0, 1),
        ("caf\u00e9", "cafe\u0301"),
        ([1, 2], (2, "1")),
        (" a  chair", "a chair"),
    ],
)
def test_what_means_the_same(first, second):
    assert meaning(first) == meaning(second)


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ([1], [1, 1]), ("01", 1), ([], ["a"]), ("A", "a")])
def test_what_means_something_else(first, second):
    assert meaning(first) != meaning(second)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "<image>\n<image>\nWhat   1?"},
        {"prompt": " What 1?\n", "qid": None},
        {"qid": "q1", "prompt": ""},
        {"qid": "q1", "prompt": "Say it in other words: what 1?"},
        {"index": 1, "prompt": ""},
        {"gt_id": 1.0},
        {"gt_id": "1", "ref_captions": ["dark brown", "brown"]},
    ],
)
def test_an_answer_finds_its_question_in_any_order(answered, change):
    questions = [asked("scanqa", f"What {n}?", qid=f"q{n}") for n in range(3)]
    rows = [said("scanqa", q, pred=f"{n}", qid=None) for n, q in enumerate(questions)]
    rows[1] |= change
    found = answered("scanqa", questions, rows[::-1]).rows
    assert [(row.index, row.pred, row.prompt) for row in found] == [(n, f"{n}", f"What {n}?") for n in range(3)]


def test_shared_and_missing_qids(answered):
    questions = [asked("scanqa", "A?", qid="q"), asked("scanqa", "B?", qid="q"), asked("scanqa", "C?")]
    rows = [said("scanqa", q, pred=q["prompt"]) for q in questions]
    found = answered("scanqa", questions, rows[::-1]).rows
    assert [row.pred for row in found] == ["A?", "B?", "C?"]


def question(index, prompt="A?", **keys):
    return Question("scanqa", index, "s", prompt, **{"ref_captions": ("a",), **keys})


def test_repeated_questions_are_answered_as_often_as_they_are_asked(tmp_path):
    rows = [AnswerRow("s", str(n), prompt="A?", origin=f"row {n}") for n in range(3)]
    asked_twice = [question(0), question(1)]
    assert len(join(rows[:2], asked_twice, tmp_path, ("ref_captions",))[0]) == 2
    with pytest.raises(DataError, match="row 2: there are more answers about scene 's'"):
        join(rows, asked_twice, tmp_path, ("ref_captions",))


def test_an_answer_to_either_of_two_different_questions_is_refused_unless_it_says_which(tmp_path):
    questions = [question(0), question(1, ref_captions=("b",))]
    with pytest.raises(DataError, match="row: may answer row 0 or row 1 .* differ in ref_captions"):
        join([AnswerRow("s", "x", prompt="A?")], questions, tmp_path, ("ref_captions",))
    told = join([AnswerRow("s", "x", prompt="A?", ref_captions=("b",))], questions, tmp_path, ("ref_captions",))[0]
    assert told[0].index == 1


def test_the_surest_answers_choose_first(tmp_path):
    questions = [question(0, qid="q0"), question(1, qid="q1")]
    rows = [AnswerRow("s", "either", prompt="A?"), AnswerRow("s", "first", prompt="A?", qid="q0")]
    assert [row.pred for row in join(rows, questions, tmp_path, ("ref_captions",))[0]] == ["first", "either"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"index": 5}, "question 5 of scene 's' is not in"),
        ({"index": 0, "prompt": "Something else?"}, "has another prompt"),
        ({"scene_id": "elsewhere"}, "no question in .*scanqa_val.json is about scene 'elsewhere'"),
        ({"prompt": "Something else?"}, "no question in .* about scene 's' has the prompt 'Something else"),
        ({"gt_id": 7}, "no question in .* has the 'obj_id' 7; correct 'gt_id'"),
    ],
)
def test_answers_to_other_questions_are_refused(answered, row, words):
    questions = [asked("scanqa")]
    with pytest.raises(DataError, match=f"row 0: .*{words}"):
        answered("scanqa", questions, [said("scanqa", questions[0]) | row])


def swapped(task, key, **both):
    """Answers to three questions of a room and one of another, where ``key`` of the second and third are swapped."""
    questions = [asked(task, f"What {n}?", qid=f"q{n}", scene="s" if n < 3 else "t", obj_id=n) for n in range(4)]
    rows = [said(task, q, index=n, ref_captions=None, type_info=None) | both for n, q in enumerate(questions)]
    rows[1][key], rows[2][key] = rows[2][key], rows[1][key]
    return questions, rows


@pytest.mark.parametrize("task", FIVE)
@pytest.mark.parametrize(
    ("key", "both", "words"),
    [
        ("prompt", {"index": None}, "'prompt' is What 2\\?, which belongs to row 2 of .*, but .* to row 1"),
        ("prompt", {}, "'prompt' is What 2\\?, which belongs to row 2 of .*, but .* to row 1"),
        ("qid", {}, "'qid' is q2, which belongs to row 2 of .*, but .* to row 1"),
        ("qid", {"prompt": "", "gt_id": None, "pred_id": None}, "'qid' is q2, which belongs to row 2"),
        ("qid", {"index": None}, "'prompt' is What 1\\?, which belongs to row 1 of .*, but .* to row 2"),
        ("index", {"prompt": "", "gt_id": None, "pred_id": None}, "'qid' is q2, which belongs to row 2"),
    ],
)
def test_keys_that_name_different_questions_are_refused(answered, task, key, both, words):
    questions, rows = swapped(task, key, **both)
    with pytest.raises(DataError, match=rf"{task}.json, row \d: {words}"):
        answered(task, questions, rows)


@pytest.mark.parametrize("task", FIVE)
def test_rows_under_the_name_of_another_scene_are_refused(answered, task):
    questions = [asked(task, "What?", qid=f"q {scene}", scene=scene) for scene in "st"]
    rows = [said(task, question, scene_id=other) for question, other in zip(questions, "ts", strict=True)]
    with pytest.raises(DataError, match=f"{task}.json, row 0: 'qid' is q s, which belongs to row 0"):
        answered(task, questions, rows)


@pytest.mark.parametrize("qids", [[7, 7], [0, 0], [None, ""], ["of", "another numbering"]])
def test_a_qid_that_the_question_file_does_not_know_is_no_contradiction(answered, qids):
    questions = [asked("scanqa", f"What {n}?", qid=f"q{n}") for n in range(2)]
    rows = [said("scanqa", q, qid=qid) for q, qid in zip(questions, qids, strict=True)]
    assert [row.index for row in answered("scanqa", questions, rows[::-1]).rows] == [0, 1]


def test_a_prompt_in_other_words_is_noted(answered):
    questions = [asked("scanqa", f"What {n}?", qid=f"q{n}") for n in range(3)]
    rows = [said("scanqa", q) for q in questions]
    assert not answered("scanqa", questions, rows).notes
    rows[1]["prompt"] = "Tell me: what 1?"
    note = answered("scanqa", questions, rows).notes[0]
    assert note.startswith("1 answers were given to a prompt in other words than") and "scanqa.json, row 1" in note


def test_an_error_about_the_truth_names_the_question_file_and_its_row(answered):
    from gpt4scene.benchmarks import sqa3d

    questions = [asked("sqa3d", f"What {n}?", sqa_type=kind) for n, kind in enumerate((0, 9))]
    rows = answered("sqa3d", questions, [said("sqa3d", q, type_info=None) for q in questions]).rows
    with pytest.raises(DataError, match=r"sqa3d.json, row 1 \(question: .*sqa3d_val.json, row 1\): 'type_info' must"):
        sqa3d.score(rows)


def test_a_question_file_that_says_nothing_of_references_is_noted(answered):
    questions = [{"scene_id": "s", "prompt": "What?"}]
    found = answered("scanqa", questions, [said("scanqa", asked("scanqa"))])
    assert any("has no 'ref_captions' in 1 rows" in note for note in found.notes)


def test_figures_come_from_the_question_file(tmp_path):
    """Nine of ten right, whatever the ids that the predictions leave out."""
    from gpt4scene.benchmarks.score import score_folder

    boxes = {"s": {"objects": ["box"] * 10, "locs": torch.tensor([[2.0 * n, 0, 0, 1, 1, 1] for n in range(10)])}}
    for name in ("scannet", "scannet_mask3d"):
        torch.save(boxes, tmp_path / f"{name}_val_attributes.pt")
    questions = [{"scene_id": "s", "obj_id": n, "prompt": f"Find {n}", "ref_captions": []} for n in range(10)]
    (tmp_path / "scanrefer_mask3d_val.json").write_text(json.dumps(questions))
    rows = [{"scene_id": "s", "prompt": f"Find {n}", "pred": f"<OBJ{n:03d}>."} for n in range(1, 10)]
    rows.append({"scene_id": "s", "prompt": "Find 0", "pred": "<OBJ001>."})
    (tmp_path / "scanrefer.json").write_text(json.dumps(rows))
    assert score_folder(tmp_path, tmp_path)["scanrefer"].scores["Acc@0.25"] == 0.9
