"""Rules of the five benchmarks one by one, on rows made for the differences between them."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt4scene.benchmarks import multi3dref, scan2cap, scanqa, scanrefer, sqa3d
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.described import as_written, marks_apart
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.benchmarks.sqa3d import starts_with_word
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.predictions import read_predictions
from gpt4scene.metrics import texts as text
from gpt4scene.metrics.java import coco_folder, find_java
from gpt4scene.metrics.texts import TEXT_METRICS, score_groups

BOXES = {"s": [[2.0 * n, 0, 0, 1, 1, 1] for n in range(4)]}
ONE_METRIC = {"": text.TextScores({}, {})}


def row(pred, *references, **more):
    return {"scene_id": "s", "pred": pred, "ref_captions": list(references), "type_info": 0, **more}


def matched(benchmark, rules, pred, *references):
    scores = benchmark.report([row(pred, *references)], ONE_METRIC, rules).scores
    return scores["EM1"], scores.get("EM1_refined")


@pytest.mark.parametrize(
    ("pred", "reference", "by_rules"),
    [
        ("Brown.", "brown", {"gpt4scene": (1, 1), "raw": (0, None), "strict": (1, 1), "llava3d": (1, 1)}),
        ("brown", "brown", {"gpt4scene": (1, 1), "raw": (1, None), "strict": (1, 1), "llava3d": (1, 1)}),
        ("2", "2", {"gpt4scene": (0, 0), "raw": (1, None), "strict": (1, 1), "llava3d": (1, 1)}),
        ("", "brown", {"gpt4scene": (0, 0), "raw": (0, None), "strict": (0, 0), "llava3d": (0, 1)}),
        ("a", "table", {"gpt4scene": (0, 1), "raw": (0, None), "strict": (0, 0), "llava3d": (0, 1)}),
        ("chair .", "chair", {"gpt4scene": (1, 1), "raw": (0, None), "strict": (1, 1), "llava3d": (0, 1)}),
    ],
)
def test_scanqa_matches(pred, reference, by_rules):
    assert {rules: matched(scanqa, rules, pred, reference) for rules in by_rules} == by_rules


@pytest.mark.parametrize(
    ("pred", "reference", "by_rules"),
    [
        ("2", "2", {"gpt4scene": (1, 1), "raw": (1, None), "strict": (1, 1), "llava3d": (1, 1)}),
        ("chair .", "chair", {"gpt4scene": (1, 1), "raw": (0, None), "strict": (1, 1), "llava3d": (0, 1)}),
        ("chair", "chair .", {"gpt4scene": (0, 1), "raw": (0, None), "strict": (1, 1), "llava3d": (0, 1)}),
        ("", "left", {"gpt4scene": (0, 0), "raw": (0, None), "strict": (0, 0), "llava3d": (0, 1)}),
    ],
)
def test_sqa3d_matches(pred, reference, by_rules):
    assert {rules: matched(sqa3d, rules, pred, reference) for rules in by_rules} == by_rules


@pytest.mark.slow
def test_raw_texts_keep_case_and_punctuation_and_lose_full_stops_at_the_end():
    (group,) = scanqa.text_groups([row("A chair, brown..", "a chair brown")], "raw").values()
    assert (group.answers, group.references, group.split_at_spaces) == (
        ("A chair, brown",),
        (("a chair brown",),),
        True,
    )
    assert score_groups({"": group})[""].scores["Bleu_1"] == pytest.approx(1 / 3)


def test_strict_texts_are_cleaned_on_both_sides():
    said = row("2 chairs.", "2 chairs", "The chair")
    groups = {rules: scanqa.text_groups([said], rules)[""] for rules in ("gpt4scene", "strict", "llava3d")}
    assert {rules: group.references for rules, group in groups.items()} == {
        "gpt4scene": (("2 chairs", "The chair"),),
        "strict": (("two chairs", "chair"),),
        "llava3d": (("two chairs", "chair"),),
    }
    assert {group.answers for group in groups.values()} == {("two chairs",)}


def test_sqa3d_has_exact_match_alone_where_public_scorers_do(monkeypatch):
    monkeypatch.setattr(text, "find_java", lambda: None)
    names = {rules: set(sqa3d.score([row("left", "left")], rules).scores) for rules in sqa3d.WAYS}
    assert names["raw"] == {"EM1", "EM_type0"}
    assert names["llava3d"] == {"EM1", "EM1_refined", "EM_type0", "EM_refined_type0"}
    assert names["strict"] == names["llava3d"] | (set(TEXT_METRICS) - {"METEOR"})
    assert names["gpt4scene"] == names["strict"] | {"strict EM1", "strict EM1_refined"}


def test_a_perfect_type_is_whole_but_where_counts_start_past_nothing():
    found = {rules: sqa3d.report([row("left", "left")], ONE_METRIC, rules).scores["EM_type0"] for rules in sqa3d.WAYS}
    assert found["raw"] == found["strict"] == 1
    assert found["gpt4scene"] == found["llava3d"] == 1 / (1 + 1e-10) < 1


@pytest.mark.parametrize(
    ("prompt", "word", "whole"),
    [
        ("I sit. What is behind me? Answer with one word.", "what", True),
        ("I sit. What's behind me? Answer with one word.", "what", False),
        ("What is there. What's behind me?", "what", False),
        ("I sit on what is a chair. Is it dark?", "is", True),
        ("I face the desk What color is it?", "what", True),
        ("I face the desk What's its color?", "what", False),
        ("I see an island near what is a desk what's its color?", "what", None),
        ("", "what", None),
    ],
)
def test_first_words(prompt, word, whole):
    assert starts_with_word(prompt, word) is whole


def test_types_by_first_word():
    rows = [row("x", "x", prompt="I sit. What's behind me?"), row("x", "x", prompt="I sit. What is behind me?")]
    rows += [row("x", "x", prompt=""), row("x", "x", prompt="Do I sit?", type_info=5)]
    counts = {rules: sqa3d.report(rows, ONE_METRIC, rules).counts for rules in ("gpt4scene", "llava3d")}
    assert [counts["gpt4scene"][name] for name in ("type0 (what)", "type5 (other)")] == [3, 1]
    assert [counts["llava3d"][name] for name in ("type0 (what)", "type5 (other)")] == [2, 2]
    (note,) = sqa3d.report(rows, ONE_METRIC, "llava3d").notes
    assert "first word of 1 questions could not be told" in note


def test_real_questions_by_first_word(shared_data):
    """Of 3,261 validation questions seven start with "What's", and nothing else is told apart."""
    folder = shared_data / "annotations" / "sqa3d"
    names = ("v1_balanced_questions_val_scannetv2.json", "v1_balanced_sqa_annotations_val_scannetv2.json")
    records = BENCHMARKS["sqa3d"].read([folder / name for name in names])
    wording = BENCHMARKS["sqa3d"].wordings()[0]
    other = 0
    for record in records:
        question, situation = record.text("question").strip(), record.text("situation").strip()
        kind = sqa3d.question_type(question)
        if kind < 5:
            whole = starts_with_word(wording.format(situation=situation, question=question), sqa3d.TYPES[kind])
            assert whole is (question.split()[0].lower() == sqa3d.TYPES[kind])
            other += not whole
    assert other == 7


CORPUS = {"s|0": ["sos a chair , it 's brown . eos"], "s|1": ["sos a free - standing table . eos"]}


def described(pred, target=0):
    return {"scene_id": "s", "gt_id": target, "pred_id": target, "pred": pred}


def test_raw_captions_keep_full_stops_and_commas_as_words():
    groups = scan2cap.text_groups([described("A chair, brown.")], BOXES, BOXES, CORPUS, "raw")
    assert set(groups) == {"@0.50"}
    assert groups["@0.50"].answers == ("sos a chair ,  brown .  eos", "sos  eos")
    assert groups["@0.50"].references == (("sos a chair ,  it's brown .  eos",), ("sos a free-standing table .  eos",))


def test_descriptions_are_compared_as_written_where_they_are_there():
    written = {"s|0": ["A chair. It's  brown."], "s|1": ["x"]}
    group = scan2cap.text_groups([described("")], BOXES, BOXES, CORPUS, "raw", written)["@0.50"]
    assert group.references == (("sos a chair .  it's  brown .  eos",), ("sos x eos",))
    with pytest.raises(DataError, match=r"has 0 descriptions of 's\|1', and scan2cap_val_corpus.json has 1"):
        scan2cap.text_groups([described("")], BOXES, BOXES, CORPUS, "raw", {"s|0": ["x"]})


def test_a_corpus_gives_back_real_descriptions(shared_data):
    """All words but those of two of 400 descriptions, and most of the empty words between spaces."""
    from gpt4scene.files.raw import read_records

    records = read_records(shared_data / "annotations" / "scanrefer" / "ScanRefer_filtered_val_sample400.json")
    pairs = [
        (marks_apart(as_written(" ".join(record.texts("token")).lower())), marks_apart(record.text("description")))
        for record in records
    ]
    assert sum(ours.split() != theirs.split() for ours, theirs in pairs) == 2
    assert sum(ours == theirs for ours, theirs in pairs) > 350


def test_silence_scores_nothing_under_strict_rules_and_something_under_published_ones(monkeypatch):
    monkeypatch.setattr(text, "find_java", lambda: None)
    silent = {rules: scan2cap.score([described("")], BOXES, BOXES, CORPUS, rules).scores for rules in scan2cap.SAYS}
    assert silent["gpt4scene"]["Bleu_1@0.50"] > 0
    assert max(silent["strict"].values()) == pytest.approx(0, abs=1e-9)
    said = [described("a chair, it's brown."), described("a free - standing table.", 1)]
    assert scan2cap.score(said, BOXES, BOXES, CORPUS, "strict").scores["ROUGE_L@0.50"] == 1


word = st.sampled_from(["chair", "brown", "it's", "free-standing", "Table", "two"])
sentence = st.lists(word, min_size=4, max_size=8).map(" ".join)


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(sentence, min_size=1, max_size=2), min_size=1, max_size=4), st.booleans())
def test_captions_under_every_rule(monkeypatch, written, backwards):
    """Order is free, the very words of a reference get full marks, silence none but what sos and eos give."""
    monkeypatch.setattr(text, "find_java", lambda: None)
    corpus = {f"s|{n}": [f"sos {each.lower()} eos" for each in captions] for n, captions in enumerate(written)}
    perfect = [described(captions[0], n) for n, captions in enumerate(written)]
    silent = [described("", n) for n in range(len(written))]
    for rules in scan2cap.SAYS:
        full = scan2cap.score(perfect, BOXES, BOXES, corpus, rules).scores
        assert full["ROUGE_L@0.50"] == pytest.approx(1) and full["Bleu_4@0.50"] == pytest.approx(1, abs=1e-6)
        again = scan2cap.score(perfect[::-1] if backwards else perfect, BOXES, BOXES, corpus, rules).scores
        assert again == pytest.approx(full, abs=1e-12)
        nothing = scan2cap.score(silent, BOXES, BOXES, corpus, rules).scores
        assert (max(nothing.values()) < 1e-6) is (rules == "strict")


def named(pred, **more):
    return {"scene_id": "s", "gt_id": 0, "pred": pred, **more}


def test_box_benchmarks_count_strictly_under_plain_names():
    rows = [named(pred) for pred in ("<OBJ000>", "no idea", "<OBJ001>")]
    found = {rules: scanrefer.score(rows, BOXES, BOXES, {"s": {"0": 0}}, rules).scores for rules in scanrefer.SAYS}
    assert found["raw"] == found["gpt4scene"]
    assert (found["gpt4scene"]["Acc@0.50"], found["strict"]["Acc@0.50"]) == (2 / 3, 1 / 3)
    assert found["strict"]["Unique Acc@0.25"] == found["gpt4scene"]["strict Acc@0.25"] == 1 / 3
    assert not any("strict" in name for name in found["strict"])
    kinds = [named("Yes. <OBJ000> and <OBJ000>.", ref_captions=[0], type_info="st_wo_d")]
    found = {rules: multi3dref.score(kinds, BOXES, BOXES, rules).scores for rules in multi3dref.SAYS}
    assert found["raw"] == found["gpt4scene"]
    assert found["gpt4scene"]["st_wo_d F1@0.50"] == 2 / 3
    assert found["strict"] == {name: 1.0 for name in found["strict"]} and "st_wo_d F1@0.50" in found["strict"]


def test_nr3d_strictly():
    rows = [named(pred, type_info="easy_dep") for pred in ("<OBJ000>", "no idea")]
    strict = scanrefer.score(rows, BOXES, BOXES, rules="strict").scores
    assert (strict["Overall Acc"], strict["Easy Acc"]) == (0.5, 0.5)
    assert scanrefer.score(rows, BOXES, BOXES).scores["Overall Acc"] == 1


def test_a_verdict_follows_the_rules(tmp_path):
    torch = pytest.importorskip("torch")
    for name in ("scannet_mask3d", "scannet"):
        content = {"s": {"objects": ["chair"] * 4, "locs": torch.tensor(BOXES["s"])}}
        torch.save(content, tmp_path / f"{name}_val_attributes.pt")
    benchmark, silent = BENCHMARKS["scanrefer"], scanrefer.read_rows([named("no idea")], "scanrefer")[0]
    judged = {
        rules: benchmark.under(rules).judge_of_answers()(silent, {}, Annotation(tmp_path))
        for rules in benchmark.rule_names
    }
    assert {each.verdict for each in judged.values()} == {"wrong"}
    assert {rules: "scored as <OBJ000>" in each.reason for rules, each in judged.items()} == {
        **{"gpt4scene": True, "raw": True},
        "strict": False,
    }
    judged = BENCHMARKS["scanqa"].under("raw").judge_of_answers()
    brown = scanqa.read_rows([row("Brown", "brown")], "scanqa")[0]
    assert judged(brown, {"EM1": 0.0}, Annotation(tmp_path)).verdict == "wrong"


@pytest.mark.parametrize("score", [scanqa.score, sqa3d.score])
def test_unknown_rules_name_the_known_ones(score):
    with pytest.raises(ConfigError, match=r"has no rules 'rw'; did you mean 'raw'\? \(known: gpt4scene, raw, strict"):
        score([row("x", "x")], "rw")


@pytest.mark.parametrize("task", ["scanqa", "sqa3d", "scan2cap", "scanrefer", "multi3dref"])
def test_every_rule_says_one_sentence_with_its_source(task):
    for name in BENCHMARKS[task].rule_names:
        says = BENCHMARKS[task].under(name).rules_say
        assert says.endswith(".") and ("our own" in says or "scorer" in says), (task, name)


short = st.text(alphabet="ab2 .?AT,'é-", min_size=1, max_size=10).filter(str.strip)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.one_of(short, st.just("")), st.lists(short, min_size=1, max_size=2)), min_size=1))
def test_matches_stay_in_range_whatever_the_order(pairs):
    rows = [row(pred, *references, qid=number + 1) for number, (pred, references) in enumerate(pairs)]
    for benchmark in (scanqa, sqa3d):
        for rules in benchmark.WAYS:
            scores = benchmark.report(rows, ONE_METRIC, rules).scores
            assert all(0 <= value <= 1 for value in scores.values())
            again = benchmark.report(rows[::-1], ONE_METRIC, rules).scores
            assert again == pytest.approx(scores, abs=1e-12)


@settings(max_examples=60)
@given(st.lists(short, min_size=1, max_size=3))
def test_an_accepted_answer_is_right_and_silence_is_wrong(references):
    assert matched(scanqa, "raw", references[-1], *references)[0] == 1
    assert matched(scanqa, "llava3d", references[-1], *references)[0] == 1 or not scanqa_cleaned(references[-1])
    for rules in scanqa.WAYS:
        exact, near = matched(scanqa, rules, "", *references)
        assert exact == 0
        assert near in ((1,) if rules == "llava3d" else (0, None))


def scanqa_cleaned(answer):
    return scanqa.WAYS["llava3d"].answer(answer)


def video_3d_llm(said, wanted, meteor):
    """pycocoevalcap on texts that no tokenizer saw. METEOR waits for ever on a line break: a space here."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    answers = {number: [each.replace("\n", " ")] for number, each in enumerate(said)}
    references = {number: list(each) for number, each in enumerate(wanted)}
    found = dict(zip(TEXT_METRICS[:4], Bleu(4).compute_score(references, answers, verbose=0)[0], strict=True))
    for name, scorer in (("METEOR", meteor), ("ROUGE_L", Rouge()), ("CIDEr", Cider())):
        found[name] = float(scorer.compute_score(references, answers)[0])
    return found


@pytest.mark.slow
def test_raw_figures_are_those_of_pycocoevalcap_without_a_tokenizer(oracle, monkeypatch):
    if find_java() is None or coco_folder() is None:
        pytest.skip("METEOR needs Java and pycocoevalcap")
    from pycocoevalcap.meteor.meteor import Meteor

    monkeypatch.setenv("PATH", str(Path(find_java()).parent), prepend=os.pathsep)  # where pycocoevalcap looks
    found = score_folder(oracle / "predictions", oracle / "annotation", ["scanqa", "scan2cap"], "raw")
    rows = read_predictions(oracle / "predictions", "scanqa").rows
    meteor = Meteor()  # once: it starts in many seconds
    public = video_3d_llm([each.pred.rstrip(".") for each in rows], [each.texts for each in rows], meteor)
    right = sum(each.pred in each.texts for each in rows) / len(rows)
    assert found["scanqa"].scores == pytest.approx({"EM1": right, **public}, abs=1e-12)
    annotation = Annotation(oracle / "annotation")
    groups = BENCHMARKS["scan2cap"].under("raw").text_groups
    (group,) = groups(read_predictions(oracle / "predictions", "scan2cap").rows, annotation).values()
    public = video_3d_llm(group.answers, group.references, meteor)
    assert found["scan2cap"].scores == pytest.approx({f"{name}@0.50": one for name, one in public.items()}, abs=1e-12)
