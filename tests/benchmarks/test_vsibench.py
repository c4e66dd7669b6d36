"""VSI-Bench and ReVSI: every public scorer's rows and figures, and what is defined where a public scorer stops."""

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spatial_parity import lines

from gpt4scene.benchmarks import revsi, vsibench
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.benchmarks.spatial import spatial_report
from gpt4scene.errors import DataError
from gpt4scene.files.answers import read_row
from gpt4scene.files.raw import Record

MODULES = {"vsibench": vsibench, "revsi": revsi}
VARIANTS = [
    pytest.param(name, variant, id=f"{name} {variant.name}")
    for name, module in MODULES.items()
    for variant in module.VARIANTS
]
SCENES = {"vsibench": "scene_name", "revsi": "scene_id"}


class Reference:
    """The oracle's folder of one benchmark."""

    def __init__(self, folder):
        self.rows = lines(folder / "questions.jsonl")
        answers = {row["index"]: row["prediction"] for row in lines(folder / "predictions.jsonl")}
        self.answers = [answers[number] for number in range(len(self.rows))]
        self.odd = lines(folder / "odd_truth.jsonl")
        self.expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def references(spatial_oracle):
    return {name: Reference(spatial_oracle / name) for name in MODULES}


def same(found, expected, tolerance):
    if expected == "NaN":
        return math.isnan(found)
    return found == expected if isinstance(expected, str) else math.isclose(found, expected, rel_tol=tolerance)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_rows_and_figures_are_the_public_ones(references, name, variant):
    reference = references[name]
    expected = reference.expected["variants"][variant.name]
    readings = [variant.read(*pair) for pair in zip(reference.rows, reference.answers, strict=True)]
    assert [one.score for one in readings] == expected["per_row"]
    for reading, parsed in zip(readings, expected.get("parsed", ()), strict="parsed" in expected):
        nothing = parsed is None or parsed is False or parsed == "None"
        assert (nothing and reading.parsed is None) or reading.parsed == parsed
    subsets = {"all": range(len(readings)), **reference.expected["subsets"]}
    for subset, figures in expected["figures"].items():
        chosen = subsets[subset]
        found = variant.figures([reference.rows[i] for i in chosen], [readings[i] for i in chosen])
        if "raises" in figures:
            assert not found.public and found.notes and 0 <= found.scores["overall"] <= 1
            continue
        tolerance = 1e-6 if variant.name == "spatial_mllm" else 1e-12
        assert found.public.keys() == figures.keys()
        assert {key for key in figures if not same(found.public[key], figures[key], tolerance)} == set(), subset


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_odd_true_values(references, name, variant):
    """Where the public code stops, an answer of 0 scores 1 and another 0, and a note says so."""
    rows = references[name].odd
    expected = references[name].expected["variants"][variant.name]["odd_truth"]
    found = [variant.read(row["question"], row["prediction"]) for row in rows]
    for row, reading, score in zip(rows, found, expected, strict=True):
        if score != {"raises": "ZeroDivisionError"}:
            assert reading.score == score
            continue
        assert reading.score == float(row["prediction"] == "0")
        figures = variant.figures([row["question"]], [reading])
        assert not figures.public and "stops at a true value of 0" in figures.notes[0]


@pytest.mark.parametrize("truth", ["two", "", "nan", "inf"])
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_true_value_that_is_no_number_scores_0_and_is_counted(name, variant, truth):
    row = next(row for row in questions(name) if not row["options"]) | {"ground_truth": truth}
    report = spatial_report(name, variant, answered(name, [row], ["2"]))
    assert report.scores["overall"] == 0.0
    assert report.notes[0] == (
        f"1 questions have a true value that is no number, such as '{truth}'; every answer scores 0 there"
    )


@pytest.mark.parametrize("name", MODULES)
def test_prompts_are_the_official_ones(references, name):
    for entry in references[name].expected["prompts"]:
        record = Record(references[name].rows[entry["row"]], "row")
        prompt = next(iter(BENCHMARKS[name].references(record)))["prompt"]
        assert prompt == entry.get("official.default", entry.get("lmms_eval"))


def questions(name, count=40, seed=0):
    """Invented rows, every type twice at least."""
    generator, types = random.Random(seed), MODULES[name].TYPES
    rows = []
    for number in range(count):
        kind = types.known[number % len(types.known)]
        numeric = kind in types.numbers
        row = {"id": number, "dataset": "scannet", SCENES[name]: f"scene{number % 5:04d}_00", "question_type": kind}
        row |= {"question": "How?", "options": None if numeric else ["A. left", "B. right", "C. back"]}
        rows.append(row | {"ground_truth": str(generator.randint(1, 90)) if numeric else generator.choice("ABC")})
    return rows


def answered(name, rows, answers):
    """Rows of answers as a question file and a journal give them."""
    made = [next(iter(BENCHMARKS[name].references(Record(row, f"row {row['id']}")))) for row in rows]
    return [{**row, "pred": answer} for row, answer in zip(made, answers, strict=True)]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_the_truth_scores_1_and_silence_0(name, variant):
    rows = questions(name)
    right = spatial_report(name, variant, answered(name, rows, [row["ground_truth"] for row in rows]))
    assert set(right.scores.values()) == {1.0} and right.unreadable == 0
    silent = spatial_report(name, variant, answered(name, rows, [""] * len(rows)))
    assert set(silent.scores.values()) == {0.0} and silent.unreadable == len(rows)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@settings(max_examples=20)
@given(seed=st.integers(0, 99), data=st.data())
def test_order_is_free_and_scores_are_from_0_to_1(name, variant, seed, data):
    rows = questions(name, seed=seed)
    answer = st.one_of(st.text(max_size=20), st.sampled_from("ABCD"), st.floats(0, 100).map("{:.1f}".format))
    made = answered(name, rows, [data.draw(answer) for _ in rows])
    first = spatial_report(name, variant, made)
    random.Random(seed).shuffle(made)
    second = spatial_report(name, variant, made)
    assert all(0 <= score <= 1 for score in first.scores.values())
    assert first.scores == pytest.approx(second.scores, abs=1e-12)
    assert {key: str(value) for key, value in first.public.items()} or first.notes
    for figure, pooled in first.rows.pooled.items():
        assert pooled.total() == pytest.approx(first.scores[figure], abs=1e-12)


@pytest.mark.parametrize("name", MODULES)
def test_all_rules_have_the_same_figures_of_ours(name):
    rows = answered(name, questions(name), ["A"] * 40)
    names = {tuple(sorted(spatial_report(name, variant, rows).scores)) for variant in MODULES[name].VARIANTS}
    assert names == {tuple(sorted(("overall", *MODULES[name].FIGURES)))}


def test_a_lone_figure_that_lacks_a_type_still_has_a_value():
    variant = next(one for one in vsibench.VARIANTS if one.name == "torchmetrics_ext")
    rows = [row for row in questions("vsibench") if row["question_type"] == "object_rel_direction_easy"]
    report = spatial_report("vsibench", variant, answered("vsibench", rows, [row["ground_truth"] for row in rows]))
    assert report.scores == {"overall": 1.0, "object_rel_direction": 1.0}
    assert math.isnan(report.public["overall_acc"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"question_type": "object_color"}, "'question_type' is 'object_color', which VSI-Bench does not have"),
        ({"question_type": None}, "no 'question_type'"),
        ({"ground_truth": None}, "'ground_truth' is missing"),
        ({"question": ""}, "'question' is missing"),
        ({"options": None}, "'options' must be a list"),
        ({"options": [None]}, "'options' must hold texts"),
        ({"scene_name": None}, "'scene_name' is missing"),
    ],
)
def test_wrong_official_rows_are_named(change, sentence):
    row = next(row for row in questions("vsibench") if row["options"])
    with pytest.raises(DataError, match="vsi.jsonl, row 3: .*" + sentence):
        list(vsibench.BENCHMARK.references(Record(row | change, "vsi.jsonl, row 3")))


@pytest.mark.parametrize("change", [{"question_type": "x"}, {"ground_truth": None}, {"question_type": None}])
def test_a_row_that_cannot_be_scored_is_named(change):
    rows = answered("revsi", questions("revsi", 3), ["1"] * 3)
    rows[1] = rows[1] | {"source": rows[1]["source"] | change}
    with pytest.raises(DataError, match="revsi, row 1: "):
        spatial_report("revsi", revsi.VARIANTS[0], rows)


@pytest.mark.parametrize("keys", [("index",), ("qid",), ("prompt",)])
def test_answers_find_the_official_row_of_their_question(keys, tmp_path):
    rows = answered("vsibench", questions("vsibench", 10), ["A"] * 10)
    for number, row in enumerate(rows):
        row |= {"index": number, "prompt": f"{number}: {row['prompt']}"}
    asked = [{key: value for key, value in row.items() if key not in ("pred", "index")} for row in rows]
    (tmp_path / "vsibench_val.json").write_text(json.dumps(asked))
    said = [
        {"scene_id": row["scene_id"], "pred": row["ref_captions"][0], **{key: row[key] for key in keys}} for row in rows
    ]
    (tmp_path / "vsibench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    report = score_folder(tmp_path, tmp_path, rules="vlmevalkit")["vsibench"]
    assert report.scores["overall"] == 1.0 and report.rules == "vlmevalkit"
    assert report.counts["missing questions"] == 0
    assert report.public["overall"] == 100.0


def test_the_judge_says_how_far_off_a_number_is():
    row = answered("vsibench", questions("vsibench", 1), ["1e1 chairs"])[0]
    row["source"]["ground_truth"] = "8"
    report = spatial_report("vsibench", vsibench.VARIANTS[0], [row])
    assert report.parsed == ("1e1",)
    judged = vsibench.BENCHMARK.judge_of_answers()(read_row(row, "row 0"), {}, None)
    assert (judged.verdict, judged.reason) == ("partly", "10 for 8: 25.0% off, 6 of 10 limits")


@pytest.mark.parametrize(("answer", "stops"), [("nan", True), ("0", True), ("none", False)])
def test_the_public_scorer_stops_at_every_number_for_a_true_0(answer, stops):
    row = {"id": 0, "question_type": "room_size_estimation", "ground_truth": "0"}
    report = spatial_report(
        "vsibench", vsibench.VARIANTS[0], [{"scene_id": "s", "qid": 0, "pred": answer, "source": row}]
    )
    assert (not report.public) == stops


def test_a_rounded_overall_figure_is_added_in_the_public_order():
    """Added in our order these figures round up, in the public one down: the last bit differs."""
    numbers = {"object_counting": 0.2125, "object_abs_distance": 0.9, "object_size_estimation": 0.1}
    letters = {"object_rel_distance": 0.1875, "object_rel_direction": 0.75, "route_planning": 0.7125}
    figures = {**numbers, "room_size_estimation": 0.4, **letters, "obj_appearance_order": 0.75}
    kinds = {kind: 0.0 for name in vsibench.FIGURES for kind in vsibench.FIGURES[name]}
    averages = vsibench.Averages(kinds, figures, sum(figures.values()) / 8, {})
    shown = vsibench._lmms_eval(averages)
    assert shown is not None and shown["vsibench_overall"] == 0.501562
    assert round(averages.overall, 6) == 0.501563
