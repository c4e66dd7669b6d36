"""MMSI-Bench: every public variant row by row, its circular form, its prompts, and what odd files lead to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spatial_parity import answered, asked_of, check_figures, check_variant, expected, lines, report_of

from gpt4scene.benchmarks.mmsi import LONG_NAMES
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.rotations import rotations, split_choices
from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record

RULES = ["official_repo", "official_readme", "lmms_eval", "lmms_eval_2026_02", "vlmevalkit"]


def row(answer="B", kind="MSR", **more):
    return {"id": 7, "question_type": kind, "question": "Q?\nOptions: A: x, B: y", "answer": answer, **more}


def given_answer(pred, official=None):
    return {"scene_id": "s", "pred": pred, "source": official or row()}


@pytest.mark.parametrize("rules", RULES)
def test_rows_and_figures_are_those_of_the_public_scorer(spatial_oracle, rules):
    check_variant("mmsi", rules, spatial_oracle / "mmsi")


def test_prompts_are_those_of_the_public_code(spatial_oracle):
    questions = lines(spatial_oracle / "mmsi" / "questions.jsonl")
    prompts = expected(spatial_oracle / "mmsi")["prompts"]
    assert prompts
    for prompt in prompts:
        assert asked_of("mmsi", questions[prompt["row"]])[0]["prompt"] == prompt["lmms_eval.default"]


def test_a_question_has_its_official_row_without_bytes_and_a_scene_of_its_images():
    (question,) = asked_of("mmsi", row(images=[b"1", b"2"], thought="t"))
    assert question["qid"] == 7 and question["type_info"] == "MSR" and question["ref_captions"] == ["B"]
    assert question["source"] == row(thought="t")
    (again,) = asked_of("mmsi", row(id=8, images=[b"1", {"bytes": b"2", "path": "x.jpg"}]))
    (other,) = asked_of("mmsi", row(images=[b"2", b"1"]))
    assert question["scene_id"] == again["scene_id"] != other["scene_id"]
    (named,) = asked_of("mmsi", row(images=["a/7_0.jpg", {"bytes": None, "path": "a/7_1.jpg"}]))
    (table,) = asked_of("mmsi", row(image_path="['a/7_0.jpg', 'a/7_1.jpg']"))
    assert named["scene_id"].startswith("a_7_0-") and table["scene_id"] == named["scene_id"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": [3]}, "'images', image 0, is neither an image nor the name of one, found a int"),
        ({"images": [{"path": None}]}, "'images', image 0, is neither an image nor the name of one, found a NoneType"),
        ({"image_path": "[a, b]"}, "'image_path' begins and ends like a list, and is none that can be read"),
        ({"question_type": "Direction", "answer": "A. left"}, "neither category 'Direction' nor answer 'A. left'"),
    ],
)
def test_an_odd_official_row_is_named(change, said):
    with pytest.raises(DataError, match=f"row: {said}"):
        asked_of("mmsi", row(**change))


def test_a_table_of_vlmevalkit_has_categories_and_choices_apart():
    table = {"index": 3, "image": "aGk" * 999, "question": "Q?", "answer": "A", "category": "Pos-Cam-Obj"}
    (question,) = asked_of("mmsi", {**table, "A": "left", "B": "right", "C": None})
    assert "Q?\nOptions: A: left, B: right, \nAnswer" in question["prompt"]
    assert question["type_info"] == "Pos-Cam-Obj" and question["qid"] == 3 and "image" not in question["source"]
    report = report_of("mmsi", "lmms_eval", [given_answer("`a`", table)])
    assert report.public[LONG_NAMES["Pos-Cam-Obj"]] == 1 and report.scores["pos_cam_obj"] == 1


def test_hyphens_in_types_are_mended_by_the_newer_rules_only():
    rows = [given_answer("B", row(kind="Positional Relationship (Cam.-Cam.)"))]
    assert report_of("mmsi", "lmms_eval", rows).public[LONG_NAMES["Pos-Cam-Cam"]] == 1
    older = report_of("mmsi", "lmms_eval_2026_02", rows)
    assert older.public[LONG_NAMES["Pos-Cam-Cam"]] == 0 and older.public["average"] == 1
    assert older.scores["pos_cam_cam"] == 1 and "count in the average only" in older.notes[0]


@pytest.mark.parametrize("rules", RULES)
def test_perfect_answers_get_full_marks_and_silence_nothing(spatial_oracle, rules):
    rows = answered(spatial_oracle / "mmsi")
    perfect = report_of("mmsi", rules, [{**one, "pred": f"``{one['source']['answer']}``"} for one in rows])
    assert set(perfect.scores.values()) == {1.0}
    silent = report_of("mmsi", rules, [{**one, "pred": ""} for one in rows])
    if rules == "official_readme":  # left to a language model
        assert all(value != value for value in silent.scores.values()) and "352 answers" in silent.notes[0]
    else:
        assert set(silent.scores.values()) == {0.0}
    assert silent.unreadable == len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
@given(order=st.randoms())
def test_the_order_of_rows_does_not_matter(rules, order):
    rows = [
        given_answer(pred, row(answer, kind))
        for pred in ("A", "`b`", "{C}", "", "D dog")
        for answer in "ABCD"
        for kind in list(LONG_NAMES.values())[:3]
    ]
    first = report_of("mmsi", rules, rows)
    order.shuffle(rows)
    again = report_of("mmsi", rules, rows)
    assert again.scores == pytest.approx(first.scores) and again.public == pytest.approx(first.public)
    assert all(0 <= value <= 1 for value in first.scores.values())


@pytest.mark.parametrize(
    ("pred", "letter"),
    [("``A``", "A"), ("```B```", "B"), ("`x` B", None), ("A chair. B", "B"), ("B\n", "B"), ("{B} A", "B"), ("b", None)],
)
def test_what_the_repository_reads(pred, letter):
    assert report_of("mmsi", "official_repo", [given_answer(pred)]).parsed == (letter,)


def test_braces_count_in_the_readme_only():
    rows = [given_answer("A, or {B}")]
    assert report_of("mmsi", "official_readme", rows).parsed == ("B",)
    assert report_of("mmsi", "official_repo", rows).parsed == ("A",)


@pytest.mark.parametrize("missing", ["answer", "question_type"])
def test_a_row_that_lacks_a_column_is_named(missing):
    official = {key: value for key, value in row().items() if key != missing}
    with pytest.raises(DataError, match=f"mmsi, row 0: the official row has no '{missing}'"):
        report_of("mmsi", "official_repo", [given_answer("A", official)])


def test_rotations_are_those_of_the_public_code(spatial_oracle):
    folder = spatial_oracle / "mmsi"
    records = [Record(one, "row") for one in lines(folder / "source_circular.jsonl")]
    made = [dict(rotated.values) for record in records for rotated in rotations(record)]
    assert made == lines(folder / "questions_circular.jsonl")


def test_circular_rows_and_figures_are_those_of_the_public_scorer(spatial_oracle):
    folder = spatial_oracle / "mmsi"
    variant = expected(folder, "expected_circular")["variants"]["official_circular"]
    rows = answered(folder, "_circular")
    report = report_of("mmsi_circular", "official_circular", rows)
    assert list(report.parsed) == variant["parsed"]
    check_figures(report.public, variant["figures"]["all"])
    firsts = {
        one["source"]["g_index"]: (all_right, first)
        for one, all_right, first in zip(
            rows, report.rows.values["overall"], report.rows.values["vanilla"], strict=True
        )
        if first == first
    }
    groups = variant["per_group"]
    wanted = zip(groups["circular"], groups["vanilla"], strict=True)
    assert firsts == dict(zip(groups["index"], wanted, strict=True))


def test_the_circular_benchmark_asks_each_question_four_times():
    questions = asked_of("mmsi_circular", row(images=["a.jpg"]))
    assert [one["source"]["answer"] for one in questions] == ["B", "A", "D", "C"]
    assert len({one["prompt"] for one in questions}) == 4 and len({one["scene_id"] for one in questions}) == 1
    again = [asked_of("mmsi_circular", one["source"]) for one in questions]
    assert [[one["source"]] for one in questions] == [[one["source"] for one in rows] for rows in again]


def test_a_question_without_choices_makes_no_circular_rows_and_is_counted():
    record = Record({**row(), "question": "Q?"}, "row")
    assert list(BENCHMARKS["mmsi_circular"].references(record)) == []
    (dropped,) = BENCHMARKS["mmsi_circular"].question_rows(record, None, None)
    assert dropped.reason == "no choices in the question"


def test_a_question_that_lacks_a_rotation_is_wrong_and_said():
    questions = [one["source"] for one in asked_of("mmsi_circular", row())]
    perfect = [given_answer(one["answer"], one) for one in questions]
    assert report_of("mmsi_circular", "official_circular", perfect).scores["overall"] == 1
    part = report_of("mmsi_circular", "official_circular", perfect[1:])
    assert part.scores["overall"] == 0 and part.scores["vanilla"] == 1 and "1 questions lack" in part.notes[0]


def test_an_answer_that_is_none_of_the_choices_is_refused():
    with pytest.raises(DataError, match="row: 'answer' is 'D', which is none of the choices A, B"):
        list(rotations(Record(row("D"), "row")))


def test_choices_may_hold_commas_and_colons():
    text, choices = split_choices("Which? Options: A: 2 m, wide, B: ratio A: 3, C: x, D: Options: A, ")
    assert text == "Which?"
    assert choices == {"A": "2 m, wide", "B": "ratio A: 3", "C": "x", "D": "Options: A"}


@given(st.lists(st.text("ab :", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=4), st.data())
def test_rotating_keeps_the_right_choice(texts, data):
    letters = "ABCD"[: len(texts)]
    answer = data.draw(st.sampled_from(letters))
    listed = ", ".join(f"{letter}: {text}" for letter, text in zip(letters, texts, strict=True))
    record = Record({"index": 1, "question": f"Q? Options: {listed}", "answer": answer, "category": "MSR"}, "row")
    turned = list(rotations(record))
    assert len({rotated.values["answer"] for rotated in turned}) == 4
    for rotated in turned:
        found = split_choices(rotated.values["question"])[1]
        assert found[rotated.values["answer"]] == texts[letters.index(answer)] and len(found) == len(texts)
