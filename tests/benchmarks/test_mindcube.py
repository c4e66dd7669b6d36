"""MindCube: every public variant row by row, the maps, its prompts, and what odd files lead to."""

import hashlib
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spatial_parity import answered, asked_of, check_variant, expected, lines, report_of

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.mindcube import BENCHMARK, letter_of, read_with_map, setting_by_prefix, setting_of
from gpt4scene.errors import DataError
from gpt4scene.files.answers import read_row

RULES = ["official_basic", "official_cogmap", "official_cogmap_quick", "lmms_eval", "vlmevalkit"]
MAP = '{"objects": [{"name": "lamp", "position": [1, 2], "facing": "up"}, {"name": "bed", "position": [7, 2]}]}'


@pytest.fixture
def folder(spatial_oracle):
    return spatial_oracle / "mindcube"


def row(name="among_1", truth="B", **more):
    category = ["rotation"] if name.startswith("rotation") else ["around" if name.startswith("around") else "among"]
    return {
        "id": name,
        "category": category,
        "question": "Where? A. Left B. Right",
        "images": ["a/1.png", "a/2.png"],
        "gt_answer": truth,
        "grounded_cogmap": MAP,
        **more,
    }


def given_answer(pred, official=None):
    return {"scene_id": "s", "pred": pred, "source": official or row()}


@pytest.mark.parametrize("rules", ["official_basic", "official_cogmap_quick", "lmms_eval", "vlmevalkit"])
def test_rows_and_figures_are_those_of_the_public_scorer(folder, rules):
    check_variant("mindcube", rules, folder)


def test_rows_and_figures_with_maps_are_those_of_the_public_scorer(folder):
    of_all = expected(folder)
    variant, rows = of_all["variants"]["official_cogmap"], answered(folder)
    report = report_of("mindcube", "official_cogmap", rows)
    assert list(report.rows.values["score"]) == variant["per_row"] and list(report.parsed) == variant["parsed"]
    for name, figures in variant["figures"].items():
        of_subset = report_of("mindcube", "official_cogmap", [rows[i] for i in of_all["subsets"].get(name, range(360))])
        if "raises" in figures:
            assert not of_subset.public and "ZeroDivisionError" in of_subset.notes[0]
            assert math.isnan(of_subset.scores["overall"]) and of_subset.scores["translation"] > 0
            continue
        assert set(of_subset.public) == set(figures)
        turns = "cogmap.rotation_distribution"
        assert of_subset.public[turns] == figures[turns]
        rest = {key: value for key, value in of_subset.public.items() if key != turns}
        assert rest == pytest.approx({key: value for key, value in figures.items() if key != turns}, rel=1e-12, abs=0)


def test_every_map_has_the_scores_of_the_public_code(folder):
    wanted = expected(folder)["variants"]["official_cogmap"]["map_scores"]
    found = [read_with_map(one["source"], one["pred"]).map_score for one in answered(folder)]
    assert [one and asdict(one) for one in found] == wanted
    assert sum(one is not None for one in found) > 90


def test_settings_are_those_of_both_public_scorers(folder):
    variants, questions = expected(folder)["variants"], lines(folder / "questions.jsonl")
    assert [setting_of(one) for one in questions] == variants["official_basic"]["setting"]
    assert [setting_by_prefix(one) for one in questions] == variants["lmms_eval"]["setting"]


def test_prompts_are_those_of_the_official_setting(folder):
    questions = lines(folder / "questions.jsonl")
    for prompt in expected(folder)["prompts"]:
        text = asked_of("mindcube", questions[prompt["row"]])[0]["prompt"]
        assert len(text) == prompt["official.raw_qa.characters"]
        assert hashlib.sha256(text.encode()).hexdigest() == prompt["official.raw_qa.sha256"]


def test_a_prepared_row_is_asked_in_its_own_words_and_shares_the_scene_of_its_images():
    plain, ready = asked_of("mindcube", row())[0], asked_of("mindcube", row(input_prompt=" Draw a map.\n"))[0]
    assert ready["prompt"] == " Draw a map.\n"
    assert ready["scene_id"] == plain["scene_id"] != asked_of("mindcube", row(images=["b/1.png"]))[0]["scene_id"]
    assert plain["qid"] == "among_1" and plain["type_info"] == "among" and plain["ref_captions"] == ["B"]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("form", ["{}", "{}.", "<answer>{}. Left</answer>", f"<cogmap>{MAP}</cogmap><answer>{{}}. x"])
def test_right_answers_get_full_marks(rules, form):
    form = form.replace(MAP, MAP.replace("{", "{{").replace("}", "}}"))
    rows = [given_answer(form.format(truth), row(truth=truth)) for truth in "ABCD"]
    assert set(report_of("mindcube", rules, rows).scores.values()) == {1.0}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("pred", ["", " ", "\n", "no", "{}", "the lamp", "C"])
def test_silence_and_wrong_answers_get_nothing(rules, pred):
    rows = [given_answer(pred), given_answer(pred, row("around_1")), given_answer(pred, row("translation_1"))]
    assert set(report_of("mindcube", rules, rows).scores.values()) == {0.0}


def test_a_drawn_map_that_is_the_true_one_gets_full_marks():
    public = report_of("mindcube", "official_cogmap", [given_answer(f"<cogmap>{MAP}</cogmap>A.")]).public
    assert public["cogmap.avg_overall_similarity"] == public["cogmap.isomorphic_accuracy"] == 1
    assert public["gen_cogmap_accuracy"] == 0


def test_a_map_in_a_column_of_its_own_counts_where_the_answer_draws_none():
    official = row(cognitive_map=MAP)
    assert report_of("mindcube", "official_cogmap", [given_answer("A.", official)]).counts["valid maps"] == 1
    assert report_of("mindcube", "official_cogmap", [given_answer("A.")]).counts["maps"] == 0


def test_a_row_without_truth_counts_nowhere_and_that_is_said():
    report = report_of("mindcube", "official_basic", [given_answer("B"), given_answer("B", row(truth=None))])
    assert report.public["unfiltered_total"] == 1 and report.scores["overall"] == 1
    assert "1 rows without a true letter count nowhere" in report.notes


def test_translation_counts_in_the_overall_figure_of_two_rules_only():
    rows = [given_answer("B"), given_answer("A", row("translation_1"))]
    overall = {rules: report_of("mindcube", rules, rows).scores["overall"] for rules in RULES}
    assert overall == {**dict.fromkeys(RULES[:3], 1.0), "lmms_eval": 0.5, "vlmevalkit": 0.5}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("TABLE.", "E"),
        ("A. left, no: B. right", "B"),
        ("<Answer>my answer is C D", "C"),
        ("<answer>C</answer>", "C"),
        ("B\nC", "B"),
        ("I say B here", "B"),
        ("A chair\nand B or C", "A"),
        ("no chair\nand B or C\nD", "D"),
        ("the answer is Chair", "C"),
        ('it is "D"', "D"),
        ("BC", None),
        ("f", None),
    ],
)
def test_the_first_official_rule_that_matches_decides(answer, letter):
    assert letter_of(answer) == letter


@pytest.mark.slow
@given(order=st.randoms())
@pytest.mark.parametrize("rules", RULES)
def test_the_order_of_rows_does_not_matter(rules, order):
    names = ("around_1", "rotation_1", "translation_1", "among_1", "linear_1")
    rows = [given_answer(f"{MAP}\n{pred}.", row(name)) for pred in "AB" for name in names]
    first = report_of("mindcube", rules, rows)
    order.shuffle(rows)
    again = report_of("mindcube", rules, rows)
    assert again.scores == pytest.approx(first.scores) and set(again.public) == set(first.public)


def test_a_long_answer_costs_its_length_only():
    texts = ["A" * 50_000, '"a":{' * 20_000, "{" + "b " * 30_000 + "}", "{" + ", " * 30_000 + "}", "<Answer>" * 10_000]
    assert report_of("mindcube", "official_cogmap", [given_answer(text) for text in texts]).counts["answers"] == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question": ""}, "'question' is missing or no text"),
        ({"images": 5}, "'images' must hold images or their names, found a int"),
        ({"id": []}, "'id' must be a text or a number"),
    ],
)
def test_an_odd_official_row_is_named(change, said):
    with pytest.raises(DataError, match=f"row: {said}"):
        asked_of("mindcube", row(**change))


def test_an_answer_whose_official_row_has_no_truth_column_is_named():
    official = {key: value for key, value in row().items() if key != "gt_answer"}
    with pytest.raises(DataError, match=r"mindcube, row 0: the official row has no 'answer'"):
        report_of("mindcube", "official_basic", [given_answer("A", official)])


def test_rows_without_an_id_are_said_to_have_no_setting():
    row = {"scene_id": "s", "pred": "A.", "source": {"index": 3, "question": "Q", "answer": "A", "category": "among"}}
    report = BENCHMARK.under("vlmevalkit").report([read_row(row, "row")], Annotation(None), {})
    (note,) = report.notes
    assert note == "1 rows have no 'id', which names their setting, and count as other"
