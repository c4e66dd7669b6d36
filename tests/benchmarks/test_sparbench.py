"""SPAR-Bench: every public variant row by row, its prompts, its quirks, and what odd files lead to."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spatial_parity import answered, asked_of, check_variant, expected, lines, report_of

from gpt4scene.benchmarks.sparbench import CAMERA, HIGH, LOW, MIDDLE, TASKS
from gpt4scene.errors import DataError

RULES = ["official", "lmms_eval", "vlmevalkit"]


def row(task="position_matching", answer="B", **more):
    return {"id": 4, "task": task, "image": ["v0.jpg", "v1.jpg"], "question": "Which?", "answer": answer, **more}


def given_answer(pred, official=None):
    return {"scene_id": "s", "pred": pred, "source": official or row()}


def score(rules, pred, official):
    return report_of("sparbench", rules, [given_answer(pred, official)]).rows.values["score"][0]


def without_motions(parsed):
    return None if isinstance(parsed, tuple) else parsed


def number_alone(parsed):
    """What the official script can be asked for."""
    return parsed if isinstance(parsed, float) else None


@pytest.mark.parametrize("rules", ["official", "lmms_eval"])
def test_rows_and_figures_are_those_of_the_public_scorer(spatial_oracle, rules):
    check_variant("sparbench", rules, spatial_oracle / "sparbench", parsed=number_alone, nothing=(-1,))


def test_rows_and_figures_are_those_of_vlmevalkit(spatial_oracle):
    check_variant("sparbench", "vlmevalkit", spatial_oracle / "sparbench", parsed=without_motions)


def test_prompts_are_those_of_the_public_code(spatial_oracle):
    questions = lines(spatial_oracle / "sparbench" / "questions.jsonl")
    prompts = expected(spatial_oracle / "sparbench")["prompts"]
    assert len(prompts) == 4
    for prompt in prompts:
        assert asked_of("sparbench", questions[prompt["row"]])[0]["prompt"] == prompt["official.default"]


def test_there_are_twenty_tasks_in_three_levels():
    assert len(set(TASKS)) == 20 and (len(LOW), len(MIDDLE), len(HIGH)) == (8, 3, 9)


@pytest.mark.parametrize("rules", RULES)
def test_perfect_answers_get_full_marks(spatial_oracle, rules):
    perfect = [{**one, "pred": str(one["source"]["answer"])} for one in answered(spatial_oracle / "sparbench")]
    assert set(report_of("sparbench", rules, perfect).scores.values()) == {1.0}


def test_silence_scores_what_each_rule_gives_it_and_that_is_said(spatial_oracle):
    silent = [{**one, "pred": ""} for one in answered(spatial_oracle / "sparbench")]
    official = report_of("sparbench", "official", silent)
    choices = {task for task in official.scores if task in HIGH + MIDDLE and task != CAMERA}
    assert {task for task in TASKS if official.scores[task] == 1} == choices and len(choices) == 11
    assert {official.scores[task] for task in (*LOW, CAMERA)} == {0.0}
    assert official.notes == ("242 answers in which nothing can be read score all the same under these rules",)
    kit = report_of("sparbench", "vlmevalkit", silent)
    assert {kit.scores[task] for task in TASKS if task != CAMERA} == {0.0} and kit.scores[CAMERA] > 0
    assert "score all the same" in kit.notes[0] and kit.unreadable == len(silent)


@pytest.mark.parametrize(
    ("pred", "official", "kit"),
    [("B", 1, 1), ("b", 1, 1), ("", 1, 0), ("Bread", 1, 0), ("(B)", 0, 1), ("The answer is B.", 0, 1), ("C", 0, 0)],
)
def test_letters(pred, official, kit):
    assert score("official", pred, row()) == official
    assert score("vlmevalkit", pred, row()) == kit


@pytest.mark.parametrize(
    ("task", "pred", "official", "kit"),
    [
        ("depth_prediction_oc", "2 or 9", 1, 0),
        ("depth_prediction_oc_mv", "9 or 2", 1, 1),
        ("depth_prediction_oo", "two", 0, 1),
        ("depth_prediction_oo", "-2", 1, 0),
        ("depth_prediction_oo", "^9 2", 1, 1),
        ("depth_prediction_oo", "2.1", 1, 1),
        ("depth_prediction_oo", "3", 0.1, 0.1),
        ("distance_prediction_oo_mv", "none", 0, 0),
    ],
)
def test_numbers(task, pred, official, kit):
    assert score("official", pred, row(task, "2.0")) == pytest.approx(official)
    assert score("vlmevalkit", pred, row(task, "2.0")) == pytest.approx(kit)


@pytest.mark.parametrize("truth", ["0", 0, 0.0])
@pytest.mark.parametrize(("pred", "value"), [("0", 1.0), ("0.3", 0.5), ("5", 0.0)])
def test_a_true_zero_is_compared_without_dividing(truth, pred, value):
    for rules in RULES:
        assert score(rules, pred, row("depth_prediction_oc", truth)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("pred", "official", "kit"),
    [
        ("move_right:1,rotate_up:20", 1.0, 1.0),
        ("move_right:1, rotate_up:20", 0.8, 1.0),
        ("move_left:-1,rotate_up:20", 1.0, 1.0),
        ("move_right:2,rotate_up:20", 0.82, 0.8),  # half of the answer, but twice the truth
        ("move_right:1", 0.8, 0.8),
        ("I moved", 0.0, 0.6),
        ("move_right:1:2,rotate_up:20", 0.0, 0.8),
        ("move_right:1,", 0.0, 0.8),
    ],
)
def test_motions(pred, official, kit):
    truth = row(CAMERA, "move_right:1,rotate_up:20")
    assert score("official", pred, truth) == pytest.approx(official)
    assert score("vlmevalkit", pred, truth) == pytest.approx(kit)


def test_the_cameras_task_is_in_no_level_but_vlmevalkits():
    rows = [given_answer("move_up:1", row(CAMERA, "move_up:1"))]
    official = report_of("sparbench", "official", rows)
    assert set(official.scores) == {"overall", CAMERA} and math.isnan(official.public["Middle"])
    assert report_of("sparbench", "lmms_eval", rows).public["middle"] == 0
    assert report_of("sparbench", "vlmevalkit", rows).public["Middle"] == 1


def test_tasks_weigh_alike_however_many_rows_they_have():
    rows = [given_answer("A")] * 3 + [given_answer("B", row("spatial_imagination_oo"))]
    report = report_of("sparbench", "official", rows)
    assert report.scores["overall"] == 0.5 and report.rows.pooled["overall"].total() == 0.5


@pytest.mark.parametrize("rules", RULES)
@given(order=st.randoms())
@pytest.mark.slow
def test_the_order_of_rows_does_not_matter(rules, order):
    answers = ("A", "", "2", "move_up:1", "two B")
    rows = [given_answer(pred, row(task, "2" if task in LOW else "A")) for task in TASKS[::3] for pred in answers]
    first = report_of("sparbench", rules, rows)
    order.shuffle(rows)
    again = report_of("sparbench", rules, rows)
    assert again.scores == pytest.approx(first.scores)
    assert again.public == pytest.approx(first.public, nan_ok=True)
    assert all(0 <= value <= 1 for value in first.scores.values())


@pytest.mark.slow
@given(st.text(), st.sampled_from(TASKS), st.sampled_from(["B", "2", "0", "-1", "move_up:1", "nan"]))
def test_any_answer_has_a_score_from_0_to_1(pred, task, truth):
    for rules in RULES:
        assert 0 <= score(rules, pred, row(task, truth)) <= 1


@pytest.mark.parametrize(
    ("official", "said"),
    [
        (row("juggling"), "sparbench, row 0: 'task' is 'juggling', which is none of the 20 tasks"),
        ({"answer": "B"}, "sparbench, row 0: 'task' is None"),
        ({"task": "position_matching"}, "sparbench, row 0: the official row has no .answer. .found keys: task."),
    ],
)
def test_an_odd_official_row_is_named(official, said):
    with pytest.raises(DataError, match=said):
        report_of("sparbench", "official", [given_answer("A", official)])
    with pytest.raises(DataError, match="row: "):
        asked_of("sparbench", official)


def test_bytes_of_images_are_left_out_and_sets_share_a_scene():
    first, second = (asked_of("sparbench", row(answer=letter))[0] for letter in "AB")
    assert first["scene_id"] == second["scene_id"] and "image" not in first["source"]
    bytes_of = [{"bytes": b"x", "path": "0.png"}, {"bytes": b"y", "path": None}]
    (other,) = asked_of("sparbench", row(image=bytes_of))
    (third,) = asked_of("sparbench", row(image=[{"bytes": b"z", "path": "0.png"}, *bytes_of[1:]]))
    assert other["scene_id"] != third["scene_id"]  # names inside a parquet file may repeat
