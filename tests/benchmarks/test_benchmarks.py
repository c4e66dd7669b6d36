"""The scorers on small rows: quirks of the published figures, strict variants, properties, bad input."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.benchmarks import multi3dref, scan2cap, scanqa, scanrefer, sqa3d
from gpt4scene.errors import DataError
from gpt4scene.metrics.texts import TextScores

BOXES = {"s": [[2.0 * n, 0, 0, 1, 1, 1] for n in range(4)] + [[0.0] * 6]}
NO_TEXTS = {"": TextScores({}, {})}
REFERENCES = st.text(max_size=8).map("r".__add__)


def find(*preds, targets=None):
    targets = targets or [0] * len(preds)
    rows = [{"scene_id": "s", "pred": pred, "gt_id": target} for pred, target in zip(preds, targets, strict=True)]
    return scanrefer.score(rows, BOXES, BOXES)


@pytest.mark.parametrize(
    ("pred", "published", "strict"),
    [
        ("<OBJ000>.", 1, 1),
        ("", 1, 0),
        ("no idea", 1, 0),
        ("<OBJ005>", 1, 0),
        ("<obj000>", 1, 0),
        ("<OBJ005> or <OBJ001>", 0, 0),
        ("<OBJ001> or <OBJ000>", 0, 0),
        ("<OBJ004>", 0, 0),
    ],
)
def test_scanrefer_falls_back_to_proposal_0_and_strict_does_not(pred, published, strict):
    scores = find(pred).scores
    assert (scores["Acc@0.50"], scores["strict Acc@0.50"]) == (published, strict)


def test_scanrefer_counts_unreadable_answers():
    assert find("", "<OBJ001>", "<OBJ009>").counts["unreadable answers"] == 2


def test_scanrefer_unique_and_multiple():
    rows = [{"scene_id": "s", "pred": "<OBJ000>.", "gt_id": target} for target in (0, 1, 1)]
    report = scanrefer.score(rows, BOXES, BOXES, {"s": {"0": 0, "1": 1}})
    assert report.scores["Unique Acc@0.25"] == 1
    assert report.scores["Multiple Acc@0.25"] == 0
    assert report.scores["Acc@0.25"] == 1 / 3
    with pytest.raises(DataError, match="row 1: object 1 of scene 's' is not in scanrefer_unique_multiple_lookup"):
        scanrefer.score(rows, BOXES, BOXES, {"s": {"0": 0}})
    assert "Unique Acc@0.25" not in scanrefer.score(rows[1:], BOXES, BOXES, {"s": {"1": 1}}).scores


def test_exactly_half_an_overlap_falls_just_short_except_in_32_bits():
    """1e-8 on the union keeps IoU 0.5 below the threshold; Multi3DRefer rounds it back up, as published."""
    twice = {"s": [[0.0, 0, 0, 2, 1, 1]]}
    once = {"s": [[0.5, 0, 0, 1, 1, 1]]}
    row = {"scene_id": "s", "gt_id": 0, "pred_id": 0, "pred": "<OBJ000>", "ref_captions": [0], "type_info": "st_wo_d"}
    assert scanrefer.score([row], twice, once).scores["Acc@0.50"] == 0
    assert scan2cap.text_groups([row], twice, once, {"s|0": ["sos a eos"]})["@0.50"].answers == ("sos eos",)
    assert multi3dref.score([row], twice, once).scores["all F1@0.50"] == 1


def many(pred, targets, kind="mt"):
    row = {"scene_id": "s", "pred": pred, "ref_captions": targets, "type_info": kind}
    return multi3dref.score([row], BOXES, BOXES).scores


@pytest.mark.parametrize(
    ("pred", "targets", "kind", "published", "strict"),
    [
        ("Yes. <OBJ000> and <OBJ001>.", [1, 0], "mt", 1, 1),
        ("Yes. <OBJ000> and <OBJ000>.", [0], "st_wo_d", 2 / 3, 1),
        ("Yes. <OBJ000> and <OBJ900>.", [0], "st_w_d", 1, 2 / 3),
        ("Yes. <OBJ900>.", [], "zt_w_d", 1, 0),
        ("No.", [], "zt_wo_d", 1, 1),
        ("", [], "zt_wo_d", 1, 1),
        ("Yes. <OBJ000>.", [], "zt_wo_d", 0, 0),
        ("No.", [1], "st_w_d", 0, 0),
        ("<OBJ003>", [0, 1, 2, 3], "mt", 0.4, 0.4),
    ],
)
def test_multi3dref_f1(pred, targets, kind, published, strict):
    scores = many(pred, targets, kind)
    assert scores["all F1@0.50"] == scores[f"{kind} F1@0.50"] == pytest.approx(published)
    assert scores["strict all F1@0.50"] == pytest.approx(strict)


def test_multi3dref_pairs_for_the_largest_sum():
    wide = {"s": [[0.5, 0, 0, 2, 1, 1], [0, 0, 0, 1, 1, 1]]}
    truth = {"s": [[0, 0, 0, 1, 1, 1], [1, 0, 0, 1, 1, 1]]}
    row = {"scene_id": "s", "pred": "<OBJ000><OBJ001>", "ref_captions": [0, 1], "type_info": "mt"}
    assert multi3dref.score([row], wide, truth).scores["mt F1@0.25"] == 1


def qa(benchmark, pred, references, kind=0):
    row = {"scene_id": "s", "pred": pred, "ref_captions": references, "type_info": kind, "prompt": "What is it?"}
    return benchmark.report([row], NO_TEXTS).scores


def test_scanqa_cleans_the_answer_only_and_sqa3d_both():
    assert qa(scanqa, "A chair.", ["a chair"])["EM1"] == 0
    assert qa(scanqa, "A chair.", ["a chair"])["strict EM1"] == 1
    assert qa(sqa3d, "A chair.", ["the chair"])["EM1"] == 1
    assert qa(scanqa, "2", ["two"])["EM1"] == 1


def test_the_texts_of_scanqa_keep_their_references_and_those_of_sqa3d_do_not():
    row = {"scene_id": "s", "pred": "The TV.", "ref_captions": [" The 2 chairs "], "type_info": 0}
    (group,) = scanqa.text_groups([row]).values()
    assert (group.answers, group.references) == (("TV",), (("The 2 chairs",),))
    (group,) = sqa3d.text_groups([row]).values()
    assert (group.answers, group.references) == (("TV",), (("two chairs",),))


def test_refined_takes_parts_and_strict_does_not():
    scores = qa(sqa3d, "brown chair", ["chair"])
    assert (scores["EM1"], scores["EM1_refined"], scores["strict EM1"]) == (0, 1, 0)


def test_empty_answers_score_nothing():
    for benchmark in (scanqa, sqa3d):
        assert {qa(benchmark, pred, ["", "x"])[name] for pred in ("", "!", " ") for name in ("EM1", "EM1_refined")} == {
            0
        }


def test_sqa3d_per_type():
    rows = [{"scene_id": "s", "pred": "yes", "ref_captions": ["yes"], "type_info": kind} for kind in (1, "1", 5)]
    report = sqa3d.report(rows, NO_TEXTS)
    assert report.scores["EM_type1"] == 2 / (2 + 1e-10)
    assert "EM_type0" not in report.scores and "EM_refined_type0" not in report.scores, "no such question, no figure"
    assert report.counts["type1 (is)"] == 2


def test_scan2cap_captions_under_the_iou_are_empty():
    corpus = {"s|0": ["sos a eos"], "s|1": ["sos b eos"], "s|2": ["sos c eos"]}
    half = {"s": [[0.25, 0, 0, 1, 1, 1], [4.0, 0, 0, 1, 1, 1]]}
    rows = [{"scene_id": "s", "gt_id": 0, "pred_id": 0, "pred": "first"}]
    rows += [{"scene_id": "s", "gt_id": 0, "pred_id": 0, "pred": "a\nb"}]
    rows += [{"scene_id": "s", "gt_id": 1, "pred_id": 1, "pred": "b"}]
    groups = scan2cap.text_groups(rows, half, BOXES, corpus)
    assert groups["@0.25"].answers == ("sos a b eos", "sos eos", "sos eos")
    assert groups["@0.50"].answers == ("sos a b eos", "sos eos", "sos eos")
    third = {"s": [[0.5, 0, 0, 1, 1, 1], [4.0, 0, 0, 1, 1, 1]]}
    groups = scan2cap.text_groups(rows, third, BOXES, corpus)
    assert groups["@0.25"].answers[0] == "sos a b eos"
    assert groups["@0.50"].answers[0] == "sos eos"
    counts = scan2cap.report(rows, third, BOXES, corpus, {}).counts
    assert counts["objects without an answer"] == counts["answers replaced by a later one"] == 1
    assert (counts["proposals under IoU 0.25"], counts["proposals under IoU 0.50"]) == (1, 2)


def test_scan2cap_needs_captions_of_the_object():
    with pytest.raises(DataError, match="row 0: object 0 of scene 's' has no captions in scan2cap_val_corpus.json"):
        rows = [{"scene_id": "s", "gt_id": 0, "pred_id": 0, "pred": "x"}]
        scan2cap.text_groups(rows, BOXES, BOXES, {"s|1": ["sos eos"]})


answer = st.lists(
    st.sampled_from(["<OBJ000>", "<OBJ001>", "<OBJ004>", "<OBJ007>", "No", "Yes.", "and", "<OBJ1>"]), max_size=4
)


@pytest.mark.slow
@settings(max_examples=50)
@given(
    st.lists(st.tuples(answer, st.integers(0, 3), st.sampled_from(multi3dref.TYPES)), min_size=1, max_size=8),
    st.randoms(),
)
def test_grounding_scores_are_in_range_and_order_is_free(rows, shuffle):
    rows = [
        {
            "scene_id": "s",
            "pred": " ".join(words),
            "gt_id": target,
            "ref_captions": [] if kind.startswith("zt") else [target],
            "type_info": kind,
        }
        for words, target, kind in rows
    ]
    mixed = rows.copy()
    shuffle.shuffle(mixed)
    for benchmark in (scanrefer, multi3dref):
        scores = benchmark.score(rows, BOXES, BOXES).scores
        assert all(0 <= value <= 1 for value in scores.values())
        assert benchmark.score(mixed, BOXES, BOXES).scores == pytest.approx(scores, abs=1e-12)


@pytest.mark.slow
@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.text(max_size=8).map("r".__add__), st.integers(0, 5)), min_size=1, max_size=8
    ),
    st.randoms(),
)
def test_answer_scores_are_in_range_and_order_is_free(rows, shuffle):
    rows = [{"scene_id": "s", "pred": a, "ref_captions": [b], "type_info": kind} for a, b, kind in rows]
    mixed = rows.copy()
    shuffle.shuffle(mixed)
    for benchmark in (scanqa, sqa3d):
        scores = benchmark.report(rows, NO_TEXTS).scores
        assert all(0 <= value <= 1 for value in scores.values())
        assert scores["EM1"] <= scores["EM1_refined"]
        assert benchmark.report(mixed, NO_TEXTS).scores == pytest.approx(scores, abs=1e-12)


def test_perfect_grounding_scores_full_marks():
    generator = random.Random(1)
    boxes = {"s": [[generator.random() * 5 for _ in range(3)] + [1, 1, 1] for _ in range(30)]}
    rows = [{"scene_id": "s", "gt_id": n, "pred": f"<OBJ{n:03d}>"} for n in range(30)]
    assert set(scanrefer.score(rows, boxes, boxes).scores.values()) == {1.0}
    rows = []
    for count in range(1, 6):
        targets = generator.sample(range(30), count)
        rows.append({"scene_id": "s", "pred": "".join(f"<OBJ{n:03d}>" for n in targets), "type_info": "mt"})
        rows[-1]["ref_captions"] = targets
    assert set(multi3dref.score(rows, boxes, boxes).scores.values()) == {1.0}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: scanrefer.score([], BOXES, BOXES), "there are no answers to score"),
        (lambda: find("", targets=[9]), "row 0: object 9 is past the 5 boxes of scene 's' in the ground-truth boxes"),
        (
            lambda: scanrefer.score([{"scene_id": "x", "gt_id": 0, "pred": ""}], BOXES, BOXES),
            "scene 'x' is not in the proposal boxes",
        ),
        (lambda: scanrefer.score([{"pred": ""}], BOXES, BOXES), "row 0: 'scene_id' is missing"),
        (lambda: many("", [0], "one"), "'type_info' must be one of zt_w_d"),
        (lambda: many("", ["a"]), "'ref_captions' must be object ids"),
        (lambda: many("", []), "a question of kind 'mt' has no target"),
        (lambda: qa(scanqa, "x", []), "holds no answer to compare with"),
        (lambda: qa(sqa3d, "x", []), "holds no answer"),
        (lambda: qa(sqa3d, "x", ["x"], kind=6), "'type_info' must be 0 to 5, found 6"),
    ],
)
def test_bad_rows_are_named(call, sentence):
    with pytest.raises(DataError, match=sentence):
        call()


@pytest.mark.parametrize("benchmark", [scanqa, sqa3d])
@pytest.mark.parametrize("missing", [[], [""], ["  ", ""], None])
def test_a_question_without_a_reference_is_counted_and_no_other_figure_moves(benchmark, missing):
    rows = [{"scene_id": "s", "pred": said, "type_info": 0, "ref_captions": ["red"]} for said in ("red", "blue")]
    whole = benchmark.report(rows, NO_TEXTS)
    part = benchmark.report([*rows, rows[0] | {"ref_captions": missing}], NO_TEXTS)
    assert part.scores == whole.scores
    assert part.counts["questions without a reference"] == 1 and part.counts["answers"] == 3
    assert "questions without a reference" not in whole.counts
    with pytest.raises(DataError, match="no answer to compare with|is missing"):
        benchmark.report([rows[0] | {"ref_captions": missing}], NO_TEXTS)


@pytest.mark.parametrize("kind", ["zt_w_d", "zt_wo_d"])
def test_a_question_that_means_nothing_and_has_a_target_is_refused(kind):
    row = {"scene_id": "s", "pred": "No.", "type_info": kind, "ref_captions": [1]}
    with pytest.raises(DataError, match=f"row 0: a question of kind '{kind}' means no object"):
        multi3dref.score([row], BOXES, BOXES)


@pytest.mark.parametrize("kinds", [{"0": {"0": 0}}, [0], {"0": 2}, {"0": None}, {"0": "0"}, "unique"])
def test_a_lookup_that_is_none_is_refused(kinds):
    row = {"scene_id": "s", "pred": "<OBJ000>.", "gt_id": 0}
    with pytest.raises(DataError, match="'s'"):
        scanrefer.score([row], BOXES, BOXES, {"s": kinds})


@pytest.mark.parametrize("captions", ["sos a eos", [None], [], [1], None])
def test_a_corpus_of_no_captions_is_refused(captions):
    row = {"scene_id": "s", "pred": "a", "gt_id": 0, "pred_id": 0}
    with pytest.raises(DataError, match="s|0"):
        scan2cap.text_groups([row], BOXES, BOXES, {"s|0": captions})
