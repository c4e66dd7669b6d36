"""ViewSpatial-Bench: every public variant row by row, its prompts, real rows, and what odd files lead to."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spatial_parity import asked_of, check_variant, expected, lines, report_of

from gpt4scene.benchmarks.viewspatial import TYPES
from gpt4scene.errors import DataError
from gpt4scene.files.raw import read_records

RULES = ["official", "lmms_eval", "vlmevalkit"]


def row(answer="B. left", kind=TYPES[0], **more):
    return {
        "question_type": kind,
        "image_path": ["scene1/7.jpg"],
        "question": "Where?",
        "answer": answer,
        "choices": "A. right\nB. left",
        **more,
    }


def given_answer(pred, official=None):
    return {"scene_id": "s", "pred": pred, "source": official or row()}


@pytest.mark.parametrize("rules", RULES)
def test_rows_and_figures_are_those_of_the_public_scorer(spatial_oracle, rules):
    check_variant("viewspatial", rules, spatial_oracle / "viewspatial")


def test_prompts_are_those_of_the_official_script(spatial_oracle):
    questions = lines(spatial_oracle / "viewspatial" / "questions.jsonl")
    prompts = expected(spatial_oracle / "viewspatial")["prompts"]
    assert prompts
    for prompt in prompts:
        assert asked_of("viewspatial", questions[prompt["row"]])[0]["prompt"] == prompt["official"]


@pytest.fixture(scope="module")
def real_rows(shared_data):
    return read_records(shared_data / "annotations" / "viewspatial" / "ViewSpatial-Bench_sample.json")


def test_questions_about_the_same_pictures_share_a_scene(real_rows):
    questions = [asked_of("viewspatial", record.values)[0] for record in real_rows]
    by_images = {tuple(one["source"]["image_path"]): one["scene_id"] for one in questions}
    assert len(questions) == 410
    assert len(set(by_images.values())) == len(by_images) < 410
    assert by_images["ViewSpatial-Bench/scannetv2_val/scene0011_00/original_images/280.jpg",].startswith(
        "scene0011_00_original_images_280-"
    )
    assert all(len(one["scene_id"]) < 100 for one in questions)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("form", ["{}", "{0[0]}", "({0[0]})", "I see it.\n{}"])
def test_right_answers_to_real_questions_get_full_marks(real_rows, rules, form):
    answers = [given_answer(form.format(record.values["answer"]), dict(record.values)) for record in real_rows]
    assert set(report_of("viewspatial", rules, answers).scores.values()) == {1.0}


@pytest.mark.parametrize("rules", RULES)
def test_wrong_answers_and_silence_to_real_questions_get_nothing(real_rows, rules):
    for pred in (lambda truth: "BCDA"["ABCD".index(truth[0])], lambda truth: "", lambda truth: "no idea"):
        answers = [given_answer(pred(record.values["answer"]), dict(record.values)) for record in real_rows]
        assert set(report_of("viewspatial", rules, answers).scores.values()) == {0.0}


@pytest.mark.parametrize(
    ("pred", "letter"),
    [("b", "B"), ("A chair", "A"), ("B\n", None), ("A\nB", "B"), ("(c)", "C"), ("Ab", None), ("E", None)],
)
def test_the_last_line_counts(pred, letter):
    assert report_of("viewspatial", "official", [given_answer(pred)]).parsed == (letter,)


def test_counts_are_whole_and_absent_types_are_zero_in_lmms_eval_only():
    rows = [given_answer("B"), given_answer("A")]
    official = report_of("viewspatial", "official", rows).public
    assert json.dumps(official[f"{TYPES[0]} correct"]) == "1" and set(official) == {
        *("overall", "overall correct", "overall total"),
        *(TYPES[0], f"{TYPES[0]} correct", f"{TYPES[0]} total"),
    }
    other = report_of("viewspatial", "lmms_eval", rows).public
    assert len(other) == 6 and other["person_perspective_relative_direction_accuracy"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
@given(order=st.randoms())
def test_the_order_of_rows_does_not_matter(rules, order):
    rows = [given_answer(pred, row(truth, kind)) for pred in "ABC" for truth in ("A. x", "B. y") for kind in TYPES]
    first = report_of("viewspatial", rules, rows)
    order.shuffle(rows)
    again = report_of("viewspatial", rules, rows)
    assert again.scores == pytest.approx(first.scores) and again.public == pytest.approx(first.public)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question": ""}, "'question' is missing or no text"),
        ({"choices": None}, "'choices' is missing or no text"),
        ({"image_path": 5}, "'image_path' must hold images or their names, found a int"),
        ({"question_type": 3}, "'question_type' is missing or no text"),
    ],
)
def test_an_odd_official_row_is_named(change, said):
    with pytest.raises(DataError, match=f"row: {said}"):
        asked_of("viewspatial", row(**change))


def test_vlmevalkits_table_calls_the_choices_candidates():
    table = row()
    table["candidates"] = table.pop("choices")
    assert asked_of("viewspatial", table)[0]["prompt"] == asked_of("viewspatial", row())[0]["prompt"]


def test_a_journal_without_the_official_row_is_named():
    with pytest.raises(DataError, match="viewspatial, row 0: 'source' is missing"):
        report_of("viewspatial", "official", [{"scene_id": "s", "pred": "A"}])
