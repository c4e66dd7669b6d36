"""Beacon-3D: questions and descriptions of objects, against the figures of the public scripts."""

import json

import pytest
from beacon_files import metadata

from gpt4scene.benchmarks import beacon3d_grounding as grounding
from gpt4scene.benchmarks import beacon3d_qa as qa
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.beacon3d import GROUNDING, QA, qa_answers
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.object_chains import read_descriptions, read_questions
from gpt4scene.benchmarks.score import score_files, score_folder
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.raw import Record
from gpt4scene.metrics.boxes import scene_boxes
from gpt4scene.metrics.exact_match import clean
from gpt4scene.types import Question

TWICE = "scene9808_00_53_0_functionality_0"
"""An id that two questions of the oracle have: one object number in two classes."""
BOTH = ("beacon3d_qa", "beacon3d_grounding")


@pytest.fixture(scope="module")
def folder(spatial_oracle):
    return spatial_oracle / "beacon3d"


def content(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expected(folder):
    return content(folder, "expected")


@pytest.fixture
def predictions(folder, tmp_path):
    """The oracle's answers, and the judge's marks by the place of the question."""
    (tmp_path / "beacon3d_qa.json").write_bytes((folder / "predictions_qa.json").read_bytes())
    (tmp_path / "beacon3d_grounding.json").write_bytes((folder / "predictions_grounding.json").read_bytes())
    (tmp_path / "beacon3d_qa.marks.json").write_bytes((folder / "judge_marks.json").read_bytes())
    return tmp_path


def references(folder, tasks=("beacon3d_qa",), *, flat=True, metadata=True):
    names = {"beacon3d_qa": "qa", "beacon3d_grounding": "grounding"}
    found = []
    for task, name in ((task, names[task]) for task in tasks):
        found += [f"{task}={folder / f'{name}.json'}"] if flat else []
        found += [f"{task}={folder / f'metadata_{name}.json'}"] if metadata else []
    return ",".join(found)


def check(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        if isinstance(value, dict):
            check(found[name], value)
        else:
            assert found[name] == pytest.approx(value, rel=1e-12), name


@pytest.mark.slow
@pytest.mark.parametrize("flat", [True, False], ids=["with the flat files", "from the metadata alone"])
def test_all_figures_are_those_of_the_public_scripts(folder, predictions, expected, flat):
    found = score_folder(predictions, None, BOTH, references=references(folder, BOTH, flat=flat))
    check(found["beacon3d_qa"].public, expected["figures"])
    check(found["beacon3d_grounding"].public, expected["grounding_figures"])
    assert found["beacon3d_qa"].scores["overall"] == pytest.approx(expected["figures"]["case"] / 100)
    assert found["beacon3d_qa"].scores["R2"] == pytest.approx(expected["figures"]["chain"]["R2"] / 100)


def test_every_row_is_cleaned_and_sent_to_the_judge_as_published(folder, predictions, expected):
    flat = [Record(row, f"row {number}") for number, row in enumerate(content(folder, "qa"))]
    questions = [
        Question("beacon3d_qa", n, one.values["scene_id"], "", qid=one.values["question_id"])
        for n, one in enumerate(flat)
    ]
    said = [Record(row, f"row {number}") for number, row in enumerate(content(folder, "predictions_qa"))]
    for one, wanted in zip(qa_answers(said, questions), expected["per_row"], strict=True):
        row = AnswerRow("s", one.value, source=flat[one.place].values)
        truths = qa.truths(row)
        assert (clean(row.pred), truths) == (wanted["pred_clean"], wanted["truth_clean"])
        assert tuple(map(int, qa.matches(clean(row.pred), truths))) == (wanted["em"], wanted["em_r"])
        assert int(qa.says_yes_or_no(truths)) == wanted["yes_no"]
        assert (qa.told(row) is not None) == wanted["asks_judge"]


def test_cleaning_yes_and_no_and_the_judges_number_are_the_public_ones(expected):
    assert [clean(text) for text, _ in expected["clean_answer"]] == [wanted for _, wanted in expected["clean_answer"]]
    assert [int(qa.says_yes_or_no([clean(text)])) for text, _ in expected["yes_no"]] == [
        n for _, n in expected["yes_no"]
    ]
    assert [qa.read_mark(text) for text, _ in expected["judge_number"]] == [n for _, n in expected["judge_number"]]


def test_the_metadata_makes_the_flat_file_as_the_public_script_does(shared_data):
    place = shared_data / "annotations" / "beacon3d"
    for read, name, key in (
        (read_questions, "qa", "question_id"),
        (read_descriptions, "grounding", "item_id"),
    ):
        flat = json.loads((place / f"scannet_{name}.json").read_text())
        made = read([place / f"metadata_scannet_{name}.json"])
        assert [row.values[key] for row in made] == [row[key] for row in flat]
        both = read([place / f"scannet_{name}.json", place / f"metadata_scannet_{name}.json"])
        assert [row.values["uses"] for row in both] == [row.values["uses"] for row in made]


def test_the_flat_file_alone_gives_the_figures_of_cases(folder, predictions, expected):
    found = score_folder(predictions, None, BOTH, references=references(folder, BOTH, metadata=False))
    asked, described = found["beacon3d_qa"], found["beacon3d_grounding"]
    assert asked.scores["overall"] == pytest.approx(expected["figures"]["case"] / 100)
    assert "object" not in asked.scores and asked.public == {} and "metadata" in " ".join(asked.notes)
    assert described.scores["overall"] == pytest.approx(expected["grounding_figures"]["case overall"] / 100)
    assert "chain" not in described.scores and "metadata" in " ".join(described.notes)


def test_without_marks_the_figures_that_need_no_judge_are_there(folder, predictions, expected):
    (predictions / "beacon3d_qa.marks.json").unlink()
    found = score_folder(predictions, None, "beacon3d_qa", references=references(folder))["beacon3d_qa"]
    assert found.scores == pytest.approx({name: expected["figures"][name] / 100 for name in ("EM", "EM-R")})
    assert found.public == {} and "gpt4scene judge --tasks beacon3d_qa" in found.warnings[0]


def test_scores_of_the_public_script_are_marks_too(folder, predictions, expected):
    marks = content(folder, "judge_marks")
    rows = []
    for place, record in enumerate(read_questions([folder / "metadata_qa.json"])):
        rows += [
            {"obj_id": use["object"], "question": record.values["question"].lower(), "score": marks.get(str(place), 5)}
            for use in record.values["uses"]
        ]
    (predictions / "beacon3d_qa.marks.json").write_text(json.dumps(rows))
    found = score_folder(predictions, None, BOTH, references=references(folder, BOTH))
    check(found["beacon3d_qa"].public, expected["figures"])


def test_the_order_of_scenes_is_the_public_one(folder, predictions, expected):
    """A file whose first scene is not the questions' first answers them scene by scene."""
    flat, said = content(folder, "qa"), content(folder, "predictions_qa")
    shuffled = sorted(range(len(flat)), key=lambda place: flat[place]["scene_id"], reverse=True)
    order = sorted(range(len(flat)), key=lambda place: flat[place]["scene_id"])
    (predictions / "questions.json").write_text(json.dumps([flat[place] for place in shuffled]))
    marks = {str(shuffled.index(int(place))): mark for place, mark in content(folder, "judge_marks").items()}
    (predictions / "beacon3d_qa.marks.json").write_text(json.dumps(marks))
    (predictions / "beacon3d_qa.json").write_text(json.dumps([said[place] for place in order]))
    words = f"{predictions / 'questions.json'},{folder / 'metadata_qa.json'}"
    found = score_folder(predictions, None, "beacon3d_qa", references=words)["beacon3d_qa"]
    wanted = {name: value for name, value in expected["figures"].items() if name != "chain"}
    check(found.public, wanted)


def test_answers_with_ids_may_come_in_any_order(folder, predictions, expected):
    flat, said = content(folder, "qa"), content(folder, "predictions_qa")
    flat = [{**one, "question_id": f"{place}_{one['question_id']}"} for place, one in enumerate(flat)]
    rows = [{"question_id": one["question_id"], **row} for one, row in zip(flat, said, strict=True)]
    marks = content(folder, "judge_marks")
    (predictions / "beacon3d_qa.json").write_text(json.dumps(rows[::-1]))
    (predictions / "questions.json").write_text(json.dumps(flat))
    (predictions / "beacon3d_qa.marks.json").write_text(
        json.dumps({flat[int(place)]["question_id"]: mark for place, mark in marks.items()})
    )
    words = f"{predictions / 'questions.json'},{folder / 'metadata_qa.json'}"
    found = score_folder(predictions, None, "beacon3d_qa", references=words)["beacon3d_qa"]
    check(found.public, {name: value for name, value in expected["figures"].items() if name != "chain"})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows[:-1], "272 rows and 273 questions"),
        (lambda rows: [*rows[:5], {**rows[5], "scene_id": "other"}, *rows[6:]], "is about scene 'other'"),
        (lambda rows: [*rows[:5], {"scene_id": rows[5]["scene_id"]}, *rows[6:]], "no text under any of"),
        (lambda rows: [{**row, "question_id": "x"} for row in rows], "'x' is the id of no question"),
        (lambda rows: [{**row, "question_id": TWICE} for row in rows], "is the id of 2 question"),
    ],
)
def test_rows_that_may_belong_elsewhere_are_refused(folder, predictions, change, sentence):
    rows = content(folder, "predictions_qa")
    (predictions / "beacon3d_qa.json").write_text(json.dumps(change(rows)))
    with pytest.raises(DataError, match="row") as error:
        score_folder(predictions, None, "beacon3d_qa", references=references(folder))
    assert sentence in str(error.value)


def test_question_files_of_prepared_scenes_hold_what_scoring_needs(tmp_path):
    """Questions about a prepared scene are scored as those of the official files, marks found by their ids."""
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(metadata(["red", "blue", "round"])))
    boxes = scene_boxes({"s": [[0, 0, 0, 1, 1, 1], [3, 3, 3, 1, 1, 1]]}, "boxes")
    made = QA.make_questions(QA.read([path]), Scenes({"s": ("a.jpg",)}, boxes, boxes))
    assert made.rows[0]["prompt"] == "0 0? Answer with one word or a short phrase." and not made.dropped
    folder = tmp_path / "annotation"
    folder.mkdir()
    (folder / QA.question_name("val")).write_text(json.dumps(made.rows))
    said = [
        {"scene_id": "s", "index": place, "pred": word, "task": "beacon3d_qa", "prompt": made.rows[place]["prompt"]}
        for place, word in enumerate(["red", "green", "the round"])
    ]
    (tmp_path / "beacon3d_qa.json").write_text(json.dumps(said))
    (tmp_path / "beacon3d_qa.marks.json").write_text(json.dumps({"s_0_1_class_0": 2}))
    found = score_folder(tmp_path, folder, "beacon3d_qa")["beacon3d_qa"]
    assert found.public["case"] == pytest.approx(75) and found.public["object"] == 0
    assert found.counts["questions"] == 3


def test_descriptions_of_prepared_scenes_are_scored_by_boxes(tmp_path):
    chains = {f"chain_{n}": [{"text": f"chair {n}.", "obj_id": ["1"], "tag": "class"}] for n in (1, 2, 3)}
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps({"s": {"chair": {"1": chains}}}))
    boxes = scene_boxes({"s": [[0, 0, 0, 1, 1, 1], [3, 3, 3, 1, 1, 1]]}, "boxes")
    made = GROUNDING.make_questions(GROUNDING.read([path]), Scenes({"s": ("a.jpg",)}, boxes, boxes))
    assert made.rows[0]["prompt"].startswith('Which object does this describe? "chair 1" Reply')
    rows = [
        AnswerRow("s", pred, qid=row["qid"], source=row["source"])
        for row, pred in zip(made.rows, ("<OBJ001>.", "It is <OBJ001>", "<OBJ000>"), strict=True)
    ]

    class Boxes(Annotation):
        proposals = ground_truth = boxes

    found = GROUNDING.report(rows, Boxes(tmp_path), {})
    assert found.scores["overall"] == pytest.approx(2 / 3) and found.scores["object"] == 0
    assert GROUNDING.under("iou_0.25").report(rows, Boxes(tmp_path), {}).scores == found.scores


def described(pred, **official):
    source = {"item_id": "s_1_chain_1_0_class", "target_id": [1, 2], "counted": True, **official}
    return AnswerRow("s", pred, source=source)


@pytest.mark.parametrize(
    ("pred", "right"),
    [("2", True), ("3", False), ("true", True), ("False", False), ("the left one", None), ("", None), ("12", False)],
)
def test_an_answer_names_an_official_object_or_is_judged_already(pred, right):
    assert grounding.is_right(described(pred), None, 0.5) is right


def test_numbers_of_objects_may_be_lists_of_which_the_first_counts(folder, tmp_path):
    official, mine = folder / "grounding.json", tmp_path / "mine.json"
    found = json.loads(official.read_text())
    rows = [{"index": place, "prediction": [*one["target_id"], 999]} for place, one in enumerate(found)]
    mine.write_text(json.dumps(rows))
    report = score_files(mine, official, "beacon3d_grounding")
    assert report.scores["overall"] == 1.0
    assert any("answers name several objects; the first counts" in note for note in report.notes)
    mine.write_text(json.dumps([row | {"prediction": []} for row in rows]))
    assert score_files(mine, official, "beacon3d_grounding").scores["overall"] == 0.0


def test_a_marked_object_is_right_by_its_box(tmp_path):
    class Boxes(Annotation):
        proposals = scene_boxes({"s": [[0, 0, 0, 2, 2, 2], [9, 9, 9, 1, 1, 1]]}, "proposals")
        ground_truth = scene_boxes({"s": [[5, 5, 5, 1, 1, 1], [0, 0, 0, 2, 2, 1.5], [7, 7, 7, 1, 1, 1]]}, "truth")

    boxes = Boxes(tmp_path)
    assert grounding.is_right(described("<OBJ000>."), boxes, 0.5) is True
    assert grounding.is_right(described("<OBJ000>."), boxes, 0.9) is False
    assert grounding.is_right(described("<OBJ001>"), boxes, 0.25) is False
    assert grounding.is_right(described("<OBJ007>"), boxes, 0.25) is None


def test_a_chain_with_an_unanswered_text_is_left_out_unless_it_is_wrong_already(tmp_path):
    chain = [{"text": f"t{n}", "obj_id": ["1"], "tag": "class"} for n in range(2)]
    path = tmp_path / "metadata.json"
    chains = {f"chain_{n}": [{**one, "text": f"{one['text']} {n}"} for one in chain] for n in (1, 2)}
    path.write_text(json.dumps({"s": {"chair": {"1": chains}}}))
    made = [row for record in GROUNDING.read([path]) for row in GROUNDING.references(record)]
    rows = [AnswerRow("s", "1", qid=row["qid"], source=row["source"]) for row in made]
    whole = grounding.report(rows, None, "t", 0.5)
    assert set(whole.scores.values()) == {1.0, 0.0} and whole.public["coarse and fine"] == [100, 0, 0, 0]
    part = grounding.report(rows[:3], None, "t", 0.5)
    assert part.public == {} and part.counts["chains not fully answered"] == 1 and part.scores["chain"] == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"s": []}, "expected an object with keys as in the metadata"),
        ({"s": {"chair": {"1": {"qa": {}}}}}, "'qa' must be a list"),
        ({"s": {"chair": {"1": {"qa": [{"question": "x"}]}}}}, "'answer' is missing"),
        (
            {"s": {"chair": {"one": {"qa": [{"question": "x", "answer": "y", "tag": "t", "extra_knowledge": 0}]}}}},
            "'one'",
        ),
    ],
)
def test_metadata_of_another_form_is_refused_with_its_place(tmp_path, wrong, sentence):
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(wrong))
    with pytest.raises(DataError) as error:
        read_questions([path])
    assert sentence in str(error.value) and str(path) in str(error.value)


def test_two_files_of_different_versions_are_refused(tmp_path):
    (tmp_path / "metadata.json").write_text(json.dumps(metadata(["red"])))
    flat = [{"question_id": "s_0_0_class_0", "scene_id": "s", "question": "other", "answers": ["red"]}]
    (tmp_path / "flat.json").write_text(json.dumps(flat))
    with pytest.raises(DataError, match="is not in the flat file"):
        read_questions([tmp_path / "flat.json", tmp_path / "metadata.json"])
    flat[0] |= {"question": "0 0?", "question_id": "s_0_0_class_1"}
    (tmp_path / "flat.json").write_text(json.dumps(flat))
    with pytest.raises(DataError, match="'class_0' here, 'class_1' in the flat file"):
        read_questions([tmp_path / "flat.json", tmp_path / "metadata.json"])
