import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.metrics.exact_match import clean, exact, refined, says_something, strict_matches, trim

NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]


def clean_rule_by_rule(text):
    """The rules of docs/scores.md one after the other, each as one substitution."""
    text = re.sub(" +$", "", text.lower())
    text = re.sub("^ +", "", text)
    text = re.sub(" +", " ", text)
    text = re.sub(r"\. +", ". ", text)
    text = "".join(c for c in text if c.isspace() or (c.isascii() and (c.isalnum() or c in ",'-:")))
    spelling = [("letf", "left"), ("let", "left"), ("tehre", "there"), ("rigth", "right"), ("rght", "right")]
    spelling += [("behine", "behind"), ("tv", "TV"), ("chai", "chair"), ("wasing", "washing"), ("waslked", "walked")]
    spelling += [("oclock", "o'clock"), ("o' +clock", "o'clock"), ("none", "zero")]
    spelling += [(str(number), word) for number, word in enumerate(NUMBERS)] + [("23", "twenty-three")]
    for wrong, right in spelling:
        text = re.sub(rf"\b{wrong}\b", right, text)
    text = re.sub(r"\b([a-zA-Z]+)\d\b", r"\1", text)
    for article in ("a", "an", "the"):
        text = re.sub(rf"\b{article}\b ([a-zA-Z]+)", r"\1", text)
    return re.sub(r"\bbackwards\b", "backward", text)


words = st.sampled_from(
    [
        "a",
        "an",
        "the",
        "A",
        "The",
        "tv",
        "TV",
        "tv1",
        "let",
        "letf",
        "rigth",
        "chai",
        "none",
        "0",
        "1",
        "2",
        "20",
        "21",
        "23",
        "10",
        "o'",
        "clock",
        "oclock",
        "o'clock",
        "mat2",
        "no1",
        "backwards",
        ".",
        "..",
        "white.",
        "don't",
        "e-mail",
        "3:",
        "x,y",
        "é",
        "ç",
        "’",
        "\xa0",
        "\t",
        "\n",
    ]
)


@given(st.one_of(st.text(), st.lists(words).map(" ".join), st.lists(words).map("".join)))
def test_cleaning_follows_the_rules_in_their_order(text):
    assert clean(text) == clean_rule_by_rule(text)


@pytest.mark.parametrize(
    ("answer", "cleaned"),
    [
        ("  The  TV. ", "TV"),
        ("2 chairs, 23 tables", "two chairs, twenty-three tables"),
        ("o' clock", "o'clock"),
        ("mat2", "mat"),
        ("mat22", "mat22"),
        ("none", "zero"),
        ("walk backwards", "walk backward"),
        ("a", "a"),
        ("a a chair", "a chair"),
        ("tv1", "tv"),
        ("café", "caf"),
        ("a chair \n", "chair\n"),
    ],
)
def test_cleaning(answer, cleaned):
    assert clean(answer) == cleaned


@given(
    st.lists(st.sampled_from(["the chair", "on", "left", "2", "a tv", "table", "none", "in front of"])).map(" ".join)
)
def test_cleaning_twice_changes_nothing_on_plain_words(text):
    assert clean(clean(text)) == clean(text)


def test_one_character_is_not_trimmed():
    assert [trim(text) for text in (".", "A", "No.", "White..", "", "TV")] == [".", "A", "no", "white.", "", "tV"]


def test_empty_answers_match_nothing():
    assert not exact("", [""])
    assert not refined("", ["", "chair"])


def test_refined_match_ignores_spaces_and_takes_parts():
    assert refined("trash can", ["trashcan"])
    assert refined("chair", ["brown chair"])
    assert refined("brown chair", ["chair"])
    assert not refined("chair", ["table"])


@pytest.mark.parametrize("answer", ["? !", "", " ", "\n", "...", "!?", "\ufeff"])
def test_an_answer_that_says_nothing_is_right_in_no_strict_figure(answer):
    cleaned = clean(trim(answer))
    assert not says_something(cleaned)
    assert strict_matches([cleaned], [["a chair", "? !", ""]]) == {"strict EM1": [False], "strict EM1_refined": [False]}


def test_the_published_rule_takes_white_space_as_part_of_everything():
    assert refined(clean("? !"), ["a chair"])


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("table", "a brown table", True),
        ("on the brown table", "brown table", True),
        ("A", "table", False),
        ("tab", "table", False),
        ("table brown", "brown table", False),
        ("Two.", "2", True),
        ("chair", "", False),
    ],
)
def test_strict_refinement_compares_whole_words(answer, reference, right):
    found = strict_matches([clean(trim(answer))], [[reference]])
    assert found["strict EM1_refined"] == [right]


@pytest.mark.slow
@pytest.mark.parametrize("answer", [" " * 10**6 + "x", "a " * 500000, "o'" + " " * 10**6 + "k", "a1 " * 300000])
def test_cleaning_takes_no_longer_than_reading(answer):
    assert clean(answer)


@given(st.text(alphabet=" \nab.", max_size=12))
def test_spaces_at_the_end_go_as_the_published_pattern_takes_them(text):
    assert clean(text) == clean_rule_by_rule(text)
