"""Letters and texts are used evenly, nothing is lost or doubled, and the same seed gives the same order."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.geometry.options import balanced, matched
from gpt4scene.geometry.question import GeometryQuestion


def asked(kind, options, truth):
    return GeometryQuestion("a", "r", kind, "?", truth, tuple(options))


@given(st.lists(st.sampled_from(["two", "three", "four", "number"]), max_size=60), st.integers(0, 99))
def test_letters_are_even_within_a_kind_and_options_stay_the_same(kinds, seed):
    options = {"two": "ab", "three": "abc", "four": "abcd", "number": ""}
    before = [asked(kind, options[kind], "a" if options[kind] else "7") for kind in kinds]
    after = balanced(before, seed)
    assert [q.kind for q in after] == kinds and after == balanced(before, seed)
    for old, new in zip(before, after, strict=True):
        assert sorted(new.options) == sorted(old.options) and new.truth == old.truth
        assert new.lettered[new.options.index("a")].startswith(new.answer + ". ") if new.options else new.answer == "7"
    for kind in set(kinds) - {"number"}:
        counts = Counter(question.answer for question in after if question.kind == kind)
        everyone = [counts[letter] for letter in "ABCD"[: len(options[kind])]]
        assert max(everyone) - min(everyone) <= 1


def test_wrong_options_do_not_keep_their_places():
    after = balanced([asked("four", "abcd", "a")] * 40, 1)
    assert len({question.options for question in after}) > 12


def test_doubled_options_are_no_question():
    with pytest.raises(AssertionError, match="odd options"):
        balanced([asked("two", "aa", "a")])


TURNS = [f"{one}, {other}" for one in "lrb" for other in "lrb"]


def routes(truths, generator):
    return [
        asked("route", [truth, *generator.sample([one for one in TURNS if one != truth], 3)], truth) for truth in truths
    ]


def test_a_text_that_is_often_right_is_as_often_wrong_as_its_share_says():
    truths = ["l, r"] * 60 + ["r, l"] * 60 + ["l, l"] * 50 + ["r, r"] * 50 + ["b, l"] * 30 + ["b, b"] * 10
    before = routes(truths, random.Random(0))
    after = matched(before, "route", 1)
    assert after == matched(before, "route", 1) and [q.truth for q in after] == truths
    assert all(len(set(q.options)) == 4 and q.truth in q.options for q in after)

    def pays(questions):
        often = Counter(truths)
        return sum(max(sorted(q.options), key=lambda text: often[text]) == q.truth for q in questions) / len(questions)

    assert pays(before) > 0.4
    assert pays(after) < 0.3
    shown = Counter(text for q in after for text in q.options)
    assert all(shown[text] == pytest.approx(4 * count, rel=0.1, abs=8) for text, count in Counter(truths).items())


@given(st.lists(st.sampled_from(TURNS), max_size=12), st.integers(0, 9))
def test_few_answers_leave_whole_questions(truths, seed):
    before = [*routes(truths, random.Random(seed)), asked("other", "abcd", "a")]
    after = matched(before, "route", seed)
    assert [q.truth for q in after] == [q.truth for q in before] and after[-1] == before[-1]
    assert all(len(set(q.options)) == 4 and q.truth in q.options for q in after)
