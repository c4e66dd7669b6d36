"""Properties of the scores that rest on texts, without Java: range, order of rows, full marks, silence."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt4scene.benchmarks import scan2cap, scanqa, sqa3d
from gpt4scene.metrics import texts as text

PROPERTY = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BOXES = {scene: [[2.0 * n, 0, 0, 1, 1, 1] for n in range(4)] for scene in "st"}
OBJECTS = [(scene, target) for scene in "st" for target in range(4)]

words = st.sampled_from(
    ["chair", "table", "brown", "the", "a", "left", "two", "it's", "TV.", "next", "to", "<OBJ001>", "é"]
)
plain = st.sampled_from(["chair", "table", "brown", "left", "two", "next", "to"])
sentence = st.lists(words, min_size=4, max_size=9).map(" ".join)
anything = st.one_of(sentence, st.text(max_size=12), st.just(""))


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(text, "find_java", lambda: None)


def check_range(scores):
    for metric, value in scores.items():
        assert 0 <= value <= (10 if "CIDEr" in metric else 1 + 1e-9), metric


def qa_rows(answers):
    return [
        {"scene_id": "s", "pred": pred, "ref_captions": references, "type_info": kind, "qid": number}
        for number, (pred, references, kind) in enumerate(answers)
    ]


answers = st.lists(
    st.tuples(anything, st.lists(sentence, min_size=1, max_size=3), st.integers(0, 5)), min_size=1, max_size=6
)


@pytest.mark.slow
@PROPERTY
@given(answers, st.randoms(use_true_random=False))
def test_answers_range_and_order(answers, shuffle):
    rows = qa_rows(answers)
    mixed = rows.copy()
    shuffle.shuffle(mixed)
    for benchmark in (scanqa, sqa3d):
        scores = benchmark.score(rows).scores
        check_range(scores)
        assert "CIDEr" in scores
        assert benchmark.score(mixed).scores == pytest.approx(scores, abs=1e-9)


@PROPERTY
@given(st.lists(sentence, min_size=1, max_size=6))
def test_any_answer_matches_itself_strictly(answers):
    rows = qa_rows([(answer, ["something else entirely", answer], 0) for answer in answers])
    for benchmark in (scanqa, sqa3d):
        assert benchmark.score(rows).scores["strict EM1"] == 1


@PROPERTY
@given(st.lists(st.lists(plain, min_size=4, max_size=9).map(" ".join), min_size=1, max_size=6))
def test_perfect_answers_get_full_marks(answers):
    rows = qa_rows([(answer.capitalize() + ".", [answer], 0) for answer in answers])
    for benchmark in (scanqa, sqa3d):
        scores = benchmark.score(rows).scores
        assert {scores[metric] for metric in ("EM1", "EM1_refined", "strict EM1")} == {1}
        assert [scores[metric] for metric in ("Bleu_1", "Bleu_4", "ROUGE_L")] == pytest.approx([1, 1, 1], abs=1e-6)


captions = st.dictionaries(st.sampled_from(OBJECTS), st.lists(sentence, min_size=1, max_size=3), min_size=1)


def caption_rows(told):
    return [
        {"scene_id": scene, "gt_id": target, "pred_id": proposal, "pred": caption}
        for (scene, target), (caption, proposal) in told.items()
    ]


@pytest.mark.slow
@PROPERTY
@given(captions, st.data())
def test_captions_range_and_order(described, data):
    corpus = {f"{scene}|{target}": list(map(scan2cap.framed, texts)) for (scene, target), texts in described.items()}
    told = data.draw(st.dictionaries(st.sampled_from(sorted(described)), st.tuples(anything, st.integers(0, 3))))
    rows = caption_rows(told)
    if not rows:
        return
    scores = scan2cap.score(rows, BOXES, BOXES, corpus).scores
    check_range(scores)
    assert "CIDEr@0.50" in scores
    mixed, keys = rows.copy(), list(corpus)
    random.Random(len(rows)).shuffle(mixed)
    random.Random(len(keys)).shuffle(keys)
    again = scan2cap.score(mixed, BOXES, BOXES, {key: corpus[key] for key in keys}).scores
    assert again == pytest.approx(scores, abs=1e-9)


@pytest.mark.slow
@PROPERTY
@given(captions)
def test_captions_from_the_corpus_get_full_marks_where_the_proposal_meets_the_object(described):
    corpus = {f"{scene}|{target}": list(map(scan2cap.framed, texts)) for (scene, target), texts in described.items()}
    perfect = caption_rows({place: (texts[0], place[1]) for place, texts in described.items()})
    scores = scan2cap.score(perfect, BOXES, BOXES, corpus).scores
    for threshold in ("0.25", "0.50"):
        for metric in ("Bleu_1", "Bleu_4", "ROUGE_L"):
            assert scores[f"{metric}@{threshold}"] == pytest.approx(1, abs=1e-6)
    astray = [{**row, "pred_id": (row["pred_id"] + 1) % 4} for row in perfect]
    silent = caption_rows({place: ("", place[1]) for place in described})
    assert scan2cap.score(astray, BOXES, BOXES, corpus).scores == scan2cap.score(silent, BOXES, BOXES, corpus).scores
