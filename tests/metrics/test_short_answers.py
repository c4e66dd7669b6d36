"""First tokens, whole answers, and numbers in digits or words, as the public scorers take them."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.metrics.short_answers import (
    choice_or_all,
    counting_word_or_number,
    first_number,
    first_token,
    plain_number,
    stripped_token,
    whole_answer,
)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        *(("A. chair", "A"), ("A.chair", "A.chair"), ("A..", "A"), ("(A)", "(A)"), ("A,", "A,"), (" A", ""), ("", "")),
        *(("\nA", "A"), ("A\nbecause", "A\nbecause"), ("A\tis", "A\tis"), ("D\u00a0left", "D\u00a0left")),
    ],
)
def test_first_token_ends_at_a_space_only(text, token):
    assert first_token(text) == token


def test_stripped_token_forgives_a_space_in_front():
    assert stripped_token(" A. chair") == "A"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("+5", 5), (".5", 0.5), ("05", 5), ("1e1", 10), ("1_0", 10), ("٥", 5), ("５", 5)),
        *((text, None) for text in ("5m", "5,", "1,250", "~5", "five", "5-6", "", "m²")),
    ],
)
def test_plain_numbers_are_pythons(text, number):
    assert plain_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("twenty-one", 21), ("one hundred and five", 105), ("one two", 3), ("a dozen", None), ("a hundred", 100)),
        *(("two thousand three hundred", 2300), (".5", 5), ("1e1", 1), ("1,250", 1), ("3-5", 3), ("m^2: 8", 2)),
        *(("one apple, room 2", 1), ("2 or three", 2), ("<think>1</think>2", 1), ("-71.5", -71.5), ("", None)),
        *(("FIVE", 5), ("often", None), ("and", None), ("six and", 6), ("²", None)),
    ],
)
def test_first_number_anywhere(text, number):
    assert first_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("a few", "1"), ("an object with 3", "1"), ("twenty-one", "1"), ("a lamp, two beds", "2"), ("-71.5", "71.5")),
        *(("zero or a", "0"), ("someone", None), ("1,250", "1"), ("Ten", "10"), ("", None)),
    ],
)
def test_counting_words_come_before_numbers(text, number):
    assert counting_word_or_number(text) == number


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *(("B. left", "B"), ("B.. left", "B.. left"), ("b", "b"), ("E", "E"), ("Answer: A. right", "A. right")),
        *((" A", "A"), ("Answer:B", "B"), ("C. \n", "C"), ("", "")),
    ],
)
def test_choice_or_all(text, found):
    assert choice_or_all(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<answer>A</answer> and <answer>B.</answer>", "b"),
        ("<Answer>A</Answer>", "<answer>a</answer>"),
        (" It is\n left.. ", "it is left"),
        ("", ""),
    ],
)
def test_whole_answer(text, found):
    assert whole_answer(text) == found


@given(st.text(alphabet=st.sampled_from("A.aone twhudrd 12-\n"), max_size=60))
def test_every_text_is_read_without_an_error(text):
    first_number(text), counting_word_or_number(text), whole_answer(text), choice_or_all(text), first_token(text)


@pytest.mark.parametrize("text", ["hundred " * 200, "1" * 400])
def test_a_number_beyond_all_numbers_is_infinite(text):
    assert first_number(text) == math.inf


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<answer>a</answer> <answer>B.</answer>", "b"),
        ("<answer>a<answer>b</answer>c</answer>", "a<answer>b"),
        ("</answer><answer>c</answer", "</answer><answer>c</answer"),
        ("<answer></answer>", ""),
    ],
)
def test_the_last_closed_tag_holds_the_answer(text, found):
    assert whole_answer(text) == found


def test_tags_that_never_close_take_no_longer_than_their_length():
    start = time.process_time()
    assert whole_answer("<answer>" * 50_000).startswith("<answer>")
    assert time.process_time() - start < 1
