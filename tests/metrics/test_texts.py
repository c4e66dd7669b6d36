"""Texts that are scored together get the tokens that a tokenizer run of their own gives them."""

import os
from pathlib import Path

import pytest
from odd_answers import ODD_ANSWERS

from gpt4scene.metrics import texts
from gpt4scene.metrics.java import coco_folder, find_java
from gpt4scene.metrics.texts import MOST_WORDS, TextGroup, TextScorer, score_groups

SAID = ("vitamin c", "no", "fig 5", "size m")
BEFORE_SMALL = TextGroup(SAID, (("Vitamin C.", "a table"), ("no.", "chairs"), ("fig.", "x"), ("Size M.", "y")))
BEFORE_OTHER = TextGroup(SAID, (("Vitamin C.", "A table"), ("no.", "5 chairs"), ("fig.", "7"), ("Size M.", "Y")))


def pycocoevalcap_bleu(group):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    wrapped = ({number: [{"caption": text}] for number, text in enumerate(group.answers)},)
    wrapped += ({number: [{"caption": text} for text in texts] for number, texts in enumerate(group.references)},)
    said, references = (PTBTokenizer().tokenize(texts) for texts in wrapped)
    return Bleu(4).compute_score(references, said, verbose=0)[0]


@pytest.fixture(scope="module")
def found():
    """Groups that are scored together: METEOR's program takes seconds to start."""
    answer = " ".join(["chair"] * (MOST_WORDS - 1) + ["."])
    return score_groups(
        {
            "small": BEFORE_SMALL,
            "other": BEFORE_OTHER,
            "empty": TextGroup(("", "."), (("",), (".",))),
            "long": TextGroup((answer,), (("a chair",),)),
        }
    )


@pytest.mark.slow
def test_what_follows_a_full_stop_is_that_of_the_group(found, monkeypatch):
    if find_java() is None or coco_folder() is None:
        pytest.skip("the published tokenizer needs Java and pycocoevalcap")
    monkeypatch.setenv("PATH", str(Path(find_java()).parent), prepend=os.pathsep)  # where pycocoevalcap looks
    for name, group in (("small", BEFORE_SMALL), ("other", BEFORE_OTHER)):
        published = dict(zip(("Bleu_1", "Bleu_2"), pycocoevalcap_bleu(group), strict=False))
        assert {metric: found[name].scores[metric] for metric in published} == pytest.approx(published, abs=1e-12)
    assert found["small"].scores["Bleu_1"] != found["other"].scores["Bleu_1"]


def test_no_groups_and_empty_texts(found):
    assert score_groups({}) == {}
    assert found["empty"].scores["CIDEr"] == 0


def test_what_goes_wrong_in_the_background_is_said(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("the PTB tokenizer answered 0 lines for 2 texts (exit 1)")

    for name in ("java_tokens", "own_tokens"):
        monkeypatch.setattr(texts, name, broken)
    with TextScorer() as scorer:
        scorer.ask({"": BEFORE_SMALL})
        with pytest.raises(RuntimeError, match="answered 0 lines"):
            scorer.scores()


@pytest.mark.slow
def test_every_answer_gets_figures():
    """Texts of a megabyte end, in memory that METEOR has, and what it does not read is said."""
    answers = (*ODD_ANSWERS.values(), "a chair")
    found = score_groups({"": TextGroup(answers, (("a chair", "the red chair"),) * len(answers))})[""]
    for value_B in found.rows.values():
        assert len(value_B) == len(answers) and ((value_B >= 0) & (value_B <= 10)).all()
    if "METEOR" in found.scores:
        assert any("METEOR compares the first 2000 words only of" in note for note in found.notes)


def test_an_answer_of_ordinary_length_is_compared_whole(found):
    assert not any("METEOR compares" in note for note in found["long"].notes)
