"""Letters are used evenly, nothing is lost or doubled, and the same seed gives the same order."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.geometry.options import balanced
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
