"""The metrics on sparse counts equal pycocoevalcap's, which counts text by text."""

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_answers import ODD_ANSWERS

from gpt4scene.metrics.captions import CaptionMetrics, bleu, rouge_l

word = st.sampled_from(["a", "chair", "brown", "the", "next", "l-shaped", "n't"])
texts = st.lists(word, max_size=12).map(" ".join)
pairs = st.tuples(texts, st.lists(texts, min_size=1, max_size=4).map(tuple))
groups = st.lists(pairs, min_size=1, max_size=6)


def usual(group):
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    answers = {number: [answer] for number, (answer, _) in enumerate(group)}
    references = {number: list(refs) for number, (_, refs) in enumerate(group)}
    words, _ = Bleu(4).compute_score(references, answers, verbose=0)
    _, rouge = Rouge().compute_score(references, answers)
    _, cider = Cider().compute_score(references, answers)
    return words, rouge, cider


def check(group, ours):
    words, rouge, cider = usual(group)
    assert bleu(ours.bleu_B10.sum(axis=0)) == pytest.approx(words, abs=1e-12, rel=0)
    assert ours.rouge_l_B == pytest.approx(rouge, abs=1e-12, rel=0)
    assert ours.cider_B == pytest.approx(cider, abs=1e-12, rel=0)


@pytest.mark.slow
@settings(max_examples=150)
@given(groups.filter(lambda group: any(text for _, refs in group for text in refs)))
def test_a_group_scores_as_pycocoevalcap_says(group):
    check(group, CaptionMetrics([group]).score(group))


def test_groups_that_share_texts_score_as_alone():
    """CIDEr's weights are those of the group at hand, whatever else was counted with it."""
    generator = random.Random(0)
    vocabulary = [f"w{number}" for number in range(30)]
    said = [" ".join(generator.choices(vocabulary, k=generator.randint(1, 15))) for _ in range(60)]
    first = [(answer, tuple(generator.choices(said, k=generator.randint(1, 5)))) for answer in said]
    second = [(refs[0], (answer,)) for answer, refs in first[:25]]
    metrics = CaptionMetrics([first, second])
    for group in (first, second):
        check(group, metrics.score(group))


def test_empty_texts_score_zero_but_against_themselves():
    scores = CaptionMetrics([[("", ("",)), ("", ("a",))]]).score([("", ("",)), ("", ("a",))])
    assert scores.rouge_l_B.tolist() == [1.0, 0.0]  # pycocoevalcap takes an empty text for one empty word
    assert np.isfinite(scores.cider_B).all() and np.isfinite(bleu(scores.bleu_B10)).all()


def test_rouge_takes_best_precision_and_best_recall_apart():
    assert rouge_l("a b c d", ("a b", "a x y z c d")) == pytest.approx(2.44 * 0.75 * 1 / (1 + 1.44 * 0.75))


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_rouge_of_odd_answers_takes_little_memory(name):
    """A word that no reference has costs nothing; a word that stands often is not copied each time."""
    tracemalloc.start()
    assert 0 <= rouge_l(ODD_ANSWERS[name], ["w3 brown chair", "a w40000 chair"]) <= 1
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100 * 10**6
